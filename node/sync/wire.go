package sync

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/blockstore/merkle"
)

const (
	version = 1

	pathStates  = "/sync/v1/states"
	pathState   = "/sync/v1/state/" // and the hash of the topmost node
	pathNodes   = "/sync/v1/nodes"
	pathBlocks  = "/sync/v1/blocks"
	pathHeaders = "/sync/v1/headers"

	// headerNext names, in an answer that ends before its subtree does, the position to go on from.
	headerNext = "Baton-Next"

	// pieceBytes is where an answer takes no further node, block or header; it always takes one.
	pieceBytes = 1 << 20
	// partBytes is how much of the state one part may be estimated to have. Larger ones are split.
	partBytes = 2 << 20
	// maxNodeBytes bounds an encoded node: its value and path, and what is around them.
	maxNodeBytes = merkle.MaxValueBytes + merkle.MaxKeyBytes + 1<<10
	// maxHeaderBytes bounds an encoded header: three texts, and fields of fixed length.
	maxHeaderBytes = 3*block.MaxStringBytes + 256
	// maxStates is how many states one answer offers.
	maxStates = 8
	// maxPositions and maxPositionsBytes bound what one request for single nodes names.
	maxPositions      = 2048
	maxPositionsBytes = 128 << 10
	// maxNibbles bounds a position.
	maxNibbles = 2 * merkle.MaxKeyBytes
)

// errMalformed is returned for bytes that are not what the protocol has there.
var errMalformed = errors.New("malformed")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errMalformed, fmt.Sprintf(format, args...))
}

// sizes are pieceBytes and partBytes, but in tests, in which small states are to be large.
type sizes struct{ piece, part int }

// position is the nibbles that lead to a node, one a byte; in text one hex digit each.
type position []byte

const digits = "0123456789abcdef"

func (p position) String() string {
	var b strings.Builder
	for _, nibble := range p {
		b.WriteByte(digits[nibble&0x0f])
	}
	return b.String()
}

func parsePosition(text string) (position, error) {
	if len(text) > maxNibbles {
		return nil, malformed("position of %d nibbles", len(text))
	}
	p := make(position, len(text))
	for i := range len(text) {
		n := strings.IndexByte(digits, text[i])
		if n < 0 {
			return nil, malformed("position %q", text)
		}
		p[i] = byte(n)
	}
	return p, nil
}

// signedHeader is a final block without its transactions.
type signedHeader struct {
	block.Header
	hash  block.Hash
	sig   block.Signature
	cterm uint64
}

func newSignedHeader(f block.Final) signedHeader {
	return signedHeader{Header: f.Block.Header, hash: f.Block.Hash(), sig: f.Signature, cterm: f.CTerm}
}

func appendHeader(buf []byte, h *block.Header) []byte {
	enc := h.Encode()
	buf = binary.BigEndian.AppendUint16(buf, uint16(len(enc)))
	return append(buf, enc...)
}

func appendSigned(buf []byte, h *signedHeader) []byte {
	buf = appendHeader(buf, &h.Header)
	buf = append(buf, h.sig[:]...)
	return binary.BigEndian.AppendUint64(buf, h.cterm)
}

// states is what a server has.
type states struct {
	chainID string
	genesis block.Hash
	tip     *signedHeader // nil when no block is final yet
	list    []signedHeader
}

func (s *states) encode() []byte {
	b := append([]byte{version}, byte(len(s.list)))
	b = binary.BigEndian.AppendUint16(b, uint16(len(s.chainID)))
	b = append(b, s.chainID...)
	b = append(b, s.genesis[:]...)
	if s.tip == nil {
		return append(b, 0)
	}
	b = appendSigned(append(b, 1), s.tip)
	for i := range s.list {
		b = appendSigned(b, &s.list[i])
	}
	return b
}

// maxStatesBytes bounds the bytes of a states.
const maxStatesBytes = 1<<10 + (maxStates+1)*(maxHeaderBytes+2+block.SignatureBytes+8)

