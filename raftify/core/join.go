package core

import "fmt"

// joining is a node that asks this leader to be let in. It counts once it has said the token back: a request that was
// on its way since long ago cannot.
type joining struct {
	inc    Inc
	addr   string
	token  uint64
	proved bool
	since  Instant // when it asked first
	at     Instant
}

// guest is where a node said that it is.
type guest struct {
	inc  Inc
	addr string
}

// Announced returns the address that the addressee of m named itself in a Join and that no configuration has yet: it asks
// to be let in, or it has moved. "" if there is none. What another incarnation said counts for the answer to it alone.
func (c *Core) Announced(m Message) string {
	g, ok := c.mem.guests[m.To]
	if !ok {
		return ""
	}
	mem, known := c.hs.Cfg.Member(m.To)
	if known && mem.Inc != g.inc && m.Type != MsgJoinResp {
		return ""
	}
	if known && mem.Inc == g.inc && mem.Addr == g.addr {
		return "" // it asked before it heard that it is in
	}
	return g.addr
}

// Route returns an address of id that another node named to this one, which asked to join. "" if there is none.
func (c *Core) Route(id NodeID) string { return c.mem.guides[id] }

// moved reports whether the configuration has an old address of this node.
func (c *Core) moved() bool {
	m, ok := c.hs.Cfg.Member(c.hs.ID)
	return ok && m.Inc == c.hs.Inc && c.opt.Addr != "" && m.Addr != c.opt.Addr
}

// askToJoin asks everybody that this node has ever been told of. A member that hears no leader asks as well: it may
// have been removed, and nobody would tell it.
func (c *Core) askToJoin() {
	to := map[NodeID]bool{}
	for _, p := range c.opt.Peers {
		to[p.ID] = true
	}
	for _, m := range c.hs.Cfg.Members {
		to[m.ID] = true
	}
	for id := range c.mem.guides {
		to[id] = true
	}
	for _, id := range sortedKeys(to) {
		if id != c.hs.ID {
			c.sendDurable(id, Message{Type: MsgJoin, Addr: c.opt.Addr, Seq: c.mem.tokens[id]}, false)
		}
	}
}

// stepJoin answers a node that wants to be let in, or to know whether it is. It is exempt from R3.
func (c *Core) stepJoin(now Instant, m Message) error {
	if c.hs.Cfg.Key.Ver == 0 {
		return dropped("join of %s: no configuration yet", m.From)
	}
	if m.ClusterID != (ClusterID{}) && m.ClusterID != c.hs.ClusterID {
		return dropped("join of %s, which is of cluster %v", m.From, m.ClusterID)
	}
	if m.Inc == (Inc{}) || m.Addr == "" {
		return dropped("join of %s without an incarnation or address", m.From)
	}
	if last := c.seen[m.From]; last.inc == m.Inc && (m.Boot < last.boot || m.Boot == last.boot && m.Session != last.session) {
		c.tellStale(m.Header, "start %d of its folder, which counts %d", last.boot, m.Boot)
		return dropped("join of %s, boot %d after %d", m.From, m.Boot, last.boot)
	}
	c.mem.guests = put(c.mem.guests, m.From, guest{m.Inc, m.Addr})
	cfg := c.dcfg
	r := Message{Type: MsgJoinResp, Cfg: &cfg}
	if c.role == RoleLeader && !c.taking && c.opt.Membership != nil {
		r.Seq = c.noteJoin(now, m)
	}
	c.sendDurable(m.From, r, false)
	return nil
}

// noteJoin returns the token that the node has to say back, 0 when it is in already or may not come.
func (c *Core) noteJoin(now Instant, m Message) uint64 {
	had, known := c.hs.Cfg.Member(m.From)
	if known && had.Inc == m.Inc && had.Addr == m.Addr {
		return 0
	}
	if why := c.mayJoin(m); why != "" && (!known || had.Inc != m.Inc) {
		c.event(Event{Kind: EventJoinRefused, Peer: m.From, Detail: why})
		return 0
	}
	j, ok := c.mem.joins[m.From]
	if !ok || j.inc != m.Inc || j.addr != m.Addr {
		j = joining{inc: m.Inc, since: now, token: 1 + uint64(c.opt.Rand(1<<62))}
	}
	// The old incarnation may have died a moment ago; when it answered since the new one asks, both live.
	if known && had.Inc != m.Inc && c.silentSince(now, m.From) < now.SinceMin(j.since) {
		c.event(Event{Kind: EventAlarm, Peer: m.From, Detail: fmt.Sprintf("two nodes are configured as %s: "+
			"incarnation %v asks to join while %v is a member that answers", m.From, m.Inc, had.Inc)})
	}
	j.addr, j.at = m.Addr, now
	j.proved = j.proved || m.Seq == j.token
	c.mem.joins = put(c.mem.joins, m.From, j)
	return j.token
}

// stepJoinResp learns where the cluster is, and says the leader's token back at once.
func (c *Core) stepJoinResp(now Instant, m Message) error {
	if m.Cfg == nil || m.Cfg.Key.Ver == 0 || c.opt.Membership == nil {
		return dropped("answer of %s without a configuration", m.From)
	}
	if c.hs.Cfg.Key.Ver > 0 {
		if m.ClusterID != c.hs.ClusterID {
			return dropped("answer of cluster %v", m.ClusterID)
		}
		if m.Cfg.Key.Compare(c.hs.Cfg.Key) > 0 {
			c.adopt(now, *m.Cfg)
		}
	}
	for _, x := range m.Cfg.Members {
		c.mem.guides = put(c.mem.guides, x.ID, x.Addr)
	}
	if x, in := m.Cfg.Member(c.hs.ID); in && x.Inc == c.hs.Inc && x.Addr == c.opt.Addr || m.Seq == 0 {
		return nil
	}
	if c.mem.tokens[m.From] != m.Seq {
		c.mem.tokens = put(c.mem.tokens, m.From, m.Seq)
		c.sendDurable(m.From, Message{Type: MsgJoin, Addr: c.opt.Addr, Seq: m.Seq}, false)
	}
	return nil
}

// admitNext takes the next step for those that asked to be let in, and reports whether it took one. A node that lost its
// disk replaces what it was in steps of which each is one of R14: the voter is demoted, the learner makes way for the
// newcomer, and the newcomer is promoted like any other (PROTOCOL R26).
func (c *Core) admitNext(now Instant) bool {
	if c.moved() && c.changeTo(now, ChangeMove, Member{ID: c.hs.ID, Addr: c.opt.Addr}) {
		return true
	}
	for _, id := range sortedKeys(c.mem.joins) {
		j := c.mem.joins[id]
		m, known := c.hs.Cfg.Member(id)
		switch {
		case !j.proved:
		case known && m.Inc == j.inc:
			if c.changeTo(now, ChangeMove, Member{ID: id, Inc: j.inc, Addr: j.addr}) {
				return true
			}
		case known && c.silentSince(now, id) < 4*c.tm.MinElection: // the other one is back
		case known && m.Voter:
			if c.changeTo(now, ChangeDemote, Member{ID: id, Inc: m.Inc}) {
				return true
			}
		case c.changeTo(now, ChangeAdd, Member{ID: id, Inc: j.inc, Addr: j.addr}):
			return true
		}
	}
	return false
}

func (c *Core) changeTo(now Instant, kind ChangeKind, m Member) bool {
	return c.Reconfigure(now, Change{Kind: kind, Member: m}) == nil
}
