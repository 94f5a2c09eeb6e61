package raftify

import (
	"cmp"
	"fmt"
	"sync"
	"time"

	"github.com/baton-ha/baton/raftify/core"
)

// How much is taken at a time. Messages go first: after a pause, the heartbeats that waited are heard before time passes
// for the core.
const (
	turnMessages = 32
	turnPosts    = 16
	// guestTakes is how often at most a goroutine that called Do takes from the inbox before it leaves the rest to the loop.
	guestTakes = 4
)

// owner is the right to touch the core, and what belongs to whoever has it: the owner loop, or for a moment a goroutine
// that called Do.
type owner struct {
	sync.Mutex
	live   bool // between the beginning of the loop and its end; nobody touches the core otherwise
	msgs   []core.Message
	posts  []input
	asleep core.Instant  // when the loop went to sleep
	quiet  time.Duration // and for how long
}

// own is the owner loop.
func (n *Node) own() {
	n.loop()
	n.end()
	n.mu.Lock()
	err := n.fatalErr
	n.mu.Unlock()
	if err != nil {
		n.log.Error().Err(err).Msg("the node stopped")
		if n.opt.Fatal != nil {
			n.opt.Fatal(err)
		}
	}
}

// end leaves nothing of a node that others could take for a living one.
func (n *Node) end() {
	n.owner.Lock()
	defer n.owner.Unlock()
	n.owner.live = false
	n.inbox.close()
	n.pulse.silence()
	s := *n.snap.Load()
	s.Lease, s.Leader, s.Taking, s.Transferring = core.Lease{}, "", false, false
	if s.Role != core.RoleLearner {
		s.Role = core.RoleFollower
	}
	n.snap.Store(&s)
	n.rounds.fail(ErrClosed)
	n.subs.close()
	close(n.stopped)
}

func (n *Node) loop() {
	n.owner.Lock()
	n.owner.msgs, n.owner.posts = make([]core.Message, 0, turnMessages), make([]input, 0, turnPosts)
	n.owner.live = true
	n.owner.Unlock()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-n.stop:
			return
		case <-timer.C:
		case <-n.inbox.wake:
		}
		quiet, ok := n.round()
		if !ok {
			return
		}
		timer.Reset(quiet)
	}
}

// round takes what there is, lets time pass, and returns when time is to pass again if nothing comes. False: the loop
// ends.
func (n *Node) round() (quiet time.Duration, ok bool) {
	n.owner.Lock()
	defer n.owner.Unlock()
	for {
		some, ok := n.take()
		if !ok {
			return 0, false
		}
		if !some {
			now, ok := n.tick()
			n.owner.asleep, n.owner.quiet = now, n.quiet(now)
			return n.owner.quiet, ok
		}
	}
}

// quiet returns when time is to pass again if nothing comes: no tick comes sooner than a quarter of a heartbeat after the
// last one.
func (n *Node) quiet(now core.Instant) time.Duration {
	return max(n.core.Quiet(now), n.tm.Heartbeat/4-now.SinceMin(n.lastTick))
}

// oversleeps reports whether time is to pass for the core clearly sooner than the loop wakes by itself: something that a
// guest carried out, such as a death notice, began what goes on in moments. The caller owns the core.
func (n *Node) oversleeps() bool {
	now := n.clock.Now()
	return n.quiet(now)+n.tm.Heartbeat/16 < n.owner.quiet-now.SinceMax(n.owner.asleep)
}

// take takes some inputs. The caller owns the core. Not ok: the loop ends.
func (n *Node) take() (some, ok bool) {
	o := &n.owner
	if !o.live {
		return false, false
	}
	o.msgs, o.posts = n.inbox.take(o.msgs, o.posts)
	if len(o.msgs)+len(o.posts) == 0 {
		return false, true
	}
	o.live = n.turn(o.msgs, o.posts)
	clear(o.msgs)
	clear(o.posts)
	return true, o.live
}

// turn takes these inputs, and lets time pass as often as it is due however many there are. False: the loop ends.
func (n *Node) turn(msgs []core.Message, posts []input) bool {
	// What was taken is older than this, as it must be: stickiness counts from when a heartbeat was heard, and that is
	// not before it was sent.
	now := n.clock.Now()
	for _, m := range msgs {
		if err := n.core.Step(now, m); err != nil {
			n.count.dropped.Add(1)
			n.log.Debug().Err(err).Str("from", string(m.From)).Stringer("type", m.Type).Msg("message does not count")
		} else {
			n.heard.note(m.From, now)
		}
		if !n.settle(now) {
			return false
		}
		now = n.clock.Now()
	}
	now, ok := n.tickAt(now)
	if !ok {
		return false
	}
	for _, in := range posts {
		in.fn(now, n.core)
		if !n.settle(now) {
			return false
		}
		if in.after != nil {
			in.after()
		}
		if now, ok = n.tick(); !ok {
			return false
		}
	}
	return true
}

