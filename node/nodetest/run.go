package nodetest

import (
	"slices"
	"time"

	"github.com/baton-ha/baton/node/replication"
	"github.com/baton-ha/baton/raftify/core"
)

// Options vary a run. The zero value is the normal one.
type Options struct {
	// Trace, when not nil, gets a readable line for everything that happens.
	Trace func(line string)
	// OnStart is called for each process when it starts, before anything else: negative tests switch rules off here.
	OnStart func(id core.NodeID, el *core.Core, ch *replication.Chain)
	// Panic lets a panic of a core pass instead of making it a violation, to see its stack.
	Panic bool

	glue map[glueFault]bool
	// clone goes on with copies of both cores after each step: it must be the same run.
	clone bool
}

// glueFault is a rule that lives in the driver, switched off for a negative test.
type glueFault string

const (
	glueRetryFsync glueFault = "R24: a failed fsync is tried again"
	glueAnyRoot    glueFault = "R8: state roots are not compared"
	glueCutRot     glueFault = "R25: what cannot be read is cut"
	glueOfferTip   glueFault = "R11: a state is offered that is not committed"
	glueOwnCommit  glueFault = "R20: a follower reads its own commit"
)

func (o Options) broken(f glueFault) bool { return o.glue[f] }

// Result is what a run came to. Its counts are keyed by name.
type Result struct {
	Seed      uint64
	Violation string // the first, "" for none; begins with the invariant's number
	// VirtualTime is how long the run lasted for the cluster; Events is the number of things that happened in it.
	VirtualTime time.Duration
	Events      int
	// Acknowledged transactions and the committed height.
	Acknowledged int
	Height       uint64
	// Recovery is how long the healed majority took to commit again.
	Recovery time.Duration
	Faults   map[string]int // drawn
	Branches map[string]int // reached
}

// Run simulates one cluster. The seed decides everything: two runs of one seed are the same run.
func Run(seed uint64, opt Options) Result {
	s := newSim(seed, opt)
	s.draw()
	s.drawMembers(seed)
	s.drawDeaths(seed)
	s.drawRot(seed)
	s.drawJumps(seed)
	if set := s.set; set.members == nil {
		s.tracef("seed %d: %+v", seed, set)
	} else {
		set.members = nil // a pointer would be printed as one
		s.tracef("seed %d: %+v, members change: %+v", seed, set, *s.set.members)
	}
	s.boot()
	s.drawRestore(seed)
	s.after(s.jitter(s.set.every), func() { s.nemesis(s.set.chaos) })
	s.runUntil(s.set.chaos)
	took := s.recovery()
	return Result{
		Seed: seed, Violation: s.broken, VirtualTime: time.Duration(s.now), Events: s.count.events,
		Acknowledged: s.count.acked, Height: uint64(s.decided()), Recovery: took,
		Faults: s.count.drawn, Branches: s.count.branches,
	}
}

// recovery heals a majority and demands that it commits (I14), that all of it follows, and that every transaction
// under way becomes final.
func (s *sim) recovery() time.Duration {
	if s.broken != "" {
		return 0
	}
	began := s.now
	for range 3 {
		ver := s.newest().Key.Ver
		took := s.recover()
		if took >= 0 {
			return took
		}
		if s.newest().Key.Ver == ver {
			break
		}
		// The membership changed while the links were being cut, and with it what a majority is.
		s.count.hit("healed again")
	}
	s.violate("I14: no commit in a majority that is whole and connected")
	return time.Duration(s.now - began)
}

// recover is one attempt; negative: nothing was committed in time.
func (s *sim) recover() time.Duration {
	q := s.heal()
	if q == nil {
		s.count.hit("more disks lost than the protocol stands")
		return 0
	}
	s.set.quiet = false
	began, height := s.now, s.decided()
	s.tracef("HEAL %d nodes: %v", len(q), ids(q))
	limit := s.resumeLimit(q)
	s.until(limit, func() bool { return s.decided() > height })
	took := time.Duration(s.now - began)
	if s.broken != "" {
		return took
	}
	if s.decided() == height && s.set.members != nil {
		if s.twoFaults() {
			s.count.hit("wrong block on one disk and another disk lost")
			return took
		}
		return -1
	}
	if s.decided() == height && s.wrongBlocks() && slices.ContainsFunc(q, func(n *node) bool { return gone(n, q) }) && s.twoFaults() {
		s.count.hit("wrong block on one disk and another disk rotten")
		return took
	}
	if s.decided() == height {
		s.violate("I14: %v, whole and connected, committed nothing in %v", ids(q), limit)
		return took
	}
	s.run(10 * s.tm.MinElection)
	s.set.quiet = true
	s.set.reads = 0
	s.until(20*s.tm.MinElection, func() bool { return s.settled(q) })
	if s.broken == "" && !s.settled(q) && s.set.members != nil {
		return -1
	}
	if s.broken == "" && !s.settled(q) {
		s.violate("I14: %v do not all hold the committed chain up to %d with every transaction in it after %v",
			ids(q), s.decided(), 20*s.tm.MinElection)
	}
	return took
}

func (s *sim) settled(q []*node) bool {
	for _, n := range q {
		if n.ch.Commit().Height < s.decided() {
			return false
		}
	}
	for _, c := range s.clients {
		if c.done < c.next {
			return false
		}
	}
	return true
}

// resumeLimit is the bound of I14: 10 minET. While a durable chain holds a block with a wrong state root, the node that
// has it may win first, and only a majority without it goes on (R13 forbids to drop inherited blocks).
func (s *sim) resumeLimit(q []*node) time.Duration {
	limit := 10 * s.tm.MinElection
	if s.wrongBlocks() {
		s.count.hit("wrong block inherited")
		return 3 * limit
	}
	for _, n := range q {
		if n.disk.im.nacked == n.disk.im.hs.Term && n.disk.im.nacked > 0 {
			// It acknowledges nothing more in this term: the leader's watchdog, which may have backed off, ends it.
			s.count.hit("refused before the heal")
			return 4 * limit
		}
	}
	return limit + s.fetchTime()
}

// fetchTime is what whoever wins may need to fetch the bodies that it lacks, one answer after the other: as long as they
// come it makes progress (R6). It matters only in runs whose answers have a block or two; a node's have hundreds.
func (s *sim) fetchTime() time.Duration {
	behind := 0
	for _, n := range s.nodes {
		behind = max(behind, int(s.decided())-int(n.disk.im.commit.Ref.Height)) //nolint:gosec // a height of a run fits
	}
	if answers := behind / s.set.batch; answers > 8 {
		s.count.hit("far behind at the heal")
		return time.Duration(answers) * s.tm.MinElection / 4
	}
	return 0
}

func ids(q []*node) []core.NodeID {
	var out []core.NodeID
	for _, n := range q {
		out = append(out, n.id)
	}
	return out
}
