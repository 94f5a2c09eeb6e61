package raftify

import (
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/raftify/core"
)

// pulse says a leader's newest heartbeat again when the owner loop is late with the next, from a thread of its own that
// goes before others where that is allowed. See "Heartbeats of a busy node" in the package's documentation.
type pulse struct {
	clock  Clock
	after  time.Duration // how long after a heartbeat the loop is late with the next
	faith  time.Duration // for how long after its last turn the loop is believed in
	mute   func() bool   // nothing may be said any more
	send   func(parcel)
	repeat func() // counts
	log    zerolog.Logger
	waiter *waiter

	turned stamp                // the owner loop's last turn
	beat   atomic.Pointer[beat] // nil: this node does not lead
	over   atomic.Bool
	done   chan struct{}
}

// beat is one heartbeat, to all that it goes to.
type beat struct {
	at  core.Instant
	seq uint64
	out []parcel
}

// parcel is a message with its way.
type parcel struct {
	addr string
	m    core.Message
}

// stamp is an instant that one goroutine at a time writes and others read. A reader may get its clocks from two writes,
// each of them true when it was written.
type stamp struct{ mono, boot, real atomic.Int64 }

func (s *stamp) store(t core.Instant) {
	s.mono.Store(t.Mono)
	s.boot.Store(t.Boot)
	s.real.Store(t.Real)
}

func (s *stamp) load() core.Instant {
	return core.Instant{Mono: s.mono.Load(), Boot: s.boot.Load(), Real: s.real.Load()}
}

// note is told of what the owner loop sends while it leads, before that leaves.
func (p *pulse) note(now core.Instant, m core.Message, addr string) {
	b := p.beat.Load()
	if b == nil || b.seq != m.Seq {
		begins := b == nil
		b = &beat{at: now, seq: m.Seq}
		defer func() {
			if begins {
				p.waiter.wake()
			}
		}()
	}
	next := *b
	next.out = append(slices.Clip(b.out), parcel{addr, m})
	p.beat.Store(&next)
}

// silence is called when this node does not lead any more, before anything is sent that says so.
func (p *pulse) silence() {
	if p.beat.Load() != nil {
		p.beat.Store(nil)
	}
}

// end stops the thread and waits for it.
func (p *pulse) end() {
	p.over.Store(true)
	p.waiter.wake()
	<-p.done
	p.waiter.close()
}

// run is the thread.
func (p *pulse) run() {
	defer close(p.done)
	runtime.LockOSThread() // for good: the thread has a priority of its own, and ends with this goroutine
	if how, err := goFirst(); err != nil {
		p.log.Info().Err(err).Msg("heartbeats have no priority over other programs: that needs CAP_SYS_NICE or a limit on " +
			"real-time priority (LimitRTPRIO=1)")
	} else {
		p.log.Debug().Str("priority", how).Msg("heartbeats go before other programs")
	}
	var said uint64 // heartbeat that was said again last, and when
	var saidAt core.Instant
	for !p.over.Load() {
		b := p.beat.Load()
		if b == nil || p.mute() {
			p.waiter.wait(-1)
			continue
		}
		now, last := p.clock.Now(), b.at
		if said == b.seq {
			last = saidAt
		}
		if due := p.after - now.SinceMin(last); due > 0 {
			p.waiter.wait(due)
			continue
		}
		if now.SinceMax(p.turned.load()) >= p.faith {
			p.waiter.wait(p.after) // it hangs, as far as anybody can tell
			continue
		}
		for _, o := range b.out {
			p.send(o)
		}
		p.repeat()
		said, saidAt = b.seq, now
	}
}
