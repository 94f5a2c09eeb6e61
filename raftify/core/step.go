package core

import "fmt"

func dropped(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDropped, fmt.Sprintf(format, args...))
}

// Step takes one message. An error says that the message did not count; it is never a reason to stop.
func (c *Core) Step(now Instant, m Message) error {
	err := c.step(now, m)
	c.drain(now)
	return err
}

func (c *Core) step(now Instant, m Message) error {
	if c.hs.Stale {
		return dropped("this folder is out of use")
	}
	if m.Type == 0 || m.Type >= msgEnd {
		return dropped("unknown type %d", m.Type)
	}
	if m.To != c.hs.ID || m.From == c.hs.ID || m.From == "" {
		return dropped("addressed to %q from %q", m.To, m.From)
	}
	switch m.Type {
	case MsgBootProbe, MsgBootInfo, MsgBootPropose, MsgBootPromise:
		return c.boot.step(c, now, m)
	case MsgJoin:
		return c.stepJoin(now, m)
	case MsgJoinResp:
		return c.stepJoinResp(now, m)
	case MsgDeath:
		if m.Dead == nil {
			return dropped("death notice of nobody")
		}
		return c.died(now, *m.Dead, true)
	default:
	}
	if err := c.judge(now, m.Header, m.Cfg, m.Type != MsgTerm && m.Type != MsgStale); err != nil {
		return err
	}
	if m.Dead != nil {
		_ = c.died(now, *m.Dead, false) // what it is worth is for the rest to judge
	}
	switch m.Type {
	case MsgPreVote:
		return c.stepPreVote(now, m)
	case MsgVote:
		return c.stepVote(now, m)
	case MsgPing:
		return c.stepPing(m)
	case MsgPong:
		c.stepPong(now, m)
		return nil
	case MsgStale:
		return c.stepStale(now, m)
	default:
	}
	if m.Term > c.hs.Term {
		c.setTerm(now, m.Term, "higher term from "+string(m.From))
	}
	if m.Term < c.hs.Term {
		switch m.Type {
		case MsgHB, MsgTimeoutNow, MsgLeave:
			c.tellTerm(m.From)
		default: // an answer; whoever sent it hears of the term when it next asks
		}
		return dropped("%v of term %d, this is term %d", m.Type, m.Term, c.hs.Term)
	}
	switch m.Type {
	case MsgPreVoteResp:
		c.stepPreVoteResp(now, m)
	case MsgVoteResp:
		c.stepVoteResp(now, m)
	case MsgHB:
		return c.stepHB(now, m)
	case MsgHBAck:
		c.stepHBAck(now, m)
	case MsgTimeoutNow:
		return c.stepTimeoutNow(now, m)
	case MsgLeave:
		return c.stepLeave(now, m)
	case MsgLeaveResp:
		return c.stepLeaveResp(m)
	default: // MsgTerm has said all by its header and configuration
	}
	return nil
}

// tellTerm answers a lower-term message with one's own term and configuration (PROTOCOL R2).
func (c *Core) tellTerm(to NodeID) {
	if c.broken(FaultNoTermAnswer) {
		return
	}
	cfg := c.dcfg
	m := Message{Type: MsgTerm}
	if cfg.Key.Ver > 0 {
		m.Cfg = &cfg
	}
	c.sendDurable(to, m, false)
}