// tick lets time pass for the core if enough has, and returns what time it is. False: the loop ends.
func (n *Node) tick() (core.Instant, bool) { return n.tickAt(n.clock.Now()) }

func (n *Node) tickAt(now core.Instant) (core.Instant, bool) {
	gap := now.SinceMin(n.lastTick)
	if gap < n.tm.Heartbeat/4 {
		return now, !n.over()
	}
	if gap > n.tm.MinElection && n.alarms.allow("pause") {
		n.log.Warn().Dur("gap", gap).Msg("the election loop did not run for longer than an election timeout: overloaded or paused machine")
	}
	if n.core.Late(now, n.lastTick) {
		n.core.Stalled(now)
	}
	n.lastTick = now
	n.core.Tick(now)
	return now, n.settle(now)
}

// over reports whether the loop is to end.
func (n *Node) over() bool {
	if n.dead.Load() {
		return true
	}
	select {
	case <-n.stop:
		return true
	default:
		return false
	}
}

// settle carries out what one input caused, in the order that the protocol rests on: the hard state is handed to the
// store; the status, with it the lease, is published; the application has its turn; only then do messages leave. A
// TimeoutNow thus never leaves while readers still see the lease that it gives up. False: the loop ends.
func (n *Node) settle(now core.Instant) bool {
	// The application may step the core in its turn, and a read round is started when an input asked for one: a few
	// passes settle that; what should remain is settled with the next input.
	n.pulse.turned.store(now)
	for range 8 {
		rd := n.core.Ready()
		if n.opt.OnReady != nil {
			n.opt.OnReady(rd)
		}
		if rd.HardState != nil {
			n.save(rd)
		}
		n.publish()
		if n.opt.AfterStep != nil {
			n.opt.AfterStep(now, n.core)
		}
		if n.over() {
			return false
		}
		if n.snap.Load().Role != core.RoleLeader {
			n.pulse.silence()
		}
		n.send(now, rd.Messages)
		n.tell(rd.Events)
		n.rounds.advance(now, n.core, n.snap.Load())
		if !n.core.HasReady() {
			break
		}
	}
	return true
}

func (n *Node) save(rd core.Ready) {
	state, err := EncodeState(*rd.HardState)
	if err != nil {
		n.fail(fmt.Errorf("encode hard state: %w", err))
		return
	}
	seq := rd.Seq
	n.opt.Store.Save(state, func(err error) {
		if err != nil {
			n.fail(fmt.Errorf("save hard state: %w: %w", ErrStoreFailed, err))
			return
		}
		n.Post(func(now core.Instant, c *core.Core) { c.Durable(now, seq) })
	})
}

// fail silences the node for good (PROTOCOL R24). Any goroutine may call it; the first error counts.
func (n *Node) fail(err error) {
	n.mu.Lock()
	if n.fatalErr == nil {
		n.fatalErr = err
	}
	n.mu.Unlock()
	n.dead.Store(true)
	n.inbox.signal()
}

// Fail stops the node as a failed write of the hard state would: for the application that owns the store and learns
// of the failure first (PROTOCOL R24). Safe for concurrent use; the first error is the one that Fatal gets.
func (n *Node) Fail(err error) { n.fail(err) }

// send gives messages to the transport. A node that said where it is gets them there. Otherwise the address that the
// operator configured and that of the cluster's configuration are both good, and where they differ both get the message:
// either the node has moved, or the whole cluster has, and whoever gets a message for another node drops it.
func (n *Node) send(now core.Instant, ms []core.Message) {
	if len(ms) == 0 {
		return
	}
	s := n.snap.Load()
	for _, m := range ms {
		addr, other := n.core.Announced(m), ""
		if addr == "" {
			addr = (*n.peers.Load())[m.To]
			member, _ := s.Cfg.Member(m.To)
			other = member.Addr
		}
		if addr == "" {
			addr = cmp.Or(other, n.core.Route(m.To))
		}
		if addr == "" {
			n.count.noAddress.Add(1)
			continue
		}
		n.dispatch(now, addr, m)
		if other != "" && other != addr {
			n.dispatch(now, other, m)
		}
	}
}

func (n *Node) dispatch(now core.Instant, addr string, m core.Message) {
	if m.Type == core.MsgHB {
		n.pulse.note(now, m, addr)
	}
	n.ship(parcel{addr, m})
}

// ship gives a message to the transport. Any goroutine.
func (n *Node) ship(p parcel) {
	n.count.sent.Add(1)
	n.transport.Send(p.m.To, p.addr, p.m)
}
