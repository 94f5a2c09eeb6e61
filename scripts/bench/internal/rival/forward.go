package rival

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// A forwarded transaction is one frame: length, id, bytes. Its answer is length, id, kind, text or index. Both sides
// write many frames at a time.
const (
	answerDone   = 1 // u64 index
	answerNonce  = 2 // u64 expected nonce
	answerReject = 3 // text
	answerLost   = 4 // text: not the leader any more, or shut down
	maxForward   = 4 << 20
)

var errLost = errors.New("connection to the leader is lost")

// stream writes frames from many goroutines to one connection, flushing when nobody has more to write.
type stream struct {
	conn net.Conn
	wake chan struct{}
	done chan struct{}

	mu  sync.Mutex
	buf []byte
}

func newStream(conn net.Conn) *stream {
	s := &stream{conn: conn, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go s.run()
	return s
}

func (s *stream) send(id uint64, parts ...[]byte) {
	n := 8
	for _, p := range parts {
		n += len(p)
	}
	s.mu.Lock()
	s.buf = binary.BigEndian.AppendUint32(s.buf, uint32(n))
	s.buf = binary.BigEndian.AppendUint64(s.buf, id)
	for _, p := range parts {
		s.buf = append(s.buf, p...)
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *stream) run() {
	var spare []byte
	for {
		select {
		case <-s.wake:
		case <-s.done:
			return
		}
		s.mu.Lock()
		out := s.buf
		s.buf = spare[:0]
		s.mu.Unlock()
		if _, err := s.conn.Write(out); err != nil {
			_ = s.conn.Close() // the reader ends with it
			return
		}
		spare = out
	}
}

func readFrame(r *bufio.Reader) (uint64, []byte, error) {
	var head [12]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < 8 || n > maxForward {
		return 0, nil, fmt.Errorf("frame of %d bytes", n)
	}
	body := make([]byte, n-8)
	_, err := io.ReadFull(r, body)
	return binary.BigEndian.Uint64(head[4:]), body, err
}

// forwarder hands transactions to one other node.
type forwarder struct {
	addr string

	mu      sync.Mutex
	out     *stream
	last    uint64
	waiting map[uint64]chan []byte
}

// hand sends data and waits for the answer. errLost: the outcome is not known.
func (f *forwarder) hand(ctx context.Context, data []byte) ([]byte, error) {
	f.mu.Lock()
	if f.out == nil {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", f.addr)
		if err != nil {
			f.mu.Unlock()
			return nil, fmt.Errorf("dial the leader: %w", err)
		}
		f.out, f.waiting = newStream(conn), map[uint64]chan []byte{}
		go f.read(f.out, conn)
	}
	out := f.out
	f.last++
	id, answer := f.last, make(chan []byte, 1)
	f.waiting[id] = answer
	f.mu.Unlock()
	out.send(id, data)
	select {
	case a, ok := <-answer:
		if !ok {
			return nil, errLost
		}
		return a, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (f *forwarder) read(s *stream, conn net.Conn) {
	r := bufio.NewReaderSize(conn, 64<<10)
	for {
		id, body, err := readFrame(r)
		if err != nil {
			break
		}
		f.mu.Lock()
		answer := f.waiting[id]
		delete(f.waiting, id)
		f.mu.Unlock()
		if answer != nil {
			answer <- body
		}
	}
	_ = conn.Close()
	close(s.done)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, answer := range f.waiting {
		close(answer)
	}
	f.out, f.waiting = nil, nil
}

// accept serves what others forward.
func (n *Node) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go n.serve(conn)
	}
}

func (n *Node) serve(conn net.Conn) {
	out := newStream(conn)
	defer close(out.done)
	defer conn.Close() //nolint:errcheck // nothing is left to lose
	r := bufio.NewReaderSize(conn, 64<<10)
	for {
		id, body, err := readFrame(r)
		if err != nil {
			return
		}
		go func() {
			kind, number, text := n.lead(body)
			if text != "" {
				out.send(id, []byte{kind}, []byte(text))
				return
			}
			out.send(id, []byte{kind}, binary.BigEndian.AppendUint64(nil, number))
		}()
	}
}