// judge is R3: whether a message counts. The configuration that it carries is adopted first (R15). With answer a
// sender that is no member is told the configuration that says so.
func (c *Core) judge(now Instant, h Header, cfg *Config, answer bool) error {
	if c.hs.Cfg.Key.Ver == 0 {
		if cfg == nil || cfg.Key.Ver == 0 {
			return dropped("no configuration yet")
		}
		if c.invitedBy(h, *cfg) {
			c.hs.ClusterID = h.ClusterID
			c.adopt(now, *cfg)
			c.event(Event{Kind: EventJoined, Cfg: cfg.Key})
			return c.judge(now, h, nil, answer)
		}
		if h.ClusterID == (ClusterID{}) || h.ClusterID != c.hs.Promise {
			if m, ok := cfg.Member(c.hs.ID); ok && m.Inc == c.hs.Inc && len(c.boot.members) > 0 && h.From == c.boot.members[0] {
				c.send(h.From, Message{Type: MsgBootInfo, Addr: c.opt.Addr}) // it may offer its configuration again
			}
			return dropped("configuration of a cluster that this node did not promise to join")
		}
		if m, ok := cfg.Member(c.hs.ID); !ok || m.Inc != c.hs.Inc {
			return dropped("configuration without this node")
		}
		c.hs.ClusterID = h.ClusterID
		c.adopt(now, *cfg)
		c.event(Event{Kind: EventBootstrapped, Cfg: cfg.Key})
	}
	if h.ClusterID != c.hs.ClusterID {
		c.alarm("message from %s belongs to cluster %v, this is %v", h.From, h.ClusterID, c.hs.ClusterID)
		return dropped("of cluster %v", h.ClusterID)
	}
	if _, ok := c.hs.Cfg.Member(h.From); !ok && c.broken(FaultJudgeFirst) {
		return dropped("%s is no member", h.From)
	}
	if cfg != nil && cfg.Key.Compare(c.hs.Cfg.Key) > 0 {
		c.adopt(now, *cfg)
	}
	m, ok := c.hs.Cfg.Member(h.From)
	if !ok || m.Inc != h.Inc && !c.broken(FaultOldRights) {
		if answer {
			c.tellTerm(h.From)
		}
		return dropped("%s (incarnation %v) is no member", h.From, h.Inc)
	}
	if c.buried(now, h) {
		if boot, _ := c.Known(h.From); boot > h.Boot {
			c.tellStale(h, "start %d of its folder, which counts %d", boot, h.Boot)
		}
		return dropped("boot %d of %s has ended", h.Boot, h.From)
	}
	last := c.seen[h.From]
	if last.inc != h.Inc {
		last = seen{inc: h.Inc}
	}
	if c.broken(FaultAnyStart) {
		last = seen{inc: h.Inc}
	}
	if h.Boot > last.boot && h.Term < last.term {
		c.startedBelow(h, h.Term, last.term)
		return dropped("term %d of %s after %d", h.Term, h.From, last.term)
	}
	if h.Boot < last.boot || h.Boot == last.boot && h.Session != last.session {
		if h.Boot != last.oldBoot || h.Session != last.oldSession {
			c.event(Event{Kind: EventAlarm, Peer: h.From, Seq: h.Boot, Detail: fmt.Sprintf("%s sent boot %d after boot %d, "+
				"or two processes share its folder: cloned or restored data folder?", h.From, h.Boot, last.boot)})
		}
		if h.Boot == last.boot {
			c.tellStale(h, "another start %d of its folder", h.Boot)
		} else {
			c.tellStale(h, "start %d of its folder, which counts %d", last.boot, h.Boot)
		}
		return dropped("boot %d of %s after %d", h.Boot, h.From, last.boot)
	}
	if h.Boot > last.boot {
		c.seen[h.From] = seen{h.Inc, h.Boot, h.Session, h.Term, last.term, last.boot, last.session}
	} else if h.Term > last.term {
		last.term = h.Term
		c.seen[h.From] = last
	}
	if c.opt.Membership != nil {
		c.mem.heard[h.From] = heardFrom{h.Inc, now}
	}
	return nil
}

// invitedBy reports whether a configuration lets this node, which has none, in: as a learner, and by the very
// incarnation that asked to join. A voter of a first configuration it becomes by its promise alone (PROTOCOL R26).
func (c *Core) invitedBy(h Header, cfg Config) bool {
	m, ok := cfg.Member(c.hs.ID)
	if c.broken(FaultOldRights) {
		return ok && h.ClusterID != (ClusterID{})
	}
	return ok && m.Inc == c.hs.Inc && !m.Voter && cfg.Key.CTerm > 0 && h.ClusterID != (ClusterID{}) && c.opt.Membership != nil
}

