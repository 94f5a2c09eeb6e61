package explore

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"slices"
	"time"

	"github.com/baton-ha/baton/raftify/core"
)

// spent counts what is bounded, at one node; the bounds hold for the sum over all nodes.
type spent struct {
	crashes, wipes, reconfigs, transfers uint8
}

// told is a vote that others were told of.
type told struct {
	term core.Term
	who  core.NodeID
}

// ackedCfg is the newest configuration that others were told to be durable at a node in a term.
type ackedCfg struct {
	term core.Term
	key  core.CfgKey
}

// history is what a node has shown of itself since its disk was new, but for won, which outlives its disk. It only
// grows, so a property of it that is broken stays broken.
type history struct {
	term      core.Term     // highest that it spoke in
	votes     []told        // by term
	acked     []ackedCfg    // by term
	won       []core.Term   // terms in which it was elected
	installed []core.Config // configurations that it made
}

// start is one start of a node.
type start struct{ boot, session uint64 }

// write is a hard state on its way to the disk.
type write struct {
	seq uint64
	hs  core.HardState
}

// local is the state of one node: all that decides what it will do, what it has sent to whom, and its history. Locals
// are interned and never change; transitions between them are remembered.
type local struct {
	node   int
	core   *core.Core
	app    *probe
	now    core.Instant // of its own clocks
	writes []write
	gen    uint8 // which disk
	rounds uint8 // pre-vote rounds in this term
	peers  [maxNodes]start
	beats  uint64 // number of the newest heartbeat
	// ackedBy is the newest configuration that each acknowledged to this leader.
	ackedBy [maxNodes]core.CfgKey
	out     [maxNodes][]uint32
	hist    history
	spent   spent

	// Derived.
	wonMask  uint32
	lease    bool
	bad      string // the invariant that this node alone breaks
	next     []uint32
	steps    []step
	expanded bool
	later    uint32 // one quantum later, +1
	from     uint32 // how it was reached first
	by       action
	images   []uint32
}

// step is a transition that needs no message.
type step struct {
	act action
	to  uint32
}

// kind says what an action does. Zero is no action.
type kind uint8

const (
	actDeliver kind = iota + 1
	actTimeout      // the clocks go ahead by so much that all timers have run out, then a tick
	actTick         // a tick (timed only)
	actSync         // the oldest write, and arg more, become durable
	actCrash        // crash and restart
	actWipe         // crash and restart with an empty disk
	actReconfig
	actTransfer
	actTime // a quantum of true time passes
)

// action is one transition: what, at which node, and which message, change or target.
type action struct {
	kind kind
	node uint8
	arg  uint32
}

func (l *local) clone() *local {
	d := *l
	d.app = l.app.clone()
	d.core = l.core.Clone(d.app)
	d.next, d.steps, d.expanded, d.later, d.bad, d.images = nil, nil, false, 0, "", nil
	return &d
}

// disk is what is durable.
func (l *local) disk() *core.HardState { return &l.app.disk }

func (l *local) fail(format string, args ...any) {
	if l.bad == "" {
		l.bad = fmt.Sprintf(format, args...)
	}
}

func (l *local) id() core.NodeID { return l.app.id }

// advance lets a node's own clocks go ahead.
func (l *local) advance(d time.Duration) {
	l.now.Mono += int64(d)
	l.now.Boot += int64(d)
	l.now.Real += int64(d)
}

// sessionOf is what a start draws at random in reality.
func sessionOf(node int, gen uint8, boot uint64) uint64 {
	return boot*100 + uint64(gen)*10 + uint64(node)
}

// heard is the newest start of another node that this one has heard of, or its first.
func (l *local) heard(i int) start {
	if s := l.peers[i]; s.boot > 0 {
		return s
	}
	return start{1, sessionOf(i, 0, 1)}
}

// start makes a core of what is on the disk.
func (m *machine) start(l *local) {
	hs := l.disk()
	if hs.Term < l.hist.term {
		l.fail("I2: %s restarts in term %d, but spoke in term %d", l.id(), hs.Term, l.hist.term)
	}
	for _, v := range l.hist.votes {
		if v.term == hs.Term && hs.Vote != (core.Vote{Kind: core.VoteFor, ID: v.who}) {
			l.fail("I2: %s restarts in term %d with vote %v, but had voted for %s", l.id(), hs.Term, hs.Vote, v.who)
		}
	}
	hs.Boot = 1 // not raised: then what an earlier start sent still counts, which is more than R3 lets happen
	l.app.BasicHook = core.BasicHook{}
	l.writes, l.rounds, l.peers = nil, 0, [maxNodes]start{}
	opt := core.Options{
		State: *hs, Session: sessionOf(l.node, l.gen, hs.Boot), Addr: addrOf(l.id()), Timing: timing(),
		Hook: l.app, Rand: func(int64) int64 { return 0 }, Now: l.now,
	}
	c, err := core.New(opt)
	if err != nil {
		l.fail("start: %v", err)
		return
	}
	l.core = c
	if m.cfg.OnCore != nil {
		m.cfg.OnCore(c)
	}
}

