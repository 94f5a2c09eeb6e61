package raftify

import (
	"bytes"
	"errors"
	"testing"

	"github.com/baton-ha/baton/raftify/core"
)

// TestKeyIsChangedWithoutStopping goes from one gossip key to another on a cluster that runs, and from then on a node
// with the old one is a stranger.
func TestKeyIsChangedWithoutStopping(t *testing.T) {
	g := newGossipCluster(t)
	for _, id := range g.ids {
		g.start(id, g.config(id))
	}
	ctx := bounded(t)
	old, next := bytes.Repeat([]byte{7}, 32), bytes.Repeat([]byte{9}, 32)
	round := func(when string) {
		t.Helper()
		eventually(t, "a majority answers "+when, func() bool { return g.nodes[g.leader()].Round(ctx) == nil })
	}
	round("before")
	each := func(what string, do func(n *Node) error) {
		t.Helper()
		for _, id := range g.ids {
			if err := do(g.nodes[id]); err != nil {
				t.Fatalf("%s at %s: %v", what, id, err)
			}
			round(what + " at " + string(id))
		}
	}
	each("install", func(n *Node) error { return n.InstallKey(next) })
	if err := g.nodes["a"].RemoveKey(old); err == nil {
		t.Error("the key in use was removed")
	}
	each("use", func(n *Node) error { return n.UseKey(next) })
	each("remove", func(n *Node) error { return n.RemoveKey(old) })

	if err := g.nodes["a"].UseKey(old); err == nil {
		t.Error("a removed key is used")
	}
	g.kill("c")
	stranger := g.start("c", g.config("c")) // its configuration still has the old key
	eventually(t, "the stranger talks", func() bool { return stranger.Stats().Sent > 20 })
	if s := stranger.Stats(); s.Received > 0 {
		t.Errorf("the stranger received %d messages", s.Received)
	}
	g.kill("c")
	cfg := g.config("c")
	cfg.Encrypt, cfg.EncryptAlso = old, [][]byte{next}
	n := g.start("c", cfg) // hears, and cannot be heard
	eventually(t, "it hears a leader", func() bool { return n.Stats().Received > 0 })
	if err := n.UseKey(next); err != nil {
		t.Fatal(err)
	}
	if _, err := n.WaitLeader(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestNoKeyring: what has no gossip has no keys.
func TestNoKeyring(t *testing.T) {
	cfg := DefaultConfig()
	cfg.ID, cfg.Timing = "only", testTiming()
	n, err := Open(bounded(t), Options{Config: cfg, Store: newMemStore(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.Close() }()
	key := make([]byte, 16)
	for _, err := range []error{n.InstallKey(key), n.UseKey(key), n.RemoveKey(key)} {
		if !errors.Is(err, ErrNoKeyring) {
			t.Errorf("%v", err)
		}
	}
}

// TestPartitionIsMendedByItself: a node that nobody heard for so long that the gossip has given it up is found again.
// The partition is made with keys: what c sends nobody can read, and the other way round.
func TestPartitionIsMendedByItself(t *testing.T) {
	if testing.Short() {
		t.Skip("the gossip takes some seconds to give a node up")
	}
	g := newGossipCluster(t)
	for _, id := range g.ids {
		g.start(id, g.config(id))
	}
	ctx := bounded(t)
	g.leader()
	alive := func(at, id core.NodeID) bool { return g.nodes[at].transport.(Liveness).Alive(id) }
	eventually(t, "all see c", func() bool { return alive("a", "c") && alive("b", "c") })
	c, old, other := g.nodes["c"], bytes.Repeat([]byte{7}, 32), bytes.Repeat([]byte{9}, 32)
	for _, err := range []error{c.InstallKey(other), c.UseKey(other), c.RemoveKey(old)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "a and b have given c up, and c them", func() bool {
		return !alive("a", "c") && !alive("b", "c") && !alive("c", "a") && !alive("c", "b")
	})
	eventually(t, "c has no leader", func() bool { return c.Leader() == "" })
	for _, err := range []error{c.InstallKey(old), c.UseKey(old), c.RemoveKey(other)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all are seen again", func() bool {
		return alive("a", "c") && alive("b", "c") && alive("c", "a") && alive("c", "b")
	})
	if _, err := c.WaitLeader(ctx); err != nil {
		t.Fatal(err)
	}
}