// adopt is R15.
func (c *Core) adopt(now Instant, cfg Config) {
	if c.role == RoleLeader && !c.taking && cfg.Key.CTerm == c.hs.Term {
		c.alarm("I11: configuration %+v of this leader's own term was not installed by it", cfg.Key)
		return
	}
	invariant(cfg.Key.Compare(c.hs.Cfg.Key) > 0, "I11: configuration would fall from %+v to %+v", c.hs.Cfg.Key, cfg.Key)
	old := c.hs.Cfg
	c.hs.Cfg = NewConfig(cfg.Key, cfg.Members, cfg.Pins...)
	c.dirty = true
	c.noteMembers(now, old)
	if cfg.Key.CTerm > c.hs.Term {
		c.setTerm(now, cfg.Key.CTerm, "configuration of a higher term")
	}
	if cfg.Key.CTerm == c.hs.Term && c.hs.Vote.Kind == VoteNone && cfg.Key.CTerm > 0 && !c.broken(FaultNoClose) {
		c.setVote(Vote{Kind: VoteClosed})
	}
	switch c.role {
	case RolePreCandidate, RoleCandidate, RoleLeader:
		if c.role == RoleCandidate && c.broken(FaultKeepCandidacy) {
			break
		}
		c.stepDown(now, "another configuration was adopted", 0)
	case RoleFollower, RoleLearner:
		c.role = c.idleRole()
	}
	c.event(Event{Kind: EventConfig, Cfg: cfg.Key})
	c.observe(now)
}

// Admit is R2 and R3 for a message of the application's layer: whether it counts, raising the term if need be. With
// fromLeader the sender claims to lead its term: the first such message of a term fixes the vote, which is durable
// before anything that the application writes after this call. False: the message must be ignored.
func (c *Core) Admit(now Instant, h Header, fromLeader bool) bool {
	ok := c.admit(now, h, fromLeader)
	c.drain(now)
	return ok
}

func (c *Core) admit(now Instant, h Header, fromLeader bool) bool {
	if h.To != c.hs.ID || h.From == c.hs.ID || h.From == "" || c.hs.Cfg.Key.Ver == 0 || c.hs.Stale {
		return false
	}
	if c.judge(now, h, nil, true) != nil {
		return false
	}
	if h.Term > c.hs.Term {
		c.setTerm(now, h.Term, "higher term from "+string(h.From))
	}
	if h.Term < c.hs.Term {
		if fromLeader {
			c.tellTerm(h.From)
		}
		return false
	}
	if fromLeader {
		return c.acceptLeader(now, h.From)
	}
	return true
}

// acceptLeader notes who leads the current term. False: it cannot be.
func (c *Core) acceptLeader(now Instant, id NodeID) bool {
	if c.role == RoleLeader {
		c.alarm("I1: %s claims to lead term %d, which this node leads", id, c.hs.Term)
		return false
	}
	if c.leader != "" && c.leader != id {
		c.alarm("I1: %s claims to lead term %d, led by %s", id, c.hs.Term, c.leader)
		return false
	}
	changed := c.leader != id
	c.leader = id
	if c.hs.Vote.Kind == VoteNone && !c.broken(FaultNoLeaderVote) {
		c.setVote(Vote{Kind: VoteFor, ID: id})
	}
	if c.role == RolePreCandidate || c.role == RoleCandidate {
		c.clearRole()
		c.role = c.idleRole()
		changed = true
	}
	if changed {
		c.event(Event{Kind: EventLeader, Peer: id})
		c.observe(now)
	}
	return true
}

func (c *Core) stepHB(now Instant, m Message) error {
	if !c.acceptLeader(now, m.From) {
		return dropped("another leader of term %d", m.Term)
	}
	c.faithful(now, m.Header)
	c.resetTimer(now)
	c.hook.LeaderHeartbeat(now, m.From, m.Term, m.Attachment)
	if m.Term != c.hs.Term {
		return nil // the application saw a higher term in it
	}
	// The answer asserts term, vote and the configuration that is durable now. It does not wait for one that was adopted
	// a moment ago: every takeover makes a new one, and a leader whose followers have slow disks would lose its quorum.
	if c.ask.on && !c.ask.said[m.From] {
		return nil // the next one is answered
	}
	ack := Message{Type: MsgHBAck, Seq: m.Seq, CfgKey: c.dcfg.Key, Unfit: c.fitness != Fit}
	ack.Reachable, ack.OK = c.reachable(now)
	c.sendAfter(c.needVote(), m.From, ack, false)
	return nil
}

func (c *Core) stepTimeoutNow(now Instant, m Message) error {
	if m.From != c.leader || c.role != RoleFollower || !c.selfVoter() {
		return dropped("TimeoutNow from %s, the leader is %q", m.From, c.leader)
	}
	if !c.mayStand() {
		return dropped("TimeoutNow from %s: this node cannot lead", m.From)
	}
	c.event(Event{Kind: EventTransfer, Peer: m.From})
	c.campaign(now, c.hs.Term)
	return nil
}
