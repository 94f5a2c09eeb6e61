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
