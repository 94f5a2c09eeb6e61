package merkle

import (
	"errors"
	"fmt"
	"testing"
)

// After Warm nothing needs to be read any more, or, where not all fits, only what is deep down: the cache is full, and has
// all of the topmost levels.
func TestWarm(t *testing.T) {
	store := newMemStore()
	m, keys := Empty(store, WithCacheBytes(0)), [][]byte(nil)
	for i := range 5000 {
		keys = append(keys, fmt.Appendf(nil, "%016x", uint64(i)*0x9e3779b97f4a7c15))
		m = mustUpdate(t, m, Change{Key: keys[i], Value: make([]byte, 50)})
	}
	m = store.checkpoint(t, m)
	root, id := m.Root(), store.root
	reads := func(m *Map) int {
		store.reads = 0
		for _, k := range keys {
			if _, ok, err := m.Get(k); err != nil || !ok {
				t.Fatal(ok, err)
			}
		}
		return store.reads
	}
	for _, c := range []struct {
		cacheBytes int64
		most       int // reads for all keys
	}{{8 << 20, 0}, {700 << 10, 2 * 5000}, {0, 1 << 30}} {
		m, err := Load(store, root, id, WithCacheBytes(c.cacheBytes))
		if err != nil {
			t.Fatal(err)
		}
		store.reads = 0
		paces := 0
		if err := m.Warm(func() error { paces++; return nil }); err != nil {
			t.Fatal(err)
		}
		once, full := store.reads, m.CachedBytes()
		if c.cacheBytes > 0 && paces == 0 || once > 2*len(store.nodes) || full > c.cacheBytes {
			t.Errorf("cache of %d bytes: %d reads, paced %d times, %d bytes", c.cacheBytes, once, paces, full)
		}
		if n := reads(m); n > c.most {
			t.Errorf("cache of %d bytes: %d reads for %d keys", c.cacheBytes, n, len(keys))
		}
		if c.cacheBytes == 700<<10 && (full < c.cacheBytes*3/4 || once > len(store.nodes)*9/10) {
			t.Errorf("a cache of %d bytes does not test a full one: %d reads of %d", c.cacheBytes, once, len(store.nodes))
		}
	}
	m, err := Load(store, root, id)
	if err != nil {
		t.Fatal(err)
	}
	stop := errors.New("stop")
	store.reads = 0
	if err := m.Warm(func() error { return stop }); !errors.Is(err, stop) || store.reads > 3*warmStep {
		t.Errorf("%v after %d reads", err, store.reads)
	}
	if err := Empty(nil).Warm(nil); err != nil {
		t.Error(err)
	}
}
