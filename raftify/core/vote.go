package core

import (
	"fmt"
	"time"
)

// preCampaign asks whether an election could be won (PROTOCOL R4), raising nothing.
func (c *Core) preCampaign(now Instant) {
	c.role = RolePreCandidate
	c.yielded = false
	if c.leader != "" {
		c.leader = ""
		c.event(Event{Kind: EventLeader})
	}
	why := "no heartbeat in time"
	if c.free {
		why = "the leader has ended"
	}
	c.event(Event{Kind: EventRole, Detail: why})
	c.observe(now)
	c.preVoteRound(now)
}

// preVoteRound starts to count grants anew. A round lasts MinElection, so that answers may take as long as that.
func (c *Core) preVoteRound(now Instant) {
	c.round++
	c.roundStart = now
	c.grants = map[NodeID]bool{}
	c.askGrants(now)
}

// askGrants asks whoever has not granted this round yet, this node itself included.
func (c *Core) askGrants(now Instant) {
	c.resend = now
	if !c.sticky(now) || c.broken(FaultSelfSticky) {
		c.grants[c.hs.ID] = true
	}
	cfg := c.hs.Cfg
	for _, id := range cfg.Voters() {
		if id != c.hs.ID && !c.grants[id] {
			c.sendDurable(id, Message{Type: MsgPreVote, NextTerm: c.hs.Term + 1, Seq: c.round, Cfg: &cfg, Dead: c.notice}, false)
		}
	}
	c.countGrants(now)
}

func (c *Core) countGrants(now Instant) {
	if len(c.grants) >= c.hs.Cfg.Majority() && c.yield.expired(now) {
		c.campaign(now, 0)
	}
}

// standBack lets a smaller id that was granted a pre-vote go first. Two nodes that outlive their leader lose faith in it
// at one instant, and would grant one another and then split the votes. It waits a moment, and once a pre-candidacy, so
// it does not matter if that other node cannot win.
func (c *Core) standBack(now Instant, other NodeID) {
	if other > c.hs.ID || c.role == RolePreCandidate && c.yielded {
		return
	}
	c.yielded = c.role == RolePreCandidate
	c.yield = timer{now, 2 * c.tm.Heartbeat}
}

func (c *Core) stepPreVote(now Instant, m Message) error {
	grant := false
	switch {
	case m.NextTerm <= c.hs.Term:
		c.refused(m.From, "pre-vote for term %d", m.NextTerm)
		if c.broken(FaultNoTermAnswer) {
			return nil
		}
	case m.Cfg == nil || m.Cfg.Key.Compare(c.hs.Cfg.Key) < 0:
		c.refused(m.From, "pre-vote with an older configuration")
		c.tellTerm(m.From)
	case c.sticky(now) && (m.From != c.leader || c.leader == ""):
		c.refused(m.From, "pre-vote while %s", c.faith())
	default:
		grant = true
		c.standBack(now, m.From)
		// It does what is to be done. That is waited for once: who cannot win asks again and again.
		if wait := c.tm.Heartbeat + c.slot()*time.Duration(c.rank("")); c.free && c.role == RoleFollower && c.timer.after != wait {
			c.timer = timer{now, wait}
		}
	}
	c.sendDurable(m.From, Message{Type: MsgPreVoteResp, NextTerm: m.NextTerm, Seq: m.Seq, OK: grant}, false)
	return nil
}

// faith says with whom a sticky node keeps faith.
func (c *Core) faith() string {
	switch c.leader {
	case "":
		return "a leader may still be there"
	case c.hs.ID:
		return "this node leads"
	}
	return "leader " + string(c.leader) + " is heard"
}

func (c *Core) refused(who NodeID, format string, args ...any) {
	c.event(Event{Kind: EventVoteRefused, Peer: who, Detail: fmt.Sprintf(format, args...)})
}

func (c *Core) stepPreVoteResp(now Instant, m Message) {
	if c.role != RolePreCandidate || m.Seq != c.round || m.NextTerm != c.hs.Term+1 || !m.OK || !c.hs.Cfg.IsVoter(m.From) {
		return
	}
	c.grants[m.From] = true
	c.countGrants(now)
}

// campaign raises the term and votes for itself, durably, before it asks anyone (PROTOCOL R6). transferOf is the term
// whose leader hands over, 0 for none.
func (c *Core) campaign(now Instant, transferOf Term) {
	if c.sticky(now) && (transferOf == 0 || transferOf != c.hs.Term) && !c.broken(FaultSelfSticky) {
		return
	}
	c.setTerm(now, c.hs.Term+1, "campaigning")
	c.setVote(Vote{Kind: VoteFor, ID: c.hs.ID})
	c.nextMarks.ownVote = c.hs.Term
	c.role = RoleCandidate
	c.transferOf = transferOf
	c.candBase, c.outvoted = c.randTimeout(), false
	c.candTimer = timer{now, c.backedOff(c.candBase)}
	c.resend = now
	c.event(Event{Kind: EventRole})
	c.observe(now)
}

