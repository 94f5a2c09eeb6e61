package peer

import (
	"net"
	"sync"
	"sync/atomic"
	"syscall"
)

// outlet is the connection below TLS. Whoever must not wait for the network sets hurry: then Write hands the socket what
// it takes at once and keeps the rest, which leaves before anything else once somebody flushes or writes who can wait.
type outlet struct {
	net.Conn
	raw   syscall.RawConn // nil where the system cannot do it: then nothing is taken at once
	hurry atomic.Bool

	mu   sync.Mutex
	rest []byte
}

func newOutlet(conn net.Conn) *outlet {
	o := &outlet{Conn: conn}
	if c, ok := conn.(syscall.Conn); ok {
		if raw, err := c.SyscallConn(); err == nil {
			o.raw = raw
		}
	}
	return o
}

// Write writes p, in a hurry without waiting; then no error means no more than that it will be written.
func (o *outlet) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.hurry.Load() {
		if err := o.flushLocked(); err != nil {
			return 0, err
		}
		return o.Conn.Write(p)
	}
	n := 0
	if len(o.rest) == 0 && o.raw != nil {
		var err error
		if n, err = writeAtOnce(o.raw, p); err != nil {
			return n, err
		}
	}
	o.rest = append(o.rest, p[n:]...)
	return len(p), nil
}

// flush writes what is left, waiting as long as it takes.
func (o *outlet) flush() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.flushLocked()
}

func (o *outlet) flushLocked() error {
	if len(o.rest) == 0 {
		return nil
	}
	_, err := o.Conn.Write(o.rest)
	o.rest = nil
	return err
}

// left reports whether something waits for a flush.
func (o *outlet) left() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.rest) > 0
}
