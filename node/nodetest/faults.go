package nodetest

import (
	"slices"
	"time"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/raftify/core"
)

// settings are the sizes and rates of one run, all drawn by its seed. Durations are nanoseconds, rates per packet.
type settings struct {
	nodes    int
	voters   int              // of the first configuration; 0: all nodes
	members  *core.Membership // nil: the members stay what they are
	inflight int              // proposed and uncommitted blocks
	keep     int              // own blocks that the chain keeps in memory
	batch    int              // blocks in one answer to Fetch
	blockTxs int
	clients  int
	window   int   // transactions that a client has under way
	think    int64 // between a client's transactions
	reads    int64 // between a client's reads, 0: none
	quiet    bool  // clients send nothing new

	fsync, exec, delay int64 // means
	loss, dup, spike   float64
	drift              float64 // share of Timing.Drift

	every  int64 // mean time between two faults
	length int64 // mean duration of one
	faults []fault
	chaos  int64 // how long faults are drawn
	bring  int64 // how long a state takes to be brought, mean
}

// calm are the settings without faults, for directed schedules.
func calm(nodes int) settings {
	return settings{
		nodes: nodes, inflight: 8, keep: 16, batch: 8, blockTxs: 4, clients: 2, window: 2, think: 20 * ms, reads: 0,
		fsync: ms / 2, exec: ms / 5, delay: ms / 2,
	}
}