// decodeStates reads what encode wrote. Hashes are filled in, signatures are not verified.
func decodeStates(b []byte) (states, error) {
	r := reader{buf: b}
	var s states
	if v := r.u8(); r.err == nil && v != version {
		return states{}, malformed("version %d", v)
	}
	n := int(r.u8())
	if n > maxStates {
		return states{}, malformed("%d states", n)
	}
	size := int(r.u16())
	if size > block.MaxStringBytes {
		return states{}, malformed("chain id of %d bytes", size)
	}
	s.chainID = string(r.take(size))
	copy(s.genesis[:], r.take(block.HashBytes))
	switch some := r.u8(); {
	case some > 1, some == 0 && n > 0:
		return states{}, malformed("states without a tip")
	case some == 1:
		tip := r.signed()
		s.tip = &tip
	}
	for range n {
		s.list = append(s.list, r.signed())
	}
	if r.err != nil {
		return states{}, r.err
	}
	if len(r.buf) > 0 {
		return states{}, malformed("%d bytes behind the states", len(r.buf))
	}
	return s, nil
}

// reader takes values from the front of a slice. The first failure sticks.
type reader struct {
	buf []byte
	err error
}

func (r *reader) take(n int) []byte {
	if r.err == nil && n > len(r.buf) {
		r.err = malformed("%d bytes where %d are left", n, len(r.buf))
	}
	if r.err != nil {
		return nil
	}
	taken := r.buf[:n]
	r.buf = r.buf[n:]
	return taken
}

func (r *reader) u8() byte {
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

func (r *reader) u64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *reader) signed() (s signedHeader) {
	enc := r.take(int(r.u16()))
	copy(s.sig[:], r.take(block.SignatureBytes))
	s.cterm = r.u64()
	if r.err != nil {
		return s
	}
	h, err := block.DecodeHeader(enc)
	if err != nil {
		r.err = fmt.Errorf("%w: %w", errMalformed, err)
		return s
	}
	s.Header, s.hash = h, h.Hash()
	return s
}

// frames reads an answer's body: length, bytes, and so on. Its memory is that of the longest frame.
type frames struct {
	r   *bufio.Reader
	buf []byte
}

func newFrames(r io.Reader) *frames { return &frames{r: bufio.NewReaderSize(r, 64<<10)} }

// next returns the next frame, at most limit bytes long, which is valid until the next call; io.EOF at the body's end.
func (f *frames) next(limit int) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(f.r, head[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, malformed("cut off")
		}
		return nil, err //nolint:wrapcheck // io.EOF has a meaning
	}
	n := binary.BigEndian.Uint32(head[:])
	if uint64(n) > uint64(limit) {
		return nil, malformed("%d bytes where at most %d may be", n, limit)
	}
	return f.take(int(n))
}

// take returns the next n bytes. Memory is taken as bytes arrive, not as they are announced.
func (f *frames) take(n int) ([]byte, error) {
	f.buf = f.buf[:0]
	for len(f.buf) < n {
		at := len(f.buf)
		step := min(n-at, max(at, 64<<10))
		f.buf = append(f.buf, make([]byte, step)...)
		if _, err := io.ReadFull(f.r, f.buf[at:]); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return nil, malformed("cut off")
			}
			return nil, err //nolint:wrapcheck // the caller says what was read
		}
	}
	return f.buf, nil
}

func appendFrame(buf, frame []byte) []byte {
	buf = binary.BigEndian.AppendUint32(buf, uint32(len(frame)))
	return append(buf, frame...)
}

// finalTail is what follows an encoded block in a frame: signature and term of the certificate.
const finalTail = block.SignatureBytes + 8

func appendFinal(buf []byte, f block.Final) []byte {
	enc := f.Block.Encode()
	buf = binary.BigEndian.AppendUint32(buf, uint32(len(enc)+finalTail))
	buf = append(append(buf, enc...), f.Signature[:]...)
	return binary.BigEndian.AppendUint64(buf, f.CTerm)
}

func decodeFinal(frame []byte) (f block.Final, err error) {
	if len(frame) < finalTail {
		return f, malformed("block of %d bytes", len(frame))
	}
	enc, tail := frame[:len(frame)-finalTail], frame[len(frame)-finalTail:]
	if f.Block, err = block.Decode(enc); err != nil {
		return block.Final{}, fmt.Errorf("%w: %w", errMalformed, err)
	}
	copy(f.Signature[:], tail)
	f.CTerm = binary.BigEndian.Uint64(tail[block.SignatureBytes:])
	return f, nil
}
