package replication

import "github.com/baton-ha/baton/raftify/core"

// Address completes the header of an outgoing message with the sender's part, which the election core gives for its
// current term. False: the term has changed since the message was made, it must not leave (PROTOCOL R1).
func (c *Chain) Address(h core.Header, m *Message) bool {
	if m.Term != h.Term && !c.broken(FaultAckOldTerm) {
		return false
	}
	h.Term = m.Term
	m.Header = h
	return true
}

// Deliver hands one message of the chain layer to both cores, as PROTOCOL R1 to R3 want it: a certificate counts from
// anybody of the same cluster; everything else only when the election core admits its header, in the same step.
func Deliver(now core.Instant, el *core.Core, ch *Chain, m Message) {
	if m.Type == MsgCommitted {
		if own := el.Header(m.From).ClusterID; own == (core.ClusterID{}) || m.ClusterID != own {
			return
		}
		cterm := m.CTerm
		if ch.broken(FaultWrongCTerm) {
			cterm = m.Term
		}
		ch.Committed(now, cterm, m.Ref)
	} else if el.Admit(now, m.Header, m.FromLeader()) {
		ch.Step(now, m)
	}
	el.Poke(now)
}
