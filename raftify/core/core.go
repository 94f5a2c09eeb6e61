package core

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

var (
	// ErrNotLeader is returned when only a leader whose takeover is done can do what was asked.
	ErrNotLeader = errors.New("not the leader")
	// ErrTransferring is returned by Transfer while another handover is under way.
	ErrTransferring = errors.New("a handover is under way")
	// ErrNotVoter is returned by Transfer when the target is no voter, or the leader itself.
	ErrNotVoter = errors.New("target is not another voter")
	// ErrUnreachable is returned by Transfer when the target has not answered a heartbeat lately.
	ErrUnreachable = errors.New("target does not answer")
	// ErrDropped is returned by Step when a message does not count; the wrapped text says why.
	ErrDropped = errors.New("message dropped")
)

// Peer is a node that bootstrap knows of.
type Peer struct {
	ID   NodeID
	Addr string
}

// Options configure a Core.
type Options struct {
	// State is the durable state as loaded, with Boot already raised and made durable, and ID and Inc set.
	State   HardState
	Session uint64 // random per start
	Addr    string // own address, for the configuration
	// Peers and Expect drive the bootstrap of a cluster (PROTOCOL R26): version 1 holds the Expect smallest ids.
	Peers  []Peer
	Expect int
	// NeverBootstrap is set when the node was once in a cluster and lost its folder.
	NeverBootstrap bool
	Timing         Timing
	Hook           Hook                // nil: none
	Rand           func(n int64) int64 // uniform in [0, n)
	Now            Instant
}

type timer struct {
	start Instant
	after time.Duration
}

func (t timer) expired(now Instant) bool { return now.SinceMin(t.start) >= t.after }

type held struct {
	seq  uint64 // hard-state write that must be durable first
	term Term
	msg  Message
	// report: ask the hook for the attachment when the promise is durable.
	report bool
}

// pendingHS is a hard-state write that is not durable yet, and what waits for it. With a slow disk several are under
// way, and the term may be another one when the first is done: each mark says of what it speaks.
type pendingHS struct {
	seq      uint64
	cfg      Config
	takeover Term      // the write holds cfg.cterm of this node's takeover of that term; 0: of none
	ownVote  Term      // the write holds this node's vote for itself in that term; 0: of none
	boot     ClusterID // the write holds this node's promise of its own proposal; zero: of none
}

// seen is the newest start of one incarnation: a replaced disk counts its starts from one again (PROTOCOL R26).
type seen struct {
	inc           Inc
	boot, session uint64
	// The start before it: its messages may still turn up, which is no reason for an alarm.
	oldBoot, oldSession uint64
}

type sentHB struct {
	seq uint64
	at  Instant
}

type ackState struct {
	ever   bool
	sent   Instant // send time of the newest acknowledged heartbeat
	seq    uint64
	cfgKey CfgKey
}

type transfer struct {
	to     NodeID
	start  Instant // of the current phase
	sent   bool
	resend Instant
}

// Core is the election protocol of one node. It is a plain value: no goroutine, no lock, no clock. One caller at a
// time.
type Core struct {
	opt Options
	tm  Timing
	flt faults

	hs         HardState
	dirty      bool
	hseq       uint64 // number of the newest hard-state write handed out
	voteDirty  bool   // term or vote differ from the newest write handed out
	voteSeq    uint64 // number of the write that first held the current term and vote
	durable    uint64 // number of the newest one that is durable
	dcfg       Config // configuration as of the newest durable write
	pending    []pendingHS
	held       []held
	nextMarks  pendingHS // what the next hard-state write will contain besides the state
	out        []Message
	events     []Event
	hook       Hook
	seen       map[NodeID]seen
	role       Role
	leader     NodeID
	contact    Instant // last_contact
	timer      timer
	stayOut    timer
	fail       int // failures since the last commit: doubles limits
	grants     map[NodeID]bool
	round      uint64 // number of the current pre-vote round
	roundStart Instant
	yield      timer // a smaller id may go first
	yielded    bool  // in this pre-candidacy already
	resend     Instant
	candTimer  timer
	candBase   time.Duration // the limit of the candidacy without the doubling
	outvoted   bool          // a voter refused in this very term
	transferOf Term
	votes      map[NodeID][]byte

	// Leader only.
	taking   bool
	elected  Instant
	progress Instant
	noLease  bool
	hbSeq    uint64
	lastHB   Instant
	sent     []sentHB
	acks     map[NodeID]ackState
	rounds   []uint64
	transfer *transfer

	boot bootstrap
}

