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

// states is what a server has.
type states struct {
	chainID string
	genesis block.Hash
	tip     *signedHeader // nil when no block is final yet
	list    []signedHeader
}

func (s *states) encode() []byte {
	b := appendFrame(nil, []byte(s.chainID))
	b = appendFrame(b, s.genesis[:])
	if s.tip == nil {
		return b
	}
	for _, h := range append([]signedHeader{*s.tip}, s.list...) {
		b = appendFrame(b, binary.BigEndian.AppendUint64(append(h.Encode(), h.sig[:]...), h.cterm))
	}
	return b
}

// maxStatesBytes bounds the bytes of a states.
const maxStatesBytes = 1<<10 + (maxStates+1)*(maxHeaderBytes+finalTail+4)

// decodeStates reads what encode wrote. Hashes are filled in, signatures are not verified.
func decodeStates(r io.Reader) (s states, err error) {
	f := newFrames(r)
	chainID, err := f.must(block.MaxStringBytes)
	if err != nil {
		return states{}, err
	}
	s.chainID = string(chainID)
	genesis, err := f.must(block.HashBytes)
	if err != nil {
		return states{}, err
	}
	if copy(s.genesis[:], genesis) != block.HashBytes {
		return states{}, malformed("genesis of %d bytes", len(genesis))
	}
	for {
		frame, err := f.next(maxHeaderBytes + finalTail)
		if err == io.EOF { //nolint:errorlint // the end is no error
			return s, nil
		}
		if err != nil {
			return states{}, err
		}
		h, err := decodeSigned(frame)
		if err != nil {
			return states{}, err
		}
		switch {
		case s.tip == nil:
			s.tip = &h
		case len(s.list) == maxStates:
			return states{}, malformed("more than %d states", maxStates)
		default:
			s.list = append(s.list, h)
		}
	}
}

func decodeSigned(frame []byte) (h signedHeader, err error) {
	enc, sig, cterm, err := cutTail(frame)
	if err != nil {
		return signedHeader{}, err
	}
	if h.Header, err = block.DecodeHeader(enc); err != nil {
		return signedHeader{}, fmt.Errorf("%w: %w", errMalformed, err)
	}
	h.hash, h.sig, h.cterm = h.Hash(), sig, cterm
	return h, nil
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

// must returns the next frame, which must be there.
func (f *frames) must(limit int) ([]byte, error) {
	frame, err := f.next(limit)
	if err == io.EOF { //nolint:errorlint // where it is not expected
		return nil, malformed("cut off")
	}
	return frame, err
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

// cutTail takes signature and term off a frame's end.
func cutTail(frame []byte) (enc []byte, sig block.Signature, cterm uint64, err error) {
	if len(frame) < finalTail {
		return nil, sig, 0, malformed("%d bytes where a block should be", len(frame))
	}
	enc, tail := frame[:len(frame)-finalTail], frame[len(frame)-finalTail:]
	copy(sig[:], tail)
	return enc, sig, binary.BigEndian.Uint64(tail[block.SignatureBytes:]), nil
}

func decodeFinal(frame []byte) (f block.Final, err error) {
	enc, sig, cterm, err := cutTail(frame)
	if err != nil {
		return f, err
	}
	if f.Block, err = block.Decode(enc); err != nil {
		return block.Final{}, fmt.Errorf("%w: %w", errMalformed, err)
	}
	f.Signature, f.CTerm = sig, cterm
	return f, nil
}
