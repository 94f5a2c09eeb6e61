package explore

import (
	"fmt"
	"slices"
	"time"

	"github.com/baton-ha/baton/raftify/core"
)

// longAgo is more time than any timer of a core lasts.
const longAgo = 10 * time.Minute

// msgKey is a message as a comparable value.
type msgKey struct {
	kind                   core.MessageType
	head                   core.Header
	nextTerm, transferOf   core.Term
	ok, unfit              bool
	seq                    uint64
	cfg, cfgKey            core.CfgKey
	cfgHash, promise       core.ClusterID
	addr, attachment, more string
}

func keyOf(msg core.Message) msgKey {
	k := msgKey{
		kind: msg.Type, head: msg.Header, nextTerm: msg.NextTerm, transferOf: msg.TransferOf, ok: msg.OK, seq: msg.Seq,
		cfgKey: msg.CfgKey, promise: msg.Promise, addr: msg.Addr, attachment: string(msg.Attachment), unfit: msg.Unfit,
	}
	if msg.Cfg != nil {
		k.cfg, k.cfgHash, k.more = msg.Cfg.Key, msg.Cfg.Hash(), fmt.Sprint(msg.Cfg.Pins)
	}
	if len(msg.Reachable) > 0 || msg.Dead != nil {
		k.more += fmt.Sprint(msg.Reachable, msg.Dead)
	}
	return k
}

// machine holds the interned locals and messages, and computes transitions.
type machine struct {
	cfg    Config
	locals []*local
	byKey  map[[16]byte]uint32
	msgs   []core.Message
	ord    []uint32 // of each message among those to its receiver
	perTo  [maxNodes]uint32
	byMsg  map[msgKey]uint32
	log    func(format string, args ...any) // while a trace is printed

	group    []perm
	roots    [maxNodes]uint32
	computed int // transitions of single nodes
}

func newMachine(cfg Config) *machine {
	return &machine{cfg: cfg, group: cfg.group(), byKey: map[[16]byte]uint32{}, byMsg: map[msgKey]uint32{}}
}

func (m *machine) say(format string, args ...any) {
	if m.log != nil {
		m.log(format, args...)
	}
}

// send adds a message to what its sender has ever said: from now on it can arrive, any number of times.
func (m *machine) send(l *local, msg core.Message) {
	switch msg.Type {
	case core.MsgHB:
		l.beats = msg.Seq
	case core.MsgHBAck:
		if m.cfg.Timed == nil {
			msg.Seq = 0 // it will answer the newest heartbeat: where time is free, no answer is too late
		}
	default:
	}
	to := indexOf(msg.To)
	if to < 0 || to >= m.cfg.Nodes || !m.matters(&msg) {
		return
	}
	m.put(l, to, msg)
}

// put is send for a message that is known to matter.
func (m *machine) put(l *local, to int, msg core.Message) {
	id := m.message(msg)
	if i, found := slices.BinarySearch(l.out[to], id); !found {
		l.out[to] = slices.Insert(slices.Clone(l.out[to]), i, id)
	}
}

// message interns a message.
func (m *machine) message(msg core.Message) uint32 {
	k := keyOf(msg)
	id, ok := m.byMsg[k]
	if !ok {
		id = uint32(len(m.msgs))
		m.byMsg[k] = id
		m.msgs = append(m.msgs, msg)
		to := indexOf(msg.To)
		m.ord = append(m.ord, m.perTo[to])
		m.perTo[to]++
	}
	return id
}

// matters reports whether a message can change anything but what a node thinks of the time. Where time is free, a
// refused vote only tells a candidate that it may give up, which it may at any time; and an acknowledged heartbeat
// only tells a leader that it has a quorum, which it may lose at any time, unless it is asked to change the membership
// or to hand over.
func (m *machine) matters(msg *core.Message) bool {
	switch msg.Type {
	case core.MsgVoteResp, core.MsgPreVoteResp:
		return msg.OK
	case core.MsgTerm:
		return false // see gossip
	case core.MsgHBAck:
		return m.cfg.Timed != nil || m.cfg.Reconfigs > 0 && msg.CfgKey.CTerm == msg.Term // see reach
	default:
		return true
	}
}