// New returns a core for the given durable state. It is a follower that keeps faith with an unknown leader for
// MinElection (PROTOCOL R4: last_contact := start time at a start).
func New(opt Options) (*Core, error) {
	if err := opt.Timing.Validate(); err != nil {
		return nil, fmt.Errorf("timing: %w", err)
	}
	if opt.State.ID == "" || opt.State.Boot == 0 || opt.State.Inc == (Inc{}) {
		return nil, errors.New("hard state needs an id, an incarnation and a boot number")
	}
	if opt.Rand == nil {
		return nil, errors.New("options need a source of randomness")
	}
	if opt.Hook == nil {
		opt.Hook = &nopHook{}
	}
	if opt.State.Vote.Kind == 0 { // a new folder
		opt.State.Vote.Kind = VoteNone
	}
	c := &Core{
		opt: opt, tm: opt.Timing, hs: opt.State, dcfg: opt.State.Cfg, hook: opt.Hook,
		seen: map[NodeID]seen{}, role: RoleFollower, contact: opt.Now,
	}
	c.role = c.idleRole()
	c.resetTimer(opt.Now)
	c.boot.init(c)
	return c, nil
}

// idleRole is what a node is when it neither leads nor campaigns.
func (c *Core) idleRole() Role {
	if c.hs.Cfg.Key.Ver > 0 && !c.selfVoter() {
		return RoleLearner
	}
	return RoleFollower
}

func (c *Core) selfVoter() bool {
	m, ok := c.hs.Cfg.Member(c.hs.ID)
	return ok && m.Voter && m.Inc == c.hs.Inc
}

// Status returns a snapshot.
func (c *Core) Status() Status {
	return Status{
		Term: c.hs.Term, Vote: c.hs.Vote, Role: c.role, Taking: c.taking, Transferring: c.transfer != nil,
		Leader: c.leader, Cfg: c.hs.Cfg, ClusterID: c.hs.ClusterID, Inc: c.hs.Inc, Boot: c.hs.Boot, Backoff: c.fail,
		Lease: c.lease(),
	}
}

// Backoff returns the number of failures since the last commit; limits double with each (PROTOCOL R6).
func (c *Core) Backoff() int { return c.fail }

// backedOff returns d doubled once per failure, at most MaxBackoff.
func (c *Core) backedOff(d time.Duration) time.Duration {
	if c.broken(FaultNoBackoff) {
		return d
	}
	for range min(c.fail, 20) {
		d *= 2
		if d >= c.tm.MaxBackoff {
			return c.tm.MaxBackoff
		}
	}
	return d
}

func (c *Core) randTimeout() time.Duration {
	return c.tm.MinElection + time.Duration(c.opt.Rand(int64(c.tm.MinElection)))
}

func (c *Core) resetTimer(now Instant) { c.timer = timer{now, c.randTimeout()} }

func (c *Core) event(e Event) {
	if e.Term == 0 {
		e.Term = c.hs.Term
	}
	e.Role = c.role
	c.events = append(c.events, e)
}

func (c *Core) alarm(format string, args ...any) {
	c.event(Event{Kind: EventAlarm, Detail: fmt.Sprintf(format, args...)})
}

// header fills the sender's part of a message.
func (c *Core) header(to NodeID) Header {
	return Header{
		ClusterID: c.hs.ClusterID, From: c.hs.ID, To: to, Inc: c.hs.Inc, Boot: c.hs.Boot,
		Session: c.opt.Session, Term: c.hs.Term,
	}
}

// Header returns the header for an application message of the current term to a peer.
func (c *Core) Header(to NodeID) Header { return c.header(to) }

