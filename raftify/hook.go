package raftify

import (
	"time"

	"github.com/baton-ha/baton/raftify/core"
)

// BasicHook is a core.Hook that does what a node without one does: a takeover is done as soon as it is durable. Embed
// it and override what you need. The commonest need is an attachment on votes: Report is what this node attaches to
// each vote that it gives, read once the vote is on its disk, and Elected gives the winner those of the majority that
// elected it, its own included. An Elected of one's own ends with BasicHook.Elected, or with BasicHook.Refuse for a
// winner that must not lead. All methods are called in the owner loop: they must not block. The zero value is ready.
type BasicHook struct {
	cmds  []core.Command
	leads core.Term
}

var _ core.Hook = (*BasicHook)(nil)

// Observe does nothing.
func (h *BasicHook) Observe(core.Instant, core.Status) {}

// Report attaches nothing.
func (h *BasicHook) Report() []byte { return nil }

// Tick does nothing.
func (h *BasicHook) Tick(core.Instant) {}

// CampaignDelay is none.
func (h *BasicHook) CampaignDelay() time.Duration { return 0 }

// MayLead says yes.
func (h *BasicHook) MayLead() bool { return true }

// Transferring does nothing.
func (h *BasicHook) Transferring(core.Instant, bool) {}

// TransferReady says yes to all.
func (h *BasicHook) TransferReady(core.NodeID) bool { return true }

// MayReconfigure says yes.
func (h *BasicHook) MayReconfigure() bool { return true }

// Level says yes to all.
func (h *BasicHook) Level(core.NodeID) bool { return true }

// Elected accepts the leadership of a term.
func (h *BasicHook) Elected(_ core.Instant, term core.Term, _ []core.Report) {
	h.leads = 0
	h.Command(core.Command{Kind: core.CmdTakeoverWriting, Term: term})
}

// Refuse gives a won term up, and stays out of elections for a while.
func (h *BasicHook) Refuse(term core.Term, reason string) {
	h.leads = 0
	h.Command(core.Command{Kind: core.CmdStepDown, Term: term, StayOut: 2, Reason: reason})
}

// TakeoverDurable begins to lead.
func (h *BasicHook) TakeoverDurable(_ core.Instant, term core.Term) {
	h.leads = term
	h.Command(core.Command{Kind: core.CmdTakeoverDone, Term: term})
	h.Command(core.Command{Kind: core.CmdCommitted, Term: term})
}

// HeartbeatAttachment is one byte once the takeover is done: followers' failures are forgotten then.
func (h *BasicHook) HeartbeatAttachment() []byte {
	if h.leads > 0 {
		return []byte{1}
	}
	return nil
}

// LeaderHeartbeat notes that the takeover is done.
func (h *BasicHook) LeaderHeartbeat(_ core.Instant, _ core.NodeID, term core.Term, attachment []byte) {
	if len(attachment) > 0 {
		h.Command(core.Command{Kind: core.CmdCommitted, Term: term})
	}
}

// Command asks the core for something at the end of the present step.
func (h *BasicHook) Command(c core.Command) { h.cmds = append(h.cmds, c) }

// Commands implements core.Hook.
func (h *BasicHook) Commands() []core.Command {
	c := h.cmds
	h.cmds = nil
	return c
}
