package core

import "errors"

// Why a leader does not take a member's vote: Seq of a LeaveResp.
const (
	leaveUnsafe = iota + 1
	leaveTooMany
)

// Leave asks the leader to take this node's vote (PROTOCOL R16): it becomes a learner that is not promoted by itself. An
// EventLeave tells what came of it; until then it is to be asked again, since the request or its answer may be lost, and
// the leader may have to wait for an earlier change. It returns ErrSelf on the leader, and ErrNotMember for a node that
// is none.
func (c *Core) Leave(now Instant) error {
	if _, ok := c.hs.Cfg.Member(c.hs.ID); !ok {
		return ErrNotMember
	}
	if c.role == RoleLeader {
		return ErrSelf
	}
	if c.leader != "" {
		c.sendDurable(c.leader, Message{Type: MsgLeave, CfgKey: c.hs.Cfg.Key}, false)
	}
	c.drain(now)
	return nil
}

// stepLeave takes a member's vote at its own wish. One that was under way since before another change says nothing: the
// node may have been promoted again meanwhile. That it has left is said only once no change of leader can undo it.
func (c *Core) stepLeave(now Instant, m Message) error {
	if c.role != RoleLeader || c.taking {
		return dropped("leave of %s, this node does not lead", m.From)
	}
	mem, _ := c.hs.Cfg.Member(m.From)
	pin, _ := c.hs.Cfg.Pin(m.From)
	if left := !mem.Voter && pin.State == PinHeld; left && c.settled() == nil {
		c.sendDurable(m.From, Message{Type: MsgLeaveResp, OK: true}, false)
		return nil
	} else if left {
		return nil // asked again
	}
	if m.CfgKey != c.hs.Cfg.Key {
		return dropped("leave of %s with another configuration", m.From)
	}
	why := uint64(0)
	switch err := c.ReconfigureAnswered(now, Change{Kind: ChangeLeave, Member: Member{ID: m.From, Inc: m.Inc}}); {
	case errors.Is(err, ErrUnsafe):
		why = leaveUnsafe
	case errors.Is(err, ErrTooManyPins):
		why = leaveTooMany
	default: // begun, or asked again
		if w, ok := c.mem.wishes[m.From]; ok {
			w.own = true
			c.mem.wishes[m.From] = w
		}
		return nil
	}
	c.sendDurable(m.From, Message{Type: MsgLeaveResp, Seq: why}, false)
	return nil
}

func (c *Core) stepLeaveResp(m Message) error {
	if m.From != c.leader {
		return dropped("answer to a leave from %s, the leader is %q", m.From, c.leader)
	}
	e := Event{Kind: EventLeave, Peer: m.From}
	switch {
	case m.OK:
	case m.Seq == leaveUnsafe:
		e.Detail = ErrUnsafe.Error()
	case m.Seq == leaveTooMany:
		e.Detail = ErrTooManyPins.Error()
	default:
		return dropped("answer %d to a leave", m.Seq)
	}
	c.event(e)
	return nil
}