// ownVoteDurable goes on with the candidacy once the candidate's own vote is on disk.
func (c *Core) ownVoteDurable(now Instant) {
	if c.role != RoleCandidate || c.votes != nil {
		return
	}
	c.votes = map[NodeID][]byte{c.hs.ID: c.hook.Report()}
	c.event(Event{Kind: EventVoteGranted, Peer: c.hs.ID})
	c.requestVotes()
	c.countVotes(now)
}

func (c *Core) requestVotes() {
	cfg := c.hs.Cfg
	for _, id := range cfg.Voters() {
		if _, ok := c.votes[id]; !ok {
			c.sendDurable(id, Message{Type: MsgVote, Cfg: &cfg, TransferOf: c.transferOf, Dead: c.notice}, false)
		}
	}
}

// stepVote is R5.
func (c *Core) stepVote(now Instant, m Message) error {
	if m.Cfg == nil {
		return dropped("vote request without a configuration")
	}
	if c.ask.on {
		c.refused(m.From, "vote for term %d before all were asked what they remember of this node", m.Term)
		c.sendDurable(m.From, Message{Type: MsgVoteResp}, false)
		return nil
	}
	handover := m.TransferOf > 0 && m.TransferOf == c.hs.Term && m.Term == c.hs.Term+1
	if m.Term > c.hs.Term && c.sticky(now) && (m.From != c.leader || c.leader == "") && !handover {
		c.refused(m.From, "vote for term %d while %s", m.Term, c.faith())
		c.sendDurable(m.From, Message{Type: MsgVoteResp}, false)
		return nil
	}
	if m.Term > c.hs.Term {
		c.setTerm(now, m.Term, "vote request of "+string(m.From))
	}
	// A vote that was given once may be said again, sticky or not: if this node keeps faith with a leader of this very
	// term, then that leader has won it already and the sender cannot.
	again := c.hs.Vote.Kind == VoteFor && c.hs.Vote.ID == m.From || c.broken(FaultTwoVotes)
	free := c.hs.Vote.Kind == VoteNone
	switch {
	case m.Term < c.hs.Term:
		c.refused(m.From, "vote for old term %d", m.Term)
		if c.broken(FaultNoTermAnswer) {
			return nil
		}
	case m.Cfg.Key.Compare(c.hs.Cfg.Key) < 0:
		c.refused(m.From, "vote with an older configuration")
		c.tellTerm(m.From)
	case c.sticky(now) && free && m.From != c.leader && !handover:
		c.refused(m.From, "vote for term %d while %s", m.Term, c.faith())
	case !again && !free:
		c.refused(m.From, "vote for term %d was given to %v", m.Term, c.hs.Vote)
	default:
		if !again {
			c.setVote(Vote{Kind: VoteFor, ID: m.From})
			c.resetTimer(now)
			if c.role == RolePreCandidate { // it stands back for the one that it voted for
				c.clearRole()
				c.role = c.idleRole()
			}
			c.event(Event{Kind: EventVoteGranted, Peer: m.From})
			c.observe(now)
		}
		c.sendDurable(m.From, Message{Type: MsgVoteResp, OK: true}, true)
		return nil
	}
	c.sendDurable(m.From, Message{Type: MsgVoteResp}, false)
	return nil
}

func (c *Core) stepVoteResp(now Instant, m Message) {
	if c.role != RoleCandidate && !c.taking || c.votes == nil || !c.hs.Cfg.IsVoter(m.From) {
		return
	}
	if !m.OK {
		// Its vote of this term is gone. The doubled limit is for voters that are slow, not for an election that is split:
		// the only node that reaches a majority would stand for half a minute in a term that it cannot win (I14).
		c.outvoted = true
		return
	}
	if _, dup := c.votes[m.From]; dup {
		return
	}
	c.votes[m.From] = m.Attachment
	if c.taking {
		c.lateVotes(now)
		return
	}
	c.countVotes(now)
}

// lateVotes hands the votes that came after the majority to the application, if it asked for them.
func (c *Core) lateVotes(now Instant) {
	if c.more && len(c.votes) > c.counted {
		c.counted = len(c.votes)
		c.hook.Elected(now, c.hs.Term, c.reports())
	}
}

func (c *Core) reports() []Report {
	out := make([]Report, 0, len(c.votes))
	for _, id := range sortedKeys(c.votes) {
		out = append(out, Report{From: id, Attachment: c.votes[id]})
	}
	return out
}

func (c *Core) countVotes(now Instant) {
	if len(c.votes) < c.hs.Cfg.Majority() {
		return
	}
	votes, reports := c.votes, c.reports()
	c.clearRole()
	c.role, c.leader, c.taking = RoleLeader, c.hs.ID, true
	c.votes, c.counted = votes, len(votes)
	c.elected, c.progress = now, now
	c.acks = map[NodeID]ackState{}
	c.event(Event{Kind: EventElected})
	c.observe(now)
	c.hook.Elected(now, c.hs.Term, reports)
	c.broadcastHB(now)
}
