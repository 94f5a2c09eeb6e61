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
	// ErrReconfiguring is returned by Reconfigure while an earlier configuration is not yet as safe as PROTOCOL R14
	// wants it, or a handover is under way: try again in a moment.
	ErrReconfiguring = errors.New("the present configuration is not settled yet")
	// ErrUnsafe is returned by Reconfigure when the new voters that answer heartbeats are no majority of themselves.
	ErrUnsafe = errors.New("the voters that answer would be no majority")
	// ErrNotMember is returned by Reconfigure when there is no such member, or it is of another incarnation.
	ErrNotMember = errors.New("no such member")
	// ErrNoChange is returned by Reconfigure when the configuration says so already.
	ErrNoChange = errors.New("the configuration says so already")
	// ErrNotLevel is returned by Reconfigure when a learner that has not caught up is to become a voter (PROTOCOL R17).
	ErrNotLevel = errors.New("the learner has not caught up")
	// ErrStillVoter is returned by Reconfigure when a node is to be added whose id a voter has, of another incarnation:
	// demote that one first (PROTOCOL R26).
	ErrStillVoter = errors.New("a voter of that id is to be demoted first")
	// ErrTooManyMembers is returned by Reconfigure when a configuration would have more members than the wire carries.
	ErrTooManyMembers = errors.New("too many members")
	// ErrSelf is returned by Reconfigure when the leader is to lose its own vote: hand over first.
	ErrSelf = errors.New("the leader stays a voter: hand over first")
)

// MaxMembers is how many members a configuration may have, learners included.
const MaxMembers = 64

// maxGuests bounds what is remembered of nodes that ask to join.
const maxGuests = 64

// Membership switches the automatic part of membership on: newcomers join, learners that have caught up are promoted,
// voters that nobody hears are demoted (PROTOCOL R16, R17, R26). Without it a configuration changes by Reconfigure
// alone.
type Membership struct {
	// KickAfter is for how long a voter must have been silent to everybody before it is demoted; 0: never.
	KickAfter time.Duration
	// MaxVoters ends automatic promotion; 0: none.
	MaxVoters int
}

// ChangeKind says what a Change does. Zero is invalid.
type ChangeKind uint8

// The changes. Each adds or removes at most one voter.
const (
	ChangeAdd     ChangeKind = iota + 1 // Member becomes a learner; a learner of its id and another incarnation goes
	ChangePromote                       // a learner becomes a voter
	ChangeDemote                        // a voter becomes a learner
	ChangeRemove                        // a member goes, and is barred; an invitation is taken back
	ChangeInvite                        // a node may join (PinInvited), whatever was said of it before
	ChangeLeave                         // a member becomes a learner and is not promoted by itself (PROTOCOL R16)
	ChangeMove                          // a member has another address
)

// String returns the word used in logs.
func (k ChangeKind) String() string {
	switch k {
	case ChangeAdd:
		return "add"
	case ChangePromote:
		return "promote"
	case ChangeDemote:
		return "demote"
	case ChangeRemove:
		return "remove"
	case ChangeInvite:
		return "invite"
	case ChangeLeave:
		return "leave"
	case ChangeMove:
		return "move"
	}
	return fmt.Sprintf("ChangeKind(%d)", uint8(k))
}

// Change is one step of membership. Voter of Member is ignored. Add needs id, incarnation and address, Move id
// and address; the others need the id. If Inc is not zero it must be the member's.
type Change struct {
	Kind   ChangeKind
	Member Member
	Info   string // of Invite: Pin.Info; "" keeps what the pin has
}

type heardFrom struct {
	inc Inc
	at  Instant
}

// members is the volatile part of membership.
type members struct {
	heard   map[NodeID]heardFrom // when a message of each member last counted
	ping    Instant
	allowed map[NodeID]bool  // the configured peers
	guests  map[NodeID]guest // who asked to join, or said that it has moved
	// A node that asks to join: when it asked last, whom it was told of, and what to say back to whom.
	asked  Instant
	guides map[NodeID]string
	tokens map[NodeID]uint64
	// Leader only.
	joins  map[NodeID]joining
	level  map[NodeID]Instant // since when a learner has been level
	wishes map[NodeID]wish    // whose vote is to go when the others have answered
}

func (m *members) init(c *Core) {
	m.allowed = map[NodeID]bool{}
	for _, p := range c.opt.Peers {
		m.allowed[p.ID] = true
	}
	m.heard = map[NodeID]heardFrom{}
	m.asked, m.ping = c.opt.Now, c.opt.Now
	c.noteMembers(c.opt.Now, Config{})
}

