package raftifytest_test

import (
	"testing"
	"time"

	"github.com/baton-ha/baton/raftify/core"
	"github.com/baton-ha/baton/raftify/raftifytest"
)

// TestLongRoundTrips: answers to a pre-vote may take as long as MinElection.
func TestLongRoundTrips(t *testing.T) {
	for _, delay := range []time.Duration{20, 40, 60, 70} {
		d := delay * time.Millisecond
		r := newRun(nil, raftifytest.Config{Seed: 3, Net: raftifytest.NetRates{MinDelay: d, MaxDelay: d + 5*time.Millisecond}})
		if err := r.demand(10 * minET); err != nil {
			t.Errorf("a delay of %v: %v", d, err)
		}
	}
}

// TestLateProposal: an older proposal arrives after the promise for the adopted one was counted, and replaces it. Its
// node must not stay outside (R26).
func TestLateProposal(t *testing.T) {
	r := newRun(nil, raftifytest.Config{Seed: 1, Expect: 3})
	var old []raftifytest.Envelope[core.Message]
	toTwo := func(e raftifytest.Envelope[core.Message]) bool {
		return e.Msg.Type == core.MsgBootPropose && e.To == "2"
	}
	if !r.RunUntil(minET, func() bool { old = r.Net.Take(toTwo); return len(old) > 0 }) {
		t.Fatal("nothing was proposed")
	}
	r.LoseDisk("3") // the proposal changes
	r.Start("3")
	if !r.RunUntil(10*minET, func() bool { return r.Node("1").Durable().Cfg.Key.Ver == 1 }) {
		t.Fatal("the second proposal is not adopted")
	}
	promised := r.Node("2").Durable().Promise
	r.Do("2", func(k *core.Core, now core.Instant) { _ = k.Step(now, old[0].Msg) })
	if !r.RunUntil(minET, func() bool { return r.Node("2").Durable().Promise != promised }) {
		t.Fatal("the late proposal was not promised: the test shows nothing")
	}
	if !r.RunUntil(10*minET, func() bool { return r.Node("2").Durable().Cfg.Key.Ver == 1 }) {
		t.Error("2 stays outside")
	}
	if err := r.demand(10 * minET); err != nil {
		t.Error(err)
	}
}

// TestLostDiskDoesNotVote: the id of a replaced disk is a stranger to the configuration (R3).
func TestLostDiskDoesNotVote(t *testing.T) {
	r := newRun(nil, raftifytest.Config{Seed: 1})
	r.lead(t)
	r.LoseDisk("2")
	r.Start("2")
	r.Crash("1")
	if err := r.Run(20 * minET); err != nil {
		t.Error(err)
	}
	if l := r.Leader(); l != "" {
		t.Errorf("%s leads with the vote of an empty folder", l)
	}
	r.Start("1")
	if err := r.demand(10 * minET); err != nil {
		t.Error(err)
	}
}

// TestFailover measures how long a cluster is without a lease after its leader is killed.
func TestFailover(t *testing.T) {
	var worst, sum time.Duration
	const n = 200
	for seed := uint64(1); seed <= n; seed++ {
		r := newRun(nil, raftifytest.Config{Seed: seed})
		r.lead(t)
		r.Crash("1")
		from := r.Now()
		if err := r.demand(10 * minET); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		worst, sum = max(worst, r.Now()-from), sum+r.Now()-from
	}
	t.Logf("mean %v, worst %v", sum/n, worst)
	if sum/n > 2*minET {
		t.Errorf("a failover takes %v on average", sum/n)
	}
}

// TestDrawnPartsKeepTheirPromises checks the simulated parts themselves.
func TestDrawnPartsKeepTheirPromises(t *testing.T) {
	r := raftifytest.NewRand(1)
	for range 200 {
		c := raftifytest.NewClock(r, 0.01)
		a, b := c.Now(time.Second), c.Now(3*time.Second)
		for _, d := range []int64{b.Mono - a.Mono, b.Boot - a.Boot, b.Real - a.Real} {
			if d < 1979*1e6 || d > 2021*1e6 {
				t.Fatalf("a clock saw %v in 2s", time.Duration(d))
			}
		}
		c.Suspend(3*time.Second, true)
		c.StepReal(4*time.Second, -time.Hour)
		e := c.Now(4 * time.Second)
		if e.Mono != b.Mono || e.Boot <= b.Boot || e.Real >= b.Real {
			t.Fatalf("%+v after %+v asleep and stepped back", e, b)
		}
	}

	lost := map[int]int{}
	for range 500 {
		d := raftifytest.NewDisk[int](r, raftifytest.DiskRates{Min: time.Millisecond, Max: time.Millisecond})
		for i := range 3 {
			d.Write(0, i)
		}
		if got := d.Step(time.Millisecond); len(got) != 1 || got[0] != 0 {
			t.Fatalf("the first fsync covers %v", got)
		}
		if d.Pending() != 2 {
			t.Fatal("two writes should wait")
		}
		left := d.Crash()
		for i, w := range left {
			if w != i+1 {
				t.Fatalf("%v survived: not a prefix", left)
			}
		}
		lost[2-len(left)]++
	}
	if len(lost) != 3 {
		t.Errorf("lost %v: every suffix should come up", lost)
	}

	n := raftifytest.NewNet[string](r, raftifytest.NetRates{Keep: 1})
	n.Cut("a", "b")
	n.Send(0, "a", "b", "kept")
	n.Send(0, "b", "a", "through")
	if e, ok := n.Step(0); !ok || e.Msg != "through" {
		t.Fatalf("%v %v", e, ok)
	}
	if e, ok := n.Step(0); ok {
		t.Fatalf("%v came over a cut link", e)
	}
	n.Heal(time.Second)
	if e, ok := n.Step(time.Second); !ok || e.Msg != "kept" {
		t.Fatalf("%v %v", e, ok)
	}
}
