package raftify

import (
	"sync/atomic"

	"github.com/baton-ha/baton/raftify/core"
)

// Transport carries messages between nodes. It may lose, repeat, delay and reorder them; it must not alter them, and
// must deliver only what an authenticated member of the cluster's network sent.
type Transport interface {
	// Send passes a message on, best effort, to a node at an address. It must not block. It is called in the owner loop,
	// and by another goroutine, maybe at the same time, where a heartbeat is repeated because that loop is late. The message
	// and all that it points to are not modified afterwards.
	Send(to core.NodeID, addr string, m core.Message)
	// Close stops delivering, frees the port and waits for the transport's goroutines.
	Close() error
}

// Liveness is a Transport that also has an opinion on who is alive. It is shown to people; nothing is decided by it.
type Liveness interface {
	Alive(id core.NodeID) bool
}

// Stats counts what happened since New.
type Stats struct {
	Sent       uint64 // messages given to the transport
	Received   uint64 // messages that were decoded
	Malformed  uint64 // inputs that were not a message
	Dropped    uint64 // messages that did not count (core.ErrDropped)
	Unproven   uint64 // death notices that nobody could have meant, or that the node itself did not sign
	Overflow   uint64 // messages dropped because a queue was full
	NoAddress  uint64 // messages to a node whose address is not known, or not resolved yet
	SendErrors uint64 // messages that the network refused
	Repeated   uint64 // heartbeats that were said again because the owner loop was late
	LostEvents uint64 // events that a slow subscriber missed
}

type counters struct {
	sent, received, malformed, unproven, dropped, overflow, noAddress, sendErrors, repeated, lostEvents atomic.Uint64
}

// Stats returns the counters. Safe for concurrent use.
func (n *Node) Stats() Stats {
	c := &n.count
	return Stats{
		Sent: c.sent.Load(), Received: c.received.Load(), Malformed: c.malformed.Load(), Unproven: c.unproven.Load(), Dropped: c.dropped.Load(),
		Overflow: c.overflow.Load(), NoAddress: c.noAddress.Load(), SendErrors: c.sendErrors.Load(),
		Repeated: c.repeated.Load(), LostEvents: c.lostEvents.Load(),
	}
}
