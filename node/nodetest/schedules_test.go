package nodetest

import (
	"strings"
	"testing"
	"time"

	"github.com/baton-ha/baton/node/replication"
	"github.com/baton-ha/baton/raftify/core"
)

// script drives the simulator by hand: no faults but those that the schedule makes. Only candidates may campaign.
type script struct {
	*sim
	candidates string
	lose       []func(p *packet) bool // true: the packet is lost
	nonce      uint64
}

// newScript starts n nodes; of them only those named in candidates may ask for pre-votes.
func newScript(n int, candidates string, opt Options) *script {
	return newGrowing(n, n, candidates, opt)
}

// newGrowing is newScript with n nodes, of which the first configuration holds some; the others join as learners.
func newGrowing(n, voters int, candidates string, opt Options) *script {
	s := &script{sim: newSim(7, opt), candidates: candidates}
	s.set = calm(n)
	s.set.clients, s.set.quiet, s.set.blockTxs = 1, true, 1
	if s.set.voters = voters; voters < n {
		s.set.members = &core.Membership{}
	}
	s.net.filter = func(p *packet) bool {
		if p.el != nil && p.el.Type == core.MsgPreVote && !strings.Contains(s.candidates, string(p.from.id)) {
			return false
		}
		for _, f := range s.lose {
			if f(p) {
				return false
			}
		}
		return true
	}
	s.boot()
	return s
}

// n returns the node with that letter.
func (s *script) n(letter rune) *node { return s.byID[core.NodeID(letter)] }

// leads waits until the node leads.
func (s *script) leads(letter rune) {
	n := s.n(letter)
	s.expect(20, "leads", func() bool { return n.up && n.ch.Leading() })
}

// expect waits at most so many minET for cond. That it never holds is a fault of the schedule, no catch.
func (s *script) expect(minETs int, what string, cond func() bool) {
	if !s.until(time.Duration(minETs)*s.tm.MinElection, cond) {
		s.violate("schedule: waited in vain: %s", what)
	}
}

// give hands k new transactions to a node; each becomes a block.
func (s *script) give(n *node, k int) {
	s.clients[0].next += uint64(k)
	s.give0(n, s.nonce, k)
	s.nonce += uint64(k)
}

// give0 hands out transactions that another node may know already.
func (s *script) give0(n *node, from uint64, k int) {
	n.do(func(now core.Instant) {
		for i := range uint64(k) {
			n.accept(now, purse{0, from + i})
		}
	})
}

// tipAt waits until the node's durable chain has that height.
func (s *script) tipAt(n *node, h int) {
	s.expect(10, "tip", func() bool { return int(n.disk.im.tip().Height) == h })
}

// committedAt waits until so many blocks are committed.
func (s *script) committedAt(h int) {
	s.expect(10, "commit", func() bool { return int(s.decided()) >= h })
}

// demand is I14: new blocks are committed in time.
func (s *script) demand(limit time.Duration) {
	if s.broken != "" {
		return
	}
	h := s.decided()
	for _, n := range s.nodes {
		s.give0(n, 0, int(s.nonce)+2)
	}
	if !s.until(limit, func() bool { return s.decided() > h }) {
		s.violate("I14: nothing committed in %v", limit)
	}
}

// isolate cuts a node off from all others.
func (s *script) isolate(n *node, cut bool) {
	for _, o := range s.nodes {
		if o != n {
			s.net.both(n, o, cut)
		}
	}
}

func (s *script) drop(f func(p *packet) bool) { s.lose = append(s.lose, f) }

// schedule is one numbered schedule of PROTOCOL.md. play makes it happen and reaches what the name says.
type schedule struct {
	play func(opt Options) *script
}

func (sc schedule) test(t *testing.T) {
	t.Helper()
	opt := Options{}
	if testing.Verbose() {
		opt.Trace = func(line string) { t.Log(line) }
	}
	if s := sc.play(opt); s.broken != "" {
		t.Fatal(s.broken)
	}
}

