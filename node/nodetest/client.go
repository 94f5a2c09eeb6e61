package nodetest

import (
	"slices"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/replication"
	"github.com/baton-ha/baton/raftify/core"
)

// client owns one account. It sends its transactions, in the order of their nonces and a few at a time, to any node,
// and again to another when no answer comes.
type client struct {
	s       *sim
	account uint8
	next    uint64 // nonce of the next new transaction
	done    uint64 // all below are acknowledged
}

func (c *client) loop() {
	s := c.s
	if !s.set.quiet && c.next < c.done+uint64(s.set.window) {
		c.next++
		c.submit(c.next - 1)
	}
	s.after(s.jitter(s.set.think), c.loop)
}

// submit hands the transaction to some node until it is final.
func (c *client) submit(nonce uint64) {
	s := c.s
	if nonce < c.done {
		return
	}
	nodes := s.nodes
	if s.serving != nil {
		nodes = s.serving // clients find out who answers
	}
	n := nodes[s.rng.IntN(len(nodes))]
	s.after(s.jitter(ms), func() {
		n.do(func(now core.Instant) { n.accept(now, purse{c.account, nonce}) })
	})
	s.after(100*ms+s.rng.Int64N(100*ms), func() { c.submit(nonce) })
}

// final tells the client that its transaction is in the committed and signed block ref.
func (c *client) final(nonce uint64, ref replication.Ref) {
	c.s.chk.Acknowledged(purse{c.account, nonce}.tx(), ref)
	if nonce+1 > c.done {
		c.done = nonce + 1
		c.s.count.acked++
	}
}

func (n *node) committed() state { return n.s.led.after[n.ch.Commit().Hash] }

// accept takes a transaction from a client or another node.
func (n *node) accept(now core.Instant, p purse) {
	if p.nonce < n.committed().next[p.account] {
		n.answer(p)
		return
	}
	pool := &n.pool[p.account]
	i, ok := slices.BinarySearch(*pool, p.nonce)
	if !ok {
		*pool = slices.Insert(*pool, i, p.nonce)
	}
	n.tryBuild(now)
}

// answer tells the client in which block its transaction is.
func (n *node) answer(p purse) {
	at := n.ch.Commit()
	for {
		b := n.s.led.blocks[at.Hash]
		if n.s.led.after[b.Header.Parent].next[p.account] <= p.nonce {
			n.s.clients[p.account].final(p.nonce, at)
			return
		}
		at = replication.Ref{Height: at.Height - 1, Hash: b.Header.Parent}
	}
}

// finalize answers for what became committed.
func (n *node) finalize() {
	st := n.committed()
	for a := range n.pool {
		for len(n.pool[a]) > 0 && n.pool[a][0] < st.next[a] {
			n.answer(purse{uint8(a), n.pool[a][0]})
			n.pool[a] = n.pool[a][1:]
		}
	}
}

func (n *node) pending() []purse {
	var out []purse
	for a := range n.pool {
		for _, k := range n.pool[a] {
			out = append(out, purse{uint8(a), k})
		}
	}
	return out
}

// forward sends what is pending to the leader, again and again; and the newest certificate to somebody.
func (n *node) forward(gen int) {
	if gen != n.gen {
		return
	}
	s := n.s
	if !n.paused {
		leader := s.byID[n.status.Leader]
		if all := n.pending(); len(all) > 0 && leader != nil && leader != n {
			s.net.send(&packet{from: n, to: leader, what: "Transactions", fn: func(now core.Instant) {
				for _, p := range all {
					leader.accept(now, p)
				}
			}})
		}
		n.gossip()
		n.perhapsBring()
		n.do(n.tryBuild)
	}
	s.after(s.jitter(30*ms), func() { n.forward(gen) })
}

