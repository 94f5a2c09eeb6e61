package peer

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// class is the first byte of every frame: what the rest of it is. Zero is no class.
type class byte

const (
	classHello    class = 1 // dialler: version, role, both ids
	classWelcome  class = 2 // accepter: empty; the hello is accepted
	classRefused  class = 3 // accepter: text; the hello is refused
	classPing     class = 4 // either: empty; only shows that the sender lives
	classMessage  class = 5 // stream, dialler: kind, payload
	classRequest  class = 6 // rpc, dialler: id, kind, payload
	classResponse class = 7 // rpc, accepter: id, payload
	classFailure  class = 8 // rpc, accepter: id, text
	classCancel   class = 9 // rpc, dialler: id; nobody waits for that answer any more
)

const (
	lengthBytes    = 4
	requestIDBytes = 8
	maxHeadBytes   = lengthBytes + 1 + requestIDBytes + 1 // length, class, request id, kind
	readChunkBytes = 64 << 10                             // what a declared length can make a reader allocate at once
	maxErrorBytes  = 1 << 10                              // of an error text on the wire
)

// frame is one outgoing frame: the head is built when it is queued, the payload is the caller's slice, not copied.
type frame struct {
	head    [maxHeadBytes]byte
	headLen uint8
	payload []byte
}

func (f *frame) size() int { return int(f.headLen) + len(f.payload) }

func newFrame(c class, payload []byte) frame {
	f := frame{payload: payload}
	f.head[lengthBytes] = byte(c)
	f.finish(lengthBytes + 1)
	return f
}

func messageFrame(kind byte, payload []byte) frame {
	f := frame{payload: payload}
	f.head[lengthBytes] = byte(classMessage)
	f.head[lengthBytes+1] = kind
	f.finish(lengthBytes + 2)
	return f
}

func requestFrame(id uint64, kind byte, payload []byte) frame {
	f := frame{payload: payload}
	f.head[lengthBytes] = byte(classRequest)
	binary.BigEndian.PutUint64(f.head[lengthBytes+1:], id)
	f.head[maxHeadBytes-1] = kind
	f.finish(maxHeadBytes)
	return f
}

// answerFrame makes the frames that carry a request's id and no kind: response, failure, cancel.
func answerFrame(c class, id uint64, payload []byte) frame {
	f := frame{payload: payload}
	f.head[lengthBytes] = byte(c)
	binary.BigEndian.PutUint64(f.head[lengthBytes+1:], id)
	f.finish(lengthBytes + 1 + requestIDBytes)
	return f
}

func (f *frame) finish(headLen uint8) {
	f.headLen = headLen
	binary.BigEndian.PutUint32(f.head[:], uint32(f.size()-lengthBytes))
}

func (f *frame) writeTo(w io.Writer) error {
	if _, err := w.Write(f.head[:f.headLen]); err != nil {
		return err
	}
	_, err := w.Write(f.payload)
	return err
}

// frameReader cuts a byte stream into frames. One caller at a time.
type frameReader struct {
	r    *bufio.Reader
	max  int // longest frame in bytes, its length field included
	head [lengthBytes]byte
}

func newFrameReader(r io.Reader, maxBytes int) *frameReader {
	return &frameReader{r: bufio.NewReaderSize(r, 32<<10), max: maxBytes}
}

// next returns the next frame. The body is fresh memory that grows only as bytes arrive, so a declared length costs the
// sender as much as the reader. It returns io.EOF only between two frames and a protocolError for a bad length.
func (r *frameReader) next() (class, []byte, error) {
	if _, err := io.ReadFull(r.r, r.head[:]); err != nil {
		return 0, nil, err
	}
	length := binary.BigEndian.Uint32(r.head[:])
	if length == 0 {
		return 0, nil, protocolError("empty frame")
	}
	if uint64(length)+lengthBytes > uint64(r.max) {
		return 0, nil, protocolError(fmt.Sprintf("frame of %d bytes, at most %d are allowed",
			uint64(length)+lengthBytes, r.max))
	}
	c, err := r.r.ReadByte()
	if err != nil {
		return 0, nil, noEOF(err)
	}
	body, err := readBody(r.r, int(length)-1)
	if err != nil {
		return 0, nil, noEOF(err)
	}
	return class(c), body, nil
}

func readBody(r io.Reader, n int) ([]byte, error) {
	body := make([]byte, min(n, readChunkBytes))
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, err
	}
	for len(body) < n {
		longer := make([]byte, min(n, 2*len(body)))
		got := copy(longer, body)
		if _, err := io.ReadFull(r, longer[got:]); err != nil {
			return nil, err
		}
		body = longer
	}
	return body, nil
}

// noEOF turns an end of input inside a frame into the error that says so.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// cutKind splits a message's body into its kind and payload.
func cutKind(body []byte) (kind byte, payload []byte, err error) {
	if len(body) < 1 {
		return 0, nil, protocolError("message without a kind")
	}
	return body[0], body[1:], nil
}

// cutID splits a body that starts with a request's id.
func cutID(body []byte) (id uint64, rest []byte, err error) {
	if len(body) < requestIDBytes {
		return 0, nil, protocolError("frame without a request id")
	}
	return binary.BigEndian.Uint64(body), body[requestIDBytes:], nil
}
