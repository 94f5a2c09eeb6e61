package raftifytest_test

import (
	"errors"
	"testing"
	"time"

	"github.com/baton-ha/baton/raftify/core"
	"github.com/baton-ha/baton/raftify/raftifytest"
)

// standStill: the machine that all nodes run on stands still, again and again, for longer than any timeout, and goes on.
// Nobody was ever silent while somebody could have listened, so the leader stays.
func standStill(t *testing.T, off func(*core.Core)) error {
	t.Helper()
	return seeds(20, func(seed uint64) error {
		r := newRun(off, raftifytest.Config{Seed: seed})
		r.lead(t)
		r.arm()
		term := r.Node("1").Core().Status().Term
		for range 10 {
			for _, n := range r.Nodes() {
				r.Pause(n.ID)
			}
			if err := r.Run(r.Rand.Between(minET, 5*minET)); err != nil {
				return err
			}
			for _, i := range r.Rand.Perm(3) { // one after the other
				r.Resume(r.Nodes()[i].ID)
				if err := r.Run(r.Rand.Between(0, beat/2)); err != nil {
					return err
				}
			}
			if err := r.Run(2 * minET); err != nil {
				return err
			}
			if s := r.Node("1").Core().Status(); s.Term != term || r.Holder() != "1" {
				r.Checker.Fail(r.Now(), "R18", "term %d and leader %q, it was term %d of 1", s.Term, r.Holder(), term)
				return r.Err()
			}
		}
		return nil
	})
}

func TestMachineStandsStill(t *testing.T) { pass(t, standStill) }

// The patience of a leader that stands still all the time and that nobody answers ends all the same.
func TestPatienceEnds(t *testing.T) {
	r := newRun(nil, raftifytest.Config{Seed: 1})
	r.lead(t)
	r.cutBoth([2]core.NodeID{"1", "2"}, [2]core.NodeID{"1", "3"})
	begin := r.Now()
	leads := func() bool { return r.Node("1").Core().Status().Role == core.RoleLeader }
	for leads() && r.Now() < begin+20*minET {
		r.Pause("1")
		if err := r.Run(3 * beat); err != nil {
			t.Fatal(err)
		}
		r.Resume("1")
		if err := r.Run(beat / 4); err != nil {
			t.Fatal(err)
		}
	}
	// The lease, then a stall that begins in its last moment, then the patience for that, and one more turn.
	if limit := 2*minET + 8*beat; leads() || r.Now()-begin > limit {
		t.Errorf("leads %v: %v after it was cut off: %v at most", leads(), r.Now()-begin, limit)
	}
	if err := r.demand(10 * minET); err != nil {
		t.Error(err)
	}
	if r.Count["stood still"] == 0 {
		t.Error("the leader never stood still")
	}
}

// Followers that stand still all the time replace a leader that is gone.
func TestFollowersWithStallsElect(t *testing.T) {
	r := newRun(nil, raftifytest.Config{Seed: 1})
	r.lead(t)
	r.Crash("1")
	begin := r.Now()
	for r.Holder() == "" && r.Now() < begin+20*minET {
		for _, id := range []core.NodeID{"2", "3"} {
			r.Pause(id)
		}
		if err := r.Run(3 * beat); err != nil {
			t.Fatal(err)
		}
		for _, id := range []core.NodeID{"2", "3"} {
			r.Resume(id)
		}
		if err := r.Run(beat / 2); err != nil {
			t.Fatal(err)
		}
	}
	if took := r.Now() - begin; r.Holder() == "" || took > 10*minET {
		t.Errorf("leader %q after %v", r.Holder(), took.Round(time.Millisecond))
	}
}

// stallOnce stops the leader's owner loop for longer than any election takes, while the thread beside it repeats
// heartbeats: for half an election timeout after the loop's last turn, or for as long as a test says.
func stallOnce(t *testing.T, pulse time.Duration) error {
	t.Helper()
	return seeds(20, func(seed uint64) error {
		r := newRun(nil, raftifytest.Config{Seed: seed, PulseFor: pulse})
		r.lead(t)
		before := r.Count["heartbeat repeated"]
		r.Stall("1")
		begin := r.Now()
		if err := r.demandOther("1", 10*minET); err != nil {
			return err
		}
		if r.Count["heartbeat repeated"] == before {
			t.Error("nothing was repeated")
		}
		if took := r.Now() - begin; took < minET {
			t.Errorf("another led after %v", took)
		}
		r.Resume("1")
		return r.Run(5 * minET)
	})
}

// demandOther fails I14 if no other node than id leads within limit.
func (r *run) demandOther(id core.NodeID, limit time.Duration) error {
	other := func() bool {
		h := r.Holder()
		return h != "" && h != id
	}
	if !r.RunUntil(limit, other) && r.Err() == nil {
		r.Checker.Fail(r.Now(), "I14", "nobody but %s leads within %v", id, limit)
	}
	return r.Err()
}

func TestStalledLoopIsReplaced(t *testing.T) {
	if err := stallOnce(t, 0); err != nil {
		t.Error(err)
	}
}

// With a thread that does not look whether the loop turns, a node that hangs leads for ever.
func TestStalledLoopIsReplaced_Negative(t *testing.T) {
	var v *raftifytest.Violation
	if err := stallOnce(t, time.Hour); !errors.As(err, &v) || v.Invariant != "I14" {
		t.Errorf("with a thread that never stops: %v, want I14 broken", err)
	}
}

// A leader whose loop comes back in time is still the leader, and has lost nobody's faith: without its thread some of
// these stalls, together with a slow network, would have ended its term.
func TestShortStallsKeepTheLeader(t *testing.T) {
	lost := func(pulse time.Duration) (n int) {
		for seed := range uint64(40) {
			r := newRun(nil, raftifytest.Config{Seed: seed + 1, PulseFor: pulse, Net: raftifytest.NetRates{
				MinDelay: time.Millisecond, MaxDelay: 3 * time.Millisecond, Slow: 0.3, MaxSlow: minET / 2,
			}})
			r.lead(t)
			term := r.Node("1").Core().Status().Term
			r.Stall("1")
			if err := r.Run(minET + minET/4); err != nil {
				t.Fatal(err)
			}
			r.Resume("1")
			if err := r.Run(3 * minET); err != nil {
				t.Fatal(err)
			}
			if s := r.Node("1").Core().Status(); s.Term != term || s.Role != core.RoleLeader {
				n++
			}
		}
		return n
	}
	with, without := lost(0), lost(time.Nanosecond)
	t.Logf("leaders lost in 40 runs: %d with the thread, %d without", with, without)
	if 2*with >= without {
		t.Errorf("%d leaders lost with the thread, %d without", with, without)
	}
}
