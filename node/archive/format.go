package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/baton-ha/baton/blockstore/block"
)

const (
	magic = "baton/archive/1\n"

	kindHeader = 1
	kindBlocks = 2
	kindState  = 3
	kindEnd    = 4

	headBytes = 1 + 4 + 4 + 4
	sumBytes  = 8

	// frameBytes is where a frame takes no further entry; maxFrameBytes is what one of a single large entry may have.
	frameBytes    = 1 << 20
	maxFrameBytes = frameBytes + block.MaxBlockBytes + 1<<16
)

// ErrFormat is returned for what is no archive, or not a whole one: cut off, damaged, of another version.
var ErrFormat = errors.New("not a whole archive")

// Header says what an archive holds.
type Header struct {
	// ChainID and Genesis name the chain.
	ChainID string
	Genesis block.Hash
	// From and To are the heights of the first and the last block.
	From, To block.Height
	// State says that the state after the first block is there.
	State bool
}

func (h *Header) encode() []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(len(h.ChainID)))
	b = append(b, h.ChainID...)
	b = append(b, h.Genesis[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(h.From))
	b = binary.BigEndian.AppendUint64(b, uint64(h.To))
	if h.State {
		return append(b, 1)
	}
	return append(b, 0)
}

func decodeHeader(b []byte) (h Header, err error) {
	const fixed = block.HashBytes + 8 + 8 + 1
	if len(b) < 2 {
		return h, malformed("header of %d bytes", len(b))
	}
	n := int(binary.BigEndian.Uint16(b))
	if b = b[2:]; n > block.MaxStringBytes || len(b) != n+fixed || b[len(b)-1] > 1 {
		return h, malformed("header")
	}
	h.ChainID, b = string(b[:n]), b[n:]
	h.Genesis, b = block.Hash(b[:block.HashBytes]), b[block.HashBytes:]
	h.From, h.To, h.State = block.Height(binary.BigEndian.Uint64(b)), block.Height(binary.BigEndian.Uint64(b[8:])), b[16] == 1
	if h.From == 0 || h.To < h.From {
		return h, malformed("blocks %d to %d", h.From, h.To)
	}
	return h, nil
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(format, args...))
}

// frames writes frames.
type frames struct {
	w   io.Writer
	n   uint32
	enc *zstd.Encoder
	buf []byte
}

func newFrames(w io.Writer) (*frames, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	f := &frames{w: w, enc: enc}
	if _, err := io.WriteString(w, magic); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *frames) write(kind byte, payload []byte) error {
	b := append(f.buf[:0], make([]byte, headBytes)...)
	b = f.enc.EncodeAll(payload, b)
	b[0] = kind
	binary.BigEndian.PutUint32(b[1:], f.n)
	binary.BigEndian.PutUint32(b[5:], uint32(len(payload)))
	binary.BigEndian.PutUint32(b[9:], uint32(len(b)-headBytes))
	sum := sha256.Sum256(b)
	f.buf = append(b, sum[:sumBytes]...)
	f.n++
	_, err := f.w.Write(f.buf)
	return err
}

// Reader reads an archive, an entry at a time. It does not verify anything that a hash or a signature could. It is not safe
// for concurrent use. Close it.
type Reader struct {
	r    io.Reader
	dec  *zstd.Decoder
	n    uint32
	head Header

	kind   byte
	left   []byte // of the frame
	plain  []byte // the frame, decompressed
	packed bytes.Buffer
	next   block.Height
	nodes  uint64
	late   bool // blocks after the first one have begun
	ended  bool
}

// Entry is a block with its signature, or a state node.
type Entry struct {
	Block     *block.Block // nil for a node
	Signature block.Signature
	Node      []byte // valid until the next call
}

// NewReader reads the header. It reads no further than needed, in small pieces: give it a buffer.
func NewReader(r io.Reader) (*Reader, error) {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxFrameBytes),
		zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	a := &Reader{r: r, dec: dec}
	if err := a.open(); err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

func (a *Reader) open() error {
	var got [len(magic)]byte
	if err := a.full(got[:]); err != nil {
		return err
	}
	if string(got[:]) != magic {
		return malformed("it does not begin like one of this version")
	}
	if err := a.frame(); err != nil {
		return err
	}
	if a.kind != kindHeader {
		return malformed("frame of kind %d first", a.kind)
	}
	var err error
	a.head, err = decodeHeader(a.left)
	a.left, a.next = nil, a.head.From
	return err
}

// Close frees what the reader holds.
func (a *Reader) Close() { a.dec.Close() }

// Header returns what the archive says of itself.
func (a *Reader) Header() Header { return a.head }

