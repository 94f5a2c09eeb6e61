package block

import (
	"encoding/binary"
	"fmt"
	"io"
)

// reader takes values from the front of a byte slice. The first failure sticks: later reads give zero values, so a
// run of reads needs one check at its end. It allocates nothing but the strings that it returns.
type reader struct {
	buf []byte
	err error
}

// take returns the next n bytes without copying, or nil after a failure.
func (r *reader) take(n int) []byte {
	if r.err != nil {
		return nil
	}
	if n > len(r.buf) {
		r.err = fmt.Errorf("%d bytes wanted, %d left: %w: %w", n, len(r.buf), ErrMalformed, io.ErrUnexpectedEOF)
		return nil
	}
	taken := r.buf[:n:n]
	r.buf = r.buf[n:]
	return taken
}

func (r *reader) u8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *reader) hash() (h Hash) {
	copy(h[:], r.take(HashBytes))
	return h
}

func (r *reader) text() string {
	n := int(r.u16())
	if r.err == nil && n > MaxStringBytes {
		r.err = fmt.Errorf("text of %d bytes: %w", n, ErrTooLarge)
	}
	return string(r.take(n))
}
