package nodetest

import (
	"strings"
	"testing"
	"time"

	"github.com/baton-ha/baton/node/replication"
	"github.com/baton-ha/baton/raftify/core"
)

// starve keeps blocks, and all that the chain says, from some nodes until the returned function is called.
func (s *script) starve(letters string) (feed func()) {
	on := true
	s.drop(func(p *packet) bool {
		if on && p.el != nil && p.el.Type == core.MsgHB && strings.Contains(letters, string(p.to.id)) {
			p.el.Attachment = nil
		}
		return on && strings.Contains(letters, string(p.to.id)) && (p.ch != nil || p.what == "Blocks")
	})
	return func() { on = false }
}

// change asks a leader for a change for some time, and reports whether it was made.
func (s *script) change(n *node, kind core.ChangeKind, who core.NodeID) bool {
	done := false
	for end := s.now + int64(5*s.tm.MinElection); s.now < end && !done && s.broken == ""; {
		n.do(func(now core.Instant) {
			done = n.el.Reconfigure(now, core.Change{Kind: kind, Member: core.Member{ID: who}}) == nil
		})
		s.run(s.tm.Heartbeat)
	}
	s.run(time.Duration(2) * s.tm.Heartbeat)
	return done
}

// schedule2: a commits a block with b and c; b takes over with the votes of d and e, which do not have it, commits
// nothing, and lets first a and then c go. It dies, and d and e are a majority of what is left.
func schedule2(opt Options) *script {
	s := newScript(5, "a", opt)
	s.leads('a')
	s.run(s.tm.MinElection)
	feed := s.starve("de")
	s.give(s.n('a'), 1)
	s.committedAt(1)
	s.n('a').stop(0)
	s.n('c').stop(0)
	s.candidates = "b"
	s.leads('b')
	s.run(s.tm.MinElection)
	s.change(s.n('b'), core.ChangeRemove, "a")
	s.change(s.n('b'), core.ChangeRemove, "c")
	s.n('b').stop(0)
	feed()
	s.candidates = "de"
	s.run(20 * s.tm.MinElection)
	for _, l := range "abc" {
		s.n(l).revive()
	}
	s.candidates = "abcde"
	s.demand(20 * s.tm.MinElection)
	return s
}

func TestSchedule02_ReconfiguredTwice(t *testing.T) { schedule{schedule2}.test(t) }

// schedule3: a commits a block with b alone, then b is removed; a new node d is to be promoted while c lags. c and d
// would be a majority that never heard of the block.
func schedule3(opt Options) *script {
	s := newGrowing(4, 3, "a", opt)
	s.leads('a')
	a := s.n('a')
	s.expect(30, "d joins", func() bool { _, ok := a.status.Cfg.Member("d"); return ok })
	s.run(2 * s.tm.MinElection)
	feed := s.starve("cd")
	s.give(a, 1)
	s.committedAt(1)
	if !s.change(a, core.ChangeRemove, "b") {
		s.violate("schedule: b was not removed")
	}
	s.n('b').stop(0)
	s.change(a, core.ChangePromote, "d")
	a.stop(0)
	feed()
	s.candidates = "cd"
	s.run(20 * s.tm.MinElection)
	a.revive()
	s.candidates = "acd"
	s.demand(20 * s.tm.MinElection)
	return s
}

func TestSchedule03_HeldByOneVoter(t *testing.T) { schedule{schedule3}.test(t) }

// schedule33: a, b and c of four hold a block. b's disk is replaced, and gets nothing. Were it taken for what b was, it
// would be promoted, c removed, and a's disk the only one that holds the block.
func schedule33(opt Options) *script {
	s := newGrowing(5, 4, "a", opt)
	s.n('e').stop(0) // it only makes the membership a growing one
	s.leads('a')
	a, b := s.n('a'), s.n('b')
	s.run(s.tm.MinElection)
	feed := s.starve("d")
	s.give(a, 1)
	s.committedAt(1)
	s.run(s.tm.MinElection)
	b.wipe()
	fed := s.starve("b")
	b.revive()
	s.expect(30, "b joins as a learner", func() bool {
		m, _ := b.status.Cfg.Member("b")
		return m.Inc == b.inc && !m.Voter
	})
	s.run(2 * s.tm.MinElection)
	if s.change(a, core.ChangePromote, "b") && s.change(a, core.ChangeRemove, "c") {
		s.n('c').stop(0)
	}
	a.stop(0)
	feed()
	fed()
	s.candidates = "bcd"
	s.run(20 * s.tm.MinElection)
	s.demand(20 * s.tm.MinElection)
	return s
}

