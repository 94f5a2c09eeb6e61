package nodetest

import (
	"math/rand/v2"
	"slices"

	"github.com/baton-ha/baton/raftify/core"
)

// drawRestore makes some runs whose members change ones in which a node starts from an old backup of its disk, folders
// and marker. It has a source of chance of its own: the other runs stay what they were.
func (s *sim) drawRestore(seed uint64) {
	r := rand.New(rand.NewPCG(seed, 0x01d))
	if s.set.members == nil || r.IntN(2) == 0 {
		return
	}
	s.count.drawn["restored disk"]++
	window := 3 * int64(s.tm.MinElection)
	var victim *node
	s.after(r.Int64N(s.set.chaos/2), func() {
		victim = s.nodes[r.IntN(len(s.nodes))]
		victim.backUp()
	})
	var try func()
	try = func() {
		switch {
		case s.now+window >= s.set.chaos:
		case victim == nil || !s.mayRestore(victim):
			s.after(20*ms, try)
		default:
			s.restore(victim)
		}
	}
	s.after(s.set.chaos/4+r.Int64N(s.set.chaos/2), try)
}

func (n *node) backUp() {
	im := n.disk.im
	im.blocks = slices.Clone(im.blocks)
	n.backup = &im
	n.s.tracef("%s is backed up: boot %d, term %d, chain (%d, %v)", n.id, im.hs.Boot, im.hs.Term, im.synced, im.tip())
}

// rollBack puts the backup in the place of a node's disk. From now on the checker demands that it uses no right of it.
func (n *node) rollBack() {
	n.stop(0)
	n.disk.im = *n.backup
	n.backup = nil
	n.s.chk.Restored(n.inc)
	n.s.tracef("%s is restored: boot %d, term %d", n.id, n.disk.im.hs.Boot, n.disk.im.hs.Term)
}

// mayRestore reports whether the rule would find the old disk, and whether the cluster can do without it.
func (s *sim) mayRestore(n *node) bool {
	return n.backup.hs.Inc == n.inc && n.backup.hs.Cfg.Key.Ver > 0 && n.backup.claim == nil && s.mayWipe(n) && s.witness(n) != nil
}

// witness is a node that the backup names, that can answer at once, and that remembers a later start of n or a higher term.
func (s *sim) witness(n *node) *node {
	b := n.backup.hs
	for _, o := range s.nodes {
		if _, named := b.Cfg.Member(o.id); o == n || !named || !o.up || o.paused || len(o.disk.queue) > 0 || o.disk.busy {
			continue
		}
		cfg := o.el.Status().Cfg
		if m, _ := cfg.Member(n.id); m.Inc != n.inc {
			continue
		}
		if m, _ := cfg.Member(o.id); m.Inc != o.inc {
			continue // it is no member yet, and its word counts for nothing
		}
		if boot, term := o.el.Known(n.id); boot > b.Boot || term > b.Term {
			return o
		}
	}
	return nil
}

// restore puts an old disk in a node's place while one that remembers can be asked: nothing else goes wrong for as long as a
// start asks. Then comes what the operator is told to do: an empty folder.
func (s *sim) restore(n *node) {
	s.count.hit("restored disk")
	o := s.witness(n)
	for _, x := range []*node{n, o} {
		x.disk.fault = diskFault{latency: min(s.set.fsync, 2*ms)}
		x.unhang()
	}
	was := [2]bool{s.net.reliable[o.i][n.i], s.net.reliable[n.i][o.i]}
	s.net.both(o, n, false)
	s.net.reliable[o.i][n.i], s.net.reliable[n.i][o.i] = true, true
	wait := 2 * int64(s.tm.MinElection)
	s.calm = s.now + wait
	n.rollBack()
	n.revive()
	s.after(wait, func() {
		s.net.reliable[o.i][n.i], s.net.reliable[n.i][o.i] = was[0], was[1]
		if n.up {
			s.violate("R3: %s runs on an old disk, though %s knows", n.id, o.id)
			return
		}
		n.wipe()
		s.after(s.jitter(100*ms), n.revive)
	})
}

// gaveUp ends a process that has heard that its folder is an old one.
func (n *node) gaveUp(e core.Event) {
	n.s.count.hit("restored disk found")
	if !n.s.chk.replaced(n.inc) {
		n.s.violate("R3: %s gives up a disk that nobody restored: %s", n.id, e.Detail)
	}
	gen := n.gen
	n.s.after(0, func() {
		if gen == n.gen {
			n.stop(0)
		}
	})
}
