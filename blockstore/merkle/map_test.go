package merkle

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
)

// memStore is a NodeStore in memory that counts reads.
type memStore struct {
	mu    sync.Mutex
	nodes map[NodeID][]byte
	next  NodeID
	root  NodeID // of the last checkpoint
	reads int
}

var errMissing = errors.New("no such node")

func newMemStore() *memStore { return &memStore{nodes: make(map[NodeID][]byte), next: 1} }

func (s *memStore) Node(id NodeID) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	enc, ok := s.nodes[id]
	if !ok {
		return nil, errMissing
	}
	return enc, nil
}

// save saves a map and returns how many nodes were new and which are stale.
func (s *memStore) save(tb testing.TB, m *Map) (count int, stale []NodeID) {
	tb.Helper()
	saved, err := m.Save(s.next, func(id NodeID, rec []byte) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if _, ok := s.nodes[id]; ok || id != s.next {
			tb.Fatalf("node %d is given out after %d", id, s.next-1)
		}
		s.nodes[id] = rec
		s.next++
		count++
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	if saved.Next != s.next {
		tb.Fatalf("next id %d, given out up to %d", saved.Next, s.next)
	}
	s.root = saved.Root
	m.MarkStored()
	return count, saved.Stale
}

// checkpoint saves a map, sealed, and returns the one to go on with.
func (s *memStore) checkpoint(tb testing.TB, m *Map) *Map {
	tb.Helper()
	m = m.Seal()
	s.save(tb, m)
	return m
}

// randomKey draws from a small set in which many keys are prefixes of others.
func randomKey(rng *rand.Rand) []byte {
	key := make([]byte, 1+rng.IntN(4))
	for i := range key {
		key[i] = "\x00\x01\x10\x11\xff"[rng.IntN(5)]
	}
	return key
}

func mustUpdate(tb testing.TB, m *Map, changes ...Change) *Map {
	tb.Helper()
	next, err := m.Update(changes)
	if err != nil {
		tb.Fatal(err)
	}
	return next
}

// check compares a map with the naive one: each key, absent keys, a random range and the canonical root.
func check(t *testing.T, rng *rand.Rand, m *Map, want map[string]string) {
	t.Helper()
	for k, v := range want {
		if got, ok, err := m.Get([]byte(k)); err != nil || !ok || string(got) != v {
			t.Fatalf("Get(%x) = %x %v %v, want %x", k, got, ok, err, v)
		}
	}
	for range 20 {
		k := randomKey(rng)
		_, ok, err := m.Get(k)
		if _, wantOK := want[string(k)]; err != nil || ok != wantOK {
			t.Fatalf("Get(%x) = %v %v, want %v", k, ok, err, wantOK)
		}
	}
	var from, to []byte
	if rng.IntN(4) > 0 {
		from = randomKey(rng)
	}
	if rng.IntN(4) > 0 {
		to = randomKey(rng)
	}
	var got, expect []string
	if err := m.Range(from, to, func(k, v []byte) bool {
		got = append(got, string(k)+"="+string(v))
		return true
	}); err != nil {
		t.Fatal(err)
	}
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if k >= string(from) && (to == nil || k < string(to)) {
			expect = append(expect, k+"="+want[k])
		}
	}
	if !slices.Equal(got, expect) {
		t.Fatalf("Range(%x, %x) = %q, want %q", from, to, got, expect)
	}
	var all []Change
	for k, v := range want { // map order: a random permutation
		all = append(all, Change{Key: []byte(k), Value: []byte(v)})
	}
	if fresh := mustUpdate(t, Empty(nil), all...); fresh.Root() != m.Root() {
		t.Fatalf("root %x, built afresh %x", m.Root(), fresh.Root())
	}
}

// A long random history with checkpoints, reloads and a cache of any size never differs from a plain map, and its root
// is that of the same entries inserted at once.
func TestAgainstNaiveMap(t *testing.T) {
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 1))
		store := newMemStore()
		cache := WithCacheBytes([]int64{0, 20000, 1 << 20}[seed%3])
		m, want := Empty(store, cache), map[string]string{}
		for range 60 {
			batch := map[string]Change{}
			for range 1 + rng.IntN(12) {
				k := randomKey(rng)
				c := Change{Key: k, Value: fmt.Appendf(nil, "%d", rng.IntN(3)), Delete: rng.IntN(3) == 0}
				batch[string(k)] = c
			}
			changes := slices.Collect(maps.Values(batch))
			before, beforeWant := m, maps.Clone(want)
			m = mustUpdate(t, m, changes...)
			for k, c := range batch {
				if c.Delete {
					delete(want, k)
				} else {
					want[k] = string(c.Value)
				}
			}
			check(t, rng, m, want)
			switch rng.IntN(6) {
			case 0:
				m = store.checkpoint(t, m)
				if n, stale := store.save(t, m); n != 0 || len(stale) != 0 {
					t.Fatalf("%d nodes are new and %d stale right after a checkpoint", n, len(stale))
				}
			case 1:
				store.checkpoint(t, m)
				var err error
				if m, err = Load(store, m.Root(), store.root, cache); err != nil {
					t.Fatal(err)
				}
			}
			check(t, rng, m, want)
			check(t, rng, before, beforeWant) // the old version stays what it was
		}
	}
}

