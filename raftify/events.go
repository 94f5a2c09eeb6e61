package raftify

import (
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/raftify/core"
)

// subscriberBuffer is how many events a subscriber may lag behind before the oldest of them go.
const subscriberBuffer = 256

// Events returns what happens from now on, in order, and a function that ends the subscription. The election never waits
// for a subscriber: the channel holds 256 events, and for one that reads too slowly the oldest give way to the newest,
// counted in Stats.LostEvents. Who acts on leadership uses Leadership, which misses nothing. The channel is closed when
// the subscription or the node ends.
func (n *Node) Events() (<-chan core.Event, func()) { return n.subs.add() }

type subscribers struct {
	mu     sync.Mutex
	chans  map[chan core.Event]bool
	closed bool
}

func (s *subscribers) add() (<-chan core.Event, func()) {
	ch := make(chan core.Event, subscriberBuffer)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		close(ch)
		return ch, func() {}
	}
	if s.chans == nil {
		s.chans = map[chan core.Event]bool{}
	}
	s.chans[ch] = true
	return ch, func() { s.remove(ch) }
}

func (s *subscribers) remove(ch chan core.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.chans[ch] {
		delete(s.chans, ch)
		close(ch)
	}
}

func (s *subscribers) tell(e core.Event) (lost uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ch := range s.chans {
		for sent := false; !sent; { // this is the only sender: the room that is made cannot be taken by another
			select {
			case ch <- e:
				sent = true
			default:
				select {
				case <-ch:
					lost++
				default:
				}
			}
		}
	}
	return lost
}

func (s *subscribers) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for ch := range s.chans {
		close(ch)
	}
	s.chans = nil
}

// tell passes events on: to reads that wait, to the log, to the application and to subscribers.
func (n *Node) tell(events []core.Event) {
	for _, e := range events {
		if e.Kind == core.EventRound {
			n.rounds.finished(e.Term, e.Seq)
		}
		if e.Kind == core.EventStale {
			n.fail(fmt.Errorf("%w: %s; empty it, and the node comes back as a newcomer", ErrStaleFolder, e.Detail))
		}
		n.logEvent(e)
		if n.opt.OnEvent != nil {
			n.opt.OnEvent(e)
		}
		if lost := n.subs.tell(e); lost > 0 {
			n.count.lostEvents.Add(lost)
		}
	}
}

func (n *Node) logEvent(e core.Event) {
	level := zerolog.InfoLevel
	switch e.Kind {
	case core.EventRound:
		return
	case core.EventVoteRefused, core.EventVoteGranted, core.EventTerm, core.EventRole:
		level = zerolog.DebugLevel
	case core.EventAlarm:
		level = zerolog.ErrorLevel
		if !n.alarms.allow(e.Detail) {
			return
		}
	case core.EventLeader, core.EventElected, core.EventLeading, core.EventStepDown, core.EventConfig,
		core.EventBootstrapped, core.EventTransfer, core.EventReconfigured, core.EventJoined, core.EventDied, core.EventSuspected,
		core.EventFitness, core.EventLeave:
	case core.EventStale:
		level = zerolog.ErrorLevel
	case core.EventJoinRefused:
		level = zerolog.WarnLevel
		if !n.alarms.allow(string(e.Peer) + e.Detail) {
			return
		}
	}
	l := n.log.WithLevel(level).Uint64("term", uint64(e.Term)).Stringer("role", e.Role)
	if e.Peer != "" {
		l = l.Str("peer", string(e.Peer))
	}
	if e.Cfg != (core.CfgKey{}) {
		l = l.Uint64("cterm", uint64(e.Cfg.CTerm)).Uint64("version", e.Cfg.Ver)
	}
	if e.Detail != "" {
		l = l.Str("detail", e.Detail)
	}
	l.Msg("election: " + e.Kind.String())
}

// limiter lets the same text pass once in a while, so that an alarm that each message raises is still readable.
type limiter struct {
	mu    sync.Mutex
	every time.Duration
	last  map[string]time.Time
}

// maxLimited bounds the texts that a limiter remembers.
const maxLimited = 256

func newLimiter(every time.Duration) *limiter {
	return &limiter{every: every, last: map[string]time.Time{}}
}

func (l *limiter) allow(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if at, ok := l.last[text]; ok && now.Sub(at) < l.every {
		return false
	}
	if len(l.last) >= maxLimited {
		clear(l.last)
	}
	l.last[text] = now
	return true
}
