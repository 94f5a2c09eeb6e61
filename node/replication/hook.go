package replication

import (
	"time"

	"github.com/baton-ha/baton/raftify/core"
)

var _ core.Hook = (*Chain)(nil)

// Observe implements core.Hook: a new term, role or leader ends whatever belonged to the old one.
func (c *Chain) Observe(now core.Instant, s core.Status) {
	old := c.st
	c.st, c.now = s, now
	if s.Term != old.Term {
		c.take, c.leadTip, c.leadComm = nil, 0, 0
		c.leadRef = Ref{}
		c.propAt = core.Instant{}
		clear(c.failed) // what could not be reproduced for one leader is executed again before another is refused
		if !c.broken(FaultNoRecheck) {
			c.pend = nil
		}
	}
	if s.Term != old.Term || s.Role != core.RoleLeader {
		c.endLead()
	}
	if c.leading {
		for id, p := range c.peers {
			m, ok := s.Cfg.Member(id)
			if ok && c.broken(FaultInheritMatch) {
				p.inc = m.Inc
			}
			if !ok || m.Inc != p.inc {
				delete(c.peers, id)
				delete(c.nacks, id)
			}
		}
		if s.Cfg.Key.Ver != old.Cfg.Key.Ver {
			clear(c.nacks) // whoever still refuses says so again
		}
		c.tryCommit()
	}
	c.plan()
}

func (c *Chain) endLead() {
	if c.leading {
		// The takeover and tip of a former leader of this term stay what they were; only others may use them.
		c.leading = false
		c.pend = nil
	}
	c.taking, c.peers, c.nacks = nil, nil, nil
	c.transferring = false
	c.termCommit, c.counted = Ref{}, false
	c.best, c.sources, c.votes = Report{}, nil, nil
}

// Report implements core.Hook.
func (c *Chain) Report() []byte {
	if c.claim != nil {
		return encodeReport(*c.claim, true)
	}
	return encodeReport(c.durable, false)
}

// Elected implements core.Hook: take the greatest report, make it the own chain, then lead (PROTOCOL R6). It is called
// again when further votes were asked for.
func (c *Chain) Elected(now core.Instant, term core.Term, reports []core.Report) {
	c.now = now
	if c.leading || c.taking != nil && c.taking.writing != 0 {
		return
	}
	again := c.taking != nil && c.taking.term == term
	if !again {
		c.taking = &taking{term: term}
	}
	c.votes = nil
	for _, r := range reports {
		rep, lost, err := decodeReport(r.Attachment)
		if err != nil {
			// Without it the greatest report would not be that of a majority (I5).
			c.alarm("vote of %s carries no report: %v", r.From, err)
			c.giveUp("a vote carries no report")
			return
		}
		c.votes = append(c.votes, ballot{r.From, rep, lost})
	}
	if !again || c.taking.short || c.taking.doubt {
		c.choose()
	}
	c.plan()
}

// choose picks the greatest report of a majority that does without the chains that cannot be reproduced here and, if a
// majority is left, without those that only voters report who lack blocks of them and those whose blocks do not come. I5
// asks for the greatest report of some majority: all of these voted for this node in this term, and each majority of them
// knows of every block that an earlier term committed. Without such a majority it asks the voters that are left;
// meanwhile the blocks that a voter lacks may be found with somebody else (R25), and those that do not come may come.
func (c *Chain) choose() {
	t := c.taking
	t.moved = c.now
	left := map[Ref]bool{}
	fit, held := c.greatest(left)
	for !held && fit > 0 && c.without(left, c.best.Tip) >= c.st.Cfg.Majority() {
		if left[c.best.Tip] = true; t.far[c.best.Tip] {
			c.event(Event{Kind: EventLeftOut, Ref: c.best.Tip})
		}
		fit, held = c.greatest(left)
	}
	t.doubt = !held && fit > 0
	switch {
	case fit >= c.st.Cfg.Majority():
		t.short = false
		if t.doubt && len(c.votes) < len(c.st.Cfg.Voters()) {
			c.cmd(core.CmdMoreVotes, t.term)
		}
	case len(c.votes) < len(c.st.Cfg.Voters()):
		if !t.short {
			t.short, t.since = true, c.now
		}
		c.cmd(core.CmdMoreVotes, t.term)
	default:
		c.giveUp(unfitChain)
	}
}

