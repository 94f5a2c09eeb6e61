package raftifytest

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/baton-ha/baton/raftify/core"
)

// Config describes a Cluster.
type Config struct {
	Seed   uint64
	Nodes  int // how many, named "1", "2"...; 0: 3
	Expect int // > 0: start with empty folders and bootstrap this many; 0: all are voters of a first configuration
	// Voters > 0: the first configuration holds that many of the nodes; the others have empty folders. Needs Membership.
	Voters int
	// Knows, if set, says whether peer is among the configured peers of id; otherwise all are.
	Knows func(id, peer core.NodeID) bool
	// Arrives, when not nil, may change each message that arrives: for nodes of another version.
	Arrives func(m *core.Message)
	// Membership of every node; nil: the membership changes by Reconfigure alone.
	Membership *core.Membership
	// PulseFor is for how long after its last turn a stalled leader is heard (see Stall); 0: half a MinElection (PROTOCOL R23).
	PulseFor time.Duration
	// Timing of every node; zero: core.DefaultTiming(1).
	Timing core.Timing
	// Net and Disk are the rates at the start; zero: 1 to 3 ms for a message, 1 to 4 ms for an fsync.
	Net  NetRates
	Disk DiskRates
	// State, if set, is what a node's disk holds at the start.
	State func(id core.NodeID) core.HardState
	// Hook, if set, makes the application of a node at each of its starts; otherwise it is NewApp(nil).
	Hook func(id core.NodeID) core.Hook
	// OnCore, if set, is given each core at each start, before anything else is.
	OnCore func(c *core.Core)
	// Trace, if set, is told everything that happens.
	Trace io.Writer
}

// write is a hard-state write on its way to a disk.
type write struct {
	seq uint64
	hs  core.HardState
}

// Node is one member of a Cluster. Its exported parts may be used between two steps.
type Node struct {
	ID    core.NodeID
	Clock *Clock
	Disk  *Disk[write]

	durable core.HardState // what the disk holds
	core    *core.Core     // nil: down
	paused  bool
	inbox   []core.Message // arrived while paused
	synced  uint64         // fsynced while paused
	lease   core.Lease     // as published
	tick    time.Duration
	ticked  core.Instant
	turned  core.Instant   // when it last took an input
	beat    []core.Message // the newest heartbeat, while it leads
	session uint64
	backup  *core.HardState // an old copy of durable; nil: there is none
	old     bool            // durable is such a copy
	will    *core.Death     // what its supervisor has of the process that it started; nil: nothing
	addr    string          // "": addr(ID)
	gone    bool            // its folder was replaced after it had a configuration: it never comes back in an election-only run
}

// Core returns the running core, nil while the node is down.
func (n *Node) Core() *core.Core { return n.core }

// Up reports whether the node runs, paused or not.
func (n *Node) Up() bool { return n.core != nil }

// Paused reports whether the node runs but does nothing.
func (n *Node) Paused() bool { return n.paused }

// Durable returns what a start would find on the disk if the machine lost power now.
func (n *Node) Durable() core.HardState { return n.durable }

type action struct {
	at  time.Duration
	seq uint64
	do  func()
}

// Cluster is some cores on simulated clocks, disks and a network, in one goroutine. It is not safe for concurrent use.
type Cluster struct {
	Rand    *Rand
	Net     *Net[core.Message]
	Checker *Checker
	// Count has how often each rare branch was taken, by name (see Branches).
	Count map[string]int
	// Steps counts the instants at which something happened.
	Steps uint64

	cfg     Config
	timing  core.Timing
	now     time.Duration
	nodes   []*Node
	actions []action
	seq     uint64
	elected int          // elections so far
	notices []core.Death // all that supervisors ever said
	handed  map[core.Term]bool
	calm    time.Duration // no new fault comes before
}