func TestDeleteRestoresRoot(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	m := Empty(nil)
	var roots []Hash
	var keys [][]byte
	for i := range 300 {
		key := fmt.Appendf(randomKey(rng), "%d", i)
		roots, keys = append(roots, m.Root()), append(keys, key)
		m = mustUpdate(t, m, Change{Key: key, Value: []byte("v")})
	}
	for i, key := range slices.Backward(keys) {
		m = mustUpdate(t, m, Change{Key: key, Delete: true})
		if m.Root() != roots[i] {
			t.Fatalf("deleting key %d did not bring its root back", i)
		}
	}
	if m.Root() != EmptyRoot() {
		t.Fatal("not empty at the end")
	}
}

// What changes nothing gives the very same map, so that a checkpoint has nothing to write.
func TestNoChange(t *testing.T) {
	m := mustUpdate(t, Empty(nil), Change{Key: []byte("abc"), Value: []byte("1")}, Change{Key: []byte("abd"), Value: nil})
	for _, c := range []Change{
		{Key: []byte("abc"), Value: []byte("1")},
		{Key: []byte("abd"), Value: []byte{}},
		{Key: []byte("a"), Delete: true},
		{Key: []byte("abcd"), Delete: true},
		{Key: []byte("zzz"), Delete: true},
	} {
		if mustUpdate(t, m, c) != m {
			t.Errorf("%+v made a new map", c)
		}
	}
	if e := Empty(nil); mustUpdate(t, e, Change{Key: []byte("a"), Delete: true}) != e {
		t.Error("delete in an empty map made a new map")
	}
}

