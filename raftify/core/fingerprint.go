package core

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"slices"
	"time"
)

// Fingerprint is a hash of everything in the core that decides what it will do: two cores with one fingerprint give
// the same output to the same input from now on, but for the numbers of writes, which count from the newest durable one.
// Instants enter as their distance from now, and only as far as they can still matter. Not in it are the hook (an application adds its own) and Options.Rand, which an explorer makes a
// pure function, and what Options fix for the life of a process. It is for exploration: the layout is not stable.
func (c *Core) Fingerprint(now Instant) [16]byte {
	f := printer{h: sha256.New(), now: now}
	f.hardState(c.hs)
	f.id(NodeID(c.opt.Addr))
	f.num(c.opt.Session)
	f.flag(c.dirty)
	f.num(c.hseq-c.durable, max(c.voteSeq, c.durable)-c.durable)
	f.flag(c.voteDirty)
	f.cfg(c.dcfg)
	f.num(uint64(len(c.pending)))
	for _, p := range c.pending {
		f.pending(c, p)
	}
	f.pending(c, c.nextMarks)
	f.num(uint64(len(c.held)))
	for _, h := range c.held {
		f.num(h.seq-c.durable, uint64(h.term))
		f.flag(h.report)
		f.message(h.msg)
	}
	f.num(uint64(len(c.out)))
	for _, m := range c.out {
		f.message(m)
	}
	f.num(uint64(len(c.events)))
	for _, e := range c.events {
		f.num(uint64(e.Kind), uint64(e.Term), uint64(e.Role), e.Seq)
		f.id(e.Peer)
		f.key(e.Cfg)
		f.id(NodeID(e.Detail))
	}
	f.num(uint64(len(c.seen)))
	for _, id := range sortedKeys(c.seen) {
		s := c.seen[id]
		f.id(id)
		f.bytes(s.inc[:])
		f.num(s.boot, s.session, uint64(s.term), uint64(s.oldTerm), s.oldBoot, s.oldSession)
	}
	f.flag(c.ask.on)
	if c.ask.on {
		f.num(uint64(c.ask.term))
		f.follower(c.ask.begun, c.tm.MinElection)
		f.follower(c.ask.last, c.tm.Heartbeat)
		f.grants(c.ask.said)
	}
	f.num(uint64(c.fitness), uint64(c.passed.tries))
	if c.passed.tries > 0 {
		f.follower(c.passed.at, passOnMost*c.tm.MinElection)
	}
	f.role(c)
	f.deaths(c)
	f.boot(&c.boot, c.hs.Cfg.Key.Ver > 0)
	f.members(c)
	var sum [16]byte
	copy(sum[:], f.h.Sum(nil))
	return sum
}

// printer writes values so that no two different sequences give the same bytes.
type printer struct {
	h   hash.Hash
	now Instant
}

func (f printer) num(ns ...uint64) {
	var b [8]byte
	for _, n := range ns {
		binary.BigEndian.PutUint64(b[:], n)
		f.h.Write(b[:])
	}
}

func (f printer) bytes(p []byte) {
	f.num(uint64(len(p)))
	f.h.Write(p)
}

func (f printer) id(id NodeID) { f.bytes([]byte(id)) }

func (f printer) flag(b bool) {
	if b {
		f.num(1)
	} else {
		f.num(0)
	}
}

// follower writes an instant whose age the node takes with SinceMin, so the wall clock does not count. From limit on
// an age makes no difference.
func (f printer) follower(t Instant, limit time.Duration) {
	f.num(uint64(min(f.now.Mono-t.Mono, int64(limit))), uint64(min(f.now.Boot-t.Boot, int64(limit))))
}

// leader writes an instant whose age the node takes with SinceMax, and in places with SinceMin.
func (f printer) leader(t Instant) {
	f.num(uint64(f.now.Mono-t.Mono), uint64(f.now.Boot-t.Boot), uint64(f.now.Real-t.Real))
}

// timer writes a timer; one that has expired is like any other that has.
func (f printer) timer(t timer, more time.Duration) {
	if f.now.SinceMin(t.start) >= t.after+more {
		f.num(0)
		return
	}
	f.num(1, uint64(t.after))
	f.follower(t.start, t.after+more)
}

func (f printer) key(k CfgKey) { f.num(uint64(k.CTerm), k.Ver) }