func (m *members) clone() members {
	d := *m
	d.heard, d.allowed = maps.Clone(m.heard), maps.Clone(m.allowed)
	d.guests, d.guides, d.tokens = maps.Clone(m.guests), maps.Clone(m.guides), maps.Clone(m.tokens)
	d.joins, d.level, d.wishes = maps.Clone(m.joins), maps.Clone(m.level), maps.Clone(m.wishes)
	return d
}

// noteMembers keeps what is remembered of members in step with the configuration, which was old until now. A member that
// is new to this node counts as just heard: what was never listened for is not silent. What a node said of its address is
// over when the configuration says something new of it.
func (c *Core) noteMembers(now Instant, old Config) {
	for _, m := range c.hs.Cfg.Members {
		if o, _ := old.Member(m.ID); o.Inc != m.Inc || o.Addr != m.Addr {
			delete(c.mem.guests, m.ID)
		}
	}
	for id, g := range c.dead {
		if m, ok := c.hs.Cfg.Member(id); !ok || m.Inc != g.inc {
			delete(c.dead, id)
		}
	}
	if c.opt.Membership == nil {
		return
	}
	for id, h := range c.mem.heard {
		if m, ok := c.hs.Cfg.Member(id); !ok || m.Inc != h.inc {
			delete(c.mem.heard, id)
		}
	}
	for _, m := range c.hs.Cfg.Members {
		if _, ok := c.mem.heard[m.ID]; !ok && m.ID != c.hs.ID {
			c.mem.heard[m.ID] = heardFrom{m.Inc, now}
		}
	}
}

// reachable lists the members that this node heard within KickAfter; false when it does not listen, so that its list says
// nothing. A node of a version that knows no such list says false as well, and whoever answers so kicks nobody.
func (c *Core) reachable(now Instant) ([]NodeID, bool) {
	if k := c.opt.Membership; k == nil || k.KickAfter <= 0 {
		return nil, false
	}
	var out []NodeID
	for _, m := range c.hs.Cfg.Members {
		if m.ID != c.hs.ID && !c.silentHere(now, m.ID) {
			out = append(out, m.ID)
		}
	}
	return out, true
}

func (c *Core) silentHere(now Instant, id NodeID) bool {
	k := c.opt.Membership
	return k != nil && k.KickAfter > 0 && now.SinceMin(c.mem.heard[id].at) >= k.KickAfter
}

// Reconfigure installs the next configuration (PROTOCOL R14). It returns when that is queued for writing; an
// EventReconfigured tells it, and others hear of it once it is durable here. The leader itself must stay a voter.
func (c *Core) Reconfigure(now Instant, ch Change) error {
	if err := c.settled(); err != nil {
		return err
	}
	ms, err := c.changed(now, ch)
	if err != nil {
		return err
	}
	pins, err := c.changedPins(ch)
	if err != nil {
		return err
	}
	next := NewConfig(CfgKey{c.hs.Term, c.hs.Cfg.Key.Ver + 1}, ms, pins...)
	if !c.broken(FaultUnsafeChange) && !c.answered(now, next) {
		return ErrUnsafe
	}
	c.install(now, next, ch)
	c.drain(now)
	return nil
}

// Settled returns nil when a majority has the present configuration and what is committed: from then on neither can be
// lost, and Reconfigure is possible. Otherwise it says what is missing, or ErrNotLeader.
func (c *Core) Settled() error { return c.settled() }

// settled is the condition of R14 but for the change itself.
func (c *Core) settled() error {
	if c.role != RoleLeader || c.taking {
		return ErrNotLeader
	}
	if c.transfer != nil {
		return fmt.Errorf("%w: a handover is under way", ErrReconfiguring)
	}
	invariant(c.hs.Cfg.Key.CTerm == c.hs.Term, "R6: leader of term %d has configuration %+v", c.hs.Term, c.hs.Cfg.Key)
	if c.dcfg.Key != c.hs.Cfg.Key {
		return fmt.Errorf("%w: it is not durable here", ErrReconfiguring)
	}
	have := 0
	for _, id := range c.hs.Cfg.Voters() {
		if a := c.acks[id]; id == c.hs.ID || a.ever && a.cfgKey == c.hs.Cfg.Key {
			have++
		}
	}
	if have < c.hs.Cfg.Majority() && !c.broken(FaultNoConfigQuorum) {
		return fmt.Errorf("%w: %d of %d voters have it", ErrReconfiguring, have, len(c.hs.Cfg.Voters()))
	}
	if !c.hook.MayReconfigure() {
		return fmt.Errorf("%w: a majority has not acknowledged all that is committed", ErrReconfiguring)
	}
	return nil
}

