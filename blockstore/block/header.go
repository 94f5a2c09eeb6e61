package block

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"
)

const (
	headerDomain  = "baton/header/v1\n"
	headerVersion = 1

	// headerFixedBytes is all of an encoded header but the bytes of its three texts.
	headerFixedBytes = 1 + 3*2 + 8 + HashBytes + 8 + HashBytes + 8 + HashBytes + 4
)

// Limits of what is encoded and decoded. They are part of the format: a block over them is refused by every node.
const (
	// MaxPayloadBytes bounds one transaction's payload.
	MaxPayloadBytes = 1 << 20
	// MaxBlockBytes bounds an encoded block.
	MaxBlockBytes = 8 << 20
	// MaxTxs bounds the transactions of one block.
	MaxTxs = 65536
	// MaxStringBytes bounds each text of a header.
	MaxStringBytes = 256
)

var (
	// ErrTooLarge is returned when a block, a payload, a text or the number of transactions is over its limit.
	ErrTooLarge = errors.New("over the limit")
	// ErrMalformed is returned when bytes are not an encoded block: cut off, trailing, another version, bad text, or
	// transactions that do not match the header.
	ErrMalformed = errors.New("malformed block")
)

// Header is what a block's hash covers. It is a plain value; once part of a [Block] it may no longer be changed.
type Header struct {
	// ChainID names the chain.
	ChainID string
	// Height is the block's position.
	Height Height
	// Parent is the hash of the block below, zero for genesis.
	Parent Hash
	// TimeMs is the proposer's clock in Unix milliseconds, never below the parent's.
	TimeMs int64
	// ChainVersion is the version of the rules under which the block was executed.
	ChainVersion string
	// StateRoot is the root of the state after this block's transactions.
	StateRoot Hash
	// Proposer is the id of the node that made the block, and Term the term in which it did. Blocks that a later
	// leader inherits keep both.
	Proposer string
	Term     uint64
	// TxRoot and TxCount bind the transactions; [New] fills them in.
	TxRoot  Hash
	TxCount uint32
}

// Hash returns the SHA-256 of the header domain line and the header's bytes: the block's hash.
func (h *Header) Hash() Hash {
	buf := make([]byte, 0, len(headerDomain)+h.size())
	buf = append(buf, headerDomain...)
	return sha256.Sum256(h.append(buf))
}

// Encode returns the header's bytes, as the hash covers them, freshly allocated.
func (h *Header) Encode() []byte { return h.append(make([]byte, 0, h.size())) }

// DecodeHeader reads what [Header.Encode] wrote, all of data. It returns [ErrTooLarge] or [ErrMalformed].
func DecodeHeader(data []byte) (h Header, err error) {
	r := reader{buf: data}
	if err := h.decode(&r); err != nil {
		return Header{}, fmt.Errorf("decode header: %w", err)
	}
	if len(r.buf) > 0 {
		return Header{}, fmt.Errorf("decode header: %d bytes behind it: %w", len(r.buf), ErrMalformed)
	}
	return h, nil
}

// size returns the encoded length in bytes.
func (h *Header) size() int {
	return headerFixedBytes + len(h.ChainID) + len(h.ChainVersion) + len(h.Proposer)
}

// append appends the encoded header to buf. The texts must be within their limit.
func (h *Header) append(buf []byte) []byte {
	buf = append(buf, headerVersion)
	buf = appendText(buf, h.ChainID)
	buf = binary.BigEndian.AppendUint64(buf, uint64(h.Height))
	buf = append(buf, h.Parent[:]...)
	buf = binary.BigEndian.AppendUint64(buf, uint64(h.TimeMs))
	buf = appendText(buf, h.ChainVersion)
	buf = append(buf, h.StateRoot[:]...)
	buf = appendText(buf, h.Proposer)
	buf = binary.BigEndian.AppendUint64(buf, h.Term)
	buf = append(buf, h.TxRoot[:]...)
	return binary.BigEndian.AppendUint32(buf, h.TxCount)
}

func appendText(buf []byte, s string) []byte {
	buf = binary.BigEndian.AppendUint16(buf, uint16(len(s)))
	return append(buf, s...)
}

// check reports a header that has no encoded form.
func (h *Header) check() error {
	for _, f := range []struct{ name, value string }{
		{"chain id", h.ChainID}, {"chain version", h.ChainVersion}, {"proposer", h.Proposer},
	} {
		if len(f.value) > MaxStringBytes {
			return fmt.Errorf("%s of %d bytes: %w", f.name, len(f.value), ErrTooLarge)
		}
		if !utf8.ValidString(f.value) { // the JSON form could not show it
			return fmt.Errorf("%s is not UTF-8: %w", f.name, ErrMalformed)
		}
	}
	if h.TxCount > MaxTxs {
		return fmt.Errorf("%d transactions: %w", h.TxCount, ErrTooLarge)
	}
	return nil
}

// decode reads a header from the front of r.
func (h *Header) decode(r *reader) error {
	if v := r.u8(); r.err == nil && v != headerVersion {
		return fmt.Errorf("header version %d: %w", v, ErrMalformed)
	}
	h.ChainID = r.text()
	h.Height = Height(r.u64())
	h.Parent = r.hash()
	h.TimeMs = int64(r.u64())
	h.ChainVersion = r.text()
	h.StateRoot = r.hash()
	h.Proposer = r.text()
	h.Term = r.u64()
	h.TxRoot = r.hash()
	h.TxCount = r.u32()
	if r.err != nil {
		return r.err
	}
	return h.check()
}