func (c *Core) send(to NodeID, m Message) {
	m.Header = c.header(to)
	c.out = append(c.out, m)
}

// need is the number of the hard-state write that holds everything changed so far.
func (c *Core) need() uint64 {
	if c.dirty {
		return c.hseq + 1
	}
	return c.hseq
}

// needVote is the number of the write that holds the current term and vote, whatever else changed since.
func (c *Core) needVote() uint64 {
	if c.voteDirty {
		return c.hseq + 1
	}
	return c.voteSeq
}

// setVote changes the vote of the current term.
func (c *Core) setVote(v Vote) {
	c.hs.Vote = v
	c.dirty, c.voteDirty = true, true
}

// sendDurable sends once the state of this moment is durable, and only if the term is the same then (PROTOCOL R1).
func (c *Core) sendDurable(to NodeID, m Message, report bool) {
	c.sendAfter(c.need(), to, m, report)
}

// sendAfter is sendDurable for a message that asserts no more than hard-state write seq holds. A message that waits
// for the same write already is replaced: while a disk hangs, the queue does not grow with the heartbeats.
func (c *Core) sendAfter(seq uint64, to NodeID, m Message, report bool) {
	m.Header = c.header(to)
	h := held{seq: seq, term: c.hs.Term, msg: m, report: report}
	if report && c.broken(FaultEarlyReport) {
		h.msg.Attachment, h.report = c.hook.Report(), false
	}
	if h.seq <= c.durable || c.broken(FaultNoPersist) {
		c.release(h)
		return
	}
	for i, o := range c.held {
		if o.seq == h.seq && o.term == h.term && o.msg.To == to && o.msg.Type == m.Type {
			c.held[i] = h
			return
		}
	}
	c.held = append(c.held, h)
}

func (c *Core) release(h held) {
	if h.term != c.hs.Term {
		return
	}
	if h.report {
		h.msg.Attachment = c.hook.Report()
	}
	c.out = append(c.out, h.msg)
}

// observe tells the hook the new state.
func (c *Core) observe(now Instant) { c.hook.Observe(now, c.Status()) }

// setTerm raises the term (PROTOCOL R2).
func (c *Core) setTerm(now Instant, t Term, why string) {
	invariant(t > c.hs.Term, "I2: term would fall from %d to %d", c.hs.Term, t)
	wasLeader, wasOut := c.role == RoleLeader, c.role == RolePreCandidate || c.role == RoleCandidate
	c.hs.Term = t
	c.setVote(Vote{Kind: VoteNone})
	c.clearRole()
	c.leader = ""
	c.role = c.idleRole()
	if wasLeader {
		c.event(Event{Kind: EventStepDown, Detail: why})
	}
	if wasLeader || wasOut {
		// Somebody else is further: two candidates that answer one another at once would go on doing so.
		c.resetTimer(now)
	}
	c.event(Event{Kind: EventTerm, Detail: why})
	c.observe(now)
}

func (c *Core) clearRole() {
	c.grants, c.votes, c.acks, c.sent, c.rounds = nil, nil, nil, nil, nil
	c.taking, c.noLease = false, false
	c.transfer = nil
	c.transferOf = 0
}

// stepDown gives up a role within the term.
func (c *Core) stepDown(now Instant, why string, stayOut int) {
	if c.role == RoleFollower || c.role == RoleLearner {
		return
	}
	wasLeader := c.role == RoleLeader
	c.clearRole()
	c.role = c.idleRole()
	if c.leader == c.hs.ID {
		c.leader = ""
	}
	c.resetTimer(now)
	if stayOut > 0 {
		c.stayOut = timer{now, time.Duration(stayOut) * c.randTimeout()}
	}
	if wasLeader {
		c.event(Event{Kind: EventStepDown, Detail: why})
	} else {
		c.event(Event{Kind: EventRole, Detail: why})
	}
	c.observe(now)
}