// changed returns the members after a change.
func (c *Core) changed(now Instant, ch Change) ([]Member, error) {
	ms := slices.Clone(c.hs.Cfg.Members)
	i := slices.IndexFunc(ms, func(m Member) bool { return m.ID == ch.Member.ID })
	if ch.Member.ID == c.hs.ID && ch.Kind != ChangeMove {
		if ch.Kind == ChangePromote || ch.Kind == ChangeInvite && ch.Info == "" {
			return nil, ErrNoChange // it votes, and is a member
		}
		return nil, ErrSelf
	}
	if ch.Kind == ChangeAdd {
		m := Member{ID: ch.Member.ID, Inc: ch.Member.Inc, Addr: ch.Member.Addr}
		if m.ID == "" || m.Inc == (Inc{}) || m.Addr == "" {
			return nil, fmt.Errorf("%w: a newcomer needs id, incarnation and address", ErrNotMember)
		}
		if i < 0 {
			if len(ms) >= MaxMembers {
				return nil, fmt.Errorf("%w: there are %d", ErrTooManyMembers, len(ms))
			}
			return append(ms, m), nil
		}
		if ms[i].Inc == m.Inc {
			return nil, ErrNoChange
		}
		if ms[i].Voter {
			return nil, ErrStillVoter
		}
		ms[i] = m
		return ms, nil
	}
	if ch.Kind == ChangeInvite {
		return ms, nil
	}
	if pin, _ := c.hs.Cfg.Pin(ch.Member.ID); ch.Kind == ChangeRemove && i < 0 && pin.State != 0 {
		if pin.State == PinBarred {
			return nil, ErrNoChange
		}
		return ms, nil // an invitation that was not taken up
	}
	if i < 0 || ch.Member.Inc != (Inc{}) && ms[i].Inc != ch.Member.Inc {
		return nil, fmt.Errorf("%w: %s", ErrNotMember, ch.Member.ID)
	}
	switch ch.Kind {
	case ChangePromote:
		if ms[i].Voter {
			return nil, ErrNoChange
		}
		if !c.levelNow(now, ms[i].ID) {
			return nil, ErrNotLevel
		}
		ms[i].Voter = true
	case ChangeDemote:
		if !ms[i].Voter {
			return nil, ErrNoChange
		}
		ms[i].Voter = false
	case ChangeLeave:
		if pin, _ := c.hs.Cfg.Pin(ms[i].ID); !ms[i].Voter && pin.State == PinHeld {
			return nil, ErrNoChange
		}
		ms[i].Voter = false
	case ChangeRemove:
		ms = slices.Delete(ms, i, i+1)
	case ChangeMove:
		if ch.Member.Addr == "" || ms[i].Addr == ch.Member.Addr {
			return nil, ErrNoChange
		}
		ms[i].Addr = ch.Member.Addr
	default:
		return nil, fmt.Errorf("%w: %v", ErrNoChange, ch.Kind)
	}
	return ms, nil
}

// answered reports whether a majority of a configuration's voters answers heartbeats at present.
func (c *Core) answered(now Instant, cfg Config) bool {
	n := 0
	for _, id := range cfg.Voters() {
		if id == c.hs.ID || c.fresh(now, id) {
			n++
		}
	}
	return n >= cfg.Majority()
}

func (c *Core) fresh(now Instant, id NodeID) bool {
	a := c.acks[id]
	return a.ever && now.SinceMax(a.sent) <= c.tm.MinElection
}

// silentSince is how long ago a member last answered a heartbeat, counted from the election if it never did.
func (c *Core) silentSince(now Instant, id NodeID) time.Duration {
	if a := c.acks[id]; a.ever {
		return now.SinceMin(a.sent)
	}
	return now.SinceMin(c.elected)
}

func (c *Core) install(now Instant, next Config, ch Change) {
	old := c.hs.Cfg
	invariant(next.Key.Compare(old.Key) > 0, "I11: configuration would fall from %+v to %+v", old.Key, next.Key)
	invariant(votersApart(old, next) <= 1, "R14: %v of %s changes more than one voter", ch.Kind, ch.Member.ID)
	invariant(next.IsVoter(c.hs.ID), "R14: the leader would lose its vote")
	c.hs.Cfg = next
	c.dirty = true
	c.nextMarks.installed = true
	id := ch.Member.ID
	if ch.Kind == ChangeAdd || ch.Kind == ChangeRemove {
		delete(c.acks, id) // they were of an incarnation that has gone
	}
	if ch.Kind != ChangeDemote { // what is demoted may make room for one that waits
		delete(c.mem.joins, id)
	}
	delete(c.mem.level, id)
	c.mem.wishes = nil // they were of the configuration before
	c.noteMembers(now, old)
	c.event(Event{Kind: EventReconfigured, Peer: id, Cfg: next.Key, Detail: ch.Kind.String()})
	c.event(Event{Kind: EventConfig, Cfg: next.Key})
	c.observe(now)
}

