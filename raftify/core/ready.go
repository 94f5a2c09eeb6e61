package core

import (
	"maps"
	"slices"
)

type held struct {
	seq  uint64 // hard-state write that must be durable first
	term Term
	msg  Message
	// report: ask the hook for the attachment when the promise is durable.
	report bool
}

// pendingHS is a hard-state write that is not durable yet, and what waits for it. With a slow disk several are under
// way, and the term may be another one when the first is done: each mark says of what it speaks.
type pendingHS struct {
	seq       uint64
	cfg       Config
	installed bool      // the write holds a configuration that this leader installed
	takeover  Term      // the write holds cfg.cterm of this node's takeover of that term; 0: of none
	ownVote   Term      // the write holds this node's vote for itself in that term; 0: of none
	stale     string    // the write says that the folder is out of use, and this is why; "": it does not
	boot      ClusterID // the write holds this node's promise of its own proposal; zero: of none
}

// header fills the sender's part of a message.
func (c *Core) header(to NodeID) Header {
	return Header{
		ClusterID: c.hs.ClusterID, From: c.hs.ID, To: to, Inc: c.hs.Inc, Boot: c.hs.Boot,
		Session: c.opt.Session, Term: c.hs.Term,
	}
}

// Header returns the header for an application message of the current term to a peer.
func (c *Core) Header(to NodeID) Header { return c.header(to) }

func (c *Core) send(to NodeID, m Message) {
	if c.hs.Stale {
		return
	}
	m.Header = c.header(to)
	c.out = append(c.out, m)
}

// need is the number of the hard-state write that holds everything changed so far.
func (c *Core) need() uint64 {
	if c.dirty {
		return c.hseq + 1
	}
	return c.hseq
}

// needVote is the number of the write that holds the current term and vote, whatever else changed since.
func (c *Core) needVote() uint64 {
	if c.voteDirty {
		return c.hseq + 1
	}
	return c.voteSeq
}

// setVote changes the vote of the current term.
func (c *Core) setVote(v Vote) {
	c.hs.Vote = v
	c.dirty, c.voteDirty = true, true
}

// sendDurable sends once the state of this moment is durable, and only if the term is the same then (PROTOCOL R1).
func (c *Core) sendDurable(to NodeID, m Message, report bool) {
	c.sendAfter(c.need(), to, m, report)
}

// sendAfter is sendDurable for a message that asserts no more than hard-state write seq holds. A message that waits
// for the same write already is replaced: while a disk hangs, the queue does not grow with the heartbeats.
func (c *Core) sendAfter(seq uint64, to NodeID, m Message, report bool) {
	if c.hs.Stale {
		return
	}
	m.Header = c.header(to)
	h := held{seq: seq, term: c.hs.Term, msg: m, report: report}
	if report && c.broken(FaultEarlyReport) {
		h.msg.Attachment, h.report = c.hook.Report(), false
	}
	if h.seq <= c.durable || c.broken(FaultNoPersist) {
		c.release(h)
		return
	}
	for i, o := range c.held {
		if o.seq == h.seq && o.term == h.term && o.msg.To == to && o.msg.Type == m.Type {
			c.held[i] = h
			return
		}
	}
	c.held = append(c.held, h)
}

func (c *Core) release(h held) {
	if h.term != c.hs.Term {
		return
	}
	if h.report {
		h.msg.Attachment = c.hook.Report()
	}
	c.out = append(c.out, h.msg)
}

// Durable says that hard-state write seq, and all before it, survived an fsync.
func (c *Core) Durable(now Instant, seq uint64) {
	if seq <= c.durable {
		return
	}
	invariant(seq <= c.hseq, "durable write %d was never handed out (newest %d)", seq, c.hseq)
	c.durable = seq
	var done []pendingHS
	for len(c.pending) > 0 && c.pending[0].seq <= seq {
		done = append(done, c.pending[0])
		c.pending = c.pending[1:]
	}
	for _, p := range done {
		c.dcfg = p.cfg
	}
	for _, p := range done {
		if p.takeover == c.hs.Term && c.role == RoleLeader && c.taking {
			c.progress = now
			c.hook.TakeoverDurable(now, c.hs.Term)
		}
		if p.ownVote == c.hs.Term {
			c.ownVoteDurable(now)
		}
		if p.installed && c.role == RoleLeader && !c.taking && p.cfg.Key == c.hs.Cfg.Key {
			c.observe(now)
			c.broadcastHB(now)
		}
		if p.stale != "" {
			c.event(Event{Kind: EventStale, Detail: p.stale})
		}
		if p.boot != (ClusterID{}) {
			c.boot.ownPromiseDurable(c, now, p.boot)
		}
	}
	keep := c.held[:0]
	ready := []held{}
	for _, h := range c.held {
		if h.seq <= seq {
			ready = append(ready, h)
		} else {
			keep = append(keep, h)
		}
	}
	c.held = keep
	for _, h := range ready {
		c.release(h)
	}
	c.drain(now)
}

// Ready is what the core wants done. Ready takes it out of the core: whatever is in it is the driver's from then on.
type Ready struct {
	// HardState, when not nil, is write number Seq: make it durable, after all earlier ones, then call Durable(Seq).
	// Nothing in Messages depends on it, so both may go at once.
	HardState *HardState
	Seq       uint64
	Messages  []Message
	Events    []Event
}

// HasReady reports whether Ready would return anything.
func (c *Core) HasReady() bool { return c.dirty || len(c.out) > 0 || len(c.events) > 0 }

// Ready returns and forgets what is to be done.
func (c *Core) Ready() Ready {
	r := Ready{Messages: c.out, Events: c.events}
	c.out, c.events = nil, nil
	if c.dirty {
		c.dirty = false
		c.hseq++
		if c.voteDirty {
			c.voteDirty, c.voteSeq = false, c.hseq
		}
		hs := c.hs
		if c.broken(FaultNoVotePersist) {
			hs.Vote = Vote{Kind: VoteNone}
		}
		r.HardState, r.Seq = &hs, c.hseq
		p := c.nextMarks
		p.seq, p.cfg = c.hseq, c.hs.Cfg
		c.nextMarks = pendingHS{}
		c.pending = append(c.pending, p)
	}
	return r
}

// Clone returns an independent copy that talks to another hook, a clone of the application's (nil: the copy is used
// alone). Both go on drawing from Options.Rand, so for exploration that must be a pure function. Events and messages
// that Ready has not taken yet are in both.
func (c *Core) Clone(h Hook) *Core {
	d := *c
	if h == nil {
		basic := &BasicHook{}
		if b, ok := c.hook.(*BasicHook); ok {
			*basic = b.Clone()
		}
		h = basic
	}
	d.hook = h
	d.flt = c.flt.clone()
	d.pending, d.held, d.out, d.events = slices.Clone(c.pending), slices.Clone(c.held), slices.Clone(c.out), slices.Clone(c.events)
	d.seen, d.grants, d.votes, d.acks = maps.Clone(c.seen), maps.Clone(c.grants), maps.Clone(c.votes), maps.Clone(c.acks)
	d.dead = maps.Clone(c.dead)
	d.sent, d.rounds = slices.Clone(c.sent), slices.Clone(c.rounds)
	if c.transfer != nil {
		t := *c.transfer
		d.transfer = &t
	}
	d.boot = c.boot.clone()
	d.mem = c.mem.clone()
	d.ask = c.ask.clone()
	return &d
}
