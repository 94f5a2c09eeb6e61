package core

import "time"

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
)

// Command is one wish of the application.
type Command struct {
	Kind    CommandKind
	Term    Term
	StayOut int
	Reason  string
}

// nopHook is the application of a core that is used alone: a takeover is done as soon as it is durable, and that counts
// as its commit. Heartbeats say so, because a follower's back-off ends at a commit as well.
type nopHook struct {
	cmds  []Command
	leads Term // the term whose takeover is done
}

func (h *nopHook) Observe(Instant, Status)      {}
func (h *nopHook) Report() []byte               { return nil }
func (h *nopHook) Tick(Instant)                 {}
func (h *nopHook) CampaignDelay() time.Duration { return 0 }
func (h *nopHook) MayLead() bool                { return true }
func (h *nopHook) Transferring(Instant, bool)   {}
func (h *nopHook) TransferReady(NodeID) bool    { return true }
func (h *nopHook) MayReconfigure() bool         { return true }
func (h *nopHook) Level(NodeID) bool            { return true }

func (h *nopHook) Elected(_ Instant, term Term, _ []Report) {
	h.leads = 0
	h.cmds = append(h.cmds, Command{Kind: CmdTakeoverWriting, Term: term})
}

func (h *nopHook) TakeoverDurable(_ Instant, term Term) {
	h.leads = term
	h.cmds = append(h.cmds, Command{Kind: CmdTakeoverDone, Term: term}, Command{Kind: CmdCommitted, Term: term})
}

// HeartbeatAttachment is one byte once the takeover is done. It cannot be left over from an earlier term: there is no
// heartbeat before Elected.
func (h *nopHook) HeartbeatAttachment() []byte {
	if h.leads > 0 {
		return []byte{1}
	}
	return nil
}

func (h *nopHook) LeaderHeartbeat(_ Instant, _ NodeID, term Term, att []byte) {
	if len(att) > 0 {
		h.cmds = append(h.cmds, Command{Kind: CmdCommitted, Term: term})
	}
}

func (h *nopHook) Commands() []Command {
	c := h.cmds
	h.cmds = nil
	return c
}
