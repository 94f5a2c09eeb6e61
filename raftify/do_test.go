package raftify

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/baton-ha/baton/raftify/core"
)

func singleNode(t *testing.T) *Node {
	t.Helper()
	cfg := DefaultConfig()
	cfg.ID, cfg.Timing = "only", testTiming()
	n, err := New(Options{Config: cfg, Store: newMemStore(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	return n
}

// Functions given to Do and Post never run at the same time as each other or as the loop, and each goroutine's run in
// its order.
func TestDoExcludesTheLoop(t *testing.T) {
	n := singleNode(t)
	early := make(chan struct{})
	if !n.Do(func(core.Instant, *core.Core) { close(early) }) {
		t.Fatal("refused before the start")
	}
	select {
	case <-early:
		t.Fatal("run before the start")
	default:
	}
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	<-early
	const workers, each = 4, 500
	inside, total := 0, 0 // the race detector sees it if two are inside
	var wg sync.WaitGroup
	for w := range workers {
		last := -1
		wg.Go(func() {
			for i := range each {
				fn := func(core.Instant, *core.Core) {
					inside++
					if inside != 1 {
						t.Errorf("%d at once", inside)
					}
					if i != last+1 {
						t.Errorf("function %d after %d", i, last)
					}
					last = i
					total++
					inside--
				}
				if do := (w+i)%3 != 0; do && !n.Do(fn) || !do && !n.Post(fn) {
					t.Error("refused")
				}
			}
		})
	}
	wg.Wait()
	if err := n.call(bounded(t), func(core.Instant, *core.Core) {}); err != nil {
		t.Fatal(err)
	}
	if total != workers*each {
		t.Errorf("%d of %d functions were called", total, workers*each)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	if n.Do(func(core.Instant, *core.Core) { t.Error("called after Close") }) {
		t.Error("a closed node takes functions")
	}
}

// With nobody in the loop, Do has done it when it returns; a function that calls Do does not wait for itself.
func TestDoOnThisGoroutine(t *testing.T) {
	n := singleNode(t)
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := n.WaitLeader(bounded(t)); err != nil {
		t.Fatal(err)
	}
	for ctx := bounded(t); ; {
		var outer, inner atomic.Bool
		n.Do(func(core.Instant, *core.Core) {
			outer.Store(true)
			n.Do(func(core.Instant, *core.Core) { inner.Store(true) })
		})
		if outer.Load() && inner.Load() {
			return
		}
		if ctx.Err() != nil { // now and then the loop is at work, but not each time
			t.Fatal("never done when Do returned")
		}
	}
}

// A node that stops while others are in its loop is at its end for all of them.
func TestDoMeetsTheEnd(t *testing.T) {
	n := singleNode(t)
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for n.Do(func(_ core.Instant, c *core.Core) { c.Status() }) { // until it is refused
			}
		})
	}
	if _, err := n.WaitLeader(bounded(t)); err != nil {
		t.Error(err)
	}
	n.Fail(errDisk)
	wg.Wait()
	<-n.Stopped()
}

// A death notice that is carried out where it arrives begins an election in which this node is not the first in turn. The
// loop, which went to sleep for a heartbeat, is woken for it; it is not for what changes nothing about when it wakes.
func TestDeathNoticeWakesTheLoop(t *testing.T) {
	cluster, incs := core.ClusterID{1}, map[core.NodeID]core.Inc{"a": {1}, "b": {2}, "c": {3}}
	cfg := core.NewConfig(core.CfgKey{CTerm: 5, Ver: 1}, []core.Member{
		{ID: "a", Inc: incs["a"], Voter: true}, {ID: "b", Inc: incs["b"], Voter: true}, {ID: "c", Inc: incs["c"], Voter: true},
	})
	state, err := EncodeState(core.HardState{
		ClusterID: cluster, ID: "b", Inc: incs["b"], Boot: 1, Term: 5, Vote: core.Vote{Kind: core.VoteClosed}, Cfg: cfg,
	})
	if err != nil {
		t.Fatal(err)
	}
	store := newMemStore(t)
	if err := store.write(state); err != nil {
		t.Fatal(err)
	}
	conf := DefaultConfig()
	conf.ID, conf.Timing = "b", testTiming()
	var clock handClock
	n, err := New(Options{Config: conf, Store: store, Clock: &clock, PeerKey: testPeerKey})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close() //nolint:errcheck // it was never started
	n.transport = nowhere{}
	n.owner.live, n.owner.msgs, n.owner.posts = true, make([]core.Message, 0, turnMessages), make([]input, 0, turnPosts)
	woken := func() bool {
		select {
		case <-n.inbox.wake:
			return true
		default:
			return false
		}
	}
	sleep := func() time.Duration {
		t.Helper()
		quiet, ok := n.round()
		if !ok {
			t.Fatal("the loop is over")
		}
		woken()
		return quiet
	}
	head := core.Header{ClusterID: cluster, From: "c", To: "b", Inc: incs["c"], Boot: 1, Session: 9, Term: 5}
	heartbeat := core.Message{Type: core.MsgHB, Header: head, Seq: 1, Cfg: &cfg}

	clock.add(n.tm.MinElection) // nobody has to be asked any more what is known of this node
	n.deliver(heartbeat)
	if quiet := sleep(); quiet != n.tm.Heartbeat || n.Status().Leader != "c" {
		t.Fatalf("asleep for %v, led by %q", quiet, n.Status().Leader)
	}
	clock.add(n.tm.Heartbeat / 2)
	heartbeat.Seq++
	n.deliverHere(heartbeat)
	if woken() {
		t.Error("woken by a heartbeat")
	}
	will, err := ParseDeath(SignDeath(testKey("c"), core.Death{ID: "c", Inc: head.Inc, Boot: head.Boot, Session: head.Session}))
	if err != nil {
		t.Fatal(err)
	}
	n.deliverHere(core.Message{Type: core.MsgDeath, Header: core.Header{From: "c", To: "b"}, Dead: &will})
	if role := n.Status().Role; role != core.RoleFollower {
		t.Fatalf("%v, before the first in turn", role)
	}
	if !woken() {
		t.Error("not woken: it stands when it happens to wake")
	}
	if quiet := sleep(); quiet > n.tm.Heartbeat/4 {
		t.Errorf("asleep for %v", quiet)
	}
	clock.add(n.tm.Heartbeat / 4)
	sleep()
	if role := n.Status().Role; role != core.RolePreCandidate {
		t.Errorf("%v after its turn has come", role)
	}
}