// schedule5 leaves a with a tail of its own and brings it back to a leader whose takeover is three blocks above the
// fork.
func schedule5(opt Options) *script {
	s := newScript(3, "a", opt)
	s.leads('a')
	s.isolate(s.n('a'), true)
	s.give(s.n('a'), 2)
	s.tipAt(s.n('a'), 2)
	s.candidates = "b"
	s.leads('b')
	early := true
	s.drop(func(p *packet) bool { return early && p.ch != nil && p.ch.Type == replication.MsgAck }) // no certificates
	s.give0(s.n('b'), 0, 2)
	s.give(s.n('b'), 1)
	s.tipAt(s.n('b'), 3)
	s.tipAt(s.n('c'), 3)
	s.n('b').stop(0)
	s.n('b').revive()
	early = false
	s.leads('b')
	s.isolate(s.n('a'), false)
	s.expect(10, "a follows", func() bool { return s.n('a').ch.Commit().Height == 3 })
	if s.broken == "" && s.count.branches["follower cut its own tail"] == 0 {
		s.violate("schedule: nothing was cut")
	}
	return s
}

// schedule5Tail: a holds the takeover block and more above it.
func schedule5Tail(opt Options) *script {
	s := newScript(3, "a", opt)
	s.leads('a')
	s.give(s.n('a'), 1)
	s.committedAt(1)
	s.run(s.tm.MinElection)
	s.isolate(s.n('a'), true)
	s.give(s.n('a'), 2)
	s.tipAt(s.n('a'), 3)
	s.candidates = "b"
	s.leads('b')
	s.isolate(s.n('a'), false)
	s.expect(10, "a follows", func() bool { return s.n('a').disk.im.synced == s.n('b').status.Term })
	s.run(s.tm.MinElection)
	s.demand(10 * s.tm.MinElection)
	if s.broken == "" && s.count.branches["follower cut its own tail"] == 0 {
		s.violate("schedule: nothing was cut")
	}
	return s
}

func TestSchedule05_HalfASync(t *testing.T) {
	schedule{schedule5}.test(t)
	schedule{schedule5Tail}.test(t)
}

// schedule6: c's append of term 1 is on its way to a slow disk when c votes in term 2.
func schedule6(opt Options) *script {
	s := newScript(3, "a", opt)
	s.leads('a')
	s.run(s.tm.MinElection)
	a, b, c := s.n('a'), s.n('b'), s.n('c')
	s.net.both(a, b, true)
	c.disk.fault.latency = int64(3 * s.tm.MinElection)
	s.give(a, 1)
	s.expect(5, "append begun", func() bool { return c.ch.Tip().Height == 1 })
	a.stop(0)
	s.candidates = "b"
	s.expect(20, "vote", func() bool { return c.status.Vote.ID == "b" })
	if c.disk.im.tip().Height != 0 {
		s.violate("schedule: the append was too fast")
	}
	s.leads('b')
	s.demand(40 * s.tm.MinElection)
	return s
}

func TestSchedule06_ReportBeforeAppend(t *testing.T) { schedule{schedule6}.test(t) }

// schedule7: a has the higher chain, of term 1; b and c have committed a shorter one in term 2. b dies.
func schedule7(opt Options) *script {
	s := newScript(3, "a", opt)
	s.leads('a')
	s.isolate(s.n('a'), true)
	s.give(s.n('a'), 3)
	s.tipAt(s.n('a'), 3)
	s.candidates = "b"
	s.leads('b')
	s.give0(s.n('b'), 0, 1)
	s.committedAt(1)
	s.expect(5, "c holds it", func() bool { return s.n('c').ch.Tip().Height == 1 })
	s.n('b').stop(0)
	s.drop(func(p *packet) bool { return p.to == s.n('a') && p.ch != nil && p.ch.Type == replication.MsgCommitted })
	s.isolate(s.n('a'), false)
	s.candidates = "a"
	s.demand(10 * s.tm.MinElection)
	return s
}

