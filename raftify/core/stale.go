package core

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
)

// ErrStaleFolder is returned by New for a folder that a peer found to be older than what its incarnation has said before:
// it was restored from a backup, or copied. What is missing in it may have been promised or acknowledged, so it never
// takes part again; with an empty folder the node joins anew (PROTOCOL R3).
var ErrStaleFolder = errors.New("the data folder is older than what this node has said since: restored from a backup, or copied")

// startBytes is how a MsgStale names the start that it is for: the rest of its attachment is text.
const startBytes = len(Inc{}) + 16

func (s start) encode() []byte {
	b := append(make([]byte, 0, startBytes), s.inc[:]...)
	b = binary.BigEndian.AppendUint64(b, s.boot)
	return binary.BigEndian.AppendUint64(b, s.session)
}

func (c *Core) self() start { return start{c.hs.ID, c.hs.Inc, c.hs.Boot, c.opt.Session} }

// Known returns the newest start of id's present incarnation that this node has heard or heard of, and the highest term
// that it was heard in; zero if none. Older starts, and later ones of a lower term, do not count (PROTOCOL R3).
func (c *Core) Known(id NodeID) (boot uint64, term Term) {
	m, ok := c.hs.Cfg.Member(id)
	if !ok {
		return 0, 0
	}
	if s := c.seen[id]; s.inc == m.Inc {
		boot, term = s.boot, s.term
	}
	if g, ok := c.dead[id]; ok && g.inc == m.Inc {
		boot = max(boot, g.boot)
	}
	return boot, term
}

// tellStale tells a start why it does not count. It is said to that very start, so it does no harm when it comes late.
func (c *Core) tellStale(h Header, format string, args ...any) {
	if c.broken(FaultNoStaleAnswer) {
		return
	}
	why := append(start{h.From, h.Inc, h.Boot, h.Session}.encode(), fmt.Sprintf(format, args...)...)
	m := Message{Type: MsgStale, Attachment: why}
	if cfg := c.dcfg; cfg.Key.Ver > 0 {
		m.Cfg = &cfg
	}
	c.sendAfter(c.needVote(), h.From, m, false)
}

// stepStale hears that a member remembers more of this folder than is in it: it is given up, durably, before the next
// start could count it up to what others remember.
func (c *Core) stepStale(now Instant, m Message) error {
	me := c.self().encode()
	if len(m.Attachment) < len(me) || string(m.Attachment[:len(me)]) != string(me) {
		return dropped("%s speaks of another start", m.From)
	}
	c.stepDown(now, "this folder is older than what it has said", 0)
	c.hs.Stale, c.dirty = true, true
	c.nextMarks.stale = fmt.Sprintf("%s knows more than is in it: %s", m.From, m.Attachment[len(me):])
	c.out, c.held, c.leader = nil, nil, ""
	c.endAsking(now)
	c.observe(now)
	return nil
}

// distrust is for the application, which knows that a start has less than its incarnation once said: it counts no more.
func (c *Core) distrust(id NodeID, why string) {
	s, ok := c.seen[id]
	m, in := c.hs.Cfg.Member(id)
	if !ok || !in || s.inc != m.Inc || id == c.hs.ID {
		return
	}
	h := Header{From: id, Inc: s.inc, Boot: s.boot, Session: s.session}
	s.session = ^s.session // which no start of that number has
	c.seen[id] = s
	delete(c.acks, id)
	c.event(Event{Kind: EventAlarm, Peer: id, Seq: h.Boot, Detail: fmt.Sprintf("%s has lost what it acknowledged: %s. "+
		"Its data folder was restored from a backup or copied; it counts no more", id, why)})
	c.tellStale(h, "%s", why)
}

// asking is what a start does before it uses a right that its folder gives it, a vote, a candidacy or an
// acknowledgement: it asks all members whether they know more of its incarnation than is in its folder. It ends with the
// answers of all, or after MinElection, in which no vote could be given anyway (PROTOCOL R4): to insist on a quorum of
// answers would not help, since the one that remembers may be the one that is missing, and to insist on all would make one
// dead node and one restart stop the cluster.
type asking struct {
	on    bool
	term  Term // what the folder had at the start: it has been told higher ones since
	begun Instant
	last  Instant
	said  map[NodeID]bool // who knows no more; of its present incarnation, or it would not count
}

func (a *asking) clone() asking {
	d := *a
	d.said = maps.Clone(a.said)
	return d
}

// beginAsking is for a node that has a configuration already when it starts. One whose membership does not change by itself
// has no way back as a newcomer, and does not ask.
func (c *Core) beginAsking() {
	if c.opt.Membership != nil && len(c.hs.Cfg.Members) > 1 {
		c.ask = asking{on: true, term: c.hs.Term, begun: c.opt.Now, said: map[NodeID]bool{}}
	}
}

func (c *Core) endAsking(now Instant) {
	if c.ask.on {
		c.ask = asking{}
		c.observe(now)
	}
}

// tickAsking asks again whoever has not answered.
func (c *Core) tickAsking(now Instant) {
	if !c.ask.on {
		return
	}
	if now.SinceMin(c.ask.begun) >= c.tm.MinElection {
		c.endAsking(now)
		return
	}
	if c.ask.last != (Instant{}) && now.SinceMin(c.ask.last) < c.tm.Heartbeat/2 {
		return
	}
	c.ask.last = now
	for _, m := range c.hs.Cfg.Members {
		if m.ID != c.hs.ID && !c.ask.said[m.ID] {
			c.sendDurable(m.ID, Message{Type: MsgPing, Seq: c.opt.Session, NextTerm: c.ask.term}, false)
		}
	}
}

// stepPing answers. To a start that asks, if no earlier one of its folder was in a higher term than the folder.
func (c *Core) stepPing(m Message) error {
	if old := c.seen[m.From].oldTerm; m.Seq != 0 && m.NextTerm < old && !c.broken(FaultAnyStart) {
		c.startedBelow(m.Header, m.NextTerm, old)
		return dropped("%s started in term %d after %d", m.From, m.NextTerm, old)
	}
	c.sendAfter(c.needVote(), m.From, Message{Type: MsgPong, Seq: m.Seq}, false)
	return nil
}

// startedBelow is for a start whose folder is in a lower term than an earlier one was: terms never fall.
func (c *Core) startedBelow(h Header, term, old Term) {
	c.event(Event{Kind: EventAlarm, Peer: h.From, Seq: h.Boot, Detail: fmt.Sprintf("%s starts in term %d after it was in "+
		"term %d: cloned or restored data folder?", h.From, term, old)})
	c.tellStale(h, "it was in term %d, its folder is in term %d", old, term)
}

// stepPong takes the answer of one that counts this start, and so knows of no later one.
func (c *Core) stepPong(now Instant, m Message) {
	if !c.ask.on || m.Seq != c.opt.Session {
		return
	}
	c.ask.said[m.From] = true
	for _, o := range c.hs.Cfg.Members {
		if o.ID != c.hs.ID && !c.ask.said[o.ID] {
			return
		}
	}
	c.endAsking(now)
}
