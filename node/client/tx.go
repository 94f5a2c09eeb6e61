package client

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"unicode/utf8"

	"github.com/baton-ha/baton/blockstore/block"
)

// NativeAsset is the asset that a chain starts with.
const NativeAsset = "native"

// maxAmountBits bounds an amount: it is above 0 and below 2^256.
const maxAmountBits = 256

// ErrBadMessage is returned when a transaction cannot be built from what was given; every node would refuse it.
var ErrBadMessage = errors.New("bad transaction")

// Transfer moves an amount of an asset from the signer's account.
type Transfer struct {
	// To is the receiver's public key. An account that does not exist is made.
	To ed25519.PublicKey
	// Asset is what is moved; empty is [NativeAsset].
	Asset string
	// Amount is a plain decimal integer, above 0 and below 2^256.
	Amount string
}

// payload is the signed text of a transaction, its fields in the order of the contract.
type payload struct {
	ChainID   string            `json:"chain_id"`
	PublicKey string            `json:"public_key"`
	Nonce     uint64            `json:"nonce"`
	Messages  []json.RawMessage `json:"messages"`
	MaxHeight block.Height      `json:"max_height,omitempty"`
}

type transferMessage struct {
	Type   string `json:"type"`
	To     string `json:"to"`
	Asset  string `json:"asset"`
	Amount string `json:"amount"`
}

// Message returns the JSON of the transfer as a transaction carries it, or [ErrBadMessage].
func (t Transfer) Message() (json.RawMessage, error) {
	if len(t.To) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("receiver's key has %d bytes, must have %d: %w", len(t.To), ed25519.PublicKeySize, ErrBadMessage)
	}
	if err := checkAmount(t.Amount); err != nil {
		return nil, err
	}
	asset := t.Asset
	if asset == "" {
		asset = NativeAsset
	}
	return encode(transferMessage{Type: "transfer", To: hex.EncodeToString(t.To), Asset: asset, Amount: t.Amount})
}

// BuildTransfer makes and signs a transaction of transfers, all of which take effect or none. It asks nobody: the nonce
// is the caller's, see [Sender].
func BuildTransfer(chainID string, key ed25519.PrivateKey, nonce uint64, transfers ...Transfer) (*block.Tx, error) {
	messages, err := transferMessages(transfers)
	if err != nil {
		return nil, err
	}
	return Build(chainID, key, nonce, 0, messages...)
}

// Build makes and signs a transaction of any messages, each a JSON object, which are compacted. A maxHeight above 0 is
// the last height at which it may be executed.
func Build(
	chainID string, key ed25519.PrivateKey, nonce uint64, maxHeight block.Height, messages ...json.RawMessage,
) (*block.Tx, error) {
	switch {
	case len(key) != ed25519.PrivateKeySize:
		return nil, fmt.Errorf("private key has %d bytes, must have %d: %w", len(key), ed25519.PrivateKeySize, ErrBadMessage)
	case chainID == "":
		return nil, fmt.Errorf("no chain id: %w", ErrBadMessage)
	case len(messages) == 0:
		return nil, fmt.Errorf("no messages: %w", ErrBadMessage)
	}
	for i, m := range messages {
		if !utf8.Valid(m) {
			return nil, fmt.Errorf("message %d is not UTF-8: %w", i, ErrBadMessage)
		}
	}
	text, err := encode(payload{
		ChainID: chainID, PublicKey: hex.EncodeToString(key.Public().(ed25519.PublicKey)), Nonce: nonce,
		Messages: messages, MaxHeight: maxHeight,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadMessage, err)
	}
	if len(text) > block.MaxPayloadBytes {
		return nil, fmt.Errorf("payload has %d bytes, at most %d: %w", len(text), block.MaxPayloadBytes, ErrBadMessage)
	}
	return block.SignTx(key, text), nil
}

func transferMessages(transfers []Transfer) ([]json.RawMessage, error) {
	messages := make([]json.RawMessage, len(transfers))
	for i, t := range transfers {
		var err error
		if messages[i], err = t.Message(); err != nil {
			return nil, fmt.Errorf("transfer %d: %w", i, err)
		}
	}
	return messages, nil
}

// checkAmount refuses what every node would.
func checkAmount(text string) error {
	const mostDigits = 78 // of 2^256
	ok := len(text) > 0 && len(text) <= mostDigits && text[0] != '0'
	for _, r := range text {
		ok = ok && r >= '0' && r <= '9'
	}
	if ok {
		n, parsed := new(big.Int).SetString(text, 10)
		ok = parsed && n.BitLen() <= maxAmountBits
	}
	if !ok {
		return fmt.Errorf("amount %.80q is not a plain decimal integer above 0 and below 2^256: %w", text, ErrBadMessage)
	}
	return nil
}
