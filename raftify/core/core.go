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
	// Membership, when not nil, lets the membership change by itself.
	Membership *Membership
	Timing     Timing
	Hook       Hook                // nil: none
	Rand       func(n int64) int64 // uniform in [0, n)
	Now        Instant
}

type timer struct {
	start Instant
	after time.Duration
}

func (t timer) expired(now Instant) bool { return now.SinceMin(t.start) >= t.after }

// seen is the newest start of one incarnation: a replaced disk counts its starts from one again (PROTOCOL R26).
type seen struct {
	inc           Inc
	boot, session uint64
	term, oldTerm Term // the highest that it was heard in, and those before it
	// The start before it: its messages may still turn up, which is no reason for an alarm.
	oldBoot, oldSession uint64
}

type sentHB struct {
	seq uint64
	at  Instant
}

type ackState struct {
	ever      bool
	sent      Instant // send time of the newest acknowledged heartbeat
	seq       uint64
	cfgKey    CfgKey
	listens   bool // reachable says whom it hears; otherwise it does not know
	reachable []NodeID
	fit       bool
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
	trust      start   // of whom it was a heartbeat; zero: of a leader before the start of this node, whoever that was
	free       bool    // that leader has ended, or leases do not matter and it is suspected: no stickiness
	notice     *Death  // why free, if it can be proved to others
	dead       map[NodeID]gone
	timer      timer
	stayOut    timer
	patience   patience
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
	counted    int  // leader: how many of votes the hook was given
	more       bool // leader: it wants further ones

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
	mem  members
	ask  asking

	fitness Fitness
	passed  passing
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
	if opt.State.Stale {
		return nil, ErrStaleFolder
	}
	if opt.Rand == nil {
		return nil, errors.New("options need a source of randomness")
	}
	if opt.Hook == nil {
		opt.Hook = &BasicHook{}
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
	c.mem.init(c)
	c.beginAsking()
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
		Leader: c.leader, Cfg: c.hs.Cfg, Counts: c.dcfg, ClusterID: c.hs.ClusterID, Inc: c.hs.Inc, Boot: c.hs.Boot, Backoff: c.fail,
		Lease: c.lease(), Fitness: c.fitness, Asking: c.ask.on,
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

func (c *Core) resetTimer(now Instant) {
	c.timer = timer{now, c.randTimeout()}
	c.forgetStall()
}

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
	c.taking, c.noLease, c.more, c.counted = false, false, false, 0
	c.transfer = nil
	c.transferOf = 0
	c.mem.joins, c.mem.level, c.mem.wishes = nil, nil, nil
	c.forgetStall()
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
	if c.free {
		return false
	}
	return now.SinceMin(c.contact) < c.tm.MinElection
}

// Tick lets time pass. Call it every quarter of a heartbeat, or when Quiet says.
func (c *Core) Tick(now Instant) {
	if c.hs.Stale {
		return
	}
	c.tickAsking(now)
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
		if c.selfVoter() && now.SinceMin(c.timer.start) >= c.timer.after+c.hook.CampaignDelay()+c.fitnessDelay() &&
			c.stayOut.expired(now) && !c.patient(now) && c.mayStand() {
			c.preCampaign(now)
		}
		c.hasten(now)
	case RoleLearner:
	}
	c.boot.tick(c, now)
	c.tickMembers(now)
	c.drain(now)
}

// Poke lets the core look at what the hook wants after the owner stepped the application by itself.
func (c *Core) Poke(now Instant) {
	c.hasten(now)
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
	if c.hs.Stale {
		return
	}
	mine := c.role == RoleLeader && cmd.Term == c.hs.Term
	switch cmd.Kind {
	case CmdTakeoverWriting:
		if mine && c.taking {
			cfg := c.hs.Cfg
			cfg.Key.CTerm = c.hs.Term
			c.hs.Cfg = cfg
			c.dirty, c.more = true, false
			c.nextMarks.takeover = c.hs.Term
		}
	case CmdTakeoverDone:
		if mine && c.taking {
			invariant(c.dcfg.Key.CTerm == c.hs.Term, "R6: takeover of term %d done before its configuration %+v was durable",
				c.hs.Term, c.dcfg.Key)
			c.taking, c.more, c.counted, c.votes = false, false, 0, nil
			c.event(Event{Kind: EventLeading})
			c.event(Event{Kind: EventConfig, Cfg: c.hs.Cfg.Key})
			c.broadcastHB(now)
			c.observe(now)
		}
	case CmdProgress:
		if mine {
			c.progress = now
		}
	case CmdMoreVotes:
		if mine && c.taking {
			c.more, c.resend = true, now
			c.requestVotes()
			c.lateVotes(now)
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
	case CmdDistrust:
		c.distrust(cmd.Peer, cmd.Reason)
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

func sortedKeys[V any](m map[NodeID]V) []NodeID {
	return slices.SortedFunc(maps.Keys(m), func(a, b NodeID) int { return cmp.Compare(a, b) })
}