// greatest sets the best report of those that are fit and not left out, and who has its blocks. It returns how many such
// votes there are, and whether any of those that report the best has all of its blocks.
func (c *Chain) greatest(left map[Ref]bool) (fit int, held bool) {
	c.best, c.sources = Report{}, nil
	for _, v := range c.votes {
		if c.taking.unfit[v.report.Tip] || left[v.report.Tip] {
			continue
		}
		better := c.best.Less(v.report)
		if c.broken(FaultBestByHeight) {
			better = c.best.Tip.Height < v.report.Tip.Height
		}
		switch {
		case fit == 0 || better:
			c.best, c.sources, held = v.report, nil, false
		case v.report != c.best && v.report.Synced == c.best.Synced && v.report.Tip.Height == c.best.Tip.Height:
			c.alarm("I5: %s reports %v where another voter reports %v", v.from, v.report.Tip, c.best.Tip)
		}
		if v.report == c.best && !v.lost {
			c.sources, held = append(c.sources, v.from), true
		}
		fit++
	}
	return fit, held && !c.taking.far[c.best.Tip]
}

// stalled gives up waiting for the blocks of the best chain alone: none came for an election timeout. A voter may be
// heard whose blocks are not, since they are larger than what the path carries.
func (c *Chain) stalled() {
	t := c.taking
	waits := c.job != nil && c.job.kind == jobTakeover && !c.has(c.best.Tip) && (c.fetching != 0 || c.fetchWait)
	if t.writing != 0 || t.short || !waits || c.now.SinceMin(t.moved) < c.opt.MinElection || c.broken(FaultCling) {
		return
	}
	if t.far == nil {
		t.far = map[Ref]bool{}
	}
	t.far[c.best.Tip] = true
	c.choose()
}

// without counts the votes that are left without one more report.
func (c *Chain) without(left map[Ref]bool, tip Ref) int {
	n := 0
	for _, v := range c.votes {
		if r := v.report.Tip; !c.taking.unfit[r] && !left[r] && r != tip {
			n++
		}
	}
	return n
}

// Why a takeover is given up.
const (
	unfitChain  = "a block of the best chain cannot be reproduced here"
	prunedChain = "the blocks to go on from are gone elsewhere: this node needs a state first"
)

// giveUp ends a takeover.
func (c *Chain) giveUp(why string) {
	c.cmds = append(c.cmds, core.Command{Kind: core.CmdStepDown, Term: c.taking.term, StayOut: 2, Reason: why})
	c.taking = nil
}

// TakeoverDurable implements core.Hook.
func (c *Chain) TakeoverDurable(now core.Instant, term core.Term) {
	c.now = now
	if c.taking != nil && c.taking.term == term {
		c.taking.hard = true
		c.tryLead()
	}
}

func (c *Chain) tryLead() {
	if c.taking == nil || !c.taking.hard || !c.taking.chain {
		return
	}
	c.taking = nil
	c.leading = true
	take := c.tip
	c.take = &take
	c.peers, c.nacks = map[core.NodeID]*progress{}, map[core.NodeID]Ref{}
	c.lastCommit = c.now
	c.event(Event{Kind: EventTakeover, Ref: take, CTerm: c.st.Term})
	c.event(Event{Kind: EventTip, Ref: take})
	c.cmd(core.CmdTakeoverDone, c.st.Term)
	c.tryCommit()
}

// HeartbeatAttachment implements core.Hook.
func (c *Chain) HeartbeatAttachment() []byte {
	if !c.leading {
		return nil
	}
	return encodeHeartbeat(heartbeat{take: *c.take, commit: c.termCommit, tip: c.tip.Height})
}

