package raftify

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/raftify/core"
)

func TestInboxKeepsOrder(t *testing.T) {
	b := newInbox()
	var got []int
	for i := range 1000 {
		b.post(input{fn: func(core.Instant, *core.Core) { got = append(got, i) }})
	}
	posts := make([]input, 0, 7)
	for n := 0; n < 1000; {
		_, posts = b.take(nil, posts)
		for _, p := range posts {
			p.fn(core.Instant{}, nil)
		}
		n += len(posts)
	}
	if !slices.IsSorted(got) || len(got) != 1000 {
		t.Errorf("%d functions, sorted %v", len(got), slices.IsSorted(got))
	}
}

func TestInboxDropsTheOldestMessage(t *testing.T) {
	b := newInbox()
	for i := range maxInbound + 10 {
		if over := b.deliver(core.Message{Seq: uint64(i)}); over != (i >= maxInbound) {
			t.Fatalf("message %d: overflow %v", i, over)
		}
	}
	msgs, _ := b.take(make([]core.Message, 0, 2*maxInbound), nil)
	if len(msgs) != maxInbound || msgs[0].Seq != 10 || msgs[maxInbound-1].Seq != maxInbound+9 {
		t.Errorf("%d messages, from %d", len(msgs), msgs[0].Seq)
	}
}

// A full queue slows posters down for a bounded time, loses nothing and lets them go when there is room.
func TestInboxBackPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newInbox()
		nop := input{fn: func(core.Instant, *core.Core) {}}
		for range maxPosts {
			b.post(nop)
		}
		start := time.Now()
		if !b.post(nop) || time.Since(start) != postPatience {
			t.Errorf("post into a full queue took %v", time.Since(start))
		}
		var wg sync.WaitGroup
		start = time.Now()
		wg.Go(func() {
			if !b.post(nop) || time.Since(start) != 0 {
				t.Errorf("post did not go on when there was room, but after %v", time.Since(start))
			}
		})
		synctest.Wait()
		_, posts := b.take(nil, make([]input, 0, 2*maxPosts))
		wg.Wait()
		if len(posts) != maxPosts+1 || b.posts.len() != 1 {
			t.Errorf("took %d, %d left", len(posts), b.posts.len())
		}
		b.close()
		if b.post(nop) {
			t.Error("a closed inbox took a function")
		}
	})
}

func TestResolverNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r := newResolver(ctx)
		ip, fail := netip.MustParseAddr("10.1.1.1"), error(nil)
		asked := 0
		r.lookup = func(context.Context, string) ([]netip.Addr, error) {
			asked++
			time.Sleep(time.Second) //nolint:forbidigo // the bubble's clock
			return []netip.Addr{netip.MustParseAddr("fd00::1"), ip}, fail
		}
		if ap, ok := r.resolve("192.0.2.1:7"); !ok || ap.String() != "192.0.2.1:7" {
			t.Errorf("literal: %v, %v", ap, ok)
		}
		start := time.Now()
		if _, ok := r.resolve("host:7"); ok || time.Since(start) != 0 {
			t.Error("knew a name that was never asked for, or waited")
		}
		r.wg.Wait()
		if ap, ok := r.resolve("host:7"); !ok || ap.String() != "10.1.1.1:7" || asked != 1 {
			t.Errorf("%v, %v, asked %d times", ap, ok, asked)
		}
		// The server stops answering: the last address stays in use.
		fail = errors.New("server failure")
		time.Sleep(resolveAgain + time.Second) //nolint:forbidigo // the bubble's clock
		for range 3 {
			if ap, ok := r.resolve("host:7"); !ok || ap.String() != "10.1.1.1:7" {
				t.Errorf("%v, %v", ap, ok)
			}
			r.wg.Wait()
		}
		if asked != 2 {
			t.Errorf("asked %d times", asked)
		}
		for _, bad := range []string{"host", "host:x", ":"} {
			if _, ok := r.resolve(bad); ok {
				t.Errorf("%q resolved", bad)
			}
		}
		cancel()
		r.wg.Wait()
	})
}

func TestGossipLog(t *testing.T) {
	var out bytes.Buffer
	l := newGossipLog(zerolog.New(&out).Level(zerolog.WarnLevel))
	l.Print("[DEBUG] memberlist: chatter")
	l.Print("[WARN] memberlist: look here")
	for range 5 {
		l.Print("[ERR] memberlist: Decrypt packet failed: No installed keys could decrypt the message")
	}
	got := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(got) != 2 || !strings.Contains(got[0], `"level":"warn"`) || !strings.Contains(got[0], `"look here"`) ||
		!strings.Contains(got[1], `"level":"error"`) {
		t.Errorf("%q", got)
	}
}

func TestEventsDropTheOldest(t *testing.T) {
	var s subscribers
	ch, end := s.add()
	var lost uint64
	for i := range subscriberBuffer + 5 {
		lost += s.tell(core.Event{Kind: core.EventRound, Seq: uint64(i)})
	}
	if lost != 5 {
		t.Errorf("%d events lost", lost)
	}
	end()
	end()
	next := uint64(5) // the oldest gave way
	for e := range ch {
		if e.Seq != next {
			t.Errorf("event %d, want %d", e.Seq, next)
		}
		next++
	}
	if next != subscriberBuffer+5 {
		t.Errorf("events end before %d", next)
	}
	s.close()
	late, _ := s.add()
	if _, open := <-late; open {
		t.Error("subscription to a closed node is open")
	}
}

func TestSystemClockMovesOn(t *testing.T) {
	c := SystemClock()
	a := c.Now()
	for b := a; b.Mono == a.Mono || b.Boot == a.Boot || b.Real == a.Real; b = c.Now() {
		if b.Mono < a.Mono || b.Boot < a.Boot {
			t.Fatalf("clock went back: %+v after %+v", b, a)
		}
	}
}
