package nodetest

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/replication"
	"github.com/baton-ha/baton/raftify/core"
)

const (
	ms = int64(time.Millisecond)
	// maxEvents ends a run that does not let time pass.
	maxEvents = 4_000_000
)

// sim is one simulated cluster. Everything happens in the caller's goroutine, in the order of true time.
type sim struct {
	opt     Options
	rng     *rand.Rand
	side    *rand.Rand // for what was added later: seeds stay what they were where it draws nothing
	now     int64      // true time, nanoseconds
	todo    agenda
	nodes   []*node
	byID    map[core.NodeID]*node
	tm      core.Timing
	led     *ledger
	chk     *Checker
	net     network
	clients []*client
	cfg     core.Config
	cluster core.ClusterID
	count   counters
	set     settings
	deaths  []core.Death // all that supervisors ever said
	broken  string       // first violation
	flawed  *node        // whose executor may be damaged
	calm    int64        // no new fault comes before
	serving []*node      // nodes that clients turn to, nil: all
}

func newSim(seed uint64, opt Options) *sim {
	s := &sim{
		opt: opt, rng: rand.New(rand.NewPCG(seed, 0xba70)), side: rand.New(rand.NewPCG(seed, 0xba71)), byID: map[core.NodeID]*node{},
		tm: core.DefaultTiming(1), led: newLedger(), count: newCounters(),
	}
	s.chk = NewChecker(s.led.blocks[s.led.zero.Hash])
	s.chk.Valid = s.led.execute
	return s
}

// boot makes the cluster that s.set describes and starts it.
func (s *sim) boot() {
	var members []core.Member
	for i := range s.set.nodes {
		n := &node{s: s, i: i, id: core.NodeID(rune('a' + i)), inc: core.Inc{byte(i + 1)}}
		s.nodes = append(s.nodes, n)
		s.byID[n.id] = n
		if s.set.voters > 0 && i >= s.set.voters {
			continue
		}
		members = append(members, core.Member{ID: n.id, Inc: n.inc, Addr: string(n.id), Voter: true})
	}
	s.cfg = core.NewConfig(core.CfgKey{Ver: 1}, members)
	s.cluster = s.cfg.Hash()
	s.net.init(s)
	for _, n := range s.nodes {
		n.disk.im = n.empty()
		if s.cfg.IsVoter(n.id) {
			hs := &n.disk.im.hs
			hs.ClusterID, hs.Cfg, hs.Promise = s.cluster, s.cfg, s.cluster
		}
		n.disk.fault.latency = s.set.fsync
		n.clk = clocks{monoRate: 1 + s.drift(), realRate: 1 + s.drift(), mono: s.rng.Int64N(1 << 40), boot: 1 << 41, real: 1 << 60}
		n.start()
	}
	for i := range s.set.clients {
		c := &client{s: s, account: uint8(i)}
		s.clients = append(s.clients, c)
		c.loop()
		c.readLoop()
	}
}

// drift is how far a clock's rate may be from one: any two clocks differ by at most Timing.Drift.
func (s *sim) drift() float64 { return s.tm.Drift * (s.rng.Float64() - 0.5) * s.set.drift }

// after plans fn for d nanoseconds from now.
func (s *sim) after(d int64, fn func()) { s.todo.push(s.now+max(d, 0), fn) }

// jitter returns a random duration around mean: mostly near it, sometimes several times as long.
func (s *sim) jitter(mean int64) int64 {
	if mean <= 0 {
		return 0
	}
	d := mean/2 + s.rng.Int64N(mean)
	if s.rng.IntN(16) == 0 {
		d *= 1 + s.rng.Int64N(6)
	}
	return d
}

func (s *sim) chance(p float64) bool { return p > 0 && s.rng.Float64() < p }

func (s *sim) violate(format string, args ...any) {
	if s.broken == "" {
		s.broken = fmt.Sprintf(format, args...)
		s.tracef("VIOLATION %s", s.broken)
		if s.tracing() {
			s.dump()
		}
	}
}

// dump traces what everybody is at.
func (s *sim) dump() {
	for _, n := range s.nodes {
		s.tracef("%v; durable (%d, %v), %d writes queued, building=%v, pool %v, state %v",
			n, n.disk.im.synced, n.disk.im.tip(), len(n.disk.queue), n.building, n.pool[:s.set.clients], n.committed().next)
	}
	for _, c := range s.clients {
		s.tracef("client %d: %d sent, %d done", c.account, c.next, c.done)
	}
}

// step lets the next planned thing happen and checks what holds at each instant.
func (s *sim) step() bool {
	if len(s.todo.heap) == 0 || s.broken != "" {
		return false
	}
	h := s.todo.pop()
	s.now = h.at
	s.count.events++
	if s.count.events > maxEvents {
		s.violate("stuck: %d events by %v", s.count.events, time.Duration(s.now))
		return false
	}
	s.happen(h.fn)
	if v := s.chk.Violations(); len(v) > 0 {
		s.violate("%s", v[0])
	}
	return s.broken == ""
}

// happen runs fn; a broken invariant inside a core is a violation like others.
func (s *sim) happen(fn func()) {
	defer func() {
		if r := recover(); r != nil {
			if s.opt.Panic {
				panic(r)
			}
			s.violate("panic: %v", r)
		}
	}()
	fn()
}

// runUntil lets time pass up to the instant t.
func (s *sim) runUntil(t int64) {
	for len(s.todo.heap) > 0 && s.todo.heap[0].at <= t {
		if !s.step() {
			return
		}
	}
	s.now = max(s.now, t)
}

func (s *sim) run(d time.Duration) { s.runUntil(s.now + int64(d)) }

// until lets time pass until cond holds, at most d; false if it never did.
func (s *sim) until(d time.Duration, cond func() bool) bool {
	end := s.now + int64(d)
	for !cond() {
		if len(s.todo.heap) == 0 || s.todo.heap[0].at > end || !s.step() {
			return false
		}
	}
	return true
}

// checkLeases is I15, in true time and for every node that runs or stands still.
func (s *sim) checkLeases() {
	var first *node
	for _, n := range s.nodes {
		if !n.up || !n.status.Lease.Valid || n.status.Lease.Left(n.clk.read(s.now)) <= 0 {
			continue
		}
		s.count.hit("lease")
		if first != nil {
			s.chk.Leases([]Holder{{first.id, first.status.Lease.Term}, {n.id, n.status.Lease.Term}})
			return
		}
		first = n
	}
}

// held reports whether a disk's chain has ref, or had it below where it begins.
func (n *node) held(im *image, ref replication.Ref) bool {
	if ref.Height >= im.base() || ref.Height == 0 {
		return im.holds(ref)
	}
	at, ok := n.s.led.at(im.tip(), ref.Height)
	return ok && at == ref
}

// holders counts the voters that have ref durable.
func (s *sim) holders(ref replication.Ref) int {
	k := 0
	for _, n := range s.nodes {
		im := &n.disk.im
		if n.disk.ghost != nil {
			im = n.disk.ghost
		}
		held := n.held(im, ref)
		if c := im.claim; c != nil && !held { // acknowledged, and damaged since
			r, ok := s.led.at(c.Tip, ref.Height)
			held = ok && r == ref
		}
		if held {
			k++
		}
	}
	return k
}

// leader returns the node that leads the newest term, nil for none.
func (s *sim) leader() *node {
	var best *node
	for _, n := range s.nodes {
		if n.up && n.ch.Leading() && (best == nil || n.status.Term > best.status.Term) {
			best = n
		}
	}
	return best
}

func (s *sim) decided() block.Height { return s.chk.Decided() }
