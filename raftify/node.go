package raftify

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/raftify/core"
)

var (
	// ErrClosed is returned when the node has been shut down, or stopped because its store failed.
	ErrClosed = errors.New("the node is closed")
	// ErrStarted is returned by Start when it was called before.
	ErrStarted = errors.New("the node was started before")
	// ErrNotLeader is returned when only a leader whose takeover is done can do what was asked.
	ErrNotLeader = core.ErrNotLeader
	// ErrStaleFolder is returned by New, and given to Options.Fatal, when a peer remembers more of this node than is in its
	// folder, which was restored from a backup or copied (PROTOCOL R3).
	ErrStaleFolder = core.ErrStaleFolder
)

// Options are what a Node is made of.
type Options struct {
	Config Config
	// Store keeps the hard state. It belongs to the caller, who closes it after the node.
	Store Store
	// Hook is the application's replicated part, nil for none. It is called in the owner loop.
	Hook   core.Hook
	Logger zerolog.Logger
	// AfterStep is called in the owner loop after each input, when the hard state that the input caused was handed to
	// Store.Save and before the messages that it caused leave: the application queues its own writes and sends in the
	// same turn, in order. It may use the core and must not block. Nil: nothing.
	AfterStep func(now core.Instant, c *core.Core)
	// OnReady is told what the core wants done before any of it is, in the owner loop: for traces. It must not block and
	// may change nothing. Nil: nothing.
	OnReady func(core.Ready)
	// OnEvent is called in the owner loop and must not block. Nil: nothing.
	OnEvent func(core.Event)
	// Fatal is called once, from a goroutine of the node and after the loop has ended, when a write failed (PROTOCOL
	// R24): the process should exit. It may call Close. Nil: the node just stops.
	Fatal func(error)
	// PeerKey returns the key with which the death notices of a node are verified (PROTOCOL R23), nil if there is none. Any
	// goroutine may call it, and it must not block. Nil: death notices are ignored.
	PeerKey func(core.NodeID) ed25519.PublicKey
	// Clock is nil for the machine's own clocks.
	Clock Clock
	// Transport opens another transport than the gossip; deliver may be called by any goroutine and never blocks.
	Transport func(deliver func(core.Message)) (Transport, error)
}

// Node runs one member of the election. All methods are safe for concurrent use, but for Close, Shutdown and what
// waits: these must not be called from the owner loop (Hook, AfterStep, OnEvent, posted functions).
type Node struct {
	opt   Options
	cfg   Config
	tm    core.Timing
	log   zerolog.Logger
	clock Clock
	inbox *inbox
	count counters
	peers atomic.Pointer[map[core.NodeID]string] // addresses that the operator gave; a map is never changed
	death core.Death                             // what a supervisor says when this start has ended
	will  notices
	pulse *pulse

	owner owner
	// Of whoever owns the core, once started.
	core      *core.Core
	transport Transport
	lastTick  core.Instant
	lastSnap  snapKey
	rounds    rounds
	alarms    *limiter

	snap    atomic.Pointer[core.Status]
	dead    atomic.Bool // a write failed: say nothing any more
	subs    subscribers
	heard   heardMap
	stop    chan struct{} // closed by Close
	stopped chan struct{} // closed when the owner loop has ended

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced when something in snapKey changed
	started  bool
	closing  bool
	fatalErr error
	closed   chan struct{} // closed when Close is done
	closeErr error
}