// NewCluster returns a cluster at true time 0 with all nodes started.
func NewCluster(cfg Config) *Cluster {
	if cfg.Nodes == 0 {
		cfg.Nodes = 3
	}
	if cfg.Timing == (core.Timing{}) {
		cfg.Timing = core.DefaultTiming(1)
	}
	if cfg.Net == (NetRates{}) {
		cfg.Net = NetRates{MinDelay: time.Millisecond, MaxDelay: 3 * time.Millisecond, MaxSlow: 3 * time.Millisecond}
	}
	if cfg.Disk == (DiskRates{}) {
		cfg.Disk = DiskRates{Min: time.Millisecond, Max: 4 * time.Millisecond}
	}
	r := NewRand(cfg.Seed)
	c := &Cluster{
		Rand: r, Net: NewNet[core.Message](r, cfg.Net), Checker: NewChecker(), Count: map[string]int{},
		cfg: cfg, timing: cfg.Timing, handed: map[core.Term]bool{},
	}
	for i := range cfg.Nodes {
		n := &Node{
			ID: core.NodeID(strconv.Itoa(i + 1)), Clock: NewClock(r, cfg.Timing.Drift), Disk: NewDisk[write](r, cfg.Disk),
			tick: time.Duration(i) * time.Millisecond,
		}
		c.nodes = append(c.nodes, n)
		n.durable = core.HardState{ID: n.ID, Inc: c.newInc()}
	}
	first := c.firstConfig()
	for _, n := range c.nodes {
		if _, in := first.Member(n.ID); cfg.Expect == 0 && in {
			n.durable.Cfg, n.durable.ClusterID = first, first.Hash()
		}
		if cfg.State != nil {
			n.durable = cfg.State(n.ID)
		}
	}
	for _, n := range c.nodes {
		c.Start(n.ID)
	}
	return c
}

func (c *Cluster) newInc() (inc core.Inc) {
	for i := range inc {
		inc[i] = byte(c.Rand.UintN(256))
	}
	return inc
}

func (c *Cluster) firstConfig() core.Config {
	ms := make([]core.Member, 0, len(c.nodes))
	for i, n := range c.nodes {
		if c.cfg.Voters > 0 && i >= c.cfg.Voters {
			break
		}
		ms = append(ms, core.Member{ID: n.ID, Inc: n.durable.Inc, Addr: addr(n.ID), Voter: true})
	}
	return core.NewConfig(core.CfgKey{Ver: 1}, ms)
}

func addr(id core.NodeID) string { return "node" + string(id) + ":7946" }

// Move gives a node another address, from its next start on. Messages find it wherever it is: what counts is what the
// configuration says.
func (c *Cluster) Move(id core.NodeID, addr string) { c.Node(id).addr = addr }

// Now is the true time.
func (c *Cluster) Now() time.Duration { return c.now }

// Nodes returns all nodes, sorted by id.
func (c *Cluster) Nodes() []*Node { return slices.Clone(c.nodes) }

// Node returns a node. It panics if there is none of that id.
func (c *Cluster) Node(id core.NodeID) *Node {
	for _, n := range c.nodes {
		if n.ID == id {
			return n
		}
	}
	panic("raftifytest: no node " + string(id))
}

// Err returns the first violation.
func (c *Cluster) Err() error { return c.Checker.Err() }

// Leader returns the id of the running node that leads the highest term with its takeover done, "" when none does.
func (c *Cluster) Leader() core.NodeID {
	var id core.NodeID
	var term core.Term
	for _, n := range c.nodes {
		if n.core == nil {
			continue
		}
		if s := n.core.Status(); s.Role == core.RoleLeader && !s.Taking && s.Term > term {
			id, term = n.ID, s.Term
		}
	}
	return id
}

// Holder returns the node whose published lease is valid by its own clocks now, "" when there is none. Without leases it
// is the leader.
func (c *Cluster) Holder() core.NodeID {
	if c.timing.NoLease {
		return c.Leader()
	}
	for _, n := range c.nodes {
		if n.core != nil && n.lease.Left(n.Clock.Now(c.now)) > 0 {
			return n.ID
		}
	}
	return ""
}

func (c *Cluster) trace(format string, args ...any) {
	if c.cfg.Trace != nil {
		_, _ = fmt.Fprintf(c.cfg.Trace, "%12v %s\n", c.now, fmt.Sprintf(format, args...))
	}
}