// first returns the locals of the beginning.
func (m *machine) first() (at [maxNodes]uint32) {
	voters := m.cfg.Voters
	if voters == 0 {
		voters = m.cfg.Nodes
	}
	ms := make([]core.Member, 0, m.cfg.Nodes)
	for i := range m.cfg.Nodes {
		ms = append(ms, core.Member{ID: idOf(i), Inc: incOf(i, 0), Addr: addrOf(idOf(i)), Voter: i < voters})
	}
	cfg := core.NewConfig(core.CfgKey{Ver: 1}, ms)
	for i := range m.cfg.Nodes {
		l := &local{node: i, app: &probe{id: idOf(i)}, now: epoch()}
		l.app.disk = core.HardState{ID: idOf(i), Inc: incOf(i, 0), Vote: core.Vote{Kind: core.VoteNone}}
		l.app.disk.Cfg, l.app.disk.ClusterID, l.app.cfg = cfg, cfg.Hash(), cfg
		m.start(l)
		m.settle(l)
		at[i] = m.intern(l, 0, action{})
	}
	m.roots = at
	return at
}

// epoch is what the clocks of a node show when it starts first.
func epoch() core.Instant {
	return core.Instant{Mono: int64(time.Hour), Boot: int64(time.Hour), Real: int64(time.Hour)}
}

// intern ends a transition.
func (m *machine) intern(l *local, from uint32, by action) uint32 {
	if m.cfg.Timed == nil && l.core != nil {
		// Only leaders have any use for a clock that has not moved, and a node without a configuration has none for any.
		if s := l.core.Status(); s.Role != core.RoleLeader && s.Cfg.Key.Ver > 0 {
			l.advance(longAgo)
		}
	}
	l.seal()
	k := l.key()
	if id, ok := m.byKey[k]; ok {
		return id
	}
	l.from, l.by = from, by
	id := uint32(len(m.locals))
	m.locals = append(m.locals, l)
	m.byKey[k] = id
	return id
}

// apply computes one transition of one node. same is returned when it is outside the bounds or changes nothing.
func (m *machine) apply(id uint32, act action) (to uint32) {
	m.computed++
	was := m.locals[id]
	l := was.clone()
	defer func() {
		if r := recover(); r != nil { // an invariant of the core itself
			l.core, l.app = was.core, was.app
			l.fail("panic: %v", r)
			to = m.intern(l, id, act)
		}
	}()
	if !m.act(l, act) {
		return id
	}
	m.settle(l)
	m.eager(l)
	if act.kind == actDeliver && m.cfg.Timed == nil && m.cfg.Reconfigs > 0 && m.msgs[act.arg].Type == core.MsgHB && !m.mayCrash(l) {
		m.deliver(l, m.msgs[act.arg]) // the first time what it brought was not durable yet
		m.settle(l)
		m.eager(l)
	}
	s := l.core.Status()
	if m.cfg.InFlight > 0 && len(l.writes) > m.cfg.InFlight {
		return id
	}
	if s.Term > m.cfg.MaxTerm || s.Term == m.cfg.MaxTerm && s.Role == core.RolePreCandidate {
		return id
	}
	return m.intern(l, id, act)
}

