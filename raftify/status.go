package raftify

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/baton-ha/baton/raftify/core"
)

// snapKey is what those who wait for a change of status look at.
type snapKey struct {
	term                 core.Term
	role                 core.Role
	leader               core.NodeID
	cfg                  core.CfgKey
	taking, transferring bool
}

func keyOf(s *core.Status) snapKey {
	return snapKey{s.Term, s.Role, s.Leader, s.Cfg.Key, s.Taking, s.Transferring}
}

// publish makes the core's status visible, then wakes those who wait for a change. Owner loop, or before it starts.
func (n *Node) publish() {
	s := n.core.Status()
	n.snap.Store(&s)
	key := keyOf(&s)
	if key == n.lastSnap {
		return
	}
	n.lastSnap = key
	n.inbox.signal() // if it is a guest who is in the loop: the loop's timer was set for the old status
	n.mu.Lock()
	close(n.changed)
	n.changed = make(chan struct{})
	n.mu.Unlock()
}

// watch returns the newest status and a channel that is closed when it is no longer that.
func (n *Node) watch() (*core.Status, <-chan struct{}) {
	n.mu.Lock()
	ch := n.changed
	n.mu.Unlock()
	return n.snap.Load(), ch
}

// Status returns the newest snapshot. Its slices are shared and must not be modified. It may be out of date as soon
// as it is returned; for the lease use Lease.
func (n *Node) Status() core.Status { return *n.snap.Load() }

// Lease returns what is left of this node's lease at the moment of the call, zero when it has none. The clock is read
// in each call (PROTOCOL R21), and the lease was in force when it was read: one that was given up for a handover does
// not show any more.
func (n *Node) Lease() time.Duration {
	for {
		s := n.snap.Load()
		left := s.Lease.Left(n.clock.Now())
		if left == 0 || n.snap.Load() == s {
			return left
		}
	}
}

// Leading reports whether this node holds a valid lease at the moment of the call.
func (n *Node) Leading() bool { return n.Lease() > 0 }

// WaitLeader waits until a leader is known, this node itself only once its takeover is done, and returns its id.
func (n *Node) WaitLeader(ctx context.Context) (core.NodeID, error) {
	for {
		s, changed := n.watch()
		if s.Leader != "" && !s.Taking {
			return s.Leader, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", fmt.Errorf("wait for a leader: %w", ctx.Err())
		case <-n.stopped:
			return "", ErrClosed
		}
	}
}

// Member is a node as this one sees it.
type Member struct {
	ID    core.NodeID
	Addr  string
	Voter bool
	Self  bool
	// Alive is what this node believes: a leader by what it heard within two election timeouts, others by what they heard
	// or the gossip says.
	Alive bool
	// Heard says whether a message of it has counted since the start, and LastHeard how long ago the newest did.
	Heard     bool
	LastHeard time.Duration
}

// Members returns the members of the configuration, sorted by id; before there is one, the configured peers, of which
// none is a voter yet.
func (n *Node) Members() []Member {
	s := n.snap.Load()
	members := s.Cfg.Members
	if s.Cfg.Key.Ver == 0 {
		var peers []core.Member
		for _, p := range n.cfg.peers() {
			peers = append(peers, core.Member{ID: p.ID, Addr: p.Addr})
		}
		members = core.NewConfig(core.CfgKey{}, peers).Members
	}
	now := n.clock.Now()
	heard := n.heard.all()
	live, _ := n.liveness()
	out := make([]Member, 0, len(members))
	for _, m := range members {
		v := Member{ID: m.ID, Addr: m.Addr, Voter: m.Voter, Self: m.ID == n.cfg.ID}
		if at, ok := heard[m.ID]; ok {
			v.Heard, v.LastHeard = true, now.SinceMin(at)
		}
		v.Alive = v.Self || v.Heard && v.LastHeard < 2*n.tm.MinElection
		if !v.Alive && s.Role != core.RoleLeader && live != nil {
			v.Alive = live.Alive(m.ID)
		}
		out = append(out, v)
	}
	return out
}

// Addr returns the gossip address of a member: the one that the operator configured, or else the cluster's own; "" for
// a stranger.
func (n *Node) Addr(id core.NodeID) string {
	if addr, ok := (*n.peers.Load())[id]; ok {
		return addr
	}
	m, _ := n.snap.Load().Cfg.Member(id)
	return m.Addr
}

func (n *Node) liveness() (Liveness, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closing {
		return nil, false
	}
	l, ok := n.transport.(Liveness)
	return l, ok
}

// heardMap remembers when messages of each node last counted.
type heardMap struct {
	mu sync.Mutex
	at map[core.NodeID]core.Instant
}

func (h *heardMap) note(id core.NodeID, now core.Instant) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.at == nil {
		h.at = map[core.NodeID]core.Instant{}
	}
	h.at[id] = now
}

func (h *heardMap) all() map[core.NodeID]core.Instant {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.at)
}
