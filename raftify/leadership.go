package raftify

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/baton-ha/baton/raftify/core"
)

// Leadership is a context that lives as long as this node's lease: it is for work that only one node may do at a time.
// Err reads the clock at each call and is ErrLeadershipLost from the very end of the lease on (PROTOCOL R21: the answer
// is never cached), so that whoever asks it right before an effect is never late, even in a process that stood still.
// Done is closed at that moment too, but a channel needs a goroutine that runs: a process that was paused sees it closed
// a moment after it goes on. What must not happen twice whatever the machine does carries Term as a fencing token, and
// its receiver refuses a smaller one than it has seen: terms grow, and each has one leader (I1).
//
// It ends for good: leadership is never taken up again in a term. Safe for concurrent use.
type Leadership struct {
	// Term is that of the leadership, a fencing token.
	Term core.Term

	node   *Node
	parent context.Context
	done   chan struct{}

	mu  sync.Mutex
	err error
}

// Leadership waits until this node holds a lease, and returns a context that ends with it, with ctx, or with the node,
// whichever is first. It returns ctx's error or ErrClosed if that comes before a lease does.
func (n *Node) Leadership(ctx context.Context) (*Leadership, error) {
	poll := time.NewTicker(n.tm.Heartbeat / 2) // a lease begins with an acknowledgement, which wakes nobody
	defer poll.Stop()
	for {
		if err := ctx.Err(); err != nil { // also where it leads
			return nil, fmt.Errorf("wait for leadership: %w", err)
		}
		s, changed := n.watch()
		if s.Role == core.RoleLeader && !s.Taking && n.holds(s.Term) > 0 {
			l := &Leadership{Term: s.Term, node: n, parent: ctx, done: make(chan struct{})}
			go l.watch()
			return l, nil
		}
		wait := poll.C
		if s.Role != core.RoleLeader {
			wait = nil
		}
		select {
		case <-changed:
		case <-wait:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for leadership: %w", ctx.Err())
		case <-n.stopped:
			return nil, fmt.Errorf("wait for leadership: %w", ErrClosed)
		}
	}
}

// holds is what is left of this node's lease of a term.
func (n *Node) holds(t core.Term) time.Duration {
	if n.Term() != t {
		return 0
	}
	left := n.Lease()
	if n.Term() != t { // the lease may be of the other
		return 0
	}
	return left
}

// watch ends the leadership when its lease has.
func (l *Leadership) watch() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for l.Err() == nil {
		timer.Reset(max(l.node.holds(l.Term), time.Microsecond))
		_, changed := l.node.watch()
		select {
		case <-timer.C:
		case <-changed:
		case <-l.parent.Done():
		case <-l.node.stopped:
		case <-l.done:
		}
	}
}

// Deadline implements context.Context. There is none: a lease is renewed with each heartbeat.
func (l *Leadership) Deadline() (time.Time, bool) { return l.parent.Deadline() }

// Done implements context.Context.
func (l *Leadership) Done() <-chan struct{} { return l.done }

// Value implements context.Context.
func (l *Leadership) Value(key any) any { return l.parent.Value(key) }

// Err implements context.Context: nil while the lease is valid by this node's clocks at the moment of the call, then
// ErrLeadershipLost, or the error of the context that Leadership was given.
func (l *Leadership) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	if err := l.parent.Err(); err != nil {
		l.err = err
	} else if l.node.holds(l.Term) <= 0 {
		l.err = ErrLeadershipLost
	}
	if l.err != nil {
		close(l.done)
	}
	return l.err
}

// Left is what is left of the lease at the moment of the call, unless it is renewed; zero when it is over.
func (l *Leadership) Left() time.Duration {
	if l.Err() != nil {
		return 0
	}
	return l.node.holds(l.Term)
}