// sticky reports whether this node keeps faith with a leader (PROTOCOL R4).
func (c *Core) sticky(now Instant) bool {
	if c.broken(FaultNoSticky) {
		return false
	}
	if c.role == RoleLeader {
		return !c.lostQuorum(now)
	}
	return now.SinceMin(c.contact) < c.tm.MinElection
}

// Tick lets time pass. Call it at least every quarter of a heartbeat; longer gaps are noticed as pauses.
func (c *Core) Tick(now Instant) {
	c.hook.Tick(now)
	switch c.role {
	case RoleLeader:
		c.tickLeader(now)
	case RolePreCandidate:
		if now.SinceMin(c.roundStart) >= c.tm.MinElection {
			c.preVoteRound(now)
		} else if now.SinceMin(c.resend) >= c.tm.Heartbeat {
			c.askGrants(now)
		} else {
			c.countGrants(now)
		}
	case RoleCandidate:
		if c.candTimer.expired(now) || c.outvoted && now.SinceMin(c.candTimer.start) >= c.candBase {
			c.fail++
			c.role = RoleFollower
			c.clearRole()
			c.event(Event{Kind: EventRole, Detail: "no majority voted in time"})
			c.observe(now)
			c.preCampaign(now)
		} else if now.SinceMin(c.resend) >= c.tm.Heartbeat && c.votes != nil {
			c.resend = now
			c.requestVotes()
		}
	case RoleFollower:
		if c.selfVoter() && now.SinceMin(c.timer.start) >= c.timer.after+c.hook.CampaignDelay() && c.stayOut.expired(now) {
			c.preCampaign(now)
		}
	case RoleLearner:
	}
	c.boot.tick(c, now)
	c.drain(now)
}

// Poke lets the core look at what the hook wants after the owner stepped the application by itself.
func (c *Core) Poke(now Instant) { c.drain(now) }

// Suspect says that the leader's host refused a connection just now: the pre-vote starts at once instead of at the
// end of the timeout. It lifts nobody's stickiness, not even this node's own (PROTOCOL R23b).
func (c *Core) Suspect(now Instant, id NodeID) {
	if c.role == RoleFollower && id == c.leader && id != "" && c.selfVoter() && c.stayOut.expired(now) {
		c.preCampaign(now)
	}
	c.drain(now)
}

// drain carries out the hook's wishes.
func (c *Core) drain(now Instant) {
	for range 64 {
		cmds := c.hook.Commands()
		if len(cmds) == 0 {
			break
		}
		for _, cmd := range cmds {
			c.command(now, cmd)
		}
	}
	if c.role == RoleLeader && c.transfer != nil {
		c.pushTransfer(now)
	}
}

func (c *Core) command(now Instant, cmd Command) {
	mine := c.role == RoleLeader && cmd.Term == c.hs.Term
	switch cmd.Kind {
	case CmdTakeoverWriting:
		if mine && c.taking {
			cfg := c.hs.Cfg
			cfg.Key.CTerm = c.hs.Term
			c.hs.Cfg = cfg
			c.dirty = true
			c.nextMarks.takeover = c.hs.Term
		}
	case CmdTakeoverDone:
		if mine && c.taking {
			invariant(c.dcfg.Key.CTerm == c.hs.Term, "R6: takeover of term %d done before its configuration %+v was durable",
				c.hs.Term, c.dcfg.Key)
			c.taking = false
			c.event(Event{Kind: EventLeading})
			c.event(Event{Kind: EventConfig, Cfg: c.hs.Cfg.Key})
			c.broadcastHB(now)
			c.observe(now)
		}
	case CmdProgress:
		if mine {
			c.progress = now
		}
	case CmdCommitted:
		c.fail = 0
	case CmdStepDown:
		if mine {
			c.fail++
			c.stepDown(now, cmd.Reason, cmd.StayOut)
		}
	case CmdObserveTerm:
		c.observeTerm(now, cmd.Term)
	}
}

// observeTerm is R11 and R15: the term is known to exist and have a leader that is not known to this node.
func (c *Core) observeTerm(now Instant, t Term) {
	if t > c.hs.Term {
		c.setTerm(now, t, "learned of the term")
	}
	if t == c.hs.Term && c.hs.Vote.Kind == VoteNone && !c.broken(FaultNoClose) {
		c.setVote(Vote{Kind: VoteClosed})
	}
}

