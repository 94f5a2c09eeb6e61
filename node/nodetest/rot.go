package nodetest

import (
	"math/rand/v2"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/replication"
)

// drawRot makes some runs ones in which durable blocks rot. It has a source of chance of its own: the other runs stay
// what they were.
func (s *sim) drawRot(seed uint64) {
	r := rand.New(rand.NewPCG(seed, 0x2075))
	if s.set.members != nil || r.IntN(4) > 0 {
		return // a rotten block and a lost disk are two losses
	}
	s.set.faults = append(s.set.faults, faultRot, faultRot)
	s.count.drawn["disks that rot"]++
}

// rot ends a process and makes a block above its commit unreadable; false when it has none. One disk at a time: who
// loses as many copies of a block as there are has lost it.
func (s *sim) rot(n *node) bool {
	if s.rotten() != nil {
		return false
	}
	n.stop(len(n.disk.queue) + len(n.disk.loose))
	im := &n.disk.im
	spare := im.tip().Height - im.commit.Ref.Height
	if spare == 0 || s.pruned(im.commit.Ref.Height+1) {
		return false
	}
	im.rot(im.commit.Ref.Height+1+block.Height(s.rng.Uint64N(uint64(spare))), !s.opt.broken(glueCutRot))
	s.count.hit("acknowledged block rots")
	return true
}

// rotten returns a node that cannot show all that it asserts, nil for none.
func (s *sim) rotten() *node {
	for _, n := range s.nodes {
		if n.disk.im.claim != nil {
			return n
		}
	}
	return nil
}

// asserted is what the disk was last told to hold.
func (im *image) asserted() replication.Report {
	if im.claim != nil {
		return *im.claim
	}
	return replication.Report{Synced: im.synced, Tip: im.tip()}
}

// rot makes the block at h, above the commit, unreadable. As in the store, the chain ends below it and the mark stands;
// without the mark nobody would know.
func (im *image) rot(h block.Height, mark bool) {
	if mark {
		claim := im.asserted()
		im.claim = &claim
		for _, b := range im.blocks[h+1:] {
			im.spare = append(im.spare, b.blk)
		}
	}
	im.blocks = im.blocks[:h:h]
}

// redeem ends the claim when the chain is as great again.
func (im *image) redeem() {
	if im.claim != nil && !(replication.Report{Synced: im.synced, Tip: im.tip()}).Less(*im.claim) {
		im.claim, im.spare = nil, nil
	}
}