func idOf(i int) core.NodeID              { return core.NodeID(rune('1' + i)) }
func addrOf(id core.NodeID) string        { return "node" + string(id) + ":7946" }
func indexOf(id core.NodeID) int          { return int(id[0] - '1') }
func incOf(i int, gen uint8) (c core.Inc) { c[0], c[1] = byte(i+1), gen+1; return c }

// settle takes out of the core what it wants, and notes what others see of it.
func (m *machine) settle(l *local) {
	if m.cfg.Timed == nil { // time is free, so back-off means nothing
		l.app.Command(core.Command{Kind: core.CmdCommitted, Term: 0})
		l.core.Poke(l.now)
	}
	for l.core.HasReady() {
		r := l.core.Ready()
		for _, e := range r.Events {
			m.say("      %s %v term %d %v %s %s", l.id(), e.Kind, e.Term, e.Role, e.Peer, e.Detail)
			l.happened(e)
		}
		if r.HardState != nil {
			m.say("      %s writes %d: term %d, vote %v, configuration %v", l.id(), r.Seq, r.HardState.Term, r.HardState.Vote, r.HardState.Cfg.Key)
			l.writes = append(slices.Clone(l.writes), write{r.Seq, *r.HardState})
		}
		won := slices.ContainsFunc(r.Events, func(e core.Event) bool { return e.Kind == core.EventElected })
		for _, msg := range r.Messages {
			m.say("      %s", describe(msg))
			m.said(l, msg)
			m.send(l, msg)
			if won && msg.Type == core.MsgHB && m.cfg.Timed == nil {
				l.reach(msg)
			}
		}
	}
	if l.app.bad != "" {
		l.fail("%s", l.app.bad)
	}
	m.gossip(l)
}

// reach answers a new leader's first heartbeat as if the other had it, but none of the configurations of this term: so
// a change of membership or a handover never fails because somebody does not answer, and still waits for those who must
// have acknowledged the configuration.
func (l *local) reach(msg core.Message) {
	s := l.core.Status()
	_ = l.core.Step(l.now, core.Message{
		Type: core.MsgHBAck, Header: l.answer(msg), Seq: msg.Seq, CfgKey: core.CfgKey{Ver: s.Cfg.Key.Ver},
	})
}

// answer is the header of an answer to a message of this node.
func (l *local) answer(msg core.Message) core.Header {
	h := msg.Header
	h.From, h.To = msg.To, msg.From
	member, _ := l.core.Status().Cfg.Member(h.From)
	h.Inc = member.Inc
	from := l.heard(indexOf(h.From))
	h.Boot, h.Session = from.boot, from.session
	return h
}

// gossip sends everybody the term that is durable at a node, once alone and once with the configuration, whether they
// have asked for it by a message of a lower term or not.
func (m *machine) gossip(l *local) {
	s := l.core.Status()
	if m.cfg.Timed != nil || s.Cfg.Key.Ver == 0 || l.disk().Term != s.Term || s.Term == 0 {
		return
	}
	for i := range m.cfg.Nodes {
		if i == l.node {
			continue
		}
		m.put(l, i, core.Message{Type: core.MsgTerm, Header: l.core.Header(idOf(i))})
		if l.disk().Cfg.Key == s.Cfg.Key {
			cfg := s.Cfg
			m.put(l, i, core.Message{Type: core.MsgTerm, Header: l.core.Header(idOf(i)), Cfg: &cfg})
		}
	}
}

func (l *local) happened(e core.Event) {
	switch e.Kind {
	case core.EventElected:
		if slices.Contains(l.hist.won, e.Term) {
			l.fail("R9: %s leads term %d a second time", l.id(), e.Term)
		}
		l.hist.won = append(slices.Clone(l.hist.won), e.Term)
		l.ackedBy = [maxNodes]core.CfgKey{}
	case core.EventTerm:
		l.rounds = 0
	case core.EventReconfigured:
		l.installed()
	case core.EventAlarm:
		if e.Peer == "" {
			l.fail("alarm: %s: %s", l.id(), e.Detail)
		}
	default:
	}
}

// installed notes a configuration that this leader has just made (I11).
func (l *local) installed() {
	cfg, was := l.core.Status().Cfg, l.app.prev
	apart := 0
	for _, pair := range [][2]core.Config{{was, cfg}, {cfg, was}} {
		for _, x := range pair[0].Members {
			if o, ok := pair[1].Member(x.ID); x.Voter && (!ok || !o.Voter || o.Inc != x.Inc) {
				apart++
			}
		}
	}
	if apart > 1 || !cfg.IsVoter(l.id()) || cfg.Key.Ver != was.Key.Ver+1 {
		l.fail("I11: %s replaces %v by %v, %d voters apart", l.id(), was.Key, cfg.Key, apart)
	}
	l.hist.installed = append(slices.Clone(l.hist.installed), cfg)
}