// New loads the hard state, makes a new boot number durable and returns a node that has not started: it says and
// hears nothing, but functions may be posted. It blocks for one write of the store.
func New(opt Options) (*Node, error) {
	cfg := opt.Config
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	if opt.Store == nil {
		return nil, errors.New("options need a store")
	}
	if opt.Clock == nil {
		opt.Clock = SystemClock()
	}
	level, err := parseLevel(cfg.LogLevel)
	if err != nil {
		return nil, err
	}
	session, err := randomSession()
	if err != nil {
		return nil, err
	}
	hs, err := loadState(opt.Store, cfg.ID)
	if err != nil {
		return nil, err
	}
	n := &Node{
		opt: opt, cfg: cfg, tm: cfg.Timings(), clock: opt.Clock, inbox: newInbox(),
		log:    opt.Logger.Level(max(level, opt.Logger.GetLevel())),
		will:   notices{key: opt.PeerKey},
		alarms: newLimiter(10 * time.Second),
		stop:   make(chan struct{}), stopped: make(chan struct{}), closed: make(chan struct{}), changed: make(chan struct{}),
	}
	n.peers.Store(addresses(cfg.peers()))
	now := n.clock.Now()
	n.core, err = core.New(core.Options{
		State: hs, Session: session, Addr: cfg.addr(), Peers: cfg.peers(), Expect: cfg.Expect,
		NeverBootstrap: cfg.NeverBootstrap, Membership: &core.Membership{KickAfter: cfg.KickAfter, MaxVoters: cfg.MaxNodes}, Timing: n.tm, Hook: opt.Hook, Rand: mrand.Int64N, Now: now,
	})
	if err != nil {
		return nil, fmt.Errorf("election core: %w", err)
	}
	n.lastTick, n.death = now, n.core.Death()
	n.pulse = &pulse{
		clock: n.clock, after: n.tm.Heartbeat + n.tm.Heartbeat/4, faith: n.tm.MinElection / 2, mute: n.dead.Load,
		send: n.ship, repeat: func() { n.count.repeated.Add(1) }, log: n.log, done: make(chan struct{}),
	}
	n.publish()
	return n, nil
}

func randomSession() (uint64, error) {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return 0, fmt.Errorf("session nonce: %w", err)
	}
	return binary.BigEndian.Uint64(b[:]), nil
}

// Start opens the transport and begins to take part. It returns at once; WaitLeader waits for a leader.
func (n *Node) Start() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.closing:
		return ErrClosed
	case n.started:
		return ErrStarted
	}
	w, err := newWaiter()
	if err != nil {
		return err
	}
	t, err := n.open()
	if err != nil {
		w.close()
		return err
	}
	n.transport, n.pulse.waiter, n.started = t, w, true
	go n.pulse.run()
	go n.own()
	return nil
}

func (n *Node) open() (Transport, error) {
	switch {
	case n.opt.Transport != nil:
		t, err := n.opt.Transport(n.deliver)
		if err != nil {
			return nil, fmt.Errorf("open transport: %w", err)
		}
		return t, nil
	case n.cfg.needsGossip():
		t, err := openGossip(&n.cfg, n.deliverHere, &n.count, n.log)
		if err != nil {
			return nil, fmt.Errorf("open gossip on %s: %w", n.cfg.bound(), err)
		}
		return t, nil
	}
	return nowhere{}, nil
}

// nowhere is the transport of a node that is alone.
type nowhere struct{}

func (nowhere) Send(core.NodeID, string, core.Message) {}
func (nowhere) Close() error                           { return nil }

func (n *Node) deliver(m core.Message) {
	n.receive(m)
	n.inbox.signal()
}

// deliverHere is deliver for a transport that holds no lock of its own while it delivers: if nobody is in the owner loop,
// what the message causes happens on this goroutine.
func (n *Node) deliverHere(m core.Message) {
	n.receive(m)
	n.visit()
}

func (n *Node) receive(m core.Message) {
	n.count.received.Add(1)
	if m.Dead != nil && !n.will.proven(n.snap.Load().Cfg, *m.Dead) {
		n.count.unproven.Add(1)
		m.Dead = nil // of a request only this part is worth nothing
	}
	if n.inbox.deliver(m) {
		n.count.overflow.Add(1)
	}
}

// Post has fn called in the owner loop, after all functions that this goroutine posted before, and returns at once,
// or after a few milliseconds when very many wait already. fn must not block. False: the node is closed and fn will
// not be called; after true it will, unless the node is closed first.
func (n *Node) Post(fn func(now core.Instant, c *core.Core)) bool {
	return n.inbox.post(input{fn: fn})
}

