package core

import (
	"cmp"
	"maps"
	"slices"
)

// bootstrap makes version 1 of the configuration (PROTOCOL R26): its members are the Expect smallest ids of the peer
// list; the smallest proposes; all promise, durably, before it is written.
type bootstrap struct {
	members  []NodeID // nil: this node has no part in it
	proposer bool
	infos    map[NodeID]Member
	proposal Config
	promises map[NodeID]bool
	last     Instant
	started  bool
}

func (b *bootstrap) clone() bootstrap {
	d := *b
	d.infos, d.promises = maps.Clone(b.infos), maps.Clone(b.promises)
	return d
}

func (b *bootstrap) init(c *Core) {
	if c.hs.Cfg.Key.Ver > 0 || c.opt.NeverBootstrap || c.opt.Expect < 1 {
		return
	}
	ids := make([]NodeID, 0, len(c.opt.Peers))
	for _, p := range c.opt.Peers {
		ids = append(ids, p.ID)
	}
	slices.SortFunc(ids, func(x, y NodeID) int { return cmp.Compare(x, y) })
	ids = slices.Compact(ids)
	if c.opt.Expect > len(ids) || 2*c.opt.Expect <= len(ids) {
		return
	}
	ids = ids[:c.opt.Expect]
	if !slices.Contains(ids, c.hs.ID) {
		return
	}
	b.members = ids
	b.proposer = ids[0] == c.hs.ID
	b.infos = map[NodeID]Member{}
	b.promises = map[NodeID]bool{}
}

func (b *bootstrap) tick(c *Core, now Instant) {
	if !b.proposer || c.hs.Cfg.Key.Ver > 0 {
		return
	}
	if b.started && now.SinceMin(b.last) < c.tm.Heartbeat {
		return
	}
	b.started, b.last = true, now
	b.infos[c.hs.ID] = Member{ID: c.hs.ID, Inc: c.hs.Inc, Addr: c.opt.Addr, Voter: true}
	for _, id := range b.members {
		if id != c.hs.ID {
			c.send(id, Message{Type: MsgBootProbe})
		}
	}
	b.propose(c, now)
}

// propose offers the newest picture of the members, or offers it again to those that have not promised.
func (b *bootstrap) propose(c *Core, now Instant) {
	if len(b.infos) < len(b.members) {
		return
	}
	ms := make([]Member, 0, len(b.members))
	for _, id := range b.members {
		ms = append(ms, b.infos[id])
	}
	cfg := NewConfig(CfgKey{CTerm: 0, Ver: 1}, ms)
	if b.proposal.Key.Ver == 0 || cfg.Hash() != b.proposal.Hash() {
		b.proposal = cfg
		b.promises = map[NodeID]bool{}
		c.hs.Promise = cfg.Hash()
		c.dirty = true
		c.nextMarks.boot = c.hs.Promise
	}
	for _, id := range b.members {
		if id != c.hs.ID && !b.promises[id] {
			p := b.proposal
			c.sendDurable(id, Message{Type: MsgBootPropose, Cfg: &p}, false)
		}
	}
	b.finish(c, now)
}

func (b *bootstrap) ownPromiseDurable(c *Core, now Instant, promise ClusterID) {
	if b.proposal.Key.Ver > 0 && promise == b.proposal.Hash() {
		b.promises[c.hs.ID] = true
		b.finish(c, now)
	}
}

func (b *bootstrap) finish(c *Core, now Instant) {
	if c.hs.Cfg.Key.Ver > 0 || b.proposal.Key.Ver == 0 || len(b.promises) < len(b.members) && !c.broken(FaultBootTwice) {
		return
	}
	c.hs.ClusterID = b.proposal.Hash()
	c.adopt(now, b.proposal)
	c.event(Event{Kind: EventBootstrapped, Cfg: c.hs.Cfg.Key})
	// Others learn of it from the first pre-vote; there is no leader to keep faith with yet.
	c.timer = timer{now, c.tm.Heartbeat}
}

func (b *bootstrap) step(c *Core, now Instant, m Message) error {
	if c.hs.Cfg.Key.Ver > 0 {
		switch m.Type {
		case MsgBootProbe, MsgBootPropose:
			c.tellTerm(m.From) // this cluster exists: whoever asks has lost its folder
		case MsgBootInfo:
			b.offerAgain(c, m)
		default:
		}
		return dropped("%v: this node has a configuration", m.Type)
	}
	if len(b.members) == 0 {
		return dropped("%v: this node has no part in the bootstrap", m.Type)
	}
	switch m.Type {
	case MsgBootProbe:
		if m.From != b.members[0] {
			return dropped("probe from %s, only %s proposes", m.From, b.members[0])
		}
		c.send(m.From, Message{Type: MsgBootInfo, Addr: c.opt.Addr})
	case MsgBootInfo:
		if !b.proposer || !slices.Contains(b.members, m.From) || m.Inc == (Inc{}) {
			return dropped("bootstrap info from %s", m.From)
		}
		b.infos[m.From] = Member{ID: m.From, Inc: m.Inc, Addr: m.Addr, Voter: true}
		b.propose(c, now)
	case MsgBootPropose:
		return b.stepPropose(c, m)
	case MsgBootPromise:
		if !b.proposer || b.proposal.Key.Ver == 0 || m.Promise != b.proposal.Hash() {
			return dropped("promise of %s is not for the current proposal", m.From)
		}
		if want, ok := b.infos[m.From]; !ok || want.Inc != m.Inc {
			return dropped("promise of another incarnation of %s", m.From)
		}
		b.promises[m.From] = true
		b.finish(c, now)
	default:
	}
	return nil
}

// offerAgain proposes version 1 once more, after its adoption, to a member that does not have it and holds another
// promise: an older proposal that arrived late replaced the one that this node had counted. Without it such a member
// would stay outside for ever.
func (b *bootstrap) offerAgain(c *Core, m Message) {
	cfg := Config{Key: CfgKey{Ver: 1}, Members: c.hs.Cfg.Members}
	mem, ok := cfg.Member(m.From)
	if c.hs.Cfg.Key.Ver != 1 || cfg.Hash() != c.hs.ClusterID || cfg.Members[0].ID != c.hs.ID || !ok || mem.Inc != m.Inc {
		return
	}
	c.sendDurable(m.From, Message{Type: MsgBootPropose, Cfg: &cfg}, false)
}

// stepPropose promises the latest proposal of the smallest id, whatever incarnation it has.
func (b *bootstrap) stepPropose(c *Core, m Message) error {
	if m.From != b.members[0] || m.Cfg == nil || m.Cfg.Key != (CfgKey{Ver: 1}) || len(m.Cfg.Members) != len(b.members) {
		return dropped("proposal from %s is not the bootstrap of this peer list", m.From)
	}
	cfg := NewConfig(m.Cfg.Key, m.Cfg.Members)
	for i, mem := range cfg.Members {
		if mem.ID != b.members[i] || !mem.Voter {
			return dropped("proposal of %s has other members than this node's peer list", m.From)
		}
	}
	if me, _ := cfg.Member(c.hs.ID); me.Inc != c.hs.Inc {
		return dropped("proposal of %s has another incarnation of this node", m.From)
	}
	if h := cfg.Hash(); c.hs.Promise != h {
		c.hs.Promise = h
		c.dirty = true
	}
	c.sendDurable(m.From, Message{Type: MsgBootPromise, Promise: c.hs.Promise}, false)
	return nil
}
