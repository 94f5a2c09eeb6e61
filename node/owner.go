package node

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/replication"
	"github.com/baton-ha/baton/raftify/core"
)

// view is what the rest of the node sees of the owner loop's state. It is replaced, never changed.
type view struct {
	term         core.Term
	role         core.Role
	leader       string
	leading      bool // takeover done
	counted      bool // and a majority has acknowledged it
	tip          replication.Ref
	leaderHeight block.Height
	members      int
}

// afterStep carries out what the replication core wants. It runs in the owner loop after each input, when the hard
// state that the input caused is queued for writing already (PROTOCOL R1: one order for both layers).
func (n *Node) afterStep(now core.Instant, c *core.Core) {
	for n.ch.HasReady() {
		r := n.ch.Ready()
		n.traceChain(c, &r)
		for _, w := range r.Writes {
			n.write(w)
		}
		n.look(c)
		n.sendAll(c, r.Messages)
		for _, x := range r.Execs {
			n.engine.exec(x.Block)
		}
		for _, f := range r.Fetches {
			n.fetches.start(f)
		}
		for _, e := range r.Events {
			n.chainEvent(e)
		}
	}
	n.look(c)
	n.traceStep(now, c)
}

// write queues one atomic change of the chain. Its completion comes back as an event of the loop.
func (n *Node) write(w replication.Write) {
	b := blockstore.Batch{Append: w.Append, Cut: w.Cut, NoSync: w.NoSync}
	var leap *leap
	if w.Jump != nil {
		leap = n.leap
		b.Jump = n.writeJump()
	}
	if w.Synced != nil {
		t := uint64(*w.Synced)
		b.Synced = &t
	}
	if w.Nacked != nil {
		t := uint64(*w.Nacked)
		b.Nacked = &t
	}
	if r := w.Commit; r != nil && w.Jump == nil { // of a jump it is in there
		b.Commit = &blockstore.Commit{Height: r.Ref.Height, Hash: r.Ref.Hash, CTerm: uint64(r.CTerm), From: r.From}
	}
	seq := w.Seq
	n.store.Enqueue(b, func(err error) {
		if err != nil {
			return // Fatal was called
		}
		if leap != nil {
			close(leap.written)
		}
		n.raft.Do(func(now core.Instant, c *core.Core) {
			n.cfg.Trace.Durable(seq)
			n.ch.Durable(now, seq)
			c.Poke(now)
		})
	})
	if leap != nil {
		close(leap.queued)
	}
}

// sendAll sends chain messages, each block encoded once.
func (n *Node) sendAll(c *core.Core, ms []replication.Message) {
	k := 0
	for i := range ms {
		if n.ch.Address(c.Header(ms[i].To), &ms[i]) {
			n.cfg.Trace.Message(&ms[i])
			ms[k] = ms[i]
			k++
		}
	}
	n.cfg.Trace.Flush()
	for i := range ms[:k] {
		m := &ms[i]
		b, err := replication.EncodeMessage(m)
		if err != nil {
			n.log.Error().Err(err).Msg("message not sent")
			continue
		}
		if err := n.link.Send(string(m.To), msgChain, b); err != nil {
			n.metrics.dropped.Inc()
		}
	}
}

// look publishes the state after a step and acts on its changes.
func (n *Node) look(c *core.Core) {
	s := c.Status()
	old := n.view.Load()
	v := view{
		term: s.Term, role: s.Role, leader: string(s.Leader), leading: n.ch.Leading(), counted: n.ch.Counted(), tip: n.ch.Tip(),
		leaderHeight: n.ch.LeaderHeight(), members: len(s.Cfg.Members),
	}
	if s.Cfg.Key != n.seen.Key {
		was := n.seen
		n.seen = s.Cfg
		n.membersChanged(was, s.Cfg)
	}
	if v == *old {
		return
	}
	if v.leading && !old.leading {
		n.engine.begin()
	}
	n.view.Store(&v)
	if v.leading != old.leading || v.role != old.role || v.term != old.term {
		n.mu.Lock()
		close(n.changed)
		n.changed = make(chan struct{})
		n.mu.Unlock()
	}
	if old.leading && !v.leading {
		n.engine.stop()
	}
	if v.leader != old.leader || v.leading != old.leading || v.term != old.term {
		n.router.leaderChanged(&v)
		n.leaderSeen(&v)
	}
	if v.counted && !old.counted {
		n.router.releaseVerdicts()
	}
	if v.leader != old.leader && (v.leader != n.cfg.ID || v.leading) || v.leading != old.leading {
		n.hub.leader(&v)
	}
}

