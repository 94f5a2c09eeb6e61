package block

import (
	"encoding/binary"
	"fmt"
)

// encodingVersion is the first byte of an encoded block.
const encodingVersion = 1

// Block is a header and the transactions that it binds. It is immutable once built and safe for concurrent use; make
// it with [New] or [Decode], never as a literal, so that its hash and size are there.
type Block struct {
	Header Header
	Txs    []*Tx

	hash Hash
	size int // encoded bytes; 0 only for a block that was not built here
}

// Final is a block that is committed and signed: the only kind that leaves the cluster.
type Final struct {
	Block *Block
	// Signature is the processor's, over the block's hash.
	Signature Signature
	// CTerm is the term whose leader counted the commit (PROTOCOL.md R11); 0 means that this height has no certificate
	// of its own.
	CTerm uint64
}

// New builds a block of h and txs, which it keeps without copying. TxRoot and TxCount are filled in whatever h says.
// The result must be within the limits of this package; exceeding them is a mistake of the caller and panics.
func New(h Header, txs []*Tx) *Block {
	invariant(len(txs) <= MaxTxs, "%d transactions in a block, at most %d", len(txs), MaxTxs)
	h.TxCount = uint32(len(txs))
	h.TxRoot = TxRoot(txs)
	err := h.check()
	invariant(err == nil, "header of block %d: %v", h.Height, err)
	size := 1 + h.size()
	for i, tx := range txs {
		invariant(len(tx.Payload) <= MaxPayloadBytes, "transaction %d has a payload of %d bytes", i, len(tx.Payload))
		size += tx.Size()
	}
	invariant(size <= MaxBlockBytes, "block %d would take %d bytes, at most %d", h.Height, size, MaxBlockBytes)
	return &Block{Header: h, Txs: txs, hash: h.Hash(), size: size}
}

// Hash returns the block's hash, which was computed when the block was built.
func (b *Block) Hash() Hash {
	invariant(b.size > 0, "block %d was not made by New or Decode", b.Header.Height)
	return b.hash
}

// Size returns the length of the encoded block in bytes.
func (b *Block) Size() int { return b.size }

// Encode returns the block's bytes, freshly allocated.
func (b *Block) Encode() []byte {
	invariant(b.size > 0, "block %d was not made by New or Decode", b.Header.Height)
	buf := make([]byte, 0, b.size)
	buf = append(buf, encodingVersion)
	buf = b.Header.append(buf)
	for _, tx := range b.Txs {
		buf = binary.BigEndian.AppendUint32(buf, uint32(len(tx.Payload)))
		buf = append(buf, tx.Payload...)
		buf = append(buf, tx.Signature[:]...)
	}
	invariant(len(buf) == b.size, "block %d encoded to %d bytes, expected %d", b.Header.Height, len(buf), b.size)
	return buf
}

// Decode reads an encoded block. The payloads are copied: data may be reused afterwards. It returns [ErrTooLarge] or
// [ErrMalformed]; it never panics and allocates no more than a small multiple of len(data).
func Decode(data []byte) (*Block, error) {
	if len(data) > MaxBlockBytes {
		return nil, fmt.Errorf("decode block of %d bytes: %w", len(data), ErrTooLarge)
	}
	r := &reader{buf: data}
	if v := r.u8(); r.err == nil && v != encodingVersion {
		return nil, fmt.Errorf("decode block: encoding version %d: %w", v, ErrMalformed)
	}
	b := &Block{size: len(data)}
	if err := b.Header.decode(r); err != nil {
		return nil, fmt.Errorf("decode block: %w", err)
	}
	txs, err := decodeTxs(r, int(b.Header.TxCount))
	if err != nil {
		return nil, fmt.Errorf("decode block %d: %w", b.Header.Height, err)
	}
	b.Txs = txs
	if root := TxRoot(txs); root != b.Header.TxRoot {
		return nil, fmt.Errorf("decode block %d: transactions hash to %s, header says %s: %w",
			b.Header.Height, root, b.Header.TxRoot, ErrMalformed)
	}
	b.hash = b.Header.Hash()
	return b, nil
}

// decodeTxs reads exactly count transactions and the end of the input.
func decodeTxs(r *reader, count int) ([]*Tx, error) {
	const smallest = 4 + SignatureBytes
	if count > len(r.buf)/smallest {
		return nil, fmt.Errorf("%d transactions in %d bytes: %w", count, len(r.buf), ErrMalformed)
	}
	if count == 0 {
		if len(r.buf) != 0 {
			return nil, fmt.Errorf("%d trailing bytes: %w", len(r.buf), ErrMalformed)
		}
		return nil, nil
	}
	payloads := make([]byte, 0, len(r.buf)-count*smallest) // one allocation for all of them
	array := make([]Tx, count)
	txs := make([]*Tx, count)
	for i := range txs {
		n := r.u32()
		if n > MaxPayloadBytes {
			return nil, fmt.Errorf("payload of %d bytes: %w", n, ErrTooLarge)
		}
		payload, sig := r.take(int(n)), r.take(SignatureBytes)
		if r.err != nil {
			return nil, fmt.Errorf("transaction %d: %w", i, r.err)
		}
		from := len(payloads)
		payloads = append(payloads, payload...)
		array[i].Payload = payloads[from:len(payloads):len(payloads)]
		copy(array[i].Signature[:], sig)
		txs[i] = &array[i]
	}
	if len(r.buf) != 0 {
		return nil, fmt.Errorf("%d trailing bytes: %w", len(r.buf), ErrMalformed)
	}
	return txs, nil
}

// invariant panics when our own code broke a promise of this package.
func invariant(ok bool, format string, args ...any) {
	if !ok {
		panic("block: invariant broken: " + fmt.Sprintf(format, args...))
	}
}
