package nodetest

import (
	"testing"

	"github.com/baton-ha/baton/node/replication"
	"github.com/baton-ha/baton/raftify/core"
)

// schedule37 offers b, who acknowledged five blocks and has heard of few commits, the state of one of them. Then the leader
// is lost, and what b reports must be all that it acknowledged.
func schedule37(opt Options) *script {
	s := newScript(3, "a", opt)
	s.leads('a')
	s.run(s.tm.MinElection)
	a, b, c := s.n('a'), s.n('b'), s.n('c')
	s.isolate(c, true)
	s.drop(func(p *packet) bool { return p.to == b && p.ch != nil && p.ch.Type == replication.MsgCommitted })
	s.give(a, 5)
	s.committedAt(5)
	s.tipAt(b, 5)
	h := b.ch.Commit().Height + 1
	if h >= 5 {
		s.violate("schedule: b knows that all is committed")
		return s
	}
	b.do(func(now core.Instant) { b.arrived(now, a.disk.im.blocks[h].blk, a.status.Term) })
	s.run(s.tm.Heartbeat / 8)
	a.stop(0)
	s.isolate(c, false)
	s.candidates = "bc"
	s.demand(20 * s.tm.MinElection)
	return s
}

// schedule37Tip: c is offered what the old leader has, who is cut off with blocks that nobody else has; the others go on
// without both.
func schedule37Tip(opt Options) *script {
	s := newScript(5, "a", opt)
	s.leads('a')
	s.run(s.tm.MinElection)
	a, c := s.n('a'), s.n('c')
	s.isolate(a, true)
	s.give(a, 3)
	s.tipAt(a, 3)
	if b, cterm := a.offer(); b != nil {
		c.do(func(now core.Instant) { c.arrived(now, b, cterm) })
	}
	s.run(s.tm.Heartbeat)
	s.isolate(c, true)
	s.candidates = "b"
	s.leads('b')
	s.demand(40 * s.tm.MinElection)
	s.isolate(a, false)
	s.isolate(c, false)
	s.run(10 * s.tm.MinElection)
	return s
}

func TestSchedule37_JumpForgetsNothing(t *testing.T) {
	schedule{schedule37}.test(t)
	schedule{schedule37Tip}.test(t)
}

// schedule38: c was away for long, and a, b have forgotten the blocks that it would go on from; b, who has all else, is
// lost too. c may win the election, but cannot take over; it jumps when it no longer leads, and they go on.
func schedule38(opt Options) *script {
	s := newScript(3, "a", opt)
	s.set.bring = 50 * ms
	s.leads('a')
	s.give(s.n('a'), 1)
	s.committedAt(1)
	s.run(s.tm.MinElection)
	a, b, c := s.n('a'), s.n('b'), s.n('c')
	s.isolate(c, true)
	s.give(a, 20)
	s.committedAt(21)
	s.run(s.tm.MinElection)
	b.stop(0)
	a.stop(0)
	a.disk.im.prune(a.disk.im.commit.Ref.Height)
	a.revive()
	s.candidates = "c"
	stood := false
	s.drop(func(p *packet) bool { return !stood && p.to == c && p.what == "Offer" }) // or it would jump before it stands
	s.isolate(c, false)
	s.expect(20, "c wins", func() bool { return c.status.Role == core.RoleLeader })
	s.expect(20, "c gives up", func() bool { return c.status.Role != core.RoleLeader })
	stood = true
	s.candidates = "ac"
	s.demand(40 * s.tm.MinElection)
	s.expect(20, "c follows from where it jumped to", func() bool { return c.disk.im.base() > 1 && c.ch.Commit().Height >= s.decided() })
	if s.broken == "" && s.count.branches["jump"] == 0 {
		s.violate("schedule: nobody jumped")
	}
	return s
}

func TestSchedule38_NothingToGoOnFrom(t *testing.T) { schedule{schedule38}.test(t) }
