package nodetest

import (
	"math/rand/v2"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/replication"
	"github.com/baton-ha/baton/raftify/core"
)

// drawJumps makes some runs ones in which nodes forget old blocks, and in which others, needing them or not, take over a
// state instead. It has a source of chance of its own: the other runs stay what they were.
func (s *sim) drawJumps(seed uint64) {
	r := rand.New(rand.NewPCG(seed, 0x1a9))
	if r.IntN(3) > 0 {
		return
	}
	s.set.faults = append(s.set.faults, faultPrune, faultPrune, faultJump)
	s.set.bring = []int64{5 * ms, 50 * ms, 300 * ms}[r.IntN(3)]
	s.count.drawn["states that travel"]++
}

// base is the lowest height from which on all blocks are there, 0 when none is missing.
func (im *image) base() block.Height {
	for h := len(im.blocks) - 1; h > 0; h-- {
		if im.blocks[h].blk == nil {
			return block.Height(h + 1)
		}
	}
	return 0
}

// prune forgets the bodies below a height, which is not above the commit.
func (im *image) prune(to block.Height) {
	for h := block.Height(1); h < to; h++ {
		im.blocks[h] = stored{}
	}
}

// jump makes b the only block above genesis.
func (im *image) jump(b *block.Block) {
	blocks := make([]stored, b.Header.Height+1)
	blocks[0] = im.blocks[0]
	blocks[b.Header.Height] = stored{blk: b, hash: b.Hash()}
	im.blocks = blocks
}

// prune forgets some of a node's committed blocks, but none that a node which vouches for more than it has may still need:
// a store keeps a thousand.
func (n *node) prune() {
	im := &n.disk.im
	if len(n.disk.queue)+len(n.disk.loose) > 0 {
		return
	}
	to := im.commit.Ref.Height
	if r := n.s.rotten(); r != nil {
		to = min(to, r.disk.im.commit.Ref.Height)
	}
	if to <= im.base() {
		return
	}
	to -= block.Height(n.s.rng.Uint64N(min(uint64(to-im.base()), 4)))
	im.prune(to)
	n.s.count.hit("blocks pruned")
	n.s.tracef("%s prunes blocks below %d", n.id, to)
}

// pruned reports whether somebody has forgotten blocks from a height on, which a rotten node would have to get.
func (s *sim) pruned(above block.Height) bool {
	for _, o := range s.nodes {
		if o.disk.im.base() > above {
			return true
		}
	}
	return false
}

// offer is the newest certified block of a node, whose state it has. With the rule off, it is whatever the chain ends with.
func (n *node) offer() (b *block.Block, cterm core.Term) {
	im := &n.disk.im
	if n.s.opt.broken(glueOfferTip) {
		return im.blocks[im.tip().Height].blk, im.synced
	}
	for h := im.commit.Ref.Height; h > 0 && im.blocks[h].blk != nil; h-- {
		if t := im.blocks[h].cterm; t > 0 {
			return im.blocks[h].blk, t
		}
	}
	return nil, 0
}

// perhapsBring is for a node that is some blocks behind.
func (n *node) perhapsBring() {
	if n.s.set.bring > 0 && n.ch.LeaderHeight() > n.ch.Commit().Height+2 && n.s.rng.IntN(6) == 0 {
		n.bring()
	}
}

// bring asks all others for the state of their newest certified block, and jumps to one when it has arrived.
func (n *node) bring() {
	s, gen := n.s, n.gen
	if n.bringing || !n.up || len(s.nodes) < 2 {
		return
	}
	n.bringing = true
	done := func(now core.Instant) {
		if n.bringing {
			n.bringing = false
			n.ch.AwaitState(now, false)
			n.el.Poke(now)
		}
	}
	n.do(func(now core.Instant) { n.ch.AwaitState(now, true) })
	offered := false
	for _, peer := range s.nodes {
		if peer == n {
			continue
		}
		s.net.send(&packet{from: n, to: peer, what: "want a state", fn: func(core.Instant) {
			b, cterm := peer.offer()
			if b == nil {
				return
			}
			s.net.send(&packet{from: peer, to: n, what: "Offer", fn: func(core.Instant) {
				if gen != n.gen || !n.bringing || offered {
					return
				}
				if b.Header.Height <= n.ch.Commit().Height && s.rng.IntN(4) > 0 {
					return // mostly it is seen that another one's is newer
				}
				offered = true
				s.after(s.jitter(s.set.bring), func() {
					n.doFor(gen, func(now core.Instant) {
						n.arrived(now, b, cterm)
						done(now)
					})
				})
			}})
		}})
	}
	s.after(int64(s.tm.MinElection)/2, func() {
		if !offered {
			n.doFor(gen, done)
		}
	})
}

func (n *node) arrived(now core.Instant, b *block.Block, cterm core.Term) {
	tail := n.queued.Tip.Height > n.ch.Commit().Height
	switch err := n.ch.Jump(now, b, cterm); {
	case err == nil:
		n.s.count.hit("jump")
		if tail {
			n.s.count.hit("jump with a tail of its own")
		}
		n.exec.known = map[block.Hash]bool{b.Hash(): true}
		n.exec.queue = nil
		n.exec.epoch++
		if n.s.rng.IntN(8) == 0 && n.s.now < n.s.set.chaos {
			gen := n.gen
			n.s.after(n.s.rng.Int64N(n.disk.fault.latency+1), func() {
				if gen == n.gen {
					n.stop(n.s.rng.IntN(len(n.disk.queue) + len(n.disk.loose) + 1))
					n.s.after(n.s.jitter(n.s.set.length), n.revive)
				}
			})
		}
	case n.status.Role == core.RoleLeader || n.status.Role == core.RoleCandidate:
		n.s.count.hit("leader or candidate wants to jump")
	default:
		n.s.count.hit("jump to what is not newer")
	}
	n.el.Poke(now)
}

// jumped is what the driver does for a jump: the state, with the signature of its block, is that of others.
func (n *node) jumped(e replication.Event) {
	n.s.chk.Committed(n.id, e.Ref, e.CTerm)
	n.signed = max(n.signed, e.Ref.Height)
	n.signer = e.Ref
	n.finalize()
}