func TestSchedule07_BestByHeight(t *testing.T) { schedule{schedule7}.test(t) }

// schedule8: e holds a block of term 1 at a height at which b, c and d commit another in term 2; then e hears of that
// commit before it hears of the takeover.
func schedule8(opt Options) *script {
	s := newScript(5, "a", opt)
	s.leads('a')
	a, e := s.n('a'), s.n('e')
	s.run(s.tm.MinElection)
	for _, l := range "bcd" {
		s.net.both(a, s.n(l), true)
	}
	s.give(a, 1)
	s.tipAt(e, 1)
	a.stop(0)
	s.isolate(e, true)
	s.candidates = "b"
	s.leads('b')
	s.n('b').do(func(now core.Instant) { s.n('b').accept(now, purse{0, 0}) })
	s.committedAt(1)
	s.isolate(e, false)
	s.expect(10, "e follows", func() bool { return e.ch.Commit().Height == 1 })
	return s
}

func TestSchedule08_HoldersAreNotAcks(t *testing.T) { schedule{schedule8}.test(t) }

// schedule10: the leader's process stands still while its clocks go on; another is elected.
func schedule10(opt Options) *script {
	s := newScript(3, "a", opt)
	s.leads('a')
	s.run(s.tm.MinElection)
	s.n('a').pause(false)
	s.candidates = "b"
	s.leads('b')
	s.run(s.tm.MinElection)
	s.n('a').resume()
	s.demand(10 * s.tm.MinElection)
	return s
}

func TestSchedule10_StalledLeader(t *testing.T) { schedule{schedule10}.test(t) }

// schedule12: TimeoutNow is late; the old leader has given the handover up by then, and is cut off when it arrives.
func schedule12(opt Options) *script {
	s := newScript(3, "a", opt)
	s.leads('a')
	s.run(s.tm.MinElection)
	a, b := s.n('a'), s.n('b')
	var late *packet
	s.drop(func(p *packet) bool {
		if p.el == nil || p.el.Type != core.MsgTimeoutNow {
			return false
		}
		late = p
		return true
	})
	a.do(func(now core.Instant) {
		if err := a.el.Transfer(now, "b"); err != nil {
			s.violate("schedule: transfer: %v", err)
		}
	})
	s.expect(5, "handover given up", func() bool { return late != nil && !a.status.Transferring })
	s.run(s.tm.Heartbeat)
	s.isolate(a, true)
	s.candidates = "b"
	b.do(func(now core.Instant) { b.receive(now, late) })
	s.leads('b')
	s.run(s.tm.MinElection)
	s.isolate(a, false)
	s.demand(10 * s.tm.MinElection)
	return s
}

func TestSchedule12_LateTimeoutNow(t *testing.T) { schedule{schedule12}.test(t) }

// schedule16: the leader's disk hangs while its heartbeats flow, and one follower gets no blocks.
func schedule16(opt Options) *script {
	s := newScript(3, "a", opt)
	s.leads('a')
	s.give(s.n('a'), 1)
	s.committedAt(1)
	s.n('a').disk.fault.hung = true
	s.drop(func(p *packet) bool {
		return p.from == s.n('a') && p.to == s.n('c') && p.ch != nil && p.ch.Type == replication.MsgProp
	})
	s.candidates = "abc"
	s.demand(20 * s.tm.MinElection)
	return s
}

// schedule16Error: an fsync of an acknowledged block fails; then the node restarts, and the leader is lost.
func schedule16Error(opt Options) *script {
	s := newScript(3, "a", opt)
	s.leads('a')
	s.run(s.tm.MinElection)
	s.isolate(s.n('c'), true)
	s.n('b').disk.fault.fail = true
	s.give(s.n('a'), 1)
	s.committedAt(1)
	s.n('b').stop(0)
	s.n('b').revive()
	s.n('a').stop(0)
	s.isolate(s.n('c'), false)
	s.candidates = "bc"
	s.demand(20 * s.tm.MinElection)
	return s
}

