package nodetest

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/replication"
	"github.com/baton-ha/baton/raftify/core"
)

// drawMembers makes some runs ones whose members change. It has a source of chance of its own: the other runs stay what
// they were.
func (s *sim) drawMembers(seed uint64) {
	r := rand.New(rand.NewPCG(seed, 0x3e3b))
	if r.IntN(5) >= 2 {
		return
	}
	s.set.voters = s.set.nodes
	s.set.nodes += r.IntN(3)
	s.set.members = &core.Membership{MaxVoters: 3 + r.IntN(3)}
	if r.IntN(2) == 0 {
		s.set.members.KickAfter = time.Duration(4+r.IntN(8)) * s.tm.MinElection
	}
	s.set.faults = append(s.set.faults, faultWipe, faultMember, faultMember)
	s.count.drawn["members change"]++
}

// empty is the disk of a new folder.
func (n *node) empty() image {
	return image{
		hs:     core.HardState{ID: n.id, Inc: n.inc, Vote: core.Vote{Kind: core.VoteNone}},
		blocks: []stored{{blk: n.s.led.blocks[n.s.led.zero.Hash], hash: n.s.led.zero.Hash}},
		commit: replication.CommitRecord{Ref: n.s.led.zero, From: 1},
	}
}

// wipe replaces a node's disk.
func (n *node) wipe() {
	n.stop(0)
	binary.BigEndian.PutUint64(n.inc[8:], n.s.rng.Uint64()|1)
	n.disk.im = n.empty()
	n.s.tracef("%s loses its disk, now %v", n.id, n.inc)
}

// living are the voters of a configuration whose disks are still those that it speaks of, but for one.
func (s *sim) living(cfg core.Config, but core.NodeID) (out []*node) {
	for _, m := range cfg.Members {
		if n := s.byID[m.ID]; m.Voter && m.ID != but && n.inc == m.Inc {
			out = append(out, n)
		}
	}
	return out
}

// mayWipe reports whether every configuration that anybody has keeps a majority of its disks without n's.
func (s *sim) mayWipe(n *node) bool {
	for _, o := range s.nodes {
		cfgs := []core.Config{o.disk.im.hs.Cfg}
		if o.up {
			cfgs = append(cfgs, o.el.Status().Cfg)
		}
		for _, cfg := range cfgs {
			if cfg.Key.Ver > 0 && len(s.living(cfg, n.id)) < cfg.Majority() {
				return false
			}
		}
	}
	return true
}

// twoFaults reports whether there is no way on: each majority of the newest configuration has a voter whose disk was
// lost, or one that holds a wrong block which the greatest chain of all that could vote does not cut, or one that lost a
// block to rot that nobody else has. R13 forbids to drop a block that a lost disk may have acknowledged, and R14 to let
// anybody go without a majority. Three voters stand one such fault, five stand two.
func (s *sim) twoFaults() bool {
	cfg := s.newest()
	live := s.living(cfg, "")
	var best replication.Report
	for _, n := range live {
		if r := n.report(); !s.wrongBlock(n) && best.Less(r) {
			best = r
		}
	}
	fit := slices.DeleteFunc(slices.Clone(live), func(n *node) bool {
		return s.wrongBlock(n) && !n.report().Less(best) || gone(n, live)
	})
	return len(fit) < cfg.Majority()
}

// gone reports whether a node reports blocks that it lost and that none of others holds.
func gone(n *node, others []*node) bool {
	c := n.disk.im.claim
	return c != nil && !slices.ContainsFunc(others, func(o *node) bool { return o.disk.im.holds(c.Tip) })
}

// report is what a node's disk would let it say in a vote.
func (n *node) report() replication.Report { return n.disk.im.asserted() }

// changeMembers has the leader try one change.
func (s *sim) changeMembers() {
	l, kind, who := s.leader(), core.ChangePromote+core.ChangeKind(s.rng.IntN(3)), s.anyNode().id
	if l == nil {
		return
	}
	l.do(func(now core.Instant) {
		cfg := l.el.Status().Cfg
		if kind != core.ChangePromote && (len(cfg.Voters()) <= 3 || len(s.living(cfg, who)) < cfg.Majority()) {
			kind = core.ChangeInvite
		}
		_ = l.el.Reconfigure(now, core.Change{Kind: kind, Member: core.Member{ID: who}})
	})
}

// newest is the newest configuration on a disk.
func (s *sim) newest() (cfg core.Config) {
	for _, n := range s.nodes {
		if c := n.disk.im.hs.Cfg; c.Key.Ver > 0 && c.Key.Compare(cfg.Key) >= 0 {
			cfg = c
		}
	}
	return cfg
}

// majority draws the nodes to heal: a majority of the newest configuration, and of those that its nodes have. whole
// asks for everybody. Nil: too many disks were lost.
func (s *sim) majority(whole bool) []*node {
	cfg := s.newest()
	in := map[*node]bool{}
	live := s.living(cfg, "")
	if len(live) < cfg.Majority() {
		return nil
	}
	s.rng.Shuffle(len(live), func(i, j int) { live[i], live[j] = live[j], live[i] })
	for i, n := range live {
		in[n] = whole || i < cfg.Majority()
	}
	for again := true; again; {
		again = false
		for _, n := range s.nodes {
			cfg := n.disk.im.hs.Cfg
			if !in[n] || cfg.Key.Ver == 0 {
				continue
			}
			k := 0
			for _, o := range s.living(cfg, "") {
				k += btoi(in[o])
			}
			for _, o := range s.living(cfg, "") {
				if k < cfg.Majority() && !in[o] {
					in[o], again = true, true
					k++
				}
			}
		}
	}
	var q []*node
	for _, n := range s.nodes {
		if in[n] {
			q = append(q, n)
		}
	}
	return q
}

// durableOn counts the voters of cfg that asserted to hold all up to h of the chain of term t's leader, or of a later
// one; the leader n itself is asked for its disk.
func (s *sim) durableOn(n *node, cfg core.Config, t core.Term, h block.Height) (holders, voters int) {
	for _, m := range cfg.Members {
		if !m.Voter {
			continue
		}
		voters++
		switch said := s.chk.nodes[m.Inc]; {
		case m.Inc == n.inc:
			holders += btoi(int(h) < len(n.disk.im.blocks))
		case said != nil && !said.acked.Less(replication.Report{Synced: t, Tip: replication.Ref{Height: h}}):
			holders++
		}
	}
	return holders, voters
}

func (s *sim) peers() (out []core.Peer) {
	for _, n := range s.nodes {
		out = append(out, core.Peer{ID: n.id, Addr: string(n.id)})
	}
	return out
}
