package wire

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/baton-ha/baton/blockstore/block"
)

var (
	// ErrBlockHash is returned when a block's contents do not hash to the hash that it states: something was changed.
	ErrBlockHash = errors.New("the block's contents do not match its hash")
	// ErrBlockSignature is returned when a block's signature is not the processor's.
	ErrBlockSignature = errors.New("the block's signature is not the processor's")
	// ErrUnsigned is returned when a block carries no signature. Only genesis, height 0, has none: compare its hash with
	// that of one's own genesis file.
	ErrUnsigned = errors.New("the block is not signed")
	// ErrBadBlock is returned when the JSON of a block cannot be a block: bad hex, or over a limit.
	ErrBadBlock = errors.New("not a block")
)

// Block is a final block as the API shows it.
type Block struct {
	Height       block.Height `json:"height"`
	Hash         block.Hash   `json:"hash"`
	ParentHash   block.Hash   `json:"parent_hash"`
	Time         int64        `json:"time"` // Unix milliseconds
	ChainID      string       `json:"chain_id"`
	ChainVersion string       `json:"chain_version"`
	StateRoot    block.Hash   `json:"state_root"`
	Proposer     string       `json:"proposer"`
	Term         uint64       `json:"term"`
	Transactions []Tx         `json:"transactions"`
	// Signature is the processor's over the hash and Signer the public key that made it, both hex, both empty for
	// genesis.
	Signature string `json:"signature"`
	Signer    string `json:"signer"`
}

// Tx is a transaction inside a [Block].
type Tx struct {
	Hash      block.Hash      `json:"hash"`
	Payload   string          `json:"payload"`
	Signature block.Signature `json:"signature"`
}

// Blocks is the answer to a range of blocks, ascending.
type Blocks struct {
	Blocks []*Block `json:"blocks"`
}

// NewBlock returns the JSON form of f, signed by signer. Signature and signer of height 0 are left out.
func NewBlock(f block.Final, signer [ed25519.PublicKeySize]byte) *Block {
	h := &f.Block.Header
	b := &Block{
		Height: h.Height, Hash: f.Block.Hash(), ParentHash: h.Parent, Time: h.TimeMs, ChainID: h.ChainID,
		ChainVersion: h.ChainVersion, StateRoot: h.StateRoot, Proposer: h.Proposer, Term: h.Term,
		Transactions: make([]Tx, len(f.Block.Txs)),
	}
	for i, tx := range f.Block.Txs {
		b.Transactions[i] = Tx{Hash: tx.Hash(), Payload: string(tx.Payload), Signature: tx.Signature}
	}
	b.Signature, b.Signer = signedBy(f, signer)
	return b
}

// Recompute hashes everything that the JSON shows, as blockstore/block prescribes, and returns the hash after comparing
// it, and those of the transactions, with the stated ones ([ErrBlockHash]). What cannot be a block is [ErrBadBlock].
// Nothing is said about who signed it.
func (b *Block) Recompute() (block.Hash, error) {
	if len(b.Transactions) > block.MaxTxs {
		return block.Hash{}, fmt.Errorf("block %d: %d transactions: %w", b.Height, len(b.Transactions), ErrBadBlock)
	}
	txs := make([]*block.Tx, len(b.Transactions))
	for i, tx := range b.Transactions {
		txs[i] = &block.Tx{Payload: []byte(tx.Payload), Signature: tx.Signature}
		if got := txs[i].Hash(); got != tx.Hash {
			return block.Hash{}, fmt.Errorf("block %d: transaction %d hashes to %s, stated is %s: %w",
				b.Height, i, got, tx.Hash, ErrBlockHash)
		}
	}
	header := Header{
		Height: b.Height, ParentHash: b.ParentHash, Time: b.Time, ChainID: b.ChainID, ChainVersion: b.ChainVersion,
		StateRoot: b.StateRoot, Proposer: b.Proposer, Term: b.Term, TxRoot: block.TxRoot(txs), TxCount: uint32(len(txs)),
	}
	got, err := header.Hash()
	if err != nil {
		return block.Hash{}, err
	}
	if got != b.Hash {
		return block.Hash{}, fmt.Errorf("block %d hashes to %s, stated is %s: %w", b.Height, got, b.Hash, ErrBlockHash)
	}
	return got, nil
}

// Verify recomputes the block's hash from everything that the JSON shows and checks the signature under the processor's
// public key, which the caller has from a source that he trusts (the genesis file), not from the answer. It returns
// [ErrBadBlock], [ErrBlockHash], [ErrUnsigned] or [ErrBlockSignature], wrapped.
func (b *Block) Verify(pub ed25519.PublicKey) error {
	hash, err := b.Recompute()
	if err != nil {
		return err
	}
	return verifySignature(pub, b.Height, hash, b.Signature, b.Signer)
}

// verifySignature checks the stated signature of a block under the processor's public key.
func verifySignature(pub ed25519.PublicKey, height block.Height, hash block.Hash, signature, signer string) error {
	if signature == "" {
		return fmt.Errorf("block %d: %w", height, ErrUnsigned)
	}
	sig, err := block.ParseSignature(signature)
	if err != nil {
		return fmt.Errorf("block %d: %w: %w", height, ErrBadBlock, err)
	}
	if !block.VerifySignature(pub, hash, sig) {
		return fmt.Errorf("block %d: signature by %s: %w", height, signer, ErrBlockSignature)
	}
	return nil
}

// signedBy returns the signature and signer that the JSON of a block states: none for genesis.
func signedBy(f block.Final, signer [ed25519.PublicKeySize]byte) (signature, by string) {
	if f.Block.Header.Height == 0 {
		return "", ""
	}
	return f.Signature.String(), hex.EncodeToString(signer[:])
}
