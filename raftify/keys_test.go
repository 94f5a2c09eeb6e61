package raftify

import (
	"bytes"
	"errors"
	"slices"
	"sync"
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

// TestKeysAreSet goes the same way by what a file would say, and a cluster talks all the time.
func TestKeysAreSet(t *testing.T) {
	g := newGossipCluster(t)
	for _, id := range g.ids {
		g.start(id, g.config(id))
	}
	ctx := bounded(t)
	old, next, third := bytes.Repeat([]byte{7}, 32), bytes.Repeat([]byte{9}, 32), bytes.Repeat([]byte{5}, 16)
	for _, keys := range [][][]byte{{old, third, next}, {next, old, third}, {next}} {
		for _, id := range g.ids {
			if err := g.nodes[id].SetKeys(keys); err != nil {
				t.Fatal(err)
			}
			eventually(t, "a majority answers", func() bool { return g.nodes[g.leader()].Round(ctx) == nil })
		}
	}
	ring := g.nodes["a"].transport.(*gossip).ring
	for name, bad := range map[string][][]byte{"none": nil, "short": {next, []byte("short")}, "twice": {next, old, old}} {
		if err := g.nodes["a"].SetKeys(bad); err == nil {
			t.Errorf("%s: is set", name)
		}
		if keys := ring.GetKeys(); len(keys) != 1 || !bytes.Equal(keys[0], next) {
			t.Errorf("%s: the ring is %x now", name, keys)
		}
	}
}

// A packet that is being read is tried with the keys that there were, whichever is removed meanwhile: what a reader of the ring
// holds never changes. The detector sees the ring's own way of removing one, and so does the comparison.
func TestKeyIsRemovedUnderReaders(t *testing.T) {
	g := newGossipCluster(t)
	cfg := g.config("a")
	for i := range byte(4) {
		cfg.EncryptAlso = append(cfg.EncryptAlso, bytes.Repeat([]byte{20 + i}, 32))
	}
	n := g.start("a", cfg)
	ring := n.transport.(*gossip).ring
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for sum := 0; ; {
				select {
				case <-done:
					return
				default:
				}
				for _, k := range ring.GetKeys() {
					sum += int(k[0])
				}
			}
		})
	}
	want := slices.Clone(ring.GetKeys())
	for len(want) > 1 {
		held, was := ring.GetKeys(), slices.Clone(want)
		gone := want[1]
		if err := n.RemoveKey(gone); err != nil {
			t.Fatal(err)
		}
		if !slices.EqualFunc(held, was, bytes.Equal) {
			t.Fatalf("what a reader holds is %x now, was %x", held, was)
		}
		want = slices.Delete(want, 1, 2)
		if now := ring.GetKeys(); !slices.EqualFunc(now, want, bytes.Equal) {
			t.Fatalf("the ring is %x, want %x", now, want)
		}
	}
	close(done)
	readers.Wait()
	if err := n.RemoveKey(want[0]); err == nil {
		t.Error("the key in use was removed")
	}
	if err := n.RemoveKey([]byte("never there")); err != nil {
		t.Errorf("one that is not there: %v", err)
	}
}

// TestPeersMove: a node that is started at another address is found by the others as soon as they are told where it is.
func TestPeersMove(t *testing.T) {
	g := newGossipCluster(t)
	for _, id := range g.ids {
		g.start(id, g.config(id))
	}
	ctx := bounded(t)
	g.leader()
	a := g.nodes["a"]
	was := g.config("a")
	for name, peers := range map[string][]core.Peer{
		"fewer": was.Peers[:2], "another": append(slices.Clone(was.Peers[:2]), core.Peer{ID: "d", Addr: "127.0.0.1:1"}),
		"own":       append([]core.Peer{{ID: "a", Addr: "127.0.0.1:1"}}, was.Peers[1:]...),
		"malformed": append(slices.Clone(was.Peers[:2]), core.Peer{ID: "c", Addr: "nowhere"}),
	} {
		if err := a.SetPeers(peers, was.PeerList); err == nil {
			t.Errorf("%s: is taken", name)
		}
		if addr := a.Addr("c"); addr != was.Peers[2].Addr {
			t.Errorf("%s: c is at %s now", name, addr)
		}
	}
	g.kill("c")
	g.ports[2] = freePorts(t, g.host, 1)[0]
	for _, id := range []core.NodeID{"a", "b"} {
		now := g.config(id)
		if err := g.nodes[id].SetPeers(now.Peers, now.PeerList); err != nil {
			t.Fatal(err)
		}
		if addr := g.nodes[id].Addr("c"); addr != now.Peers[2].Addr {
			t.Errorf("%s has c at %s", id, addr)
		}
	}
	c := g.start("c", g.config("c"))
	if _, err := c.WaitLeader(ctx); err != nil {
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
	for _, err := range []error{n.InstallKey(key), n.UseKey(key), n.RemoveKey(key), n.SetKeys([][]byte{key})} {
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