// Do is Post for those who are in the way of something: if nobody is in the owner loop now, fn and what else waits is
// carried out on this goroutine before Do returns, since to wake the loop would cost more. So the caller must not hold a
// lock that fn, the Hook, AfterStep, OnEvent, Store.Save or the transport take, and must not recover from panics, which
// would hide a broken invariant of the core.
func (n *Node) Do(fn func(now core.Instant, c *core.Core)) bool {
	if !n.inbox.put(input{fn: fn}) {
		return false
	}
	n.visit()
	return true
}

// visit carries out what waits if nobody is in the owner loop, or leaves it to the loop. The loop is woken only if there is
// something to do before it wakes by itself.
func (n *Node) visit() {
	if !n.owner.TryLock() {
		n.inbox.signal() // whoever is in there may have looked for the last time already
		return
	}
	defer n.owner.Unlock()
	for range guestTakes {
		if some, ok := n.take(); !some && ok {
			if n.oversleeps() {
				n.inbox.signal()
			}
			return
		} else if !ok {
			break // not started yet, or at its end
		}
	}
	n.inbox.signal()
}

// call runs fn in the owner loop and returns when what it caused has been published and sent.
func (n *Node) call(ctx context.Context, fn func(now core.Instant, c *core.Core)) error {
	done := make(chan struct{})
	if !n.inbox.post(input{fn: fn, after: func() { close(done) }}) {
		return ErrClosed
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-n.stopped:
		return ErrClosed
	}
}

// Turned returns when the owner loop has taken a turn since the call, ErrClosed when it has ended.
func (n *Node) Turned(ctx context.Context) error {
	return n.call(ctx, func(core.Instant, *core.Core) {})
}

// Suspect tells the node that the host of id refused a connection just now (PROTOCOL R23b): a hint that lets a
// pre-vote start early. It unseats a leader by itself only where Timing.NoLease switches leases off.
func (n *Node) Suspect(id core.NodeID) bool {
	return n.Post(func(now core.Instant, c *core.Core) { c.Suspect(now, id) })
}

// SetFitness tells whether this node should lead, for reasons that the election cannot know. An unfit leader hands over to
// a voter that is fit and answers, if there is one, and otherwise goes on leading; see core.Fitness. False: closed.
func (n *Node) SetFitness(f core.Fitness) bool {
	return n.Post(func(now core.Instant, c *core.Core) { c.SetFitness(now, f) })
}

// Shutdown hands leadership over if this node leads others, for a bounded time, then closes the node. It returns when
// that is done or ctx ends, in which case the rest goes on in the background.
func (n *Node) Shutdown(ctx context.Context) error {
	if s := n.Status(); s.Role == core.RoleLeader && !s.Taking && len(s.Cfg.Voters()) > 1 {
		limit, cancel := context.WithTimeout(ctx, 4*n.tm.MinElection+time.Second)
		if err := n.Transfer(limit, ""); err != nil {
			n.log.Warn().Err(err).Msg("shutting down without a handover")
		}
		cancel()
	}
	done := make(chan error, 1)
	go func() { done <- n.Close() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("shut down: %w", ctx.Err())
	}
}

// Close stops at once, without a handover, and waits for the loop and the transport. It does not leave the cluster:
// a node that restarts is the same member. Later calls wait for the first and return the same.
func (n *Node) Close() error {
	n.mu.Lock()
	first, started := !n.closing, n.started
	n.closing = true
	n.mu.Unlock()
	if !first {
		<-n.closed
		return n.closeErr
	}
	close(n.stop)
	if started {
		<-n.stopped
		n.pulse.end()
		n.closeErr = n.transport.Close()
	} else {
		n.end()
	}
	close(n.closed)
	return n.closeErr
}

// Stopped returns a channel that is closed when the owner loop has ended, because of Close or because a write failed.
func (n *Node) Stopped() <-chan struct{} { return n.stopped }
