package wire

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/blockstore/merkle"
)

// ErrBadProof is returned when a proof does not show what it states: the header does not hash to the stated block hash, a
// node is not the one that the state root leads to, the key's way ends elsewhere, or the value is another one.
var ErrBadProof = errors.New("not a proof of what it states")

// Header is what a block's hash covers: with it, nobody needs the block's transactions to check the hash.
type Header struct {
	Height       block.Height `json:"height"`
	ParentHash   block.Hash   `json:"parent_hash"`
	Time         int64        `json:"time"` // Unix milliseconds
	ChainID      string       `json:"chain_id"`
	ChainVersion string       `json:"chain_version"`
	StateRoot    block.Hash   `json:"state_root"`
	Proposer     string       `json:"proposer"`
	Term         uint64       `json:"term"`
	TxRoot       block.Hash   `json:"tx_root"`
	TxCount      uint32       `json:"tx_count"`
}

// NewHeader returns the JSON form of h.
func NewHeader(h *block.Header) Header {
	return Header{
		Height: h.Height, ParentHash: h.Parent, Time: h.TimeMs, ChainID: h.ChainID, ChainVersion: h.ChainVersion,
		StateRoot: h.StateRoot, Proposer: h.Proposer, Term: h.Term, TxRoot: h.TxRoot, TxCount: h.TxCount,
	}
}

// Hash returns the block's hash. A text over [block.MaxStringBytes] is [ErrBadBlock].
func (h *Header) Hash() (block.Hash, error) {
	for _, f := range []struct{ name, value string }{
		{"chain_id", h.ChainID}, {"chain_version", h.ChainVersion}, {"proposer", h.Proposer},
	} {
		if len(f.value) > block.MaxStringBytes {
			return block.Hash{}, fmt.Errorf("block %d: %s of %d bytes: %w", h.Height, f.name, len(f.value), ErrBadBlock)
		}
	}
	header := block.Header{
		ChainID: h.ChainID, Height: h.Height, Parent: h.ParentHash, TimeMs: h.Time, ChainVersion: h.ChainVersion,
		StateRoot: h.StateRoot, Proposer: h.Proposer, Term: h.Term, TxRoot: h.TxRoot, TxCount: h.TxCount,
	}
	return header.Hash(), nil
}

// Hex is a byte string that JSON has as hex digits.
type Hex []byte

// String returns the hex digits, in lower case.
func (h Hex) String() string { return hex.EncodeToString(h) }

// MarshalText returns the hex digits.
func (h Hex) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h), nil }

// UnmarshalText reads an even number of hex digits; anything else is [block.ErrBadHex].
func (h *Hex) UnmarshalText(text []byte) error {
	out := make([]byte, hex.DecodedLen(len(text)))
	if _, err := hex.Decode(out, text); err != nil {
		return fmt.Errorf("%w: %w", block.ErrBadHex, err)
	}
	*h = out
	return nil
}

// StateEntry is the answer to GET /v1/state/{key}: one entry of the state, or that there is none.
type StateEntry struct {
	Key     Hex  `json:"key"`
	Present bool `json:"present"`
	// Value is empty when there is none.
	Value Hex `json:"value"`
	// Height is the final height at which the entry was read.
	Height block.Height `json:"height"`
	// Proof is there if it was asked for.
	Proof *StateProof `json:"proof,omitempty"`
}

// StateProof shows that after a signed block the state had an entry, or that it had none with that key. It is checked
// offline with the processor's public key alone: [StateProof.Verify].
type StateProof struct {
	Key     Hex  `json:"key"`
	Present bool `json:"present"`
	Value   Hex  `json:"value"`
	// Nodes are the encoded nodes on the key's way, from the one that the state root is the hash of.
	Nodes []Hex `json:"nodes"`
	// Header is the block's. It has the state root.
	Header Header `json:"header"`
	// BlockHash is the header's hash, Signature the processor's over it and Signer the public key that made it, both hex
	// and both empty for genesis.
	BlockHash block.Hash `json:"block_hash"`
	Signature string     `json:"signature"`
	Signer    string     `json:"signer"`
}

