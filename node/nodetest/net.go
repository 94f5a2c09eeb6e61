package nodetest

import (
	"errors"
	"slices"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/replication"
	"github.com/baton-ha/baton/raftify/core"
)

// packet is one message on its way: of the election layer, of the chain layer, or something else with a name.
type packet struct {
	from, to *node
	el       *core.Message
	ch       *replication.Message
	what     string
	fn       func(now core.Instant)
}

// large says whether there are blocks in the packet.
func (p *packet) large() bool {
	return p.what == "Blocks" || p.ch != nil && p.ch.Type == replication.MsgProp
}

// network loses, delays, repeats and reorders. Links are one-way.
type network struct {
	s        *sim
	cut      [][]bool
	reliable [][]bool // neither loss nor long delays
	narrow   []bool   // by sender: what blocks are in is too large for its links
	// filter, when set, decides on each packet: false loses it. For directed schedules.
	filter func(p *packet) bool
}

func (w *network) init(s *sim) {
	w.s = s
	w.narrow = make([]bool, s.set.nodes)
	for range s.set.nodes {
		w.cut = append(w.cut, make([]bool, s.set.nodes))
		w.reliable = append(w.reliable, make([]bool, s.set.nodes))
	}
}

func (w *network) send(p *packet) {
	if p.to == nil {
		w.s.violate("driver: message to nobody: %s", describe(p))
		return
	}
	s := w.s
	i, j := p.from.i, p.to.i
	if w.cut[i][j] || w.narrow[i] && p.large() || w.filter != nil && !w.filter(p) {
		if s.tracing() {
			s.tracef("%s -> %s cut: %s", p.from.id, p.to.id, describe(p))
		}
		return
	}
	if w.reliable[i][j] {
		w.deliver(p, s.jitter(ms/2))
		return
	}
	if s.chance(s.set.loss) {
		if s.tracing() {
			s.tracef("%s -> %s lost: %s", p.from.id, p.to.id, describe(p))
		}
		return
	}
	w.deliver(p, w.delay())
	if s.chance(s.set.dup) {
		w.deliver(p, w.delay())
	}
}

func (w *network) delay() int64 {
	d := w.s.jitter(w.s.set.delay)
	if w.s.chance(w.s.set.spike) {
		d += w.s.rng.Int64N(4 * int64(w.s.tm.MinElection))
	}
	return d
}

func (w *network) deliver(p *packet, d int64) {
	s := w.s
	s.after(d, func() {
		if w.cut[p.from.i][p.to.i] {
			return
		}
		if s.tracing() {
			s.tracef("%s -> %s: %s", p.from.id, p.to.id, describe(p))
		}
		p.to.do(func(now core.Instant) { p.to.receive(now, p) })
	})
}

func (n *node) receive(now core.Instant, p *packet) {
	switch {
	case p.el != nil:
		_ = n.el.Step(now, *p.el) // an error says that the message does not count
	case p.ch != nil:
		replication.Deliver(now, n.el, n.ch, *p.ch)
	default:
		p.fn(now)
	}
}

// up tells both ends of all links of n that they were made anew.
func (w *network) up(n *node) {
	for _, o := range w.s.nodes {
		if o != n {
			w.linkUp(n, o)
		}
	}
}

func (w *network) linkUp(a, b *node) {
	if w.cut[a.i][b.i] || w.cut[b.i][a.i] {
		return
	}
	a.do(func(now core.Instant) { a.ch.PeerUp(now, b.id) })
	b.do(func(now core.Instant) { b.ch.PeerUp(now, a.id) })
}

// setCut cuts or mends the link from a to b.
func (w *network) setCut(a, b *node, cut bool) {
	was := w.cut[a.i][b.i]
	w.cut[a.i][b.i] = cut
	if was && !cut && w.s.rng.IntN(2) == 0 {
		w.linkUp(a, b)
	}
}

// both cuts or mends both ways.
func (w *network) both(a, b *node, cut bool) {
	w.cut[b.i][a.i] = cut
	w.setCut(a, b, cut)
}

var errNoAnswer = errors.New("no answer in time")

// fetch asks a peer for a piece of its durable chain.
func (n *node) fetch(f replication.Fetch) {
	s, gen := n.s, n.gen
	peer := s.byID[f.Peer]
	s.count.hit("fetch")
	s.net.send(&packet{from: n, to: peer, what: "Fetch from " + f.To.String(), fn: func(core.Instant) {
		blocks, err := peer.serve(f)
		s.net.send(&packet{from: peer, to: n, what: "Blocks", fn: func(now core.Instant) {
			if gen == n.gen {
				n.fetched(now, f.ID, blocks, err)
			}
		}})
	}})
	s.after(int64(s.tm.MinElection), func() {
		n.doFor(gen, func(now core.Instant) { n.fetched(now, f.ID, nil, errNoAnswer) })
	})
}

func (n *node) fetched(now core.Instant, id uint64, blocks []replication.Certified, err error) {
	n.ch.Fetched(now, id, blocks, err)
	n.el.Poke(now)
}

// serve answers a Fetch from the durable chain: a batch, extended to the next certified block.
func (n *node) serve(f replication.Fetch) ([]replication.Certified, error) {
	im := &n.disk.im
	if base := im.base(); f.From < base {
		return nil, &replication.PrunedError{Base: base}
	}
	var out []replication.Certified
	for h := max(f.From, 1); int(h) < len(im.blocks); h++ {
		b := im.blocks[h]
		if len(out) >= n.s.set.batch && out[len(out)-1].CTerm != 0 {
			break
		}
		out = append(out, replication.Certified{Block: b.blk, CTerm: b.cterm})
		if b.hash == f.To.Hash {
			break
		}
	}
	if len(out) > n.s.set.batch {
		n.s.count.hit("batch extended")
	}
	return out, nil
}

// executor executes blocks one after another, off the owner loop.
type executor struct {
	queue   []*block.Block
	busy    bool
	slow    int64 // added to each execution
	damaged bool  // state roots come out wrong
	sticky  bool  // and do so after a restart
	epoch   int   // of what it has executed: a jump begins another
	known   map[block.Hash]bool
}

func (x *executor) ask(n *node, b *block.Block) {
	x.queue = append(x.queue, b)
	if !x.busy {
		x.next(n)
	}
}

func (x *executor) next(n *node) {
	if len(x.queue) == 0 {
		x.busy = false
		return
	}
	x.busy = true
	b := x.queue[0]
	x.queue = slices.Clone(x.queue[1:])
	gen, epoch := n.gen, x.epoch
	n.s.after(n.s.jitter(n.s.set.exec)+x.slow, func() {
		if gen != n.gen {
			return
		}
		if epoch != x.epoch { // on a state that is gone: nobody waits for the verdict
			n.s.count.hit("executed on the state before a jump")
			x.next(n)
			return
		}
		parent := b.Header.Parent
		if stored, ok := n.disk.im.HashAt(b.Header.Height - 1); !x.known[parent] && (!ok || stored != parent) {
			n.s.violate("R8: %s is to execute %d/%x before its parent", n.id, b.Header.Height, hash4(b))
			return
		}
		ok := n.s.led.execute(b) && !x.damaged || n.s.opt.broken(glueAnyRoot)
		x.known[b.Hash()] = true
		n.do(func(now core.Instant) {
			if gen == n.gen && epoch == x.epoch {
				n.ch.Executed(now, b.Hash(), ok)
				n.el.Poke(now)
			}
		})
		x.next(n)
	})
}