func (f printer) cfg(c Config) {
	f.key(c.Key)
	h := c.Hash()
	f.bytes(h[:])
	f.num(uint64(len(c.Pins)))
	for _, p := range c.Pins {
		f.id(p.ID)
		f.num(uint64(p.State))
		f.id(NodeID(p.Info))
	}
}

func (f printer) hardState(hs HardState) {
	f.bytes(hs.ClusterID[:])
	f.id(hs.ID)
	f.bytes(hs.Inc[:])
	f.num(hs.Boot, uint64(hs.Term), uint64(hs.Vote.Kind))
	f.id(hs.Vote.ID)
	f.cfg(hs.Cfg)
	f.bytes(hs.Promise[:])
	f.flag(hs.Stale)
}

func (f printer) pending(c *Core, p pendingHS) {
	f.num(p.seq-c.durable, uint64(p.takeover), uint64(p.ownVote))
	f.flag(p.installed)
	f.bytes(p.boot[:])
	f.id(NodeID(p.stale))
	f.cfg(p.cfg)
}

func (f printer) message(m Message) {
	f.num(uint64(m.Type))
	f.bytes(m.ClusterID[:])
	f.id(m.From)
	f.id(m.To)
	f.bytes(m.Inc[:])
	f.num(m.Boot, m.Session, uint64(m.Term), uint64(m.NextTerm), uint64(m.TransferOf), m.Seq)
	f.flag(m.OK)
	f.flag(m.Cfg != nil)
	if m.Cfg != nil {
		f.cfg(*m.Cfg)
	}
	f.key(m.CfgKey)
	f.ids(m.Reachable)
	f.flag(m.Unfit)
	f.id(NodeID(m.Addr))
	f.bytes(m.Promise[:])
	f.bytes(m.Attachment)
	f.death(m.Dead)
}

func (f printer) death(d *Death) {
	f.flag(d != nil)
	if d != nil {
		f.start(d.ID, d.Inc, d.Boot, d.Session)
		f.bytes(d.Sig)
	}
}

// start writes which start of a node is meant.
func (f printer) start(id NodeID, inc Inc, boot, session uint64) {
	f.id(id)
	f.bytes(inc[:])
	f.num(boot, session)
}

// deaths writes what is known of starts that have ended.
func (f printer) deaths(c *Core) {
	f.start(c.trust.id, c.trust.inc, c.trust.boot, c.trust.session)
	f.flag(c.free)
	f.death(c.notice)
	f.num(uint64(len(c.dead)))
	for _, id := range sortedKeys(c.dead) {
		g := c.dead[id]
		f.start(id, g.inc, g.boot, g.session)
		f.follower(g.at, c.tm.MinElection)
	}
}

// role writes the volatile part. What belongs to another role than the present one is left out: it is set anew before
// it is read.
func (f printer) role(c *Core) {
	f.num(uint64(c.role), uint64(c.fail), c.round, c.hbSeq)
	f.id(c.leader)
	f.follower(c.contact, c.tm.MinElection)
	f.timer(c.timer, c.hook.CampaignDelay()+c.fitnessDelay())
	f.timer(c.stayOut, 0)
	f.timer(c.patience.timer, 0)
	f.flag(c.patience.spent)
	f.timer(c.yield, 0)
	switch c.role {
	case RoleFollower, RoleLearner:
	case RolePreCandidate:
		f.flag(c.yielded)
		f.follower(c.roundStart, c.tm.MinElection)
		f.follower(c.resend, c.tm.Heartbeat)
		f.grants(c.grants)
	case RoleCandidate:
		f.follower(c.resend, c.tm.Heartbeat)
		f.timer(c.candTimer, 0)
		f.num(uint64(c.candBase))
		f.flag(c.outvoted)
		f.num(uint64(c.transferOf))
		f.votes(c.votes)
	case RoleLeader:
		f.votes(c.votes)
		f.flag(c.more)
		f.num(uint64(c.counted))
		f.follower(c.resend, c.tm.Heartbeat)
		f.lead(c)
	}
}

func (f printer) ids(ids []NodeID) {
	f.num(uint64(len(ids)))
	for _, id := range ids {
		f.id(id)
	}
}

