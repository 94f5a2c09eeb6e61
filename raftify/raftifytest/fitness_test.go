package raftifytest_test

import (
	"errors"
	"testing"

	"github.com/baton-ha/baton/raftify/core"
	"github.com/baton-ha/baton/raftify/raftifytest"
)

func (r *run) fitness(id core.NodeID, f core.Fitness) {
	r.Do(id, func(k *core.Core, now core.Instant) { k.SetFitness(now, f) })
}

// TestUnfitLeaderHandsOver to the one node that is fit, although another is as level and has the smaller id.
func TestUnfitLeaderHandsOver(t *testing.T) {
	r := newRun(nil, raftifytest.Config{Seed: 1, Nodes: 3, Membership: automatic(3)})
	r.lead(t)
	r.fitness("2", core.Unfit)
	if err := r.Run(3 * beat); err != nil {
		t.Fatal(err)
	}
	r.Do("1", func(k *core.Core, now core.Instant) {
		if err := k.Transfer(now, "2"); !errors.Is(err, core.ErrUnfit) {
			t.Errorf("handed to an unfit node by name: %v", err)
		}
	})
	r.fitness("1", core.Unfit)
	if !r.RunUntil(2*minET, func() bool { return r.Holder() == "3" }) {
		t.Fatalf("%q leads: %v", r.Holder(), r.Err())
	}
	term := r.Node("3").Core().Status().Term
	if err := r.Run(50 * minET); err != nil {
		t.Fatal(err)
	}
	if s := r.Node("3").Core().Status(); s.Term != term || r.Holder() != "3" {
		t.Errorf("%q leads in term %d, it was 3 in %d", r.Holder(), s.Term, term)
	}
}

// TestUnfitNodesDoNotSwapTheLead: with nobody fit the leader stays, also when one of the others restarts.
func TestUnfitNodesDoNotSwapTheLead(t *testing.T) {
	r := newRun(nil, raftifytest.Config{Seed: 1, Nodes: 3, Membership: automatic(3)})
	r.lead(t)
	for _, id := range []core.NodeID{"3", "2", "1"} {
		r.fitness(id, core.Unfit)
		if err := r.Run(2 * beat); err != nil {
			t.Fatal(err)
		}
	}
	term := r.Node("1").Core().Status().Term
	if err := r.Run(100 * minET); err != nil {
		t.Fatal(err)
	}
	if s := r.Node("1").Core().Status(); r.Holder() != "1" || s.Term != term {
		t.Fatalf("%q leads in term %d, it was 1 in %d", r.Holder(), s.Term, term)
	}
	// One that becomes fit is given the lead; one that lost faith in it while away does not take it back.
	r.fitness("3", core.Fit)
	if !r.RunUntil(10*minET, func() bool { return r.Holder() == "3" }) {
		t.Fatalf("%q leads: %v", r.Holder(), r.Err())
	}
}

// TestFitNodeIsElectedFirst: of the two that outlive the leader the unfit one has the smaller id and lets the other go
// first; when only unfit ones are left one of them leads.
func TestFitNodeIsElectedFirst(t *testing.T) {
	for seed := range uint64(20) {
		r := newRun(nil, raftifytest.Config{Seed: seed, Nodes: 3, Membership: automatic(3)})
		r.lead(t)
		r.fitness("2", core.Unfit)
		r.Crash("1")
		if err := r.demand(10 * minET); err != nil {
			t.Fatal(err)
		}
		if h := r.Holder(); h != "3" {
			t.Fatalf("seed %d: %s leads", seed, h)
		}
		r.fitness("3", core.Unfit)
		r.Start("1")
		r.fitness("1", core.Unfit)
		if err := r.Run(minET); err != nil {
			t.Fatal(err)
		}
		r.Crash("3")
		if err := r.demand(20 * minET); err != nil {
			t.Fatal(err)
		}
	}
}

// TestUnableNodeNeverStands although nobody else can, and stands when it is able again.
func TestUnableNodeNeverStands(t *testing.T) {
	r := newRun(nil, raftifytest.Config{Seed: 1, Nodes: 3, Membership: automatic(3)})
	r.lead(t)
	r.fitness("2", core.Unable)
	r.fitness("3", core.Unable)
	r.Crash("1")
	if err := r.Run(30 * minET); err != nil {
		t.Fatal(err)
	}
	if r.Holder() != "" {
		t.Fatalf("%s leads", r.Holder())
	}
	r.fitness("3", core.Unfit)
	if !r.RunUntil(10*minET, func() bool { return r.Holder() == "3" }) {
		t.Fatalf("%q leads: %v", r.Holder(), r.Err())
	}
}

// TestUnfitHubTriesEverMoreRarely: of five nodes only 1, which is unfit, reaches a majority. It hands over to one that looks
// fit and cannot win, and leads again; each attempt costs an outage, so they become rare.
func TestUnfitHubTriesEverMoreRarely(t *testing.T) {
	r := newRun(nil, raftifytest.Config{Seed: 1, Nodes: 5, Membership: automatic(5)})
	r.lead(t)
	for _, a := range r.Nodes() {
		for _, b := range r.Nodes() {
			if a != b && a.ID != "1" && b.ID != "1" {
				r.Net.Cut(a.ID, b.ID)
			}
		}
	}
	r.fitness("1", core.Unfit)
	term := r.Node("1").Core().Status().Term
	if err := r.Run(1000 * minET); err != nil {
		t.Fatal(err)
	}
	if err := r.demand(20 * minET); err != nil {
		t.Fatal(err)
	}
	if n := r.Node("1").Core().Status().Term - term; n < 2 || n > 40 {
		t.Errorf("%d terms in 1000 election timeouts", n)
	}
}