func TestSchedule33_InheritedAcks(t *testing.T) { schedule{schedule33}.test(t) }

// schedule36: b is away when a and c commit two blocks. c then starts from a copy of its disk that was made while it ran, so
// that its start and term are in order: only a, which leads, knows how much c has acknowledged. Before c can get the blocks
// back a dies.
func schedule36(opt Options) *script {
	s := newScript(3, "a", opt)
	a, b, c := s.n('a'), s.n('b'), s.n('c')
	s.leads('a')
	s.give(a, 1)
	s.committedAt(1)
	s.run(s.tm.MinElection)
	c.backUp()
	s.isolate(b, true)
	s.give(a, 2)
	s.committedAt(3)
	s.drop(func(p *packet) bool { return a.up && p.to == c && (p.ch != nil || p.what != "") })
	acks := 0
	s.drop(func(p *packet) bool {
		acks += btoi(p.from == c && p.ch != nil && p.ch.Type == replication.MsgAck)
		return false
	})
	n := *c.backup
	c.stop(0)
	c.disk.im = n
	s.chk.Forget(c.inc)
	c.revive()
	s.expect(20, "c acknowledges", func() bool { return acks > 0 })
	s.run(s.tm.MinElection)
	a.stop(0)
	s.isolate(b, false)
	s.candidates = "b"
	s.run(20 * s.tm.MinElection)
	if s.broken == "" && c.up {
		s.violate("R3: c runs on its old disk")
	}
	return s
}

func TestSchedule36_LostAcknowledgements(t *testing.T) { schedule{schedule36}.test(t) }

// TestFreshDiskCatchesUp: a node whose disk was lost comes back as a learner, fetches the chain and is promoted.
func TestFreshDiskCatchesUp(t *testing.T) {
	s := newGrowing(4, 3, "abc", Options{})
	s.set.members.MaxVoters = 3
	s.n('d').stop(0)
	s.expect(20, "leader", func() bool { return s.leader() != nil })
	s.give(s.leader(), 20)
	s.committedAt(20)
	s.run(s.tm.MinElection)
	n := s.n('c')
	if s.leader() == n {
		n = s.n('b')
	}
	n.wipe()
	n.revive()
	s.expect(40, "promotion", func() bool {
		m, _ := n.status.Cfg.Member(n.id)
		return m.Voter && m.Inc == n.inc
	})
	if h := n.ch.Tip().Height; s.broken == "" && h+64 < s.decided() {
		t.Errorf("promoted at height %d of %d", h, s.decided())
	}
	s.demand(10 * s.tm.MinElection)
	if s.broken != "" {
		t.Fatal(s.broken)
	}
}

// TestOwnConfigurationCountsWhenDurable: a installs a configuration in which two acknowledgements are enough, while its disk
// hangs. In the one that it would find after a crash they are not.
func TestOwnConfigurationCountsWhenDurable(t *testing.T) {
	s := newScript(4, "a", Options{})
	s.leads('a')
	a := s.n('a')
	s.give(a, 1)
	s.committedAt(1)
	s.run(s.tm.MinElection)
	a.disk.fault.hung = true
	s.drop(func(p *packet) bool { return p.from.id == "d" && p.ch != nil })
	a.do(func(now core.Instant) {
		if err := a.el.Reconfigure(now, core.Change{Kind: core.ChangeDemote, Member: core.Member{ID: "d"}}); err != nil {
			t.Error(err)
		}
	})
	s.give(a, 1)
	s.tipAt(s.n('b'), 2)
	s.tipAt(s.n('c'), 2)
	s.run(s.tm.MinElection)
	if h := s.decided(); h != 1 {
		t.Errorf("height %d is committed by two of four voters", h)
	}
	a.unhang()
	s.committedAt(2)
	if s.broken != "" {
		t.Error(s.broken)
	}
}
