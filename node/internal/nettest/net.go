package nettest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// way is the direction from one node to another.
type way struct{ from, to string }

// Net is the set of all forwarders. Its methods are safe for concurrent use.
type Net struct {
	host string
	wg   sync.WaitGroup

	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	cut     map[way]bool
	changed chan struct{} // closed and replaced when cut changes
	open    map[io.Closer]way
	closed  bool
}

// New returns a network whose forwarders listen on host.
func New(host string) *Net {
	n := &Net{host: host, cut: map[way]bool{}, changed: make(chan struct{}), open: map[io.Closer]way{}}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	return n
}

// Close ends all forwarders and connections and waits for them.
func (n *Net) Close() {
	n.mu.Lock()
	n.closed = true
	all := n.open
	n.open = map[io.Closer]way{}
	n.mu.Unlock()
	n.cancel()
	for c := range all {
		_ = c.Close()
	}
	n.wg.Wait()
}

// Cut holds everything from one node to the other, or lets it pass again.
func (n *Net) Cut(from, to string, on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[way{from, to}] = on
	close(n.changed)
	n.changed = make(chan struct{})
}

// CutBoth is Cut in both directions.
func (n *Net) CutBoth(a, b string, on bool) {
	n.Cut(a, b, on)
	n.Cut(b, a, on)
}

// Mend lets everything pass.
func (n *Net) Mend() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cut)
	close(n.changed)
	n.changed = make(chan struct{})
}

// Reset ends all streams between two nodes, whoever dialled.
func (n *Net) Reset(a, b string) {
	n.mu.Lock()
	var ended []net.Conn
	for c, w := range n.open {
		if conn, ok := c.(net.Conn); ok && (w == way{a, b} || w == way{b, a}) {
			if _, udp := c.(*net.UDPConn); !udp {
				ended = append(ended, conn)
			}
		}
	}
	n.mu.Unlock()
	for _, c := range ended {
		_ = c.Close()
	}
}

// state reports whether a way is cut, and returns a channel that is closed when that may have changed.
func (n *Net) state(w way) (bool, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cut[w], n.changed
}

// keep remembers what Close has to end. False: the network is closed, and so is c.
func (n *Net) keep(c io.Closer, w way) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		_ = c.Close()
		return false
	}
	n.open[c] = w
	return true
}

func (n *Net) forget(c io.Closer) {
	n.mu.Lock()
	delete(n.open, c)
	n.mu.Unlock()
	_ = c.Close()
}

// Forward starts a forwarder over which from reaches to, which listens on target, and returns its address.
func (n *Net) Forward(from, to, target string) (string, error) {
	for range 20 {
		l, err := net.Listen("tcp", net.JoinHostPort(n.host, "0")) //nolint:noctx // a test's port
		if err != nil {
			return "", fmt.Errorf("forwarder: %w", err)
		}
		addr := l.Addr().String()
		p, err := net.ListenPacket("udp", addr) //nolint:noctx // a test's port
		if err != nil {
			_ = l.Close()
			continue // somebody has that port for UDP
		}
		w := way{from, to}
		if !n.keep(l, w) || !n.keep(p, w) {
			return "", net.ErrClosed
		}
		n.wg.Go(func() { n.accept(l, w, target) })
		n.wg.Go(func() { n.packets(p, w, target) })
		return addr, nil
	}
	return "", errors.New("forwarder: no port is free for both TCP and UDP")
}

func (n *Net) accept(l net.Listener, w way, target string) {
	defer n.forget(l)
	for {
		in, err := l.Accept()
		if err != nil {
			return
		}
		if n.keep(in, w) {
			n.wg.Go(func() { n.stream(in, w, target) })
		}
	}
}

// stream joins an incoming connection with one to the target until either ends.
func (n *Net) stream(in net.Conn, w way, target string) {
	defer n.forget(in)
	d := net.Dialer{Timeout: time.Second}
	out, err := d.DialContext(n.ctx, "tcp", target)
	if err != nil {
		return
	}
	if !n.keep(out, w) {
		return
	}
	defer n.forget(out)
	back := make(chan struct{})
	n.wg.Go(func() {
		defer close(back)
		n.pump(in, out, way{w.to, w.from})
		_, _ = in.Close(), out.Close()
	})
	n.pump(out, in, w)
	_, _ = in.Close(), out.Close()
	<-back
}

// pump copies while the way is not cut.
func (n *Net) pump(dst, src net.Conn, w way) {
	buf := make([]byte, 64<<10)
	for {
		k, err := src.Read(buf)
		if err != nil || !n.pass(w) {
			return
		}
		if _, err := dst.Write(buf[:k]); err != nil {
			return
		}
	}
}

// pass waits until a way is open; false when the network is closed.
func (n *Net) pass(w way) bool {
	for {
		cut, changed := n.state(w)
		if !cut {
			return n.ctx.Err() == nil
		}
		select {
		case <-changed:
		case <-n.ctx.Done():
			return false
		}
	}
}

// packets forwards datagrams, and what the target answers to the last sender.
func (n *Net) packets(p net.PacketConn, w way, target string) {
	defer n.forget(p)
	var d net.Dialer
	out, err := d.DialContext(n.ctx, "udp", target)
	if err != nil || !n.keep(out, w) {
		return
	}
	defer n.forget(out)
	var mu sync.Mutex
	var sender net.Addr
	n.wg.Go(func() {
		buf := make([]byte, 64<<10)
		for {
			k, err := out.Read(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			mu.Lock()
			to := sender
			mu.Unlock()
			if cut, _ := n.state(way{w.to, w.from}); err != nil || cut || to == nil {
				continue // refused: the target does not run
			}
			_, _ = p.WriteTo(buf[:k], to)
		}
	})
	buf := make([]byte, 64<<10)
	for {
		k, from, err := p.ReadFrom(buf)
		if err != nil {
			return
		}
		mu.Lock()
		sender = from
		mu.Unlock()
		if cut, _ := n.state(w); !cut {
			_, _ = out.Write(buf[:k])
		}
	}
}