// leaderSeen remembers who leads, and shows it. A node that was elected leads from the end of its takeover on.
func (n *Node) leaderSeen(v *view) {
	leader := v.leader
	if leader == n.cfg.ID && !v.leading {
		leader = ""
	}
	n.reigns.note(leader, v.term, time.Now())
	n.outlook.wake()
}

// takenOver reports whether this node leads. One that was elected and is taking over is waited for: that takes moments, and
// others know already that it leads.
func (n *Node) takenOver(ctx context.Context) bool {
	for {
		n.mu.Lock()
		changed := n.changed
		n.mu.Unlock()
		if v := n.view.Load(); v.leading || v.role != core.RoleLeader {
			return v.leading
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

func (n *Node) chainEvent(e replication.Event) {
	about := func(l *zerolog.Event) *zerolog.Event { return l.Str("event", e.Kind.String()).Stringer("block", e.Ref) }
	switch e.Kind {
	case replication.EventCommitted:
		for _, at := range n.engine.committed(e.Ref.Height) {
			n.metrics.commit.Observe(time.Since(at).Seconds())
		}
		n.committed(e)
	case replication.EventTip:
		if n.ch.Room() && n.ch.Tip() == e.Ref {
			n.engine.build(&target{ref: e.Ref, term: n.view.Load().term})
		}
	case replication.EventAppended:
		if n.mutant.broken(signEarly) {
			n.committed(e)
		}
		if !n.ch.Leading() {
			n.engine.build(nil)
		}
		n.syncs.appended()
	case replication.EventCut:
		about(n.log.Warn()).Msg("own chain cut back: these blocks were never committed")
	case replication.EventSynced:
		n.syncs.synced(e.Ref, e.CTerm, time.Now())
	case replication.EventTakeover:
		about(n.log.Info()).Uint64("term", uint64(e.CTerm)).Msg("takeover done, this node leads")
	case replication.EventLeftOut:
		about(n.log.Warn()).Msg("the blocks of a voter's chain do not come: this node takes over without them, as a majority allows")
	case replication.EventNacked:
		about(n.log.Error()).Str("leader", string(e.Peer)).
			Msg("this node cannot reproduce the leader's block: it acknowledges nothing more in this term")
	case replication.EventJumped:
		about(n.log.Info()).Uint64("term", uint64(e.CTerm)).Msg("own chain begins anew at a committed block")
	case replication.EventPruned:
		n.syncer.pruned(e.Ref.Height, string(e.Peer))
	case replication.EventRepaired:
		about(n.log.Warn()).Uint64("term", uint64(e.CTerm)).Msg("damaged blocks of the own chain are back, or a later leader's took their place")
	case replication.EventAlarm:
		n.metrics.alarms.Inc()
		about(n.log.Error()).Msg(e.Detail)
	}
}

// committed hands newly committed blocks, with their bodies where they are in memory, to the finalizer.
func (n *Node) committed(e replication.Event) {
	var ts []finalTask
	for h := n.queuedFinal + 1; h <= e.Ref.Height; h++ {
		t := finalTask{ref: replication.Ref{Height: h}}
		if h == e.Ref.Height {
			t.cterm = e.CTerm // those below may be older than that term's takeover and have another certificate (R11)
		}
		if b, ok := n.ch.BlockAt(h); ok {
			t.blk, t.ref.Hash = b, b.Hash()
		}
		ts = append(ts, t)
	}
	n.queuedFinal = max(n.queuedFinal, e.Ref.Height)
	n.finalizer.push(ts...)
}