// Start starts a node that is down: its boot counter is raised and durable before anything else. With a folder that it has
// given up it does not start.
func (c *Cluster) Start(id core.NodeID) {
	n := c.Node(id)
	if n.core != nil || n.durable.Stale {
		return
	}
	n.durable.Boot++
	n.session = c.Rand.Uint64()
	hook := NewApp(nil)
	if c.cfg.Hook != nil {
		hook = c.cfg.Hook(id)
	}
	var peers []core.Peer
	for _, p := range c.nodes {
		if c.cfg.Knows == nil || c.cfg.Knows(id, p.ID) {
			peers = append(peers, core.Peer{ID: p.ID, Addr: addr(p.ID)})
		}
	}
	c.Checker.Started(c.now, n.durable)
	k, err := core.New(core.Options{
		State: n.durable, Session: n.session, Addr: cmp.Or(n.addr, addr(id)), Peers: peers, Expect: c.cfg.Expect, Membership: c.cfg.Membership,
		Timing: c.timing, Hook: hook, Rand: c.Rand.Int64N, Now: n.Clock.Now(c.now),
	})
	if err != nil {
		panic(fmt.Sprintf("raftifytest: %v", err))
	}
	n.core, n.paused, n.inbox, n.synced, n.lease, n.ticked = k, false, nil, 0, core.Lease{}, n.Clock.Now(c.now)
	n.turned, n.beat = n.ticked, nil
	will := k.Death()
	n.will = &will
	if c.cfg.OnCore != nil {
		c.cfg.OnCore(k)
	}
	c.trace("%s starts: boot %d, term %d, vote %v, configuration %v", id, n.durable.Boot, n.durable.Term, n.durable.Vote, n.durable.Cfg.Key)
	n.tick = c.now
}

// Crash kills a node and its machine: an arbitrary suffix of the writes that are not durable is lost.
func (c *Cluster) Crash(id core.NodeID) {
	n := c.Node(id)
	if n.core == nil {
		return
	}
	pending := n.Disk.Pending()
	left := n.Disk.Crash()
	if len(left) > 0 {
		n.durable = left[len(left)-1].hs
	}
	if len(left) < pending {
		c.Count["crash loses writes"]++
	}
	if n.lease.Left(n.Clock.Now(c.now)) > 0 {
		c.Count["crash of a lease holder"]++
	}
	n.core, n.paused, n.inbox, n.lease, n.will = nil, false, nil, core.Lease{}, nil
	c.trace("%s crashes, %d of %d writes survive", id, len(left), pending)
}

// Kill ends a node's process alone: its supervisor sees it and says so to all others (PROTOCOL R23a). Of the writes that
// are not durable an arbitrary suffix is lost as in Crash.
func (c *Cluster) Kill(id core.NodeID) {
	n := c.Node(id)
	if n.core == nil {
		return
	}
	will, leads := *n.will, n.core.Status().Role == core.RoleLeader
	c.Crash(id)
	c.notices = append(c.notices, will)
	c.Count["killed"]++
	if leads {
		c.Count["killed a leader"]++
	}
	for _, o := range c.nodes {
		if o != n {
			c.Notify(o.ID, will)
		}
	}
}

// Notify sends a death notice to a node, from the host of the one that it is about.
func (c *Cluster) Notify(to core.NodeID, d core.Death) {
	if to == d.ID {
		return
	}
	c.trace("a notice that %v has ended is sent to %s", d, to)
	c.Net.Send(c.now, d.ID, to, core.Message{Type: core.MsgDeath, Header: core.Header{From: d.ID, To: to}, Dead: &d})
}

// LoseDisk crashes a node and replaces its folder: another incarnation that knows nothing.
func (c *Cluster) LoseDisk(id core.NodeID) {
	c.Crash(id)
	n := c.Node(id)
	n.gone = n.gone || n.durable.Cfg.Key.Ver > 0
	n.durable = core.HardState{ID: id, Inc: c.newInc()}
	c.trace("%s loses its disk", id)
}

// Pause stops a node's process: it does nothing, but whoever reads its lease still can, and messages queue up.
func (c *Cluster) Pause(id core.NodeID) {
	n := c.Node(id)
	if n.core == nil || n.paused {
		return
	}
	n.paused = true
	if n.lease.Left(n.Clock.Now(c.now)) > 0 {
		c.Count["pause of a lease holder"]++
	}
	c.trace("%s is paused", id)
}

