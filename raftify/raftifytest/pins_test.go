package raftifytest_test

import (
	"errors"
	"testing"

	"github.com/baton-ha/baton/raftify/core"
	"github.com/baton-ha/baton/raftify/raftifytest"
)

// pin is that of 4, the stranger, in the configuration of whoever holds the lease.
func (r *run) pin() core.Pin {
	if h := r.Holder(); h != "" {
		p, _ := r.Node(h).Core().Status().Cfg.Pin("4")
		return p
	}
	return core.Pin{}
}

// stranger is a cluster of 1 to 3 that has never heard of 4; 4 knows them.
func stranger(t *testing.T, maxVoters int) *run {
	t.Helper()
	r := newRun(nil, raftifytest.Config{
		Seed: 1, Nodes: 4, Voters: 3, Membership: automatic(maxVoters),
		Knows: func(id, peer core.NodeID) bool { return id == "4" || peer != "4" },
	})
	r.lead(t)
	return r
}

// TestInvitationOutlivesItsLeader: a node in nobody's configuration stays out; invited, it joins under another leader, after
// all have restarted, and becomes a voter although that is one more than MaxVoters.
func TestInvitationOutlivesItsLeader(t *testing.T) {
	r := stranger(t, 3)
	if err := r.Run(20 * minET); err != nil {
		t.Fatal(err)
	}
	if r.Count["join refused"] == 0 || r.Node("4").Core().Status().Cfg.Key.Ver != 0 {
		t.Fatalf("a stranger was let in: %v", r.Count)
	}
	r.Crash("4")
	r.Do("1", func(k *core.Core, now core.Instant) {
		if err := k.Reconfigure(now, core.Change{Kind: core.ChangeInvite, Member: core.Member{ID: "4"}, Info: "key"}); err != nil {
			t.Fatal(err)
		}
	})
	r.settled(t)
	for _, id := range []core.NodeID{"1", "2", "3"} {
		r.Crash(id)
		r.Start(id)
	}
	r.Crash("1")
	if err := r.demand(20 * minET); err != nil {
		t.Fatal(err)
	}
	r.Start("1")
	r.Start("4")
	r.untilVoters(t, 30*minET, "1", "2", "3", "4")
	for _, n := range r.Nodes() {
		if p, _ := n.Core().Status().Cfg.Pin("4"); p.State != core.PinMember || p.Info != "key" {
			t.Errorf("%s has the pin %+v", n.ID, p)
		}
	}
	// It is known now: with an empty disk it comes again by itself.
	r.LoseDisk("4")
	r.Start("4")
	if !r.RunUntil(30*minET, func() bool {
		h := r.Holder()
		if h == "" || r.Node("4").Core() == nil {
			return false
		}
		m, _ := r.Node(h).Core().Status().Cfg.Member("4")
		return m.Voter && m.Inc == r.Node("4").Core().Status().Inc
	}) {
		t.Fatalf("4 is not back: %v", r.Err())
	}
}

// TestBarredStaysOutWithEmptyDisk: a configured peer that was removed does not come back, not even as a newcomer.
func TestBarredStaysOutWithEmptyDisk(t *testing.T) {
	r := newRun(nil, raftifytest.Config{Seed: 1, Nodes: 4, Membership: automatic(5)})
	r.lead(t)
	r.change(t, core.ChangeRemove, "4")
	r.settled(t)
	r.LoseDisk("4")
	r.Start("4")
	if err := r.Run(10 * minET); err != nil {
		t.Fatal(err)
	}
	if len(r.voters()) != 3 || r.Count["join refused"] == 0 {
		t.Fatalf("voters %v, %v", r.voters(), r.Count)
	}
	if err := r.Run(20 * minET); err != nil {
		t.Fatal(err)
	}
	if p := r.pin(); p.State != core.PinBarred || len(r.voters()) != 3 {
		t.Fatalf("pin %+v, voters %v", p, r.voters())
	}
	r.change(t, core.ChangeInvite, "4")
	r.untilVoters(t, 30*minET, "1", "2", "3", "4")
	if p := r.pin(); p.State != 0 {
		t.Errorf("pin %+v of a configured peer that is in again", p)
	}
}

// TestInvitationIsTakenBack, and cannot be taken back twice.
func TestInvitationIsTakenBack(t *testing.T) {
	r := stranger(t, 5)
	r.Crash("4")
	r.change(t, core.ChangeInvite, "4")
	r.settled(t)
	r.change(t, core.ChangeRemove, "4")
	r.settled(t)
	r.Do("1", func(k *core.Core, now core.Instant) {
		err := k.Reconfigure(now, core.Change{Kind: core.ChangeRemove, Member: core.Member{ID: "4"}})
		if !errors.Is(err, core.ErrNoChange) {
			t.Errorf("removed twice: %v", err)
		}
	})
	r.Start("4")
	if err := r.Run(20 * minET); err != nil {
		t.Fatal(err)
	}
	if r.Node("4").Core().Status().Cfg.Key.Ver != 0 {
		t.Error("4 was let in")
	}
}

// TestLeaveLasts: a voter that left is a learner at once, stays one although it answers and restarts, and is a voter again
// when an operator promotes it.
func TestLeaveLasts(t *testing.T) {
	r := newRun(nil, raftifytest.Config{Seed: 1, Nodes: 4, Membership: automatic(5)})
	r.lead(t)
	r.change(t, core.ChangeLeave, "4")
	if v := r.voters(); len(v) != 3 {
		t.Fatalf("voters %v", v)
	}
	r.settled(t)
	r.Crash("4")
	r.Start("4")
	if err := r.Run(20 * minET); err != nil {
		t.Fatal(err)
	}
	if v := r.voters(); len(v) != 3 || r.pin().State != core.PinHeld {
		t.Fatalf("voters %v, pin %+v", v, r.pin())
	}
	r.change(t, core.ChangePromote, "4")
	r.untilVoters(t, 10*minET, "1", "2", "3", "4")
	if r.pin().State != 0 {
		t.Errorf("pin %+v", r.pin())
	}
}

// TestPinsAreBounded: the ids that no peer list names are forgotten first.
func TestPinsAreBounded(t *testing.T) {
	r := stranger(t, 5)
	r.Crash("4")
	for i := range core.MaxPins {
		id := core.NodeID("x" + string(rune('A'+i%26)) + string(rune('a'+i/26)))
		r.change(t, core.ChangeInvite, id)
		r.settled(t)
		if i == 0 {
			r.change(t, core.ChangeRemove, id)
			r.settled(t)
		}
	}
	r.change(t, core.ChangeInvite, "y1") // in place of the one that is barred
	r.settled(t)
	r.Do("1", func(k *core.Core, now core.Instant) {
		err := k.Reconfigure(now, core.Change{Kind: core.ChangeInvite, Member: core.Member{ID: "y2"}})
		if !errors.Is(err, core.ErrTooManyPins) {
			t.Errorf("one more than the wire carries: %v", err)
		}
	})
}