func TestSchedule16_DiskErrors(t *testing.T) {
	schedule{schedule16}.test(t)
	schedule{schedule16Error}.test(t)
}

// schedule17: heartbeats of the leader pass, its blocks do not.
func schedule17(opt Options) *script {
	s := newScript(3, "a", opt)
	s.leads('a')
	s.drop(func(p *packet) bool { return p.from == s.n('a') && p.ch != nil && p.ch.Type == replication.MsgProp })
	s.candidates = "abc"
	s.demand(20 * s.tm.MinElection)
	return s
}

func TestSchedule17_OnlyHeartbeatsPass(t *testing.T) { schedule{schedule17}.test(t) }

// schedule19: a's executor computes wrong roots; its block is refused; then c is lost, so that a and b must agree.
func schedule19(opt Options) *script {
	s := newScript(3, "a", opt)
	s.leads('a')
	s.run(s.tm.MinElection)
	s.n('a').exec.damaged = true
	s.give(s.n('a'), 1)
	s.expect(10, "step down", func() bool { return !s.n('a').ch.Leading() })
	s.n('a').exec.damaged = false
	s.n('c').stop(0)
	s.candidates = "ab"
	s.demand(20 * s.tm.MinElection)
	return s
}

func TestSchedule19_RefusedForEver(t *testing.T) { schedule{schedule19}.test(t) }

// schedule20: c wins, but no body ever reaches it.
func schedule20(opt Options) *script {
	s := newScript(3, "a", opt)
	s.leads('a')
	s.isolate(s.n('c'), true)
	s.give(s.n('a'), 3)
	s.committedAt(3)
	s.run(s.tm.MinElection)
	s.n('a').stop(0)
	s.drop(func(p *packet) bool { return p.to == s.n('c') && p.what == "Blocks" })
	s.isolate(s.n('c'), false)
	s.n('a').stop(0)
	s.candidates = "c"
	s.expect(20, "c wins", func() bool { return s.n('c').status.Role == core.RoleLeader })
	s.n('a').revive()
	s.candidates = "abc"
	s.demand(20 * s.tm.MinElection)
	return s
}

// schedule20Far: what a says is heard, but not its blocks, which are larger; it has some that nobody else has. b wins with
// the vote of a each time, before that of c arrives, and could do without.
func schedule20Far(opt Options) *script {
	s := newScript(3, "a", opt)
	s.leads('a')
	s.run(s.tm.MinElection)
	a, b, c := s.n('a'), s.n('b'), s.n('c')
	s.drop(func(p *packet) bool { return p.from == a && p.large() })
	s.give(a, 3)
	s.tipAt(a, 3)
	s.drop(func(p *packet) bool { return p.from == a && p.el != nil && p.el.Type == core.MsgHB })
	s.drop(func(p *packet) bool {
		return p.from == c && p.to == b && p.el != nil && p.el.Type == core.MsgVoteResp && b.status.Role != core.RoleLeader
	})
	s.candidates = "b"
	s.expect(20, "b wins", func() bool { return b.status.Role == core.RoleLeader })
	s.demand(6 * s.tm.MinElection)
	return s
}

func TestSchedule20_WinnerCannotFetch(t *testing.T) {
	schedule{schedule20}.test(t)
	schedule{schedule20Far}.test(t)
}