func (s *sim) draw() {
	r := s.rng
	pick := func(v ...float64) float64 { return v[r.IntN(len(v))] }
	d := func(v ...float64) int64 { return int64(pick(v...) * float64(ms)) }
	s.set = settings{
		nodes: 3, inflight: 1 << r.IntN(5), keep: 1 << r.IntN(6), batch: 1 << r.IntN(6), blockTxs: 1 + r.IntN(4),
		clients: 1 + r.IntN(4), window: 1 + r.IntN(4), think: d(5, 20, 60), reads: d(60, 150, 400),
		fsync: d(.2, 1, 5, 20), exec: d(.1, .5, 3), delay: d(.2, 1, 5, 20),
		loss: pick(0, 0, .01, .05, .2), dup: pick(0, .01, .1), spike: pick(0, 0, .003, .02),
		drift: pick(0, 1, 1), every: d(100, 300, 700), length: d(50, 250, 700), chaos: d(2500, 4000, 6000),
	}
	if r.IntN(3) == 0 {
		s.set.nodes = 5
	}
	for f := range faultEnd {
		if r.IntN(2) == 0 {
			s.set.faults = append(s.set.faults, f)
		}
	}
	s.count.drawn["nodes"] += s.set.nodes
	s.count.drawn["lossy"] += btoi(s.set.loss > 0)
	s.count.drawn["repeating"] += btoi(s.set.dup > 0)
	s.count.drawn["late packets"] += btoi(s.set.spike > 0)
	s.count.drawn["drifting clocks"] += btoi(s.set.drift > 0)
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// fault is a kind of thing that goes wrong.
type fault int

const (
	faultCrash fault = iota
	faultPause
	faultSleep
	faultSplit
	faultOneWay
	faultBridge
	faultStar
	faultIsolate
	faultMute
	faultDeaf
	faultClockStep
	faultSlowDisk
	faultHungDisk
	faultFsync
	faultExec
	faultTransfer
	faultLinkUp
	faultNarrow
	faultEnd
)

// Faults of runs whose members change, and of others that only some runs have.
const (
	faultWipe fault = faultEnd + iota
	faultMember
	faultKill // of runs with supervisors
	faultNotice
	faultRot   // of runs in which disks rot
	faultPrune // of runs in which states travel
	faultJump
)

var faultNames = [...]string{
	"crash", "pause", "machine sleeps", "split", "one-way cut", "bridge", "star", "isolated node", "mute node", "deaf node",
	"wall clock steps", "slow disk", "hung disk", "fsync error", "wrong state root", "transfer", "link made anew",
	"blocks of a node lost",
	"lost disk", "change of members", "killed process", "stray death notice", "rotten block",
	"old blocks pruned", "state brought",
}

// nemesis applies faults until the end of the chaos.
func (s *sim) nemesis(end int64) {
	if s.now >= end || len(s.set.faults) == 0 {
		return
	}
	if s.now < s.calm {
		s.after(s.calm-s.now, func() { s.nemesis(end) })
		return
	}
	f := s.set.faults[s.rng.IntN(len(s.set.faults))]
	s.count.drawn[faultNames[f]]++
	s.apply(f)
	s.after(s.jitter(s.set.every), func() { s.nemesis(end) })
}

func (s *sim) anyNode() *node { return s.nodes[s.rng.IntN(len(s.nodes))] }

// target prefers the leader: most of what can go wrong goes wrong there.
func (s *sim) target() *node {
	if l := s.leader(); l != nil && s.rng.IntN(3) == 0 {
		return l
	}
	return s.anyNode()
}

func (s *sim) apply(f fault) {
	n := s.target()
	d := s.jitter(s.set.length)
	s.tracef("FAULT %s at %s for %v", faultNames[f], n.id, time.Duration(d))
	switch f {
	case faultCrash, faultKill:
		k := len(n.disk.queue) + len(n.disk.loose)
		switch s.rng.IntN(3) {
		case 0:
			k = 0
		case 1:
			k = s.rng.IntN(k + 1)
		}
		if f == faultKill {
			n.kill(k)
		} else {
			n.stop(k)
		}
		s.after(d, n.revive)
	case faultRot:
		s.rot(n)
		s.after(d, n.revive)
	case faultPrune:
		n.prune()
	case faultJump:
		n.bring()
	case faultNotice:
		s.strayNotice(n)
	case faultPause, faultSleep:
		gen := n.gen
		n.pause(f == faultSleep)
		s.after(d, func() {
			if gen == n.gen {
				n.resume()
			}
		})
	case faultClockStep:
		by := int64(time.Hour)
		if s.rng.IntN(2) == 0 {
			by = s.jitter(100 * ms)
		}
		if s.rng.IntN(2) == 0 {
			by = -by
		}
		n.clk.step(s.now, by)
	case faultSlowDisk:
		n.disk.fault.latency = s.rng.Int64N(3 * int64(s.tm.MinElection))
		s.after(4*d, func() { n.disk.fault.latency = s.set.fsync })
	case faultHungDisk:
		n.disk.fault.hung = true
		s.after(2*d, n.unhang)
	case faultFsync:
		n.disk.fault.fail = true
	case faultExec:
		s.wrongRoots(n, 2*d)
	case faultTransfer:
		s.transfer()
	case faultLinkUp:
		s.net.up(n)
	case faultNarrow:
		s.net.narrow[n.i] = true
		s.after(2*d, func() { s.net.narrow[n.i] = false })
	case faultWipe:
		if s.mayWipe(n) {
			s.count.hit("lost disk")
			n.wipe()
			s.after(d, n.revive)
		}
	case faultMember:
		s.changeMembers()
	default:
		s.partition(f, n, d)
	}
}

// wrongRoots damages one executor a run: when blocks of two damaged leaders are inherited, R13 leaves no way out.
func (s *sim) wrongRoots(n *node, d int64) {
	if s.flawed == nil {
		s.flawed = n
	}
	n = s.flawed
	if n.exec.damaged {
		return
	}
	n.exec.damaged, n.exec.sticky = true, s.rng.IntN(2) == 0
	s.after(d, func() { n.exec.damaged, n.exec.sticky = false, false })
}

func (n *node) unhang() {
	n.disk.fault.hung = false
	if n.disk.finish != nil {
		n.s.after(ms, n.disk.finish)
	}
}

func (s *sim) transfer() {
	if l := s.leader(); l != nil {
		to := core.NodeID("")
		if o := s.anyNode(); o != l && s.rng.IntN(2) == 0 {
			to = o.id
		}
		l.do(func(now core.Instant) {
			if l.el.Transfer(now, to) == nil {
				s.count.hit("transfer begun")
				s.deserted(to)
			}
		})
	}
}

// deserted has a handover fail now and then: who was named stands still until the leader has given up on it.
func (s *sim) deserted(to core.NodeID) {
	i := slices.IndexFunc(s.nodes, func(n *node) bool { return n.id == to })
	if i < 0 || s.side.IntN(3) > 0 {
		return
	}
	n := s.nodes[i]
	gen := n.gen
	n.pause(false)
	s.after(2*int64(s.tm.MinElection), func() {
		if gen == n.gen {
			n.resume()
		}
	})
}

// partition cuts links and mends exactly those later.
func (s *sim) partition(f fault, n *node, d int64) {
	type pair struct{ a, b *node }
	var cuts []pair
	for _, a := range s.nodes {
		for _, b := range s.nodes {
			if a != b && s.cuts(f, n, a, b) {
				cuts = append(cuts, pair{a, b})
			}
		}
	}
	if f == faultOneWay {
		o := s.nodes[(n.i+1+s.rng.IntN(len(s.nodes)-1))%len(s.nodes)]
		cuts = []pair{{n, o}}
	}
	for _, p := range cuts {
		s.net.setCut(p.a, p.b, true)
	}
	s.after(2*d, func() {
		for _, p := range cuts {
			s.net.setCut(p.a, p.b, false)
		}
	})
}

// cuts says whether the link from a to b is cut by the partition f around n.
func (s *sim) cuts(f fault, n, a, b *node) bool {
	left := func(x *node) bool { return (x.i+len(s.nodes)-n.i)%len(s.nodes) <= len(s.nodes)/2 }
	switch f {
	case faultSplit:
		return left(a) != left(b)
	case faultBridge: // two halves that only n connects
		return a != n && b != n && left(a) != left(b)
	case faultStar: // everybody talks to n alone
		return a != n && b != n
	case faultIsolate:
		return a == n || b == n
	case faultMute:
		return a == n
	case faultDeaf:
		return b == n
	default: // no partition
		return false
	}
}

// heal makes a random majority whole and well connected. What is wrong elsewhere stays so.
func (s *sim) heal() []*node {
	order := s.rng.Perm(len(s.nodes))
	size := len(s.nodes)/2 + 1
	if s.rng.IntN(3) == 0 || s.wrongBlocks() || s.rotten() != nil {
		size = len(s.nodes)
	}
	var q []*node
	for _, i := range order[:size] {
		q = append(q, s.nodes[i])
	}
	if s.set.members != nil {
		if q = s.majority(size == len(s.nodes)); q == nil {
			return nil
		}
		order, size = nil, 0
		for i, n := range s.nodes {
			if !slices.Contains(q, n) {
				order = append(order, i)
			}
		}
	}
	for _, n := range q {
		n.mend()
	}
	s.serving, s.set.bring = q, min(s.set.bring, 20*ms)
	for _, a := range q {
		for _, b := range q {
			if a != b {
				s.net.setCut(a, b, false)
				s.net.reliable[a.i][b.i] = true
			}
		}
	}
	// Outsiders: gone, cut off, or still there to disturb.
	for _, i := range order[size:] {
		o := s.nodes[i]
		switch s.rng.IntN(3) {
		case 0:
			o.stop(0)
		case 1:
			o.mend()
			for _, n := range q {
				s.net.both(o, n, true)
				if s.rng.IntN(2) == 0 {
					s.net.setCut(o, n, false) // it is heard and hears nothing
				}
			}
		}
	}
	return q
}

// mend makes a node and its disk, clock and executor whole.
func (n *node) mend() {
	n.disk.fault = diskFault{latency: min(n.s.set.fsync, 2*ms)}
	n.unhang()
	n.exec.damaged, n.exec.sticky = false, false
	n.s.net.narrow[n.i] = false
	n.resume()
	n.revive()
}

// wrongBlocks reports whether a chain holds a block with a wrong state root: the other voters can live only
// with a majority that does not need this node (R13).
func (s *sim) wrongBlocks() bool { return slices.ContainsFunc(s.nodes, s.wrongBlock) }

// wrongBlock reports whether a node's chain holds a block with a wrong state root.
func (s *sim) wrongBlock(n *node) bool {
	for _, b := range n.disk.im.blocks {
		if b.blk != nil && !s.led.valid[b.hash] {
			return true
		}
	}
	for _, r := range n.disk.queue {
		if r.w != nil && slices.ContainsFunc(r.w.Append, func(b *block.Block) bool { return !s.led.valid[b.Hash()] }) {
			return true
		}
	}
	return false
}
