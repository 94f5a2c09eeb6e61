package core

import (
	"cmp"
	"math"
	"slices"
	"time"
)

func (c *Core) tickLeader(now Instant) {
	if lost := c.lostQuorum(now); lost && !c.patient(now) {
		c.stepDown(now, "no majority answers heartbeats", 0)
		return
	} else if !lost {
		c.patience.spent = false
	}
	if c.taking && now.SinceMax(c.progress) > c.backedOff(2*c.tm.MinElection) && !c.broken(FaultNoTakeoverLimit) {
		c.fail++
		c.stepDown(now, "takeover makes no progress", 1)
		return
	}
	if c.transfer != nil && now.SinceMax(c.transfer.start) > c.tm.MinElection {
		if c.transfer.sent {
			if !c.broken(FaultResumeLease) {
				c.stepDown(now, "handover was not taken up", 1)
				return
			}
			c.noLease = false
		}
		c.event(Event{Kind: EventTransfer, Detail: "target did not catch up: handover given up"})
		c.transfer = nil
		c.hook.Transferring(now, false)
		c.observe(now)
	}
	if c.more && now.SinceMin(c.resend) >= c.tm.Heartbeat {
		c.resend = now
		c.requestVotes()
	}
	if now.SinceMax(c.lastHB) >= c.tm.Heartbeat {
		c.broadcastHB(now)
	}
	c.passOn(now)
}

// broadcastHB sends a heartbeat to every other member. Its send time is the time that the lease counts from.
func (c *Core) broadcastHB(now Instant) {
	c.hbSeq++
	c.lastHB = now
	c.sent = append(c.sent, sentHB{c.hbSeq, now})
	for len(c.sent) > 1 && now.SinceMin(c.sent[0].at) > 2*c.tm.MinElection {
		c.sent = c.sent[1:]
	}
	cfg := c.dcfg // own copy first (PROTOCOL R14)
	att := c.hook.HeartbeatAttachment()
	for _, m := range c.hs.Cfg.Members {
		if m.ID != c.hs.ID {
			c.send(m.ID, Message{Type: MsgHB, Seq: c.hbSeq, Cfg: &cfg, Attachment: att})
		}
	}
	c.finishRounds()
}

func (c *Core) stepHBAck(now Instant, m Message) {
	if c.role != RoleLeader {
		return
	}
	if len(c.sent) == 0 || m.Seq < c.sent[0].seq || m.Seq > c.hbSeq {
		return // too old to matter, or never sent in this term
	}
	a := c.acks[m.From]
	if a.ever && m.Seq <= a.seq {
		return
	}
	c.acks[m.From] = ackState{
		ever: true, sent: c.sent[m.Seq-c.sent[0].seq].at, seq: m.Seq, cfgKey: m.CfgKey, listens: m.OK, reachable: m.Reachable,
		fit: !m.Unfit,
	}
	c.finishRounds()
	c.finishLeaves(now)
}

// majoritySent returns the majority-th newest send time of acknowledged heartbeats among the voters, this node itself
// counting as now; ok is false while fewer than a majority ever acknowledged one. floor stands in for those that
// never did.
func (c *Core) majoritySent(now, floor Instant) (at Instant, ok bool) {
	sent := make([]sentHB, 0, len(c.hs.Cfg.Members))
	ever := 0
	for _, m := range c.hs.Cfg.Members {
		if !m.Voter {
			continue
		}
		switch a := c.acks[m.ID]; {
		case m.ID == c.hs.ID:
			sent = append(sent, sentHB{math.MaxUint64, now})
			ever++
		case a.ever:
			sent = append(sent, sentHB{a.seq, a.sent})
			ever++
		default:
			sent = append(sent, sentHB{0, floor})
		}
	}
	// By number, not by clock: a clock that stands still gives two heartbeats one reading.
	slices.SortFunc(sent, func(a, b sentHB) int { return cmp.Compare(b.seq, a.seq) })
	maj := len(sent)/2 + 1
	if len(sent) < maj {
		return floor, false
	}
	return sent[maj-1].at, ever >= maj
}

// lostQuorum is R18: a leader that ran in time has stepped down before others can elect.
func (c *Core) lostQuorum(now Instant) bool {
	if c.broken(FaultNoQuorumCheck) {
		return false
	}
	at, ever := c.majoritySent(now, c.elected)
	limit := c.tm.LeaseDuration()
	if !ever {
		limit = c.tm.MinElection
	}
	return now.SinceMax(at) > limit
}

