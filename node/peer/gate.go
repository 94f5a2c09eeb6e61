package peer

import (
	"net"
	"slices"
	"sync"
)

// gate bounds the incoming connections. A connection that has not proved a key yet holds its place only until others
// need it: a peer proves its key in milliseconds, so the oldest that has not is the likeliest never to. Thus strangers
// who connect and say nothing cannot keep peers out.
type gate struct {
	maxPending, maxOpen int

	mu      sync.Mutex
	pending []net.Conn // without a proved key, oldest first
	open    map[net.Conn]struct{}
}

func newGate(maxPending, maxOpen int) *gate {
	return &gate{maxPending: maxPending, maxOpen: maxOpen, open: make(map[net.Conn]struct{})}
}

// enter takes a place for c, closing the oldest unproved connection if none is free. False: no room, c stays outside.
func (g *gate) enter(c net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.pending) >= g.maxPending || len(g.open) >= g.maxOpen {
		if len(g.pending) == 0 {
			return false
		}
		oldest := g.pending[0]
		g.pending = slices.Delete(g.pending, 0, 1)
		delete(g.open, oldest)
		_ = oldest.Close() // does not block; its own goroutine reports the failed handshake
	}
	g.pending = append(g.pending, c)
	g.open[c] = struct{}{}
	return true
}

// proved moves c among the authenticated. False: it was put out before.
func (g *gate) proved(c net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.pending, c)
	if i < 0 {
		return false
	}
	g.pending = slices.Delete(g.pending, i, i+1)
	return true
}

// leave gives c's place back; it may have lost it before.
func (g *gate) leave(c net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.open, c)
	if i := slices.Index(g.pending, c); i >= 0 {
		g.pending = slices.Delete(g.pending, i, i+1)
	}
}

func (g *gate) size() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.open)
}