func TestBounds(t *testing.T) {
	m := Empty(nil)
	long := bytes.Repeat([]byte{0xab}, MaxKeyBytes)
	for name, c := range map[string]struct {
		changes []Change
		want    error
	}{
		"empty key":  {[]Change{{Value: []byte("x")}}, ErrKeySize},
		"long key":   {[]Change{{Key: append(slices.Clone(long), 1)}}, ErrKeySize},
		"long value": {[]Change{{Key: []byte("k"), Value: make([]byte, MaxValueBytes+1)}}, ErrValueSize},
		"twice":      {[]Change{{Key: []byte("k")}, {Key: []byte("l")}, {Key: []byte("k"), Delete: true}}, ErrDuplicateKey},
	} {
		if _, err := m.Update(c.changes); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	store := newMemStore()
	m = mustUpdate(t, Empty(store, WithCacheBytes(0)), Change{Key: long, Value: make([]byte, MaxValueBytes)},
		Change{Key: long[:MaxKeyBytes-1], Value: []byte("parent")})
	m = store.checkpoint(t, m)
	if v, ok, err := m.Get(long); err != nil || !ok || len(v) != MaxValueBytes {
		t.Errorf("the greatest entry came back as %d bytes, %v, %v", len(v), ok, err)
	}
	if _, ok, err := m.Get(append(slices.Clone(long), 1)); ok || err != nil {
		t.Errorf("too long a key: %v %v", ok, err)
	}
}

// Callers may reuse what they passed in.
func TestCopies(t *testing.T) {
	k, v := []byte("key"), []byte("value")
	m := mustUpdate(t, Empty(nil), Change{Key: k, Value: v})
	k[0], v[0] = 'x', 'x'
	if got, ok, err := m.Get([]byte("key")); err != nil || !ok || string(got) != "value" {
		t.Fatalf("%s %v %v", got, ok, err)
	}
}

// The constants hold the layout in place for ever: when this test fails, the code is wrong, not the test.
func TestGoldenRoots(t *testing.T) {
	small := mustUpdate(t, Empty(nil),
		Change{Key: []byte("a"), Value: []byte("1")}, Change{Key: []byte("ab"), Value: []byte("2")},
		Change{Key: []byte("ac"), Value: nil}, Change{Key: []byte{0xff, 0x00}, Value: []byte("4")})
	large := Empty(nil)
	for i := range 1000 {
		large = mustUpdate(t, large, Change{Key: fmt.Appendf(nil, "account/%d", i), Value: fmt.Appendf(nil, "%d", i*i)})
	}
	one := mustUpdate(t, Empty(nil), Change{Key: []byte("key"), Value: []byte("value")})
	for _, c := range []struct {
		name string
		root Hash
		want string
	}{
		{"empty", Empty(nil).Root(), "a88398e91f2621fa363995e4ce7ac39255a8aea8a2471ea5ddfb5d5680efcadd"},
		{"one", one.Root(), "99397745d24929844e48e88a664f946d19bc26071d0d765b773ebfabc81a96f2"},
		{"small", small.Root(), "fa56f59248203277832869bd8c151533cabe6d8fecfc7e05e329a575b9ebaa50"},
		{"large", large.Root(), "d894e13943d1a568311b420373c5aca9c632e1cb64b75f48fa04882897c250b8"},
	} {
		if got := fmt.Sprintf("%x", c.root); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

func TestCorruptionIsNoticed(t *testing.T) {
	store := newMemStore()
	m := Empty(store, WithCacheBytes(0))
	for i := range 100 {
		m = mustUpdate(t, m, Change{Key: fmt.Appendf(nil, "k%d", i), Value: []byte("v")})
	}
	m = store.checkpoint(t, m)
	root := m.Root()
	for id, enc := range maps.Clone(store.nodes) {
		bad := slices.Clone(enc)
		bad[int(id)%len(bad)] ^= 1
		store.nodes[id] = bad
		var damage *CorruptionError
		err := m.Range(nil, nil, func(_, _ []byte) bool { return true })
		if !errors.As(err, &damage) && !errors.Is(err, errMissing) || !strings.Contains(err.Error(), "node") {
			t.Fatalf("damaged node %d: %v", id, err) // a changed id of a child leads nowhere, or to a node with another hash
		}
		if _, err := Load(store, root, store.root); id == store.root && int(id)%len(bad) < 3 && !errors.As(err, &damage) {
			t.Fatalf("damaged root: %v", err)
		}
		delete(store.nodes, id)
		if err := m.Range(nil, nil, func(_, _ []byte) bool { return true }); !errors.Is(err, errMissing) {
			t.Fatalf("missing node: %v", err)
		}
		store.nodes[id] = enc
	}
}

// A node with the right hash in an impossible place is refused: the hash proves who wrote it, not that it fits.
func TestMisplacedNode(t *testing.T) {
	for name, n := range map[string]*draft{
		"odd depth": {path: pathOf(1), has: true},
		"empty key": {has: true},
	} {
		store := newMemStore()
		store.nodes[1] = encoded(n)
		var damage *CorruptionError
		if _, err := Load(store, HashNode(store.nodes[1]), 1); !errors.As(err, &damage) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An update of one key in a large stored map reads and writes one path.
func TestTouchesOnePath(t *testing.T) {
	store := newMemStore()
	m := Empty(store, WithCacheBytes(0))
	var changes []Change
	for i := range 5000 {
		changes = append(changes, Change{Key: fmt.Appendf(nil, "%05d", i*7), Value: []byte("v")})
	}
	m = mustUpdate(t, m, changes...)
	m = store.checkpoint(t, m)
	store.reads = 0
	next := mustUpdate(t, m, Change{Key: []byte("00777"), Value: []byte("w")})
	if store.reads == 0 || store.reads > 11 {
		t.Errorf("%d nodes read for one key", store.reads)
	}
	if n, stale := store.save(t, next.Seal()); n > 11 || len(stale) != n {
		t.Errorf("%d nodes written for one key, %d stale", n, len(stale))
	}
}

// Readers of all versions, Root, checkpoints and the writer at the same time.
func TestConcurrency(t *testing.T) {
	store := newMemStore()
	m := Empty(store, WithCacheBytes(10000))
	var wg sync.WaitGroup
	versions := make(chan *Map, 200)
	checkpoints := make(chan *Map, 200)
	for range 3 {
		wg.Go(func() {
			for v := range versions {
				root, count := v.Root(), 0
				if err := v.Range(nil, nil, func(_, _ []byte) bool { count++; return true }); err != nil {
					t.Error(err)
				}
				if root != v.Root() || count == 0 {
					t.Error("a version changed")
				}
			}
		})
	}
	wg.Go(func() {
		for v := range checkpoints {
			store.save(t, v)
		}
	})
	rng := rand.New(rand.NewPCG(9, 9))
	for i := range 200 {
		m = mustUpdate(t, m, Change{Key: randomKey(rng), Value: fmt.Appendf(nil, "%d", i)},
			Change{Key: fmt.Appendf(nil, "new%d", i), Value: []byte("x")})
		if i%5 == 0 {
			m = m.Seal()
			checkpoints <- m
		}
		versions <- m
	}
	close(versions)
	close(checkpoints)
	wg.Wait()
	store.checkpoint(t, m)
	if _, err := Load(store, m.Root(), store.root); err != nil {
		t.Fatal(err)
	}
}