func (a *Reader) full(b []byte) error {
	_, err := io.ReadFull(a.r, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return malformed("it ends early, after block %d", max(a.next, 1)-1)
	}
	return err
}

// frame reads the next frame.
func (a *Reader) frame() error {
	var head [headBytes]byte
	if err := a.full(head[:]); err != nil {
		return err
	}
	n, plain, packed := binary.BigEndian.Uint32(head[1:]), binary.BigEndian.Uint32(head[5:]), binary.BigEndian.Uint32(head[9:])
	switch {
	case n != a.n:
		return malformed("frame %d where %d should be", n, a.n)
	case plain > maxFrameBytes || packed > maxFrameBytes:
		return malformed("frame %d has %d bytes", n, max(plain, packed))
	}
	// It grows with what comes, not with what was announced.
	a.packed.Reset()
	a.packed.Write(head[:])
	if m, err := io.CopyN(&a.packed, a.r, int64(packed)+sumBytes); err != nil {
		if errors.Is(err, io.EOF) {
			return malformed("it ends early, in frame %d after %d bytes", n, m)
		}
		return err
	}
	data := a.packed.Bytes()
	body, sum := data[:len(data)-sumBytes], data[len(data)-sumBytes:]
	if want := sha256.Sum256(body); !bytes.Equal(sum, want[:sumBytes]) {
		return malformed("frame %d is damaged", n)
	}
	var err error
	if a.plain, err = a.dec.DecodeAll(body[headBytes:], a.plain[:0]); err != nil || len(a.plain) != int(plain) {
		return malformed("frame %d cannot be decompressed", n)
	}
	a.n, a.kind, a.left = n+1, head[0], a.plain
	return nil
}

// Next returns the next block or node, and io.EOF after the last one if the archive is whole.
func (a *Reader) Next() (Entry, error) {
	if a.ended {
		return Entry{}, io.EOF
	}
	for len(a.left) == 0 {
		if err := a.frame(); err != nil {
			return Entry{}, err
		}
		if a.kind == kindEnd {
			return Entry{}, a.end()
		}
		if len(a.left) == 0 {
			return Entry{}, malformed("frame %d is empty", a.n-1)
		}
	}
	switch a.kind {
	case kindBlocks:
		return a.block()
	case kindState:
		return a.node()
	default:
		return Entry{}, malformed("frame %d is of kind %d", a.n-1, a.kind)
	}
}

func (a *Reader) cut() ([]byte, error) {
	if len(a.left) < 4 {
		return nil, malformed("frame %d ends early", a.n-1)
	}
	n := binary.BigEndian.Uint32(a.left)
	if uint64(n) > uint64(len(a.left)-4) {
		return nil, malformed("frame %d ends early", a.n-1)
	}
	b := a.left[4 : 4+n]
	a.left = a.left[4+n:]
	return b, nil
}

func (a *Reader) block() (Entry, error) {
	enc, err := a.cut()
	if err != nil {
		return Entry{}, err
	}
	if len(a.left) < block.SignatureBytes {
		return Entry{}, malformed("frame %d ends early", a.n-1)
	}
	e := Entry{Signature: block.Signature(a.left[:block.SignatureBytes])}
	a.left = a.left[block.SignatureBytes:]
	if e.Block, err = block.Decode(enc); err != nil {
		return Entry{}, malformed("block %d: %v", a.next, err)
	}
	if h := e.Block.Header.Height; h != a.next || h > a.head.To {
		return Entry{}, malformed("block %d where %d should be", h, a.next)
	}
	if a.next > a.head.From {
		a.late = true
	} else if a.head.State && len(a.left) > 0 {
		return Entry{}, malformed("blocks before the state")
	}
	a.next++
	return e, nil
}

func (a *Reader) node() (Entry, error) {
	if !a.head.State || a.late || a.next == a.head.From {
		return Entry{}, malformed("state in the wrong place")
	}
	enc, err := a.cut()
	if err != nil {
		return Entry{}, err
	}
	a.nodes++
	return Entry{Node: enc}, nil
}

// end checks that nothing is missing and nothing follows.
func (a *Reader) end() error {
	blocks := uint64(a.next - a.head.From)
	if len(a.left) != 16 || binary.BigEndian.Uint64(a.left) != blocks || binary.BigEndian.Uint64(a.left[8:]) != a.nodes {
		return malformed("some of it is missing")
	}
	if a.next != a.head.To+1 {
		return malformed("it ends with block %d, not %d", a.next-1, a.head.To)
	}
	if n, err := io.ReadFull(a.r, make([]byte, 1)); n > 0 {
		return malformed("something follows its end")
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	a.ended = true
	return io.EOF
}