// NewStateProof puts a proof together of nodes that [merkle.Map.Prove] made of the state after f, signed by signer.
func NewStateProof(
	f block.Final, signer [ed25519.PublicKeySize]byte, key, value []byte, present bool, nodes [][]byte,
) *StateProof {
	p := &StateProof{
		Key: key, Present: present, Value: value, Nodes: make([]Hex, len(nodes)), Header: NewHeader(&f.Block.Header),
		BlockHash: f.Block.Hash(),
	}
	for i, n := range nodes {
		p.Nodes[i] = n
	}
	p.Signature, p.Signer = signedBy(f, signer)
	return p
}

// Recompute follows the proof from the key to the state root and from the header to the block's hash, which it returns
// after comparing everything with what is stated. Nothing is said about who signed that block. It returns [ErrBadProof],
// [ErrBlockHash] or [ErrBadBlock].
func (p *StateProof) Recompute() (block.Hash, error) {
	hash, err := p.Header.Hash()
	if err != nil {
		return block.Hash{}, err
	}
	if hash != p.BlockHash {
		return block.Hash{}, fmt.Errorf("header %d hashes to %s, stated is %s: %w", p.Header.Height, hash, p.BlockHash, ErrBlockHash)
	}
	nodes := make([][]byte, len(p.Nodes))
	for i, n := range p.Nodes {
		nodes[i] = n
	}
	value, present, err := merkle.VerifyProof(merkle.Hash(p.Header.StateRoot), p.Key, nodes)
	if err != nil {
		return block.Hash{}, fmt.Errorf("key %s: %w: %w", p.Key, ErrBadProof, err)
	}
	if present != p.Present || string(value) != string(p.Value) {
		return block.Hash{}, fmt.Errorf("key %s: another value is proven: %w", p.Key, ErrBadProof)
	}
	return hash, nil
}

// Verify checks all of the proof, and the block's signature under the processor's public key, which the caller has from a
// source that he trusts (the genesis file), not from the answer. After nil, Key had Value (or, unless Present, no value)
// after the block of height Header.Height of the chain Header.ChainID. The error is one of [StateProof.Recompute]'s,
// [ErrUnsigned] (height 0: compare BlockHash with that of one's own genesis file) or [ErrBlockSignature].
func (p *StateProof) Verify(pub ed25519.PublicKey) error {
	hash, err := p.Recompute()
	if err != nil {
		return err
	}
	return verifySignature(pub, p.Header.Height, hash, p.Signature, p.Signer)
}

// Check compares an entry with its proof; it is [ErrBadProof] when there is none or they differ. The proof itself is
// checked by [StateProof.Verify].
func (e *StateEntry) Check() error {
	p := e.Proof
	if p == nil {
		return fmt.Errorf("state entry %s: no proof: %w", e.Key, ErrBadProof)
	}
	if string(p.Key) != string(e.Key) || p.Present != e.Present || string(p.Value) != string(e.Value) || p.Header.Height != e.Height {
		return fmt.Errorf("state entry %s: its proof is about something else: %w", e.Key, ErrBadProof)
	}
	return nil
}

// ReadProof reads the JSON of a proof, or of an answer that has one under "proof". An account's or an entry's own fields
// are returned with it, nil where the JSON is not of that kind. What has no proof is [ErrBadProof].
func ReadProof(data []byte) (p *StateProof, account *Account, entry *StateEntry, err error) {
	var kind struct {
		Proof     json.RawMessage `json:"proof"`
		PublicKey *string         `json:"public_key"`
		Header    json.RawMessage `json:"header"`
	}
	if err := json.Unmarshal(data, &kind); err != nil {
		return nil, nil, nil, fmt.Errorf("read proof: %w: %w", ErrBadProof, err)
	}
	switch {
	case kind.Header != nil:
		p = &StateProof{}
		err = json.Unmarshal(data, p)
	case kind.Proof == nil:
		return nil, nil, nil, fmt.Errorf("read proof: there is none; ask with ?proof=1: %w", ErrBadProof)
	case kind.PublicKey != nil:
		account = &Account{}
		err = json.Unmarshal(data, account)
		p = account.Proof
	default:
		entry = &StateEntry{}
		err = json.Unmarshal(data, entry)
		p = entry.Proof
	}
	if err != nil {
		return nil, nil, nil, fmt.Errorf("read proof: %w: %w", ErrBadProof, err)
	}
	if p == nil {
		return nil, nil, nil, fmt.Errorf("read proof: it is null: %w", ErrBadProof)
	}
	return p, account, entry, nil
}
