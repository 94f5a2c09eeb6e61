package raftify

import (
	"context"
	"errors"
	"fmt"

	"github.com/baton-ha/baton/raftify/core"
)

// ErrLeadershipLost is returned by ReadRound when this node stopped leading before a majority had answered, and is what
// a Leadership ends with when its lease does.
var ErrLeadershipLost = errors.New("leadership was lost")

// roundWaiter is one read. Its channel has room for the one answer that it gets.
type roundWaiter struct {
	note func(now core.Instant, c *core.Core)
	ch   chan error
}

// rounds gathers reads: one heartbeat round is under way at a time, and all reads that arrive meanwhile share the
// next. Owner loop only.
type rounds struct {
	want  []*roundWaiter
	fly   []*roundWaiter // under way: round seq of term
	term  core.Term
	seq   uint64
	taken bool
}

// ReadRound proves that this node leads at some moment after the call (PROTOCOL R20): note, when not nil, is called in
// the owner loop, then a heartbeat round is sent, and ReadRound returns nil when a majority has answered it. What note
// saw committed, and all that was acknowledged to anybody before the call, may then be served. ErrNotLeader when this
// node does not lead, ErrLeadershipLost when it stopped before a majority answered.
func (n *Node) ReadRound(ctx context.Context, note func(now core.Instant, c *core.Core)) error {
	w := &roundWaiter{note: note, ch: make(chan error, 1)}
	if !n.Post(func(core.Instant, *core.Core) { n.rounds.want = append(n.rounds.want, w) }) {
		return fmt.Errorf("read round: %w", ErrClosed)
	}
	select {
	case err := <-w.ch:
		if err != nil {
			return fmt.Errorf("read round: %w", err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("read round: %w", ctx.Err())
	case <-n.stopped:
		return fmt.Errorf("read round: %w", ErrClosed)
	}
}

// Round is ReadRound without a note.
func (n *Node) Round(ctx context.Context) error { return n.ReadRound(ctx, nil) }

// advance ends what cannot succeed any more and starts what waits.
func (r *rounds) advance(now core.Instant, c *core.Core, s *core.Status) {
	leads := s.Role == core.RoleLeader && !s.Taking
	if r.taken && (!leads || s.Term != r.term) {
		answer(r.fly, ErrLeadershipLost)
		r.fly, r.taken = nil, false
	}
	if r.taken || len(r.want) == 0 {
		return
	}
	if !leads {
		answer(r.want, ErrNotLeader)
		r.want = nil
		return
	}
	for _, w := range r.want {
		if w.note != nil {
			w.note(now, c)
		}
	}
	seq, err := c.RequestRound(now)
	if err != nil {
		answer(r.want, err)
	} else {
		r.fly, r.term, r.seq, r.taken = r.want, s.Term, seq, true
	}
	r.want = nil
}

// finished says that a majority answered round seq.
func (r *rounds) finished(term core.Term, seq uint64) {
	if r.taken && term == r.term && seq >= r.seq {
		answer(r.fly, nil)
		r.fly, r.taken = nil, false
	}
}

func (r *rounds) fail(err error) {
	answer(r.fly, err)
	answer(r.want, err)
	*r = rounds{}
}

func answer(ws []*roundWaiter, err error) {
	for _, w := range ws {
		w.ch <- err
	}
}
