package replication

import (
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/raftify/core"
)

// Step takes one message that core.Core.Admit let through.
func (c *Chain) Step(now core.Instant, m Message) {
	c.now = now
	switch m.Type {
	case MsgProp:
		c.stepProp(m)
	case MsgAck:
		c.stepAck(m)
	case MsgNack:
		c.stepNack(m)
	case MsgCommitted:
	case msgEnd:
	}
}

// Committed takes a certificate from anyone, whatever the term and whether or not its sender is a member: it is a
// fact (PROTOCOL R11). The election layer learns of its term.
func (c *Chain) Committed(now core.Instant, cterm core.Term, ref Ref) {
	c.now = now
	if ref.Height == 0 || cterm == 0 {
		return
	}
	if c.learn(CommitRecord{Ref: ref, CTerm: cterm, From: ref.Height}) {
		c.plan()
		c.ack()
	}
}

// execTip is the end of what is appended or being executed to be appended.
func (c *Chain) execTip() Ref {
	if n := len(c.pend); n > 0 {
		b := c.pend[n-1]
		return Ref{b.Header.Height, b.Hash()}
	}
	return c.tip
}

// stepProp is R8.
func (c *Chain) stepProp(m Message) {
	b := m.Block
	if b == nil || c.st.Role == core.RoleLeader {
		return
	}
	ref := Ref{b.Header.Height, b.Hash()}
	c.heardTip = max(c.heardTip, ref.Height)
	c.leadTip = max(c.leadTip, ref.Height)
	c.propAt = c.now
	c.announced(m.Commit, m.Term)
	defer c.ack()
	if c.has(ref) {
		c.ackNow = c.ackNow || c.synced == c.st.Term
		c.plan()
		return
	}
	c.keepBody(b)
	if c.synced != c.st.Term || c.refusing() {
		c.plan()
		return
	}
	switch tip := c.execTip(); {
	case ref.Height == tip.Height+1 && b.Header.Parent == tip.Hash:
		c.pend = append(c.pend, b)
		c.exec(b)
		c.advance()
	case ref.Height > tip.Height+1:
		if c.durable.Synced == c.st.Term && c.claim == nil && !c.st.Asking && c.now.SinceMin(c.gapAt) >= c.opt.MinElection/8 {
			c.gapAt = c.now
			c.send(m.From, Message{Type: MsgAck, Ref: c.durable.Tip, Resend: true})
		}
	}
	c.plan()
}

// Executed is the executor's verdict on a block: whether its state root was reproduced.
func (c *Chain) Executed(now core.Instant, hash block.Hash, ok bool) {
	c.now = now
	delete(c.asked, hash)
	if ok {
		c.executed[hash] = true
	} else {
		c.failed[hash] = now
	}
	c.advance()
	c.plan()
	c.ack()
}

// NotExecuted takes a block back from the executor, which lacks the state to execute it on because it refused the
// parent: nothing is known of this one.
func (c *Chain) NotExecuted(now core.Instant, hash block.Hash) {
	c.now = now
	delete(c.asked, hash)
	for i, b := range c.pend {
		if b.Hash() == hash {
			c.pend = c.pend[:i:i] // it is proposed again
			return
		}
	}
}

// advance appends what has been executed. All conditions of R8 are checked here, in the same step as the append: the
// term, the role or the chain may have changed while the block was executing.
func (c *Chain) advance() {
	for len(c.pend) > 0 {
		b := c.pend[0]
		verdict := c.executed[b.Hash()]
		if _, bad := c.failed[b.Hash()]; !verdict && !bad {
			return
		}
		ref := Ref{b.Header.Height, b.Hash()}
		switch {
		case !c.broken(FaultNoRecheck) && (c.synced != c.st.Term || c.st.Role == core.RoleLeader), b.Header.Parent != c.tip.Hash:
			c.pend = nil
			return
		case !verdict:
			c.pend = nil
			c.alarm("state root of proposed block %v cannot be reproduced here", ref)
			c.nack(ref)
			return
		case !c.broken(FaultNoRecheck) && c.nacked == c.st.Term:
			c.pend = nil // even if it is another block than the refused one, or the fault has passed
			return
		}
		c.pend = c.pend[1:]
		c.write(Write{Append: []*block.Block{b}})
		c.event(Event{Kind: EventAppended, Ref: ref})
	}
}

// nack refuses the leader's block for the rest of the term, durably (PROTOCOL R13). A process that was restarted knows
// only that it refused one: it finds out again which.
func (c *Chain) nack(ref Ref) {
	if c.nacked == c.st.Term {
		if !c.refusing() {
			c.nackRef = ref
			c.sendNack()
		}
		return
	}
	t := c.st.Term
	c.write(Write{Nacked: &t})
	c.writes[len(c.writes)-1].nack = &ref
	c.event(Event{Kind: EventNacked, Ref: ref, Peer: c.st.Leader})
}

// refusing reports whether this node refused a block of this term and knows which.
func (c *Chain) refusing() bool {
	return c.nacked == c.st.Term && (c.nackRef != (Ref{}) || c.nackPending())
}

// sendNack tells the leader of the durable refusal. It is said again and again while the leader is heard: a leader that
// never learns of it steps down with the block in its chain, where nobody may drop it any more.
func (c *Chain) sendNack() {
	c.nackDue = false
	if c.st.Leader != "" && c.st.Leader != c.opt.ID && c.nacked == c.st.Term && c.nackRef != (Ref{}) && !c.nackPending() {
		c.nackAt = c.now
		c.send(c.st.Leader, Message{Type: MsgNack, Ref: c.nackRef})
	}
}

// nackPending reports whether the refusal is not durable yet.
func (c *Chain) nackPending() bool {
	for _, w := range c.writes {
		if w.nack != nil {
			return true
		}
	}
	return false
}

// ack tells the leader how much of its chain is durable here: only what is, only in the term that it is labelled
// with, never after a nack.
func (c *Chain) ack() {
	if c.st.Role == core.RoleLeader {
		return
	}
	to, term := c.st.Leader, c.st.Term
	switch {
	case c.broken(FaultAckOldTerm):
		term = c.durable.Synced
		if m := c.st.Cfg.Voters(); to == "" && len(m) > 0 {
			for _, id := range m {
				if id != c.opt.ID && c.durable != c.acked {
					c.sendTerm(id, term, Message{Type: MsgAck, Ref: c.durable.Tip})
				}
			}
			c.acked = c.durable
			return
		}
	case c.broken(FaultCountHolders):
	case c.durable.Synced != term:
		return
	}
	if to == "" || to == c.opt.ID || c.nacked == c.st.Term {
		return
	}
	if c.st.Asking {
		return // the next heartbeat finds it done
	}
	if c.claim != nil {
		return // the durable chain may end below the takeover, and the leader was told more already
	}
	if c.durable == c.acked && !c.ackNow {
		return
	}
	c.acked, c.ackAt, c.ackNow = c.durable, c.now, false
	c.sendTerm(to, term, Message{Type: MsgAck, Ref: c.durable.Tip})
}