// said notes a message that leaves (I2, I11, and the report rule).
func (m *machine) said(l *local, msg core.Message) {
	h := &l.hist
	if msg.Term < h.term {
		l.fail("I2: %s sends %v of term %d after term %d", l.id(), msg.Type, msg.Term, h.term)
	}
	if m.mayRestart(l) && m.matters(&msg) {
		h.term = max(h.term, msg.Term)
	}
	switch {
	case msg.Type == core.MsgVote:
		l.voted(msg.Term, msg.From)
	case msg.Type == core.MsgVoteResp && msg.OK:
		l.voted(msg.Term, msg.To)
		if got, want := string(msg.Attachment), promised(msg.Term, msg.To); got != want {
			l.fail("I4: the report in the vote of %s for %s in term %d was read when the disk said %q", l.id(), msg.To, msg.Term, got)
		}
	case msg.Type == core.MsgHBAck && m.cfg.Reconfigs > 0:
		for _, a := range h.acked {
			if msg.CfgKey.Compare(a.key) < 0 {
				l.fail("I11: %s acknowledges configuration %v after %v", l.id(), msg.CfgKey, a.key)
			}
		}
		i := slices.IndexFunc(h.acked, func(a ackedCfg) bool { return a.term == msg.Term })
		switch {
		case i < 0:
			h.acked = append(slices.Clone(h.acked), ackedCfg{msg.Term, msg.CfgKey})
		case h.acked[i].key != msg.CfgKey:
			h.acked = slices.Clone(h.acked)
			h.acked[i].key = msg.CfgKey
		}
	}
}

func (l *local) voted(t core.Term, who core.NodeID) {
	for _, v := range l.hist.votes {
		if v.term == t && v.who != who {
			l.fail("I2: %s votes for %s and for %s in term %d", l.id(), v.who, who, t)
		}
		if v.term == t {
			return
		}
	}
	l.hist.votes = append(slices.Clone(l.hist.votes), told{t, who})
}

// seal computes what is derived once a transition is over.
func (l *local) seal() {
	l.wonMask = 0
	for _, t := range l.hist.won {
		l.wonMask |= 1 << t
	}
	l.lease = l.core != nil && l.core.Status().Lease.Left(l.now) > 0
}

// key identifies a local: two with one key have the same future and the same history.
func (l *local) key() (sum [16]byte) {
	p := printer{sha256.New()}
	fp := l.core.Fingerprint(l.now)
	p.h.Write(fp[:])
	p.num(uint64(l.node), uint64(l.gen), uint64(l.rounds), uint64(l.app.Leads()), uint64(len(l.bad)))
	p.hardState(l.disk())
	p.num(uint64(len(l.writes)))
	for _, w := range l.writes {
		p.hardState(&w.hs)
	}
	for _, o := range l.out {
		p.num(uint64(len(o)))
		for _, id := range o {
			p.num(uint64(id))
		}
	}
	h := &l.hist
	p.num(uint64(h.term), uint64(len(h.votes)))
	for _, v := range h.votes {
		p.num(uint64(v.term), uint64(v.who[0]))
	}
	p.num(uint64(len(h.acked)))
	for _, a := range h.acked {
		p.num(uint64(a.term), uint64(a.key.CTerm), a.key.Ver)
	}
	p.num(uint64(len(h.won)))
	for _, t := range h.won {
		p.num(uint64(t))
	}
	p.num(uint64(len(h.installed)))
	for _, c := range h.installed {
		p.cfg(c)
	}
	s := l.spent
	p.num(uint64(s.crashes), uint64(s.wipes), uint64(s.reconfigs), uint64(s.transfers))
	copy(sum[:], p.h.Sum(nil))
	return sum
}

type printer struct{ h hash.Hash }

func (p printer) num(ns ...uint64) {
	b := make([]byte, 0, 64)
	for _, n := range ns {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	p.h.Write(b)
}

func (p printer) cfg(c core.Config) {
	h := c.Hash()
	p.num(uint64(c.Key.CTerm), c.Key.Ver)
	p.h.Write(h[:])
	for _, pin := range c.Pins {
		_, _ = fmt.Fprint(p.h, pin)
	}
}

func (p printer) hardState(hs *core.HardState) {
	who := uint64(0)
	if hs.Vote.ID != "" {
		who = uint64(hs.Vote.ID[0])
	}
	p.num(hs.Boot, uint64(hs.Term), uint64(hs.Vote.Kind), who)
	p.h.Write(hs.ClusterID[:])
	p.h.Write(hs.Promise[:])
	p.h.Write(hs.Inc[:])
	p.cfg(hs.Cfg)
}