func (n *node) gossip() {
	s := n.s
	if s.rng.IntN(4) != 0 || n.cert.CTerm == 0 || n.cert.From > n.cert.Ref.Height {
		return
	}
	if to := s.nodes[s.rng.IntN(len(s.nodes))]; to != n {
		m := replication.Message{Type: replication.MsgCommitted, Ref: n.cert.Ref, CTerm: n.cert.CTerm}
		m.Header = n.el.Header(to.id)
		s.net.send(&packet{from: n, to: to, ch: &m})
	}
}

// tryBuild makes a block of the pending transactions on the tip, off the owner loop.
func (n *node) tryBuild(core.Instant) {
	s := n.s
	if n.building || !n.ch.Room() {
		return
	}
	tip := n.ch.Tip()
	b := s.led.build(block.Header{
		ChainID: "sim", Height: tip.Height + 1, Parent: tip.Hash, TimeMs: s.now / ms, ChainVersion: "1",
		Proposer: string(n.id), Term: uint64(n.status.Term),
	}, n.pending(), s.set.blockTxs, n.exec.damaged)
	if b == nil {
		return
	}
	n.building = true
	gen := n.gen
	s.after(s.jitter(s.set.exec), func() {
		n.doFor(gen, func(now core.Instant) {
			n.building = false
			n.exec.known[b.Hash()] = true
			s.chk.Block(b)
			if n.ch.Propose(now, b) != nil {
				s.count.hit("block begun on an old tip")
			}
			n.el.Poke(now)
			n.tryBuild(now)
		})
	})
}

// round is a read that waits for a heartbeat round.
type round struct {
	seq  uint64
	term core.Term
	fn   func()
}

// wait is a read that waits for the own commit.
type wait struct {
	h  block.Height
	fn func()
}

func (c *client) readLoop() {
	s := c.s
	if s.set.reads > 0 {
		n := s.nodes[s.rng.IntN(len(s.nodes))]
		s.after(s.jitter(s.set.reads), c.readLoop)
		n.read()
	}
}

// read is one linearizable read at n (PROTOCOL R20).
func (n *node) read() {
	s := n.s
	began := s.decided()
	n.do(func(now core.Instant) {
		serve := func(h block.Height) {
			n.waits = append(n.waits, wait{h, func() {
				s.count.hit("read served")
				s.chk.Read(n.id, began, n.ch.Commit().Height)
			}})
		}
		if n.ch.Leading() {
			n.lead(now, serve)
			return
		}
		if s.opt.broken(glueOwnCommit) {
			serve(n.ch.Commit().Height)
			return
		}
		leader, gen := s.byID[n.status.Leader], n.gen
		if leader == nil || leader == n {
			return
		}
		s.net.send(&packet{from: n, to: leader, what: "ReadIndex", fn: func(now core.Instant) {
			leader.lead(now, func(h block.Height) {
				s.net.send(&packet{from: leader, to: n, what: "ReadIndexResp", fn: func(core.Instant) {
					if gen == n.gen {
						s.count.hit("follower read")
						serve(h)
					}
				}})
			})
		}})
	})
}

// lead is the leader's part of a read: note the commit, then a round; fn gets what was noted.
func (n *node) lead(now core.Instant, fn func(h block.Height)) {
	h, ok := n.ch.ReadHeight()
	if !ok {
		return
	}
	seq, err := n.el.RequestRound(now)
	if err != nil {
		return
	}
	n.rounds = append(n.rounds, round{seq, n.status.Term, func() { fn(h) }})
}

func (n *node) roundDone(seq uint64) {
	for len(n.rounds) > 0 && n.rounds[0].seq <= seq {
		fn := n.rounds[0].fn
		n.rounds = n.rounds[1:]
		fn()
	}
}

func (n *node) serveWaits() {
	keep := n.waits[:0]
	for _, w := range n.waits {
		if n.ch.Commit().Height >= w.h {
			w.fn()
		} else {
			keep = append(keep, w)
		}
	}
	n.waits = keep
}
