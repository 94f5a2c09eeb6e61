package merkle

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// reachable returns the ids of a stored map's nodes.
func reachable(t *testing.T, m *Map) map[NodeID]bool {
	t.Helper()
	ids := map[NodeID]bool{}
	if err := m.EachNode(func(id NodeID) error {
		if ids[id] {
			t.Fatalf("node %d stands in two places", id)
		}
		ids[id] = true
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return ids
}

// kept is a checkpoint that must stay readable.
type kept struct {
	root  Hash
	id    NodeID
	want  map[string]string
	stale []NodeID
}

// Whatever a history does (forks that lose, sealed maps that are never saved, updates while a save is under way, empty
// states, reloads), the nodes that a checkpoint names stale are exactly those that it does not have and an earlier one
// did: with them deleted, all later checkpoints are whole and nothing else is left in the store.
func TestStaleIsExactlyWhatIsLeftOver(t *testing.T) {
	const keep = 3
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 7))
		store := newMemStore()
		opts := []Option{WithCacheBytes([]int64{0, 30000}[seed%2]), WithSeal(1+rng.IntN(6), 20000)}
		m, want := Empty(store, opts...), map[string]string{}
		var saved []kept
		var saving *Map // saved, but not marked yet
		var pending kept
		finish := func() {
			if saving == nil {
				return
			}
			saving.MarkStored()
			saving = nil
			saved = append(saved, pending)
			if len(saved) > keep {
				saved = saved[1:]
				for _, id := range saved[0].stale {
					if _, ok := store.nodes[id]; !ok {
						t.Fatalf("seed %d: node %d is stale twice", seed, id)
					}
					delete(store.nodes, id)
				}
			}
			checkKept(t, store, saved)
		}
		for range 150 {
			next, batch := randomStep(t, rng, m, want)
			if rng.IntN(5) == 0 { // a sibling of which nothing comes
				next, batch = randomStep(t, rng, m, want)
			}
			m, want = next, batch
			if rng.IntN(3) == 0 {
				finish()
			}
			if !m.Sealed() || saving != nil || rng.IntN(4) == 0 {
				continue
			}
			out, err := m.Save(store.next, func(id NodeID, rec []byte) error { store.nodes[id] = rec; return nil })
			if err != nil {
				t.Fatal(err)
			}
			store.next = out.Next
			saving, pending = m, kept{root: m.Root(), id: out.Root, want: maps.Clone(want), stale: out.Stale}
			if rng.IntN(8) == 0 { // a restart
				finish()
				if m, err = Load(store, m.Root(), out.Root, opts...); err != nil {
					t.Fatal(err)
				}
			}
		}
		finish()
		if len(saved) < keep {
			t.Fatalf("seed %d made only %d checkpoints", seed, len(saved))
		}
	}
}

// randomStep updates a map and its naive copy.
func randomStep(t *testing.T, rng *rand.Rand, m *Map, want map[string]string) (*Map, map[string]string) {
	t.Helper()
	want = maps.Clone(want)
	batch := map[string]Change{}
	for range 1 + rng.IntN(8) {
		k := randomKey(rng)
		batch[string(k)] = Change{Key: k, Value: fmt.Appendf(nil, "%d", rng.IntN(3)), Delete: rng.IntN(2) == 0}
	}
	if rng.IntN(30) == 0 { // all is deleted
		for k := range want {
			batch[k] = Change{Key: []byte(k), Delete: true}
		}
	}
	for k, c := range batch {
		if c.Delete {
			delete(want, k)
		} else {
			want[k] = string(c.Value)
		}
	}
	return mustUpdate(t, m, slices.Collect(maps.Values(batch))...), want
}

// checkKept reads all kept checkpoints as a restart would and compares what they hold, together, with what is stored.
func checkKept(t *testing.T, store *memStore, saved []kept) {
	t.Helper()
	all := map[NodeID]bool{}
	for _, k := range saved {
		m, err := Load(store, k.root, k.id, WithCacheBytes(0))
		if err != nil {
			t.Fatal(err)
		}
		maps.Copy(all, reachable(t, m))
		got := map[string]string{}
		if err := m.Range(nil, nil, func(key, v []byte) bool { got[string(key)] = string(v); return true }); err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(got, k.want) {
			t.Fatalf("a checkpoint holds %v, want %v", got, k.want)
		}
	}
	for id := range store.nodes {
		if !all[id] {
			t.Fatalf("node %d is stored and of no use to the %d checkpoints", id, len(saved))
		}
	}
}

// A save that failed half way changes nothing: the same map is saved again under other ids.
func TestSaveFailsAndIsRepeated(t *testing.T) {
	store := newMemStore()
	m, want := Empty(store, WithCacheBytes(0)), map[string]string{}
	rng := rand.New(rand.NewPCG(1, 8))
	for range 50 {
		m, want = randomStep(t, rng, m, want)
	}
	m = store.checkpoint(t, m)
	for range 50 {
		m, want = randomStep(t, rng, m, want)
	}
	m = m.Seal()
	for fail := 1; ; fail++ {
		n := 0
		out, err := m.Save(store.next+1000*NodeID(fail), func(id NodeID, rec []byte) error {
			if n++; n == fail {
				return errMissing
			}
			store.nodes[id] = rec
			return nil
		})
		if err == nil {
			m.MarkStored()
			again, err := Load(store, m.Root(), out.Root, WithCacheBytes(0))
			if err != nil {
				t.Fatal(err)
			}
			check(t, rng, again, want)
			return
		}
		if !errors.Is(err, errMissing) {
			t.Fatal(err)
		}
		check(t, rng, m, want)
	}
}

func TestSealPolicy(t *testing.T) {
	m := Empty(nil, WithSeal(3, 0))
	for i := range 9 {
		m = mustUpdate(t, m, Change{Key: []byte("k"), Value: fmt.Append(nil, i)})
		if m.Sealed() != (i%3 == 2) {
			t.Errorf("after update %d: sealed %t", i+1, m.Sealed())
		}
	}
	m = Empty(nil, WithSeal(0, 10_000))
	i := 0
	for ; !m.Sealed(); i++ {
		if m.NewBytes() >= 10_000 {
			t.Fatalf("not sealed with %d new bytes", m.NewBytes())
		}
		m = mustUpdate(t, m, Change{Key: fmt.Appendf(nil, "%d", i), Value: make([]byte, 1000)})
	}
	if i < 5 || i > 10 {
		t.Errorf("sealed after %d values of 1000 bytes", i)
	}
	for range 100 { // the same node over and over: it takes no more memory
		m = mustUpdate(t, m, Change{Key: []byte("0"), Value: fmt.Append(nil, i)})
		i++
	}
	if m.NewBytes() > 10_000 {
		t.Errorf("%d new bytes for one path", m.NewBytes())
	}
}
