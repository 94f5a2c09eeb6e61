package peer

import (
	"bufio"
	"context"
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

	outlet *outlet // below conn; nil: nothing is sent at once
	// pen is held by whoever writes: the writer while it has something to write, or for a moment who sends at once. It
	// guards the following.
	pen    sync.Mutex
	ready  bool   // the writer runs
	lively bool   // something was written since the last ping was due
	whole  []byte // frame being sent at once

	once  sync.Once
	done  chan struct{} // closed by close
	cause error         // why; set before done is closed
}

// idleReader ends a read that waits for idle, and a quarter of that at most; zero leaves the deadline alone.
type idleReader struct {
	conn  net.Conn
	idle  time.Duration
	until time.Time
}

func (r *idleReader) Read(p []byte) (int, error) {
	if r.idle > 0 {
		// To set a deadline costs more than to look whether the last one is far enough.
		if now := time.Now(); now.Add(r.idle).After(r.until) {
			r.until = now.Add(r.idle + r.idle/4)
			if err := r.conn.SetReadDeadline(r.until); err != nil {
				return 0, err
			}
		}
	}
	return r.conn.Read(p)
}

// newWire makes a wire on a connection whose handshake is done. Until open is called only frames as short as a greeting
// are read, under the deadline that conn has.
func newWire(cfg *Config, count *counters, raw net.Conn, conn *tls.Conn) *wire {
	limit := &idleReader{conn: conn}
	outlet, _ := conn.NetConn().(*outlet)
	return &wire{
		conn: conn, raw: raw, outlet: outlet,
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

// atOnceBytes is the longest frame that is sent at once: one TLS record.
const atOnceBytes = 16 << 10

// send queues f, or writes it on this goroutine if nothing stands in front of it: an idle writer costs more to wake than
// a frame to write. It never waits; what the socket does not take at once is left to the writer. The errors are the
// queue's.
func (w *wire) send(f frame) error {
	if f.size() > atOnceBytes || !w.pen.TryLock() {
		return w.out.push(f)
	}
	defer w.pen.Unlock()
	if !w.ready || w.outlet == nil || w.outlet.left() {
		return w.out.push(f)
	}
	if alone, err := w.out.pass(&f); err != nil || !alone {
		return err
	}
	w.whole = append(append(w.whole[:0], f.head[:f.headLen]...), f.payload...)
	w.outlet.hurry.Store(true)
	_, err := w.conn.Write(w.whole)
	w.outlet.hurry.Store(false)
	w.wrote(&f)
	w.out.release(&f)
	w.lively = true
	switch {
	case err != nil:
		w.close(err) // with it goes the frame, as with any lost connection
	case w.outlet.left():
		w.out.poke()
	}
	return nil
}

// sendWait is send that waits for room in the queue until ctx ends.
func (w *wire) sendWait(ctx context.Context, f frame) error {
	if err := w.send(f); !errors.Is(err, ErrQueueFull) {
		return err
	}
	return w.out.pushWait(ctx, f)
}

// writeLoop writes what is queued, many frames to one write, and flushes whenever the queue is empty.
func (w *wire) writeLoop() {
	ping := time.NewTicker(max(w.idle/3, time.Millisecond))
	defer ping.Stop()
	buffered := bufio.NewWriterSize(w.conn, 32<<10)
	var batch []frame
	for {
		var err error
		if batch, err = w.writeQueued(buffered, batch); err != nil {
			w.close(err)
			return
		}
		select {
		case <-w.out.wake:
		case <-ping.C:
			if w.silent() {
				_ = w.out.push(newFrame(classPing, nil)) // a full queue is no silence
			}
		case <-w.done:
			return
		}
	}
}

// writeQueued writes and flushes until the queue is empty. batch is memory for frames, to be given again.
func (w *wire) writeQueued(buffered *bufio.Writer, batch []frame) ([]frame, error) {
	w.pen.Lock()
	defer w.pen.Unlock()
	w.ready = true
	for {
		if batch = w.out.take(batch); len(batch) == 0 {
			break
		}
		w.lively = true
		for i := range batch {
			f := &batch[i]
			if err := f.writeTo(buffered); err != nil {
				return batch, err
			}
			w.wrote(f)
			w.out.release(f)
			f.payload = nil // the backing array is kept, the payload must not be
		}
	}
	if err := buffered.Flush(); err != nil || w.outlet == nil {
		return batch, err
	}
	return batch, w.outlet.flush()
}

// silent reports whether nothing was written since it was asked last.
func (w *wire) silent() bool {
	w.pen.Lock()
	defer w.pen.Unlock()
	was := w.lively
	w.lively = false
	return !was
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
