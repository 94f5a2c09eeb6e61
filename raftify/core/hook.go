package core

import (
	"slices"
	"time"
)

// Report is a voter's attachment to its vote, as the winner sees it.
type Report struct {
	From       NodeID
	Attachment []byte
}

// Hook is the application's replicated part (a chain), registered with the core and called inline, in the caller's
// goroutine, as part of the same step. Its methods must not block, must not call the core and must be deterministic.
// What the application wants of the core it returns from Commands, which the core drains at the end of each of its own
// calls (and in Poke, after the owner stepped the application by itself).
type Hook interface {
	// Observe tells the term, role and leader after each change, before anything else is done in the new state.
	Observe(now Instant, s Status)
	// Report returns what this node asserts about its durable application state in a vote. It is called only after
	// the promise (term and vote) is durable (PROTOCOL R1), and must speak of durable state alone.
	Report() []byte
	// Elected starts a takeover: reports holds the attachments of a majority, this node's own included, sorted by id.
	// After CmdMoreVotes it is called again, with those and further ones, while the takeover is not written.
	Elected(now Instant, term Term, reports []Report)
	// TakeoverDurable says that the hard state that the takeover asked for (CmdTakeoverWriting) is durable.
	TakeoverDurable(now Instant, term Term)
	// HeartbeatAttachment returns the application's part of an outgoing heartbeat.
	HeartbeatAttachment() []byte
	// LeaderHeartbeat hands over the application's part of an accepted heartbeat.
	LeaderHeartbeat(now Instant, from NodeID, term Term, attachment []byte)
	// Tick lets time pass.
	Tick(now Instant)
	// CampaignDelay is added to the election timeout: positive when this node is behind (PROTOCOL R4).
	CampaignDelay() time.Duration
	// MayLead reports whether this node could finish a takeover at all (PROTOCOL R25). While it says no, the node votes and
	// does not campaign, not even at a leader's wish.
	MayLead() bool
	// Transferring tells that a handover began (stop proposing) or was given up (go on). One that ends with the
	// leadership is told by Observe alone.
	Transferring(now Instant, on bool)
	// TransferReady reports whether id holds all that this leader has (PROTOCOL R22: match == tip).
	TransferReady(id NodeID) bool
	// MayReconfigure reports whether a majority of the configuration last observed has acknowledged, in this term, all
	// that is committed and the takeover (PROTOCOL R14). It is asked of a leader whose takeover is done.
	MayReconfigure() bool
	// Level reports whether id, which may be a learner, holds nearly all that this leader has (PROTOCOL R17).
	Level(id NodeID) bool
	// Commands returns and forgets what the application wants.
	Commands() []Command
}

// CommandKind says what the application asks of the core.
type CommandKind uint8

// The commands of a Hook.
const (
	// CmdTakeoverWriting: the application's takeover record was queued for writing; write cfg.cterm := Term with it.
	CmdTakeoverWriting CommandKind = iota + 1
	// CmdTakeoverDone: the takeover is durable, the leader may act.
	CmdTakeoverDone
	// CmdProgress: the takeover moves; restart its time limit.
	CmdProgress
	// CmdMoreVotes: the takeover cannot rest on the reports that were given; ask the other voters too. Any majority of
	// those that voted for this node in Term will do, since which of them was heard first says nothing.
	CmdMoreVotes
	// CmdCommitted: something was committed; failure back-off starts anew.
	CmdCommitted
	// CmdStepDown: give up leadership; stay out of elections for StayOut election timeouts.
	CmdStepDown
	// CmdObserveTerm: the application saw Term without a message of its leader (a commit certificate): raise to it
	// and close the vote (PROTOCOL R11).
	CmdObserveTerm
	// CmdDistrust: Peer, in its present start, has less than its incarnation once acknowledged; Reason says what.
	CmdDistrust
)

// Command is one wish of the application.
type Command struct {
	Kind    CommandKind
	Term    Term
	Peer    NodeID
	StayOut int
	Reason  string
}

// BasicHook is a Hook that does what a node without one does: a takeover is done as soon as it is durable. Embed
// it and override what you need. The commonest need is an attachment on votes: Report is what this node attaches to
// each vote that it gives, read once the vote is on its disk, and Elected gives the winner those of the majority that
// elected it, its own included. An Elected of one's own ends with BasicHook.Elected, or with BasicHook.Refuse for a
// winner that must not lead. All methods are called in the owner loop: they must not block. The zero value is ready.
type BasicHook struct {
	cmds  []Command
	leads Term // the term whose takeover is done
}

var _ Hook = (*BasicHook)(nil)

// Observe does nothing.
func (h *BasicHook) Observe(Instant, Status) {}

// Report attaches nothing.
func (h *BasicHook) Report() []byte { return nil }

// Tick does nothing.
func (h *BasicHook) Tick(Instant) {}

// CampaignDelay is none.
func (h *BasicHook) CampaignDelay() time.Duration { return 0 }

// MayLead says yes.
func (h *BasicHook) MayLead() bool { return true }

// Transferring does nothing.
func (h *BasicHook) Transferring(Instant, bool) {}

// TransferReady says yes to all.
func (h *BasicHook) TransferReady(NodeID) bool { return true }

// MayReconfigure says yes.
func (h *BasicHook) MayReconfigure() bool { return true }

// Level says yes to all.
func (h *BasicHook) Level(NodeID) bool { return true }

// Elected accepts the leadership of a term.
func (h *BasicHook) Elected(_ Instant, term Term, _ []Report) {
	h.leads = 0
	h.Command(Command{Kind: CmdTakeoverWriting, Term: term})
}

// Refuse gives a won term up, and stays out of elections for a while.
func (h *BasicHook) Refuse(term Term, reason string) {
	h.leads = 0
	h.Command(Command{Kind: CmdStepDown, Term: term, StayOut: 2, Reason: reason})
}

// TakeoverDurable begins to lead.
func (h *BasicHook) TakeoverDurable(_ Instant, term Term) {
	h.leads = term
	h.Command(Command{Kind: CmdTakeoverDone, Term: term})
	h.Command(Command{Kind: CmdCommitted, Term: term})
}

// HeartbeatAttachment is one byte once the takeover is done, which counts as a commit: followers' failures are forgotten
// then. It cannot be left over from an earlier term: there is no heartbeat before Elected.
func (h *BasicHook) HeartbeatAttachment() []byte {
	if h.leads > 0 {
		return []byte{1}
	}
	return nil
}

// LeaderHeartbeat notes that the takeover is done.
func (h *BasicHook) LeaderHeartbeat(_ Instant, _ NodeID, term Term, attachment []byte) {
	if len(attachment) > 0 {
		h.Command(Command{Kind: CmdCommitted, Term: term})
	}
}

// Command asks the core for something at the end of the present step.
func (h *BasicHook) Command(c Command) { h.cmds = append(h.cmds, c) }

// Commands implements Hook.
func (h *BasicHook) Commands() []Command {
	c := h.cmds
	h.cmds = nil
	return c
}

// Leads returns the term whose takeover is done, 0 when none was since the last Elected.
func (h *BasicHook) Leads() Term { return h.leads }

// Clone returns an independent copy, for Core.Clone.
func (h *BasicHook) Clone() BasicHook {
	return BasicHook{cmds: slices.Clone(h.cmds), leads: h.leads}
}