func (m *machine) act(l *local, act action) bool {
	c := l.core
	switch act.kind {
	case actDeliver:
		m.deliver(l, m.msgs[act.arg])
	case actTimeout:
		if !m.cfg.StepDowns && c.Status().Role == core.RoleLeader { // it gives up, and stands again later
			if c.Status().Term == m.cfg.MaxTerm {
				return false
			}
			l.advance(longAgo)
			m.tick(l)
			m.settle(l)
		}
		l.advance(longAgo)
		m.tick(l)
	case actTick:
		m.tick(l)
	case actSync:
		m.sync(l, int(act.arg))
	case actCrash, actWipe:
		if act.kind == actWipe {
			l.gen++
			l.app.disk = core.HardState{ID: l.id(), Inc: incOf(l.node, l.gen), Vote: core.Vote{Kind: core.VoteNone}}
			l.hist = history{won: l.hist.won, installed: l.hist.installed}
			l.app.cfg = core.Config{}
			l.spent.wipes++
			if m.cfg.Timed == nil {
				l.now = epoch() // nothing that it knows is older
			}
		} else {
			l.spent.crashes++
		}
		m.start(l)
	case actReconfig:
		l.spent.reconfigs++
		return c.Reconfigure(l.now, m.cfg.Changes[act.arg]) == nil
	case actTransfer:
		l.spent.transfers++
		return c.Transfer(l.now, idOf(int(act.arg))) == nil
	case actTime:
		rate := 1.0
		if m.cfg.Timed.Rates != nil {
			rate = m.cfg.Timed.Rates[l.node]
		}
		l.advance(time.Duration(float64(m.cfg.Timed.Quantum) * rate))
	}
	return true
}

// eager makes all durable at once, at a node that will not crash: for the others a slow disk is like slow messages.
func (m *machine) eager(l *local) {
	for !m.mayCrash(l) && len(l.writes) > 0 {
		m.sync(l, 0)
		m.settle(l)
	}
}

// sync makes write i, and those before it, durable.
func (m *machine) sync(l *local, i int) {
	w := l.writes[i]
	l.writes = slices.Clone(l.writes[i+1:])
	l.app.disk = w.hs
	l.core.Durable(l.now, w.seq)
}

// mayCrash reports whether what is not durable at a node can be lost.
func (m *machine) mayCrash(l *local) bool {
	return int(l.spent.crashes) < m.cfg.Crashes && (m.cfg.CrashOnly == "" || m.cfg.CrashOnly == l.id())
}

// mayRestart reports whether a node may have to keep what it said.
func (m *machine) mayRestart(l *local) bool { return m.mayCrash(l) || l.spent.crashes > 0 }

func (m *machine) deliver(l *local, msg core.Message) {
	s := l.core.Status()
	if member, ok := s.Cfg.Member(msg.From); ok && member.Inc == msg.Inc {
		if p := &l.peers[indexOf(msg.From)]; msg.Boot > p.boot {
			*p = start{msg.Boot, msg.Session}
		}
		if m.cfg.Timed == nil && msg.Type == core.MsgVote && s.Role == core.RoleLeader && msg.Term > s.Term {
			l.advance(longAgo) // its quorum has gone without its noticing
		}
	}
	if m.cfg.Timed == nil && msg.Type == core.MsgHBAck && msg.Term == s.Term {
		if msg.CfgKey != s.Cfg.Key || l.ackedBy[indexOf(msg.From)] == msg.CfgKey {
			return // it says nothing that this leader waits for
		}
		l.ackedBy[indexOf(msg.From)] = msg.CfgKey
		msg.Seq = l.beats
	}
	_ = l.core.Step(l.now, msg)
}

// tick lets a node look at its clocks. If it asks for pre-votes, whoever it asks grants them, unless those are real.
func (m *machine) tick(l *local) {
	l.core.Tick(l.now)
	if l.core.Status().Role != core.RolePreCandidate {
		return
	}
	if m.cfg.PreVotes {
		l.rounds++
		return
	}
	// settle has not run yet: what it asked is still inside.
	r := l.core.Ready()
	if r.HardState != nil {
		l.writes = append(slices.Clone(l.writes), write{r.Seq, *r.HardState})
	}
	for _, e := range r.Events {
		l.happened(e)
	}
	for _, msg := range r.Messages {
		if msg.Type != core.MsgPreVote {
			m.said(l, msg)
			m.send(l, msg)
			continue
		}
		l.granted(msg)
	}
}

// granted answers a pre-vote as if the other had granted it.
func (l *local) granted(msg core.Message) {
	h := l.answer(msg)
	_ = l.core.Step(l.now, core.Message{Type: core.MsgPreVoteResp, Header: h, NextTerm: msg.NextTerm, Seq: msg.Seq, OK: true})
}
