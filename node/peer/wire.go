package peer

import (
	"bufio"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"
)

// errReplaced ends a connection whose other side has made a newer one for the same purpose.
var errReplaced = errors.New("replaced by a newer connection")

// wire is one authenticated connection that carries frames both ways: a reader (the goroutine that calls run), a
// writer behind a bounded queue, and pings from both sides, so that either notices the other's silence.
type wire struct {
	conn  *tls.Conn
	raw   net.Conn
	in    *frameReader
	limit *idleReader
	out   *queue
	idle  time.Duration
	count *counters

	once  sync.Once
	done  chan struct{} // closed by close
	cause error         // why; set before done is closed
}

// idleReader gives every read of its own a deadline; zero leaves the deadline alone.
type idleReader struct {
	conn net.Conn
	idle time.Duration
}

func (r *idleReader) Read(p []byte) (int, error) {
	if r.idle > 0 {
		if err := r.conn.SetReadDeadline(time.Now().Add(r.idle)); err != nil {
			return 0, err
		}
	}
	return r.conn.Read(p)
}

// newWire makes a wire on a connection whose handshake is done. Until open is called only frames as short as a greeting
// are read, under the deadline that conn has.
func newWire(cfg *Config, count *counters, raw net.Conn, conn *tls.Conn) *wire {
	limit := &idleReader{conn: conn}
	return &wire{
		conn: conn, raw: raw,
		in:    newFrameReader(limit, maxGreetBytes),
		limit: limit,
		out:   newQueue(cfg.QueueBytes, cfg.QueueFrames),
		idle:  cfg.IdleTimeout,
		count: count,
		done:  make(chan struct{}),
	}
}

// greet writes one frame of the greeting at once.
func (w *wire) greet(c class, body []byte) error {
	f := newFrame(c, body)
	whole := append(append(make([]byte, 0, f.size()), f.head[:f.headLen]...), body...)
	if _, err := w.conn.Write(whole); err != nil {
		return err
	}
	w.wrote(&f)
	return nil
}

// next reads one frame and counts it.
func (w *wire) next() (class, []byte, error) {
	c, body, err := w.in.next()
	if err != nil {
		return 0, nil, err
	}
	w.count.framesIn.Add(1)
	w.count.bytesIn.Add(uint64(lengthBytes + 1 + len(body)))
	return c, body, nil
}

func (w *wire) wrote(f *frame) {
	w.count.framesOut.Add(1)
	w.count.bytesOut.Add(uint64(f.size()))
}

// open ends the greeting: whole frames from now on, and the idle timeout instead of the handshake's.
func (w *wire) open(maxFrameBytes int) error {
	w.in.max = maxFrameBytes
	w.limit.idle = w.idle
	return w.conn.SetDeadline(time.Time{})
}

// run moves frames until the connection ends and returns why it ended. onFrame gets every frame but pings, one at a
// time in the order they were sent; its error ends the connection. While onFrame blocks nothing more is read, but our
// pings go on, so the other side knows that it waits for a living node.
func (w *wire) run(onFrame func(class, []byte) error) error {
	var writer sync.WaitGroup
	writer.Go(w.writeLoop)
	w.close(w.readLoop(onFrame))
	writer.Wait()
	if _, ok := errors.AsType[protocolError](w.cause); ok {
		w.count.protocolError.Add(1)
	}
	return w.cause
}

func (w *wire) readLoop(onFrame func(class, []byte) error) error {
	for {
		c, body, err := w.next()
		if err != nil {
			return err
		}
		if c == classPing {
			if len(body) != 0 {
				return protocolError("ping with a body")
			}
			continue
		}
		if err := onFrame(c, body); err != nil {
			return err
		}
	}
}

// writeLoop writes what is queued, many frames to one write, and flushes whenever the queue is empty.
func (w *wire) writeLoop() {
	ping := time.NewTicker(max(w.idle/3, time.Millisecond))
	defer ping.Stop()
	buffered := bufio.NewWriterSize(w.conn, 32<<10)
	var batch []frame
	wrote := false // since the last tick
	for {
		batch = w.out.take(batch)
		for i := range batch {
			f := &batch[i]
			if err := f.writeTo(buffered); err != nil {
				w.close(err)
				return
			}
			w.wrote(f)
			w.out.release(f)
			f.payload = nil // the backing array is kept, the payload must not be
		}
		if len(batch) > 0 {
			wrote = true
			continue
		}
		if err := buffered.Flush(); err != nil {
			w.close(err)
			return
		}
		select {
		case <-w.out.wake:
		case <-ping.C:
			if !wrote {
				_ = w.out.push(newFrame(classPing, nil)) // a full queue is no silence
			}
			wrote = false
		case <-w.done:
			return
		}
	}
}

// close ends the connection; the first cause counts. It does not block: the socket is closed without a farewell, which
// costs nothing since every frame carries its own length.
func (w *wire) close(cause error) {
	w.once.Do(func() {
		w.cause = cause
		close(w.done)
		_ = w.raw.Close()
		w.count.drops.Add(uint64(w.out.close()))
	})
}

func (w *wire) closed() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}
