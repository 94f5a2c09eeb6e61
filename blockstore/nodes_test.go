package blockstore

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/baton-ha/baton/blockstore/merkle"
)

// In whatever order nodes are read, and whatever becomes of them meanwhile, Nodes has those that were there.
func TestNodes(t *testing.T) {
	l := newLedger(t, 30)
	s := mustOpen(t, vfs.NewMem())
	if err := l.run(t.Context(), s, func() {}); err != nil {
		t.Fatal(err)
	}
	c := mustCheckpoint(t, s)
	want := map[merkle.NodeID][]byte{}
	var ids []merkle.NodeID
	for id := merkle.NodeID(1); id < c.NextNode+3; id++ {
		enc, err := s.Node(id)
		if err != nil && !errors.Is(err, ErrNotFound) {
			t.Fatal(err)
		}
		want[id], ids = enc, append(ids, id)
	}
	n, err := s.Nodes()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}()
	for more := true; more; {
		if more, err = s.PruneState(1, c.Height); err != nil {
			t.Fatal(err)
		}
	}
	found := 0
	check := func(id merkle.NodeID) {
		t.Helper()
		enc, err := n.Node(id)
		if !bytes.Equal(enc, want[id]) || (err == nil) != (want[id] != nil) || err != nil && !errors.Is(err, ErrNotFound) {
			t.Fatalf("node %d: %x, %v, want %x", id, enc, err, want[id])
		}
		if enc != nil {
			found++
		}
	}
	for _, id := range ids {
		check(id)
	}
	rng := rand.New(rand.NewPCG(3, 3))
	for range 2000 {
		id := ids[rng.IntN(len(ids))]
		check(id)
		if rng.IntN(2) == 0 && int(id) < len(ids) {
			check(id + 1)
		}
	}
	if found < 100 {
		t.Errorf("%d nodes found", found)
	}
}