// schedule24: a block of term 1 is committed by the leader of term 1; the certificate reaches d from nodes that are in
// term 3, whose takeover is higher.
func schedule24(opt Options) *script {
	s := newScript(5, "a", opt)
	s.leads('a')
	d := s.n('d')
	s.isolate(d, true)
	s.give(s.n('a'), 1)
	s.committedAt(1)
	s.run(s.tm.MinElection)
	s.isolate(s.n('c'), true) // keeps the certificate of block 1
	s.give(s.n('a'), 3)
	s.committedAt(4)
	s.n('a').stop(0)
	s.candidates = "b"
	s.net.both(s.n('b'), s.n('c'), false)
	s.drop(func(p *packet) bool { // c hears elections, no certificates and no blocks
		return p.to == s.n('c') && p.from != d && (p.el == nil || p.el.Type == core.MsgHB)
	})
	s.net.both(s.n('e'), s.n('c'), false)
	s.leads('b')
	s.expect(20, "c is in the new term", func() bool { return s.n('c').status.Term == s.n('b').status.Term })
	s.net.both(s.n('c'), d, false)
	s.expect(20, "d follows the certificate", func() bool { return d.ch.Commit().Height >= 1 })
	return s
}

func TestSchedule24_CertificateOfWrongTerm(t *testing.T) { schedule{schedule24}.test(t) }

// schedule25: c executes a block of term 1 for long; meanwhile it votes and syncs with term 2; then the verdict comes.
func schedule25(opt Options) *script {
	s := newScript(3, "a", opt)
	s.leads('a')
	a, b, c := s.n('a'), s.n('b'), s.n('c')
	s.give(a, 1)
	s.expect(10, "all follow", func() bool { return b.ch.Commit().Height == 1 && c.ch.Commit().Height == 1 })
	c.exec.slow = int64(8 * s.tm.MinElection)
	s.drop(func(p *packet) bool {
		return p.from == a && p.to == b && p.ch != nil && p.ch.Type == replication.MsgProp
	})
	s.give(a, 1)
	s.expect(5, "c executes", func() bool { return c.exec.busy })
	a.stop(0)
	s.candidates = "b"
	s.leads('b')
	s.expect(10, "c is synced", func() bool { return c.disk.im.synced == b.status.Term })
	if !c.exec.busy {
		s.violate("schedule: executed too early")
	}
	s.run(10 * s.tm.MinElection)
	c.exec.slow = 0
	s.demand(20 * s.tm.MinElection)
	return s
}

func TestSchedule25_AppendAfterVote(t *testing.T) { schedule{schedule25}.test(t) }

// schedule28: one voter of three is dead, one has a disk of 5 minET.
func schedule28(opt Options) *script {
	s := newScript(3, "abc", opt)
	s.n('c').stop(0)
	s.n('b').disk.fault.latency = int64(5 * s.tm.MinElection)
	s.demand(600 * s.tm.MinElection)
	s.demand(600 * s.tm.MinElection)
	return s
}

func TestSchedule28_DeadVoterAndSlowDisk(t *testing.T) { schedule{schedule28}.test(t) }

// schedule30: c is cut off; a block is committed; then c is asked to read.
func schedule30(opt Options) *script {
	s := newScript(3, "a", opt)
	s.leads('a')
	s.run(s.tm.MinElection)
	s.isolate(s.n('c'), true)
	s.give(s.n('a'), 1)
	s.committedAt(1)
	s.n('c').read()
	s.run(s.tm.MinElection)
	s.isolate(s.n('c'), false)
	s.run(s.tm.MinElection)
	s.n('c').read()
	s.expect(10, "read", func() bool { return s.count.branches["read served"] > 0 })
	return s
}

func TestSchedule30_FollowerRead(t *testing.T) { schedule{schedule30}.test(t) }

// schedule31: the leader has a flipped bit; both followers refuse its block, and go on without it.
func schedule31(opt Options) *script {
	s := newScript(3, "a", opt)
	s.leads('a')
	s.run(s.tm.MinElection)
	s.n('a').exec.damaged = true
	s.give(s.n('a'), 1)
	s.run(s.tm.MinElection)
	s.candidates = "abc"
	s.demand(20 * s.tm.MinElection)
	if s.broken == "" && s.count.branches["nack cut"] == 0 {
		s.violate("schedule: the refused block was not cut")
	}
	return s
}

