package raftify

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/raftify/core"
)

// handClock goes on only when told to, and counts how often it was looked at.
type handClock struct{ now, looks atomic.Int64 }

func (c *handClock) Now() core.Instant {
	c.looks.Add(1)
	t := c.now.Load()
	return core.Instant{Mono: t, Boot: t, Real: t}
}

func (c *handClock) instant() core.Instant {
	t := c.now.Load()
	return core.Instant{Mono: t, Boot: t, Real: t}
}

func (c *handClock) add(d time.Duration) { c.now.Add(int64(d)) }

// The thread says a heartbeat again when the loop is late with the next, as long as it is believed in and while this node
// leads.
func TestPulse(t *testing.T) {
	const after, faith = 10 * time.Millisecond, 45 * time.Millisecond
	w, err := newWaiter()
	if err != nil {
		t.Fatal(err)
	}
	var clock handClock
	var dead atomic.Bool
	var repeated, sent, asked atomic.Int64
	var last atomic.Uint64
	p := &pulse{
		clock: &clock, after: after, faith: faith, repeat: func() { repeated.Add(1) }, log: zerolog.Nop(),
		waiter: w, done: make(chan struct{}),
		mute: func() bool {
			asked.Add(1)
			return dead.Load()
		},
		send: func(o parcel) {
			sent.Add(1)
			last.Store(o.m.Seq)
		},
	}
	go p.run()
	defer p.end()
	// looks waits until the thread has looked at the clock twice more, and so once wholly after the call.
	looks := func() {
		t.Helper()
		from := clock.looks.Load()
		eventually(t, "another look", func() bool { return clock.looks.Load() >= from+2 })
	}
	says := func(what string, want int64) {
		t.Helper()
		looks()
		if got := repeated.Load(); got != want {
			t.Fatalf("%s: repeated %d times, want %d", what, got, want)
		}
	}
	beat := func(seq uint64) {
		for _, to := range []core.NodeID{"b", "c"} {
			p.note(clock.instant(), core.Message{Type: core.MsgHB, Seq: seq, Header: core.Header{To: to}}, string(to))
		}
	}
	clock.add(time.Hour)
	p.turned.store(clock.instant())
	beat(1)
	says("the loop is on time", 0)
	clock.add(after)
	says("the loop is late", 1)
	clock.add(after)
	says("it still is", 2)
	if sent.Load() != 4 || last.Load() != 1 {
		t.Errorf("%d messages, the last number %d", sent.Load(), last.Load())
	}
	p.turned.store(clock.instant())
	beat(2)
	says("it is back", 2)
	clock.add(after)
	says("late again", 3)
	if last.Load() != 2 {
		t.Errorf("said heartbeat %d again", last.Load())
	}
	clock.add(faith - after)
	says("it hangs", 3)
	clock.add(time.Hour)
	says("it hangs for ever", 3)
	p.turned.store(clock.instant())
	says("it turns again, with a heartbeat that is long due", 4)
	dead.Store(true)
	before := asked.Load() // from now on it asks before it says anything
	clock.add(after)
	p.turned.store(clock.instant())
	eventually(t, "another question", func() bool {
		w.wake()
		return asked.Load() >= before+2
	})
	if got := repeated.Load(); got != 4 {
		t.Errorf("after a write failed: repeated %d times, want 4", got)
	}
	p.silence()
	dead.Store(false)
	beat(3)
	says("it leads again", 4)
	clock.add(after)
	says("and is late", 5)
}

// A leader whose owner loop hangs is heard for half an election timeout more at the most, and is replaced.
func TestHungLoopIsReplaced(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	c.checkI1()
	old := c.leader()
	n := c.node(old)
	hang, hung := make(chan struct{}), make(chan struct{})
	defer close(hang)
	var before uint64
	if !n.Post(func(core.Instant, *core.Core) {
		before = n.Stats().Repeated // a loop that comes late to this has some repeated before
		close(hung)
		<-hang
	}) {
		t.Fatal("refused")
	}
	<-hung
	c.leader(old)
	// Each comes so long after the one before it that no more fit into the time for which the loop is believed in.
	if got, most := n.Stats().Repeated-before, uint64(n.pulse.faith/n.pulse.after)+1; got > most {
		t.Errorf("%d heartbeats were repeated, at most %d can be", got, most)
	}
}
