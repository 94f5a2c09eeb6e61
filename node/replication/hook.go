package replication

import (
	"time"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/raftify/core"
)

var _ core.Hook = (*Chain)(nil)

// Observe implements core.Hook: a new term, role or leader ends whatever belonged to the old one.
func (c *Chain) Observe(now core.Instant, s core.Status) {
	old := c.st
	c.st, c.now = s, now
	if s.Term != old.Term {
		c.take, c.leadTip, c.leadComm = nil, 0, 0
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
			if m, ok := s.Cfg.Member(id); !ok || m.Inc != p.inc {
				delete(c.peers, id)
				delete(c.nacks, id)
			}
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
	c.termCommit = Ref{}
	c.best, c.sources = Report{}, nil
}

// Report implements core.Hook.
func (c *Chain) Report() []byte { return encodeReport(c.durable) }

// Elected implements core.Hook: take the greatest report, make it the own chain, then lead (PROTOCOL R6).
func (c *Chain) Elected(now core.Instant, term core.Term, reports []core.Report) {
	c.now = now
	c.taking = &taking{term: term}
	first := true
	for _, r := range reports {
		rep, err := decodeReport(r.Attachment)
		if err != nil {
			// Without it the greatest report would not be that of a majority (I5).
			c.alarm("vote of %s carries no report: %v", r.From, err)
			c.taking = nil
			c.cmds = append(c.cmds, core.Command{Kind: core.CmdStepDown, Term: term, StayOut: 1, Reason: "a vote carries no report"})
			return
		}
		better := c.best.Less(rep)
		if c.broken(FaultBestByHeight) {
			better = c.best.Tip.Height < rep.Tip.Height
		}
		switch {
		case first || better:
			c.best, c.sources, first = rep, []core.NodeID{r.From}, false
		case rep == c.best:
			c.sources = append(c.sources, r.From)
		case rep.Synced == c.best.Synced && rep.Tip.Height == c.best.Tip.Height:
			c.alarm("I5: %s reports %v where another voter reports %v", r.From, rep.Tip, c.best.Tip)
		}
	}
	c.plan()
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
	if c.job != nil || len(c.certs) > 0 {
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

// Durable says that write seq, and all before it, survived an fsync (a NoSync write: was applied).
func (c *Chain) Durable(now core.Instant, seq uint64) {
	c.now = now
	for len(c.writes) > 0 && c.writes[0].seq <= seq {
		w := c.writes[0]
		c.writes = c.writes[1:]
		c.durable = w.report
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

// Height returns the newest height heard of from anyone.
func (c *Chain) Height() block.Height { return max(c.heardTip, c.tip.Height) }