func TestSchedule31_LeaderWithFlippedBit(t *testing.T) { schedule{schedule31}.test(t) }

// schedule15: a and b commit a block. It rots on b's disk, and a is lost: b and c are a majority, but what they have of
// the chain is not all that was committed.
func schedule15(opt Options) *script {
	s := newScript(3, "a", opt)
	s.leads('a')
	s.run(s.tm.MinElection)
	s.isolate(s.n('c'), true)
	s.give(s.n('a'), 1)
	s.committedAt(1)
	b := s.n('b')
	s.tipAt(b, 1)
	s.n('a').stop(0)
	b.stop(0) // that it is committed was not durable here
	b.disk.im.rot(1, !opt.broken(glueCutRot))
	b.revive()
	s.isolate(s.n('c'), false)
	s.candidates = "bc"
	s.give0(s.n('c'), s.nonce+5, 1)
	s.run(30 * s.tm.MinElection)
	if s.broken == "" && (s.decided() != 1 || b.ch.Leading() || s.n('c').ch.Leading()) {
		s.violate("I9: b and c go on without the block that b lost and a has")
	}
	s.n('a').revive()
	s.demand(40 * s.tm.MinElection)
	s.expect(20, "b has its chain back", func() bool { return b.ch.Claim() == nil && b.disk.im.claim == nil })
	return s
}

// schedule15Lost: b alone acknowledged a block that rots then. The others, who promised a later term, do not have it: it
// cannot be committed, and they go on without it although b's vote comes first.
func schedule15Lost(opt Options) *script {
	s := newScript(3, "a", opt)
	s.leads('a')
	s.run(s.tm.MinElection)
	s.isolate(s.n('c'), true)
	s.n('a').disk.fault.hung = true
	s.give(s.n('a'), 1)
	b := s.n('b')
	s.tipAt(b, 1)
	s.n('a').stop(0)
	b.stop(0)
	b.disk.im.rot(1, true)
	b.revive()
	s.isolate(s.n('c'), false)
	s.n('a').disk.fault.hung = false
	s.n('a').revive()
	s.candidates = "c"
	late := true
	s.drop(func(p *packet) bool { // of a's votes the first are lost
		return late && p.from == s.n('a') && p.el != nil && p.el.Type == core.MsgVoteResp
	})
	s.expect(20, "c has b's vote", func() bool { return s.n('c').status.Role == core.RoleLeader })
	if s.n('c').ch.Leading() {
		s.violate("I9: c leads with b's vote alone and without what b acknowledged")
	}
	late = false
	s.demand(40 * s.tm.MinElection)
	s.expect(20, "b follows", func() bool { return b.ch.Claim() == nil && b.disk.im.tip().Height == s.decided() })
	return s
}

// schedule15Hole: of five acknowledged blocks the second rots at a follower, which goes on under the same leader: it
// fetches one block, and the others come from its own disk.
func schedule15Hole(opt Options) *script {
	s := newScript(3, "a", opt)
	s.leads('a')
	s.run(s.tm.MinElection)
	b := s.n('b')
	s.drop(func(p *packet) bool { return p.ch != nil && p.to == b && p.ch.Type == replication.MsgCommitted })
	s.give(s.n('a'), 5)
	s.committedAt(5)
	s.tipAt(b, 5)
	b.stop(0)
	b.disk.im.rot(b.disk.im.commit.Ref.Height+1, true)
	s.isolate(s.n('c'), true) // a and b are the majority
	b.revive()
	s.demand(20 * s.tm.MinElection)
	s.expect(20, "b has its chain back", func() bool { return b.ch.Claim() == nil && b.disk.im.claim == nil })
	return s
}

func TestSchedule15_RotOfAnAcknowledgedBlock(t *testing.T) {
	schedule{schedule15}.test(t)
	schedule{schedule15Lost}.test(t)
	schedule{schedule15Hole}.test(t)
}