// votersApart counts the voters, by id and incarnation, that only one of two configurations has; a replaced one is two.
func votersApart(a, b Config) int {
	n := 0
	count := func(x, y Config) {
		for _, m := range x.Members {
			if o, ok := y.Member(m.ID); m.Voter && (!ok || !o.Voter || o.Inc != m.Inc) {
				n++
			}
		}
	}
	count(a, b)
	count(b, a)
	return n
}

func put[V any](m map[NodeID]V, id NodeID, v V) map[NodeID]V {
	if m == nil || len(m) >= maxGuests {
		m = map[NodeID]V{}
	}
	m[id] = v
	return m
}

// tickMembers is what any node does about membership as time passes.
func (c *Core) tickMembers(now Instant) {
	k := c.opt.Membership
	if k == nil {
		return
	}
	if c.role == RoleLeader && !c.taking {
		c.manage(now)
	}
	if now.SinceMin(c.mem.asked) >= 2*c.tm.MinElection && (c.moved() || !c.selfVoter() && now.SinceMin(c.contact) >= 4*c.tm.MinElection) {
		c.mem.asked = now
		c.askToJoin()
	}
	if k.KickAfter > 0 && c.hs.Cfg.Key.Ver > 0 && now.SinceMin(c.mem.ping) >= c.tm.MinElection {
		c.mem.ping = now
		for _, m := range c.hs.Cfg.Members {
			if m.ID != c.hs.ID && now.SinceMin(c.mem.heard[m.ID].at) >= c.tm.MinElection {
				c.sendDurable(m.ID, Message{Type: MsgPing}, false)
			}
		}
	}
}

// levelNow reports whether a learner answers and holds all but the newest of what this leader has.
func (c *Core) levelNow(now Instant, id NodeID) bool {
	return c.fresh(now, id) && c.acks[id].cfgKey == c.hs.Cfg.Key && (c.hook.Level(id) || c.broken(FaultPromoteBehind))
}

// manage does the next automatic step, if one is due and R14 allows any: newcomers first, then promotion, then R16.
func (c *Core) manage(now Instant) {
	for _, m := range c.hs.Cfg.Members {
		if _, ok := c.mem.level[m.ID]; m.Voter || !c.levelNow(now, m.ID) {
			delete(c.mem.level, m.ID)
		} else if !ok {
			c.mem.level = put(c.mem.level, m.ID, now)
		}
	}
	for id, j := range c.mem.joins {
		if now.SinceMin(j.at) > 10*c.tm.MinElection {
			delete(c.mem.joins, id)
		}
	}
	if c.settled() != nil {
		return
	}
	if c.admitNext(now) {
		return
	}
	for _, id := range sortedKeys(c.mem.level) {
		if c.toPromote(now, id) && c.changeTo(now, ChangePromote, Member{ID: id}) {
			return
		}
	}
	if id := c.toKick(now); id != "" {
		c.changeTo(now, ChangeDemote, Member{ID: id}) // refused: again at the next tick
	}
}

// toPromote is R17 for a learner that is level. One that an operator brought in is wanted whatever MaxVoters says.
func (c *Core) toPromote(now Instant, id NodeID) bool {
	pin, _ := c.hs.Cfg.Pin(id)
	wanted := pin.State == PinMember || len(c.hs.Cfg.Voters()) < c.opt.Membership.MaxVoters
	return wanted && pin.State != PinHeld && now.SinceMin(c.mem.level[id]) >= 2*c.tm.MinElection
}

// toKick is R16: the voter that has been silent for longest, if demoting it leads to an odd number of at least three.
func (c *Core) toKick(now Instant) NodeID {
	k := c.opt.Membership.KickAfter
	if k <= 0 {
		return ""
	}
	voters := c.hs.Cfg.Voters()
	var silent []NodeID
	for _, id := range voters {
		if id == c.hs.ID || c.silentSince(now, id) < k {
			continue
		}
		if !c.broken(FaultKickReachable) && (!c.silentHere(now, id) || c.listed(now, id)) {
			continue
		}
		silent = append(silent, id)
	}
	need := 1
	if len(voters)%2 == 1 {
		need = 2
	}
	if (len(voters) < 4 || len(silent) < need) && !c.broken(FaultKickToTwo) || len(silent) == 0 {
		return ""
	}
	return slices.MinFunc(silent, func(a, b NodeID) int {
		return cmp.Or(cmp.Compare(c.silentSince(now, b), c.silentSince(now, a)), cmp.Compare(a, b))
	})
}

// listed reports whether a voter that answers can reach id, or does not say whom it reaches.
func (c *Core) listed(now Instant, id NodeID) bool {
	for _, v := range c.hs.Cfg.Voters() {
		if v == id || v == c.hs.ID || !c.fresh(now, v) {
			continue
		}
		if a := c.acks[v]; !a.listens || slices.Contains(a.reachable, id) {
			return true
		}
	}
	return false
}