// Stall is Pause, but the thread that repeats a leader's newest heartbeat while the owner loop is late runs on, for as long
// as that loop is believed in (PROTOCOL R23).
func (c *Cluster) Stall(id core.NodeID) {
	n := c.Node(id)
	if n.core == nil || n.paused {
		return
	}
	c.Pause(id)
	session, every, limit := n.session, c.timing.Heartbeat*5/4, cmp.Or(c.cfg.PulseFor, c.timing.MinElection/2)
	turned := n.turned
	var pulse func()
	pulse = func() {
		if n.core == nil || n.session != session || !n.paused || n.turned != turned ||
			n.Clock.Now(c.now).SinceMax(turned) >= limit {
			return
		}
		for _, m := range n.beat {
			c.trace("%s -> %s %v, again", m.From, m.To, show(m))
			c.Count["heartbeat repeated"]++
			c.Net.Send(c.now, m.From, m.To, m)
		}
		c.After(every, pulse)
	}
	c.After(every, pulse)
}

// Resume lets a paused node go on. What comes first, the tick or the messages, is drawn.
func (c *Cluster) Resume(id core.NodeID) {
	n := c.Node(id)
	if n.core == nil || !n.paused {
		return
	}
	n.paused = false
	c.trace("%s resumes", id)
	if c.Rand.Chance(0.5) {
		c.letPass(n)
	}
	in := n.inbox
	n.inbox = nil
	for _, m := range in {
		c.Do(id, func(k *core.Core, now core.Instant) { _ = k.Step(now, m) })
	}
	if n.synced > 0 {
		seq := n.synced
		n.synced = 0
		c.Do(id, func(k *core.Core, now core.Instant) { k.Durable(now, seq) })
	}
}

// After has fn called once, d from now.
func (c *Cluster) After(d time.Duration, fn func()) {
	c.seq++
	c.actions = append(c.actions, action{c.now + d, c.seq, fn})
}

// Do calls fn with a node's core and its reading of the clocks, and carries out what the core wants: the lease is
// published, then the hard state queued, then the messages sent, as a driver must. It does nothing if id is "" or its
// node is down or paused.
func (c *Cluster) Do(id core.NodeID, fn func(k *core.Core, now core.Instant)) {
	if id == "" {
		return
	}
	n := c.Node(id)
	if n.core == nil || n.paused {
		return
	}
	n.turned = n.Clock.Now(c.now)
	fn(n.core, n.turned)
	n.lease = n.core.Status().Lease
	if n.core.Status().Role != core.RoleLeader {
		n.beat = nil
	}
	for n.core.HasReady() {
		r := n.core.Ready()
		for _, e := range r.Events {
			c.trace("%s %v term %d %v %s %s", id, e.Kind, e.Term, e.Role, e.Peer, e.Detail)
			c.Checker.Happened(c.now, id, n.durable.Inc, n.durable.Boot, e)
			c.count(n, e)
			if e.Kind == core.EventStale {
				c.gaveUp(n)
				return
			}
		}
		if r.HardState != nil {
			c.trace("%s writes %d: term %d, vote %v, configuration %v", id, r.Seq, r.HardState.Term, r.HardState.Vote, r.HardState.Cfg.Key)
			c.Checker.Wrote(c.now, *r.HardState)
			if r.HardState.Vote.Kind == core.VoteClosed {
				c.Count["vote closed"]++
			}
			n.Disk.Write(c.now, write{r.Seq, *r.HardState})
		}
		for _, m := range r.Messages {
			c.trace("%s -> %s %v", m.From, m.To, show(m))
			c.Checker.Sent(c.now, m)
			if m.Type == core.MsgTerm {
				c.Count["told a lower term"]++
			}
			if m.Dead != nil {
				c.Count["requests carry a notice"]++
			}
			n.note(m)
			c.Net.Send(c.now, m.From, m.To, m)
		}
	}
	c.checkLeases()
}

// note keeps the newest heartbeat.
func (n *Node) note(m core.Message) {
	if m.Type != core.MsgHB {
		return
	}
	if len(n.beat) > 0 && n.beat[0].Seq != m.Seq {
		n.beat = nil
	}
	n.beat = append(n.beat, m)
}

func show(m core.Message) string {
	s := fmt.Sprintf("%v term %d", m.Type, m.Term)
	switch m.Type {
	case core.MsgPreVote, core.MsgPreVoteResp:
		s += fmt.Sprintf(" next %d %v", m.NextTerm, m.OK)
	case core.MsgVoteResp:
		s += fmt.Sprintf(" %v", m.OK)
	case core.MsgHB, core.MsgHBAck:
		s += fmt.Sprintf(" seq %d", m.Seq)
	default:
	}
	return s
}