// members writes what membership remembers.
func (f printer) members(c *Core) {
	m, minET, heard := &c.mem, c.tm.MinElection, c.tm.MinElection
	if k := c.opt.Membership; k != nil {
		heard = max(heard, k.KickAfter)
		f.num(uint64(k.KickAfter), uint64(k.MaxVoters))
	}
	f.num(uint64(len(m.heard)))
	for _, id := range sortedKeys(m.heard) {
		h := m.heard[id]
		f.id(id)
		f.bytes(h.inc[:])
		f.follower(h.at, heard)
	}
	f.follower(m.ping, minET)
	f.follower(m.asked, 2*minET)
	if c.opt.Membership != nil {
		f.follower(c.contact, 4*minET)
	}
	f.grants(m.allowed)
	f.num(uint64(len(m.guests)))
	for _, id := range sortedKeys(m.guests) {
		g := m.guests[id]
		f.id(id)
		f.bytes(g.inc[:])
		f.id(NodeID(g.addr))
	}
	f.num(uint64(len(m.guides)))
	for _, id := range sortedKeys(m.guides) {
		f.id(id)
		f.id(NodeID(m.guides[id]))
	}
	f.num(uint64(len(m.tokens)))
	for _, id := range sortedKeys(m.tokens) {
		f.id(id)
		f.num(m.tokens[id])
	}
	f.num(uint64(len(m.joins)))
	for _, id := range sortedKeys(m.joins) {
		j := m.joins[id]
		f.id(id)
		f.bytes(j.inc[:])
		f.id(NodeID(j.addr))
		f.num(j.token)
		f.flag(j.proved)
		f.follower(j.since, 1<<62)
		f.follower(j.at, 11*minET)
	}
	f.num(uint64(len(m.level)))
	for _, id := range sortedKeys(m.level) {
		f.id(id)
		f.follower(m.level[id], 2*minET)
	}
	f.num(uint64(len(m.wishes)))
	for _, id := range sortedKeys(m.wishes) {
		a := m.wishes[id]
		f.id(id)
		f.num(uint64(a.kind), a.seq)
		f.flag(a.own)
		f.follower(a.at, 2*minET)
	}
}

func (f printer) votes(v map[NodeID][]byte) {
	f.flag(v != nil)
	f.num(uint64(len(v)))
	for _, id := range sortedKeys(v) {
		f.id(id)
		f.bytes(v[id])
	}
}

func (f printer) grants(g map[NodeID]bool) {
	ids := sortedKeys(g)
	ids = slices.DeleteFunc(ids, func(id NodeID) bool { return !g[id] })
	f.num(uint64(len(ids)))
	for _, id := range ids {
		f.id(id)
	}
}

func (f printer) lead(c *Core) {
	f.flag(c.taking)
	f.flag(c.noLease)
	f.leader(c.elected)
	f.leader(c.progress)
	f.leader(c.lastHB)
	f.num(uint64(len(c.sent)))
	for _, s := range c.sent {
		f.num(s.seq)
		f.leader(s.at)
	}
	f.num(uint64(len(c.acks)))
	for _, id := range sortedKeys(c.acks) {
		a := c.acks[id]
		f.id(id)
		f.flag(a.ever)
		f.num(a.seq)
		f.key(a.cfgKey)
		f.leader(a.sent)
		f.flag(a.listens)
		f.ids(a.reachable)
		f.flag(a.fit)
	}
	f.num(uint64(len(c.rounds)))
	f.num(c.rounds...)
	f.flag(c.transfer != nil)
	if t := c.transfer; t != nil {
		f.id(t.to)
		f.flag(t.sent)
		f.leader(t.start)
		f.leader(t.resend)
	}
}

func (f printer) boot(b *bootstrap, over bool) {
	f.flag(over)
	if over {
		return
	}
	f.num(uint64(len(b.members)))
	for _, id := range b.members {
		f.id(id)
	}
	f.flag(b.proposer)
	f.flag(b.started)
	f.follower(b.last, 1<<62)
	f.num(uint64(len(b.infos)))
	for _, id := range sortedKeys(b.infos) {
		m := b.infos[id]
		f.id(m.ID)
		f.bytes(m.Inc[:])
		f.id(NodeID(m.Addr))
		f.flag(m.Voter)
	}
	f.cfg(b.proposal)
	f.grants(b.promises)
}