// Durable says that hard-state write seq, and all before it, survived an fsync.
func (c *Core) Durable(now Instant, seq uint64) {
	if seq <= c.durable {
		return
	}
	invariant(seq <= c.hseq, "durable write %d was never handed out (newest %d)", seq, c.hseq)
	c.durable = seq
	var done []pendingHS
	for len(c.pending) > 0 && c.pending[0].seq <= seq {
		done = append(done, c.pending[0])
		c.pending = c.pending[1:]
	}
	for _, p := range done {
		c.dcfg = p.cfg
	}
	for _, p := range done {
		if p.takeover == c.hs.Term && c.role == RoleLeader && c.taking {
			c.progress = now
			c.hook.TakeoverDurable(now, c.hs.Term)
		}
		if p.ownVote == c.hs.Term {
			c.ownVoteDurable(now)
		}
		if p.boot != (ClusterID{}) {
			c.boot.ownPromiseDurable(c, now, p.boot)
		}
	}
	keep := c.held[:0]
	ready := []held{}
	for _, h := range c.held {
		if h.seq <= seq {
			ready = append(ready, h)
		} else {
			keep = append(keep, h)
		}
	}
	c.held = keep
	for _, h := range ready {
		c.release(h)
	}
	c.drain(now)
}

// Ready is what the core wants done. Ready takes it out of the core: whatever is in it is the driver's from then on.
type Ready struct {
	// HardState, when not nil, is write number Seq: make it durable, after all earlier ones, then call Durable(Seq).
	// Nothing in Messages depends on it, so both may go at once.
	HardState *HardState
	Seq       uint64
	Messages  []Message
	Events    []Event
}

// HasReady reports whether Ready would return anything.
func (c *Core) HasReady() bool { return c.dirty || len(c.out) > 0 || len(c.events) > 0 }

// Ready returns and forgets what is to be done.
func (c *Core) Ready() Ready {
	r := Ready{Messages: c.out, Events: c.events}
	c.out, c.events = nil, nil
	if c.dirty {
		c.dirty = false
		c.hseq++
		if c.voteDirty {
			c.voteDirty, c.voteSeq = false, c.hseq
		}
		hs := c.hs
		if c.broken(FaultNoVotePersist) {
			hs.Vote = Vote{Kind: VoteNone}
		}
		r.HardState, r.Seq = &hs, c.hseq
		p := c.nextMarks
		p.seq, p.cfg = c.hseq, c.hs.Cfg
		c.nextMarks = pendingHS{}
		c.pending = append(c.pending, p)
	}
	return r
}

// Clone returns an independent copy that talks to another hook, a clone of the application's (nil: the copy is used
// alone). Both go on drawing from Options.Rand, so for exploration that must be a pure function. Events and messages
// that Ready has not taken yet are in both.
func (c *Core) Clone(h Hook) *Core {
	d := *c
	if h == nil {
		h = &nopHook{}
		if n, ok := c.hook.(*nopHook); ok {
			*h.(*nopHook) = nopHook{cmds: slices.Clone(n.cmds), leads: n.leads}
		}
	}
	d.hook = h
	d.flt = c.flt.clone()
	d.pending, d.held, d.out, d.events = slices.Clone(c.pending), slices.Clone(c.held), slices.Clone(c.out), slices.Clone(c.events)
	d.seen, d.grants, d.votes, d.acks = maps.Clone(c.seen), maps.Clone(c.grants), maps.Clone(c.votes), maps.Clone(c.acks)
	d.sent, d.rounds = slices.Clone(c.sent), slices.Clone(c.rounds)
	if c.transfer != nil {
		t := *c.transfer
		d.transfer = &t
	}
	d.boot = c.boot.clone()
	return &d
}

func sortedKeys[V any](m map[NodeID]V) []NodeID {
	return slices.SortedFunc(maps.Keys(m), func(a, b NodeID) int { return cmp.Compare(a, b) })
}