// LeaderHeartbeat implements core.Hook.
func (c *Chain) LeaderHeartbeat(now core.Instant, from core.NodeID, term core.Term, att []byte) {
	c.now = now
	if len(att) == 0 {
		return
	}
	hb, err := decodeHeartbeat(att)
	if err != nil {
		c.alarm("heartbeat of %s: %v", from, err)
		return
	}
	if c.take != nil && *c.take != hb.take {
		c.alarm("I5: takeover of term %d was at %v, now %s says %v", term, *c.take, from, hb.take)
		return
	}
	c.take = &hb.take
	c.leadTip = max(c.leadTip, hb.tip)
	c.heardTip = max(c.heardTip, hb.tip)
	if c.synced == term {
		c.heardTip = max(hb.tip, c.tip.Height) // what was higher is lost
	}
	c.leadRef = hb.commit
	c.announced(hb.commit, term)
	if c.durable.Synced == term && now.SinceMin(c.ackAt) >= c.opt.MinElection/2 {
		c.ackNow = true
	}
	c.plan()
	c.ack()
	if now.SinceMin(c.nackAt) >= c.opt.MinElection/2 {
		c.sendNack()
	}
}

// announced notes a commit that the leader of term counted.
func (c *Chain) announced(r Ref, term core.Term) {
	if r == (Ref{}) {
		return
	}
	c.leadComm = max(c.leadComm, r.Height)
	if c.broken(FaultBlindCommit) {
		if hash, ok := c.hashAt(r.Height); ok && r.Height > c.commit.Height {
			c.certify(CommitRecord{Ref: Ref{r.Height, hash}, CTerm: term, From: r.Height})
		}
		return
	}
	c.learn(CommitRecord{Ref: r, CTerm: term, From: r.Height})
}

// Tick implements core.Hook.
func (c *Chain) Tick(now core.Instant) {
	c.now = now
	if c.leading {
		c.tickLeader()
	}
	if t := c.taking; t != nil && t.short && now.SinceMax(t.since) > c.opt.MinElection {
		c.giveUp(unfitChain)
	} else if t != nil {
		c.stalled()
	}
	if c.job != nil || len(c.certs) > 0 || c.claim != nil {
		c.plan()
	}
}

// CampaignDelay implements core.Hook: a node that knows that it is behind lets others go first.
func (c *Chain) CampaignDelay() time.Duration {
	if c.heardTip > c.durable.Tip.Height {
		return c.opt.MinElection / 2
	}
	return 0
}

// MayLead implements core.Hook: what cannot be repaired cannot win (PROTOCOL R25).
func (c *Chain) MayLead() bool { return c.claim == nil }

// Transferring implements core.Hook.
func (c *Chain) Transferring(now core.Instant, on bool) {
	c.now = now
	c.transferring = on
	if !on && c.leading {
		c.event(Event{Kind: EventTip, Ref: c.tip})
	}
}

// TransferReady implements core.Hook.
func (c *Chain) TransferReady(id core.NodeID) bool {
	p := c.peers[id]
	return p != nil && p.synced && p.match == c.tip
}

// MayReconfigure implements core.Hook (PROTOCOL R14): what was committed before, in whatever configuration, is held by a
// majority of the present one, in this term.
func (c *Chain) MayReconfigure() bool {
	if c.broken(FaultReconfigureEarly) {
		return true
	}
	if !c.leading {
		return false
	}
	h, ok := c.majorityAcked()
	return ok && h >= max(c.take.Height, c.commit.Height)
}

// Level implements core.Hook (PROTOCOL R17).
func (c *Chain) Level(id core.NodeID) bool {
	p := c.peers[id]
	return c.leading && p != nil && p.synced && p.match.Height+levelWithin >= c.tip.Height
}

// Durable says that write seq, and all before it, survived an fsync (a NoSync write: was applied).
func (c *Chain) Durable(now core.Instant, seq uint64) {
	c.now = now
	for len(c.writes) > 0 && c.writes[0].seq <= seq {
		w := c.writes[0]
		c.writes = c.writes[1:]
		c.durable = w.report
		c.redeem()
		if w.nack != nil {
			c.nackRef, c.nackDue = *w.nack, true
		}
		if t := c.taking; t != nil && w.seq == t.writing {
			t.chain = true
			c.cmd(core.CmdProgress, t.term)
		}
	}
	if c.nackDue {
		c.sendNack()
	}
	c.tryLead()
	if c.leading {
		c.tryCommit()
	}
	c.ack()
	c.trim()
}
