package chain

import (
	"fmt"

	"github.com/baton-ha/baton/blockstore/block"
)

// MaxMessages bounds the messages of one transaction.
const MaxMessages = 64

// payloadLimits bounds what one payload can make a node allocate.
const (
	maxPayloadDepth  = 16
	maxPayloadValues = 16384
)

// Message is one decoded message of a transaction.
type Message struct {
	// Type is the "type" of the JSON object.
	Type string
	// Value is what the [App] made of the other fields; only that App looks inside.
	Value any
}

// Tx is a transaction that passed [Executor.Parse]: well-formed, for this chain, with a good signature. It is immutable
// and safe for concurrent use.
type Tx struct {
	raw       *block.Tx
	hash      block.Hash
	sender    PublicKey
	nonce     uint64
	maxHeight block.Height
	code      *code // that decoded the messages
	messages  []Message
}

// Raw returns the transaction as it was sent.
func (t *Tx) Raw() *block.Tx { return t.raw }

// Hash returns the transaction's hash.
func (t *Tx) Hash() block.Hash { return t.hash }

// Sender returns the account that signed it.
func (t *Tx) Sender() PublicKey { return t.sender }

// Nonce returns the account nonce that the transaction takes.
func (t *Tx) Nonce() uint64 { return t.nonce }

// MaxHeight returns the last height at which it may be included, 0 for no limit.
func (t *Tx) MaxHeight() block.Height { return t.maxHeight }

// Messages returns the decoded messages. The slice must not be changed.
func (t *Tx) Messages() []Message { return t.messages }

// Size returns how many bytes it takes in an encoded block.
func (t *Tx) Size() int { return t.raw.Size() }

// Parse checks all that can be checked of a transaction without the state, the signature last. Messages are decoded by
// the first App, in the order given to [New], that knows them. Every error is a [*TxError]. It is safe for concurrent
// use; a signature found good is remembered, so that Apply does not check it again.
func (e *Executor) Parse(raw *block.Tx) (*Tx, error) {
	tx, err := e.parse(raw)
	if err != nil {
		return nil, err
	}
	return tx, nil
}

func (e *Executor) parse(raw *block.Tx) (*Tx, *TxError) {
	tx, fault := e.decode(raw)
	if fault != nil {
		return nil, fault
	}
	key := verifiedKey{tx.hash, raw.Signature}
	if !e.verified.has(key) {
		if !raw.Verify(tx.sender[:]) {
			return nil, txErrorf(BadSignature, "the signature is not that of public_key over this payload")
		}
		e.verified.add(key)
	}
	return tx, nil
}

// decode is parse without the signature.
func (e *Executor) decode(raw *block.Tx) (*Tx, *TxError) {
	if len(raw.Payload) > block.MaxPayloadBytes {
		return nil, txErrorf(TooLarge, "the payload has %d bytes, at most %d", len(raw.Payload), block.MaxPayloadBytes)
	}
	env, fault := readEnvelope(raw.Payload)
	if fault != nil {
		return nil, fault
	}
	if env.chainID != e.genesis.ChainID {
		return nil, txErrorf(WrongChain, "this is chain %q", e.genesis.ChainID)
	}
	tx := &Tx{
		raw: raw, hash: raw.Hash(), sender: env.sender, nonce: env.nonce, maxHeight: block.Height(env.maxHeight),
	}
	var first *TxError
	for _, c := range e.codes {
		messages, fault := c.decode(env.messages)
		if fault == nil {
			tx.code, tx.messages = c, messages
			return tx, nil
		}
		if first == nil {
			first = fault
		}
	}
	return nil, first
}

// messagesFor returns the transaction's messages as c decodes them.
func (t *Tx) messagesFor(c *code) ([]Message, *TxError) {
	if t.code == c {
		return t.messages, nil
	}
	env, fault := readEnvelope(t.raw.Payload)
	if fault != nil {
		return nil, fault
	}
	return c.decode(env.messages)
}

// envelope is a payload with its messages still undecoded.
type envelope struct {
	chainID   string
	sender    PublicKey
	nonce     uint64
	maxHeight uint64
	messages  []field
}

func readEnvelope(payload []byte) (envelope, *TxError) {
	v, err := scanJSON(payload, limits{depth: maxPayloadDepth, values: maxPayloadValues})
	if err != nil {
		return envelope{}, txErrorf(Malformed, "%v", err)
	}
	f, err := newFields(v, "the payload")
	if err != nil {
		return envelope{}, txErrorf(Malformed, "%v", err)
	}
	env := envelope{chainID: f.String("chain_id"), sender: f.PublicKey("public_key"), nonce: f.Uint64("nonce")}
	if f.Has("max_height") {
		env.maxHeight = f.Uint64("max_height")
	}
	messages, _ := f.take("messages", kindArray)
	if err := f.Err(); err != nil {
		return envelope{}, txErrorf(Malformed, "%v", err)
	}
	if n := len(messages.list); n < 1 || n > MaxMessages {
		return envelope{}, txErrorf(Malformed, "%d messages, at least 1 and at most %d", n, MaxMessages)
	}
	if env.nonce == maxNonce {
		return envelope{}, txErrorf(Malformed, "nonce must be below %d", uint64(maxNonce))
	}
	env.messages = messages.list
	return env, nil
}

// maxNonce is never used, so that a nonce plus one is always above it.
const maxNonce = 1<<64 - 1

// code is an App with what is asked of it often.
type code struct {
	app   App
	types []string
}

func (c *code) decode(list []field) ([]Message, *TxError) {
	messages := make([]Message, len(list))
	for i := range list {
		m, err := c.decodeMessage(list[i].value)
		if err != nil {
			return nil, txErrorf(Malformed, "message %d: %v", i, err)
		}
		messages[i] = m
	}
	return messages, nil
}

func (c *code) decodeMessage(v value) (Message, error) {
	f, err := newFields(v, "it")
	if err != nil {
		return Message{}, err
	}
	typ, _ := f.take("type", kindString)
	if f.err != nil {
		return Message{}, f.err
	}
	for _, known := range c.types {
		if string(typ.text) != known {
			continue
		}
		decoded, err := c.app.Decode(known, f)
		if err == nil {
			err = f.Err()
		}
		if err != nil {
			return Message{}, err
		}
		return Message{Type: known, Value: decoded}, nil
	}
	return Message{}, fmt.Errorf("unknown type %s", quoted(typ.text))
}
