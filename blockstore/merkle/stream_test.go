package merkle

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
)

// stream returns the nodes of a map as a file has them.
func stream(t *testing.T, m *Map) (out [][]byte) {
	t.Helper()
	if err := m.Stream(func(enc []byte) error { out = append(out, slices.Clone(enc)); return nil }); err != nil {
		t.Fatal(err)
	}
	return out
}

func build(nodes [][]byte, next NodeID) (*memStore, Hash, NodeID, error) {
	store := newMemStore()
	b := NewBuilder(next, func(id NodeID, rec []byte) error { store.nodes[id] = rec; return nil })
	for _, enc := range nodes {
		if err := b.Add(enc); err != nil {
			return nil, Hash{}, 0, err
		}
	}
	root, id, _, err := b.Done()
	return store, root, id, err
}

// What is streamed, from memory or from a store, is the same map again once it is built.
func TestStreamAndBuild(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	for size := range 60 {
		m, want := Empty(nil), map[string]string{}
		for range size {
			k, v := randomKey(rng), []byte{byte(rng.IntN(256))}
			m, want[string(k)] = mustUpdate(t, m, Change{Key: k, Value: v}), string(v)
		}
		nodes := stream(t, m)
		store, root, id, err := build(nodes, 7)
		if err != nil || root != m.Root() {
			t.Fatalf("%d entries: %v", size, err)
		}
		again, err := Load(store, root, id, WithCacheBytes(0))
		if err != nil {
			t.Fatal(err)
		}
		check(t, rng, again, want)
		if got := stream(t, again); !slices.EqualFunc(got, nodes, bytes.Equal) {
			t.Errorf("%d entries: another stream from the store", size)
		}
		if len(reachable(t, again)) != len(nodes) {
			t.Errorf("%d entries: %d nodes stored", size, len(nodes))
		}
	}
}

// Nothing that was changed, left out, repeated or put elsewhere becomes the same map, and what is accepted can be read.
func TestBuildTrustsNobody(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	m := Empty(nil)
	for range 40 {
		m = mustUpdate(t, m, Change{Key: randomKey(rng), Value: []byte("v")})
	}
	nodes, refused := stream(t, m), 0
	for range 2000 {
		bad := slices.Clone(nodes)
		i, j := rng.IntN(len(bad)), rng.IntN(len(bad))
		switch rng.IntN(4) {
		case 0:
			bad[i] = slices.Clone(bad[i])
			bad[i][rng.IntN(len(bad[i]))] ^= 1 << rng.IntN(8)
		case 1:
			bad = slices.Delete(bad, i, i+1)
		case 2:
			bad = slices.Insert(bad, i, bad[j])
		case 3:
			bad[i], bad[j] = bad[j], bad[i]
		}
		if slices.EqualFunc(bad, nodes, bytes.Equal) {
			continue
		}
		store, root, id, err := build(bad, 1)
		if err != nil {
			if !errors.Is(err, ErrBadStream) {
				t.Fatal(err)
			}
			refused++
			continue
		}
		if root == m.Root() {
			t.Fatal("other nodes have the same root")
		}
		if again, err := Load(store, root, id); err != nil || again.EachNode(func(NodeID) error { return nil }) != nil {
			t.Fatalf("what was built cannot be read: %v", err)
		}
	}
	if refused == 0 {
		t.Error("nothing was refused")
	}
}

// Nodes that no map has: keys of half bytes, no key at all, too deep.
func TestBuildRefusesOddTrees(t *testing.T) {
	leaf := func(path ...byte) []byte { return encoded(&draft{path: pathOf(path...), has: true}) }
	over := make([]byte, maxNibbles)
	inner := encoded(&draft{path: pathOf(1), bitmap: 3, fresh: 3, replaced: 3, links: [16]*link{
		storedLink(HashNode(leaf(over...)), 0), storedLink(HashNode(leaf(2, 2)), 0),
	}})
	for name, nodes := range map[string][][]byte{
		"half a byte": {leaf(1)}, "no key": {leaf()}, "too deep": {leaf(over...), leaf(2, 2), inner},
		"two maps": {leaf(1, 1), leaf(2, 2)}, "no child": {inner}, "no node": {{}},
	} {
		if _, _, _, err := build(nodes, 1); !errors.Is(err, ErrBadStream) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, root, id, err := build(nil, 1); err != nil || root != EmptyRoot() || id != 0 {
		t.Errorf("the empty map: %x %d %v", root, id, err)
	}
	failing := errors.New("full")
	b := NewBuilder(1, func(NodeID, []byte) error { return failing })
	if err := b.Add(leaf(1, 1)); !errors.Is(err, failing) {
		t.Errorf("failed put: %v", err)
	}
}