// lease is R21. The value carries its own start; whoever uses it compares it with the clock.
func (c *Core) lease() Lease {
	if c.role != RoleLeader || c.taking || c.tm.NoLease || c.noLease && !c.broken(FaultResumeLease) {
		return Lease{}
	}
	l := Lease{Valid: true, Term: c.hs.Term, Start: c.lastHB, D: c.tm.LeaseDuration()}
	switch {
	case c.broken(FaultLeaseCached):
		l.D = 1 << 62
	case c.broken(FaultLeaseMonoOnly):
		l.clock = clockMono
	case c.broken(FaultLeaseRealOnly):
		l.clock = clockReal
	}
	if c.hs.Cfg.Majority() == 1 {
		return l
	}
	// This node itself always counts as newer than any acknowledgement, so an instant later than all of them does.
	at, ok := c.majoritySent(c.lastHB, c.elected)
	if !ok && !c.broken(FaultLeaseUnacked) {
		return Lease{}
	}
	l.Start = at
	return l
}

// RequestRound starts a heartbeat round for a linearizable read (PROTOCOL R20) and returns its number; an EventRound
// with that number or a greater one follows when a majority has answered. Reads that arrive together share a round.
func (c *Core) RequestRound(now Instant) (uint64, error) {
	if c.role != RoleLeader || c.taking {
		return 0, ErrNotLeader
	}
	c.rounds = append(c.rounds, c.hbSeq+1)
	c.broadcastHB(now)
	return c.hbSeq, nil
}

func (c *Core) finishRounds() {
	if len(c.rounds) == 0 {
		return
	}
	seqs := []uint64{}
	for _, id := range c.hs.Cfg.Voters() {
		if id == c.hs.ID {
			seqs = append(seqs, c.hbSeq)
		} else {
			seqs = append(seqs, c.acks[id].seq)
		}
	}
	slices.SortFunc(seqs, func(a, b uint64) int { return cmp.Compare(b, a) })
	reached := seqs[c.hs.Cfg.Majority()-1]
	done := uint64(0)
	for len(c.rounds) > 0 && c.rounds[0] <= reached {
		done = c.rounds[0]
		c.rounds = c.rounds[1:]
	}
	if done > 0 {
		c.event(Event{Kind: EventRound, Seq: done})
	}
}

// Transfer hands leadership to a voter, or with to == "" to the best one (PROTOCOL R22); one that is named must be fit to
// lead. It returns once the handover has begun; Status and events tell how it ends.
func (c *Core) Transfer(now Instant, to NodeID) error {
	if c.role != RoleLeader || c.taking {
		return ErrNotLeader
	}
	if c.transfer != nil {
		return ErrTransferring
	}
	named := to != ""
	if !named {
		to = c.bestTarget(now)
		if to == "" {
			return ErrUnreachable
		}
	}
	if to == c.hs.ID || !c.hs.Cfg.IsVoter(to) {
		return ErrNotVoter
	}
	a := c.acks[to]
	if !a.ever || now.SinceMax(a.sent) > c.tm.MinElection {
		return ErrUnreachable
	}
	if named && !a.fit {
		return ErrUnfit
	}
	c.transfer = &transfer{to: to, start: now}
	c.event(Event{Kind: EventTransfer, Peer: to})
	c.hook.Transferring(now, true)
	c.observe(now)
	c.drain(now)
	return nil
}

// bestTarget prefers a voter that is fit to lead, then one that is level with this leader, then the one heard last, then
// the smallest id.
func (c *Core) bestTarget(now Instant) NodeID {
	best, bestReady, bestFit := NodeID(""), false, false
	var bestSeq uint64
	for _, id := range c.hs.Cfg.Voters() {
		a := c.acks[id]
		if id == c.hs.ID || !a.ever || now.SinceMax(a.sent) > c.tm.MinElection {
			continue
		}
		ready := c.hook.TransferReady(id)
		better := ready && !bestReady || ready == bestReady && a.seq > bestSeq
		if a.fit != bestFit {
			better = a.fit
		}
		if best == "" || better {
			best, bestReady, bestFit, bestSeq = id, ready, a.fit, a.seq
		}
	}
	return best
}

// pushTransfer sends TimeoutNow once the target is level. The lease is given up first, for the rest of the term.
func (c *Core) pushTransfer(now Instant) {
	t := c.transfer
	if !t.sent {
		if !c.hook.TransferReady(t.to) || c.acks[t.to].cfgKey.Ver != c.hs.Cfg.Key.Ver {
			return // with an older configuration nobody would vote for it
		}
		c.noLease = true
		t.sent, t.start = true, now
	} else if now.SinceMax(t.resend) < c.tm.Heartbeat/2 {
		return
	}
	t.resend = now
	c.observe(now)
	c.send(t.to, Message{Type: MsgTimeoutNow})
}

// LastHeard returns how long ago the newest acknowledged heartbeat to id was sent; ok is false when none was.
func (c *Core) LastHeard(now Instant, id NodeID) (d time.Duration, ok bool) {
	a := c.acks[id]
	return now.SinceMax(a.sent), a.ever
}