func (c *Cluster) checkLeases() {
	var ls []Lease
	for _, n := range c.nodes {
		if n.core != nil && n.lease.Valid {
			if left := n.lease.Left(n.Clock.Now(c.now)); left > 0 {
				ls = append(ls, Lease{n.ID, n.lease.Term, left})
			}
		}
	}
	if len(ls) > 1 {
		c.Checker.Leases(c.now, ls...)
	}
}

// AskRound begins a heartbeat round on a node, as a linearizable read does.
func (c *Cluster) AskRound(id core.NodeID) {
	c.Do(id, func(k *core.Core, now core.Instant) {
		if seq, err := k.RequestRound(now); err == nil {
			c.Checker.RoundAsked(c.now, id, k.Status().Term, seq)
			c.Count["read round asked"]++
		}
	})
}

// Run lets d of true time pass, or less if an invariant is broken, and returns Err.
func (c *Cluster) Run(d time.Duration) error {
	end := c.now + d
	for c.Err() == nil {
		at := c.next()
		if at > end {
			c.now = end
			break
		}
		c.now = max(c.now, at)
		c.step()
	}
	return c.Err()
}

// RunUntil runs until cond holds after a step, at most for limit, and reports whether it held.
func (c *Cluster) RunUntil(limit time.Duration, cond func() bool) bool {
	end := c.now + limit
	for !cond() {
		at := c.next()
		if at > end || c.Err() != nil {
			return false
		}
		c.now = max(c.now, at)
		c.step()
	}
	return true
}

// next is the time of the next thing to happen; there always is one, since nodes tick.
func (c *Cluster) next() time.Duration {
	at := c.now + time.Second
	if t, ok := c.Net.Next(); ok {
		at = min(at, t)
	}
	for _, a := range c.actions {
		at = min(at, a.at)
	}
	for _, n := range c.nodes {
		if t, ok := n.Disk.Next(); ok {
			at = min(at, t)
		}
		if n.core != nil && !n.paused {
			at = min(at, n.tick)
		}
	}
	return at
}

// step does all that is due now.
func (c *Cluster) step() {
	c.Steps++
	for i := 0; i < len(c.actions); {
		if a := c.actions[i]; a.at <= c.now {
			c.actions = slices.Delete(c.actions, i, i+1)
			a.do()
			c.checkLeases()
			i = 0
		} else {
			i++
		}
	}
	for _, n := range c.nodes {
		if done := n.Disk.Step(c.now); len(done) > 0 && n.core != nil {
			c.trace("%s has fsynced up to %d", n.ID, done[len(done)-1].seq)
			c.durable(n, done[len(done)-1])
		}
	}
	for {
		e, ok := c.Net.Step(c.now)
		if !ok {
			break
		}
		c.arrive(e.To, e.Msg)
	}
	for _, n := range c.nodes {
		if n.core != nil && !n.paused && n.tick <= c.now {
			n.tick = c.now + c.timing.Heartbeat/4
			c.letPass(n)
		}
	}
}

// letPass is a driver's tick.
func (c *Cluster) letPass(n *Node) {
	c.Do(n.ID, func(k *core.Core, now core.Instant) {
		if k.Late(now, n.ticked) {
			c.Count["stood still"]++
			k.Stalled(now)
		}
		n.ticked = now
		k.Tick(now)
	})
}

func (c *Cluster) durable(n *Node, w write) {
	n.durable = w.hs
	if n.paused {
		n.synced = w.seq
		return
	}
	c.Do(n.ID, func(k *core.Core, now core.Instant) { k.Durable(now, w.seq) })
}

func (c *Cluster) arrive(id core.NodeID, m core.Message) {
	n := c.Node(id)
	if c.cfg.Arrives != nil {
		c.cfg.Arrives(&m)
	}
	switch {
	case n.core == nil:
	case n.paused:
		n.inbox = append(n.inbox, m)
	default:
		c.trace("%s <- %s %v", id, m.From, show(m))
		c.Do(id, func(k *core.Core, now core.Instant) { _ = k.Step(now, m) })
	}
}
