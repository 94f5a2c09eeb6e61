package merkle

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"unsafe"
)

// cached is what the cache is to have for an id.
func cached(id NodeID, size int) []byte {
	return bytes.Repeat(binary.BigEndian.AppendUint64(nil, uint64(id)), size/8+1)[:size]
}

// checkShards counts what the shards hold, and compares it with what they say and may hold.
func checkShards(t *testing.T, c *cache) {
	t.Helper()
	for i := range c.shards {
		s := &c.shards[i]
		var sum int64
		found := 0
		for _, q := range []*queue{&s.probe, &s.main} {
			var inQueue int64
			for n, seg := range q.segments {
				inQueue += int64(cap(seg.content) + segmentHeadBytes)
				for at := 0; at < len(seg.content); {
					id := NodeID(binary.BigEndian.Uint64(seg.content[at:]))
					if have := s.index.get(id); have != nil && have.place.segment == q.first+uint32(n) && have.place.offset() == at &&
						s.segmentOf(have.place) == seg {
						found++
					}
					at += entryHeadBytes + len(seg.entry(at))
				}
			}
			if inQueue != q.bytes {
				t.Fatalf("shard %d: a queue has %d bytes and counts %d", i, inQueue, q.bytes)
			}
			sum += inQueue
		}
		if sum += int64(len(s.index.slots) * int(unsafe.Sizeof(slot{}))); sum != s.bytes() || sum > s.limit || found != s.index.used {
			t.Fatalf("shard %d holds %d bytes, counts %d of %d; %d entries, %d in the index", i, sum, s.bytes(), s.limit, found, s.index.used)
		}
	}
}

// Whatever is put, used and forgotten: the cache stays within its bytes, counts right and never gives out other bytes.
func TestCacheIsBounded(t *testing.T) {
	for _, limit := range []int64{0, 100, 2000, 30_000, 1 << 20} {
		c, rng := newCache(cacheShards*limit), rand.New(rand.NewPCG(uint64(limit), 1))
		forgotten := map[NodeID]bool{}
		held := map[NodeID][]byte{}
		for i := range 8000 {
			id := NodeID(1 + rng.IntN(5000))
			size := int(id) % 700
			if rng.IntN(50) == 0 {
				id, size = id+10_000, 3000
			}
			switch rng.IntN(8) {
			case 0:
				c.forget(id)
				forgotten[id] = true
			case 1, 2, 3:
				c.put(id, cached(id, size), rng.IntN(2) == 0)
				delete(forgotten, id)
			default:
				got := c.get(id)
				if got != nil && (forgotten[id] || !bytes.Equal(got, cached(id, size))) {
					t.Fatalf("limit %d: node %d comes back as %d bytes, forgotten %t", limit, id, len(got), forgotten[id])
				}
				if got != nil && rng.IntN(20) == 0 {
					held[id] = got
				}
			}
			if i%2000 == 0 {
				checkShards(t, c)
			}
		}
		checkShards(t, c)
		for id, got := range held {
			if !bytes.Equal(got, cached(id, len(got))) {
				t.Fatalf("limit %d: the bytes of node %d changed in somebody's hands", limit, id)
			}
		}
		if full := c.bytes(); limit >= 2000 && limit < 1<<20 && full < cacheShards*limit/2 || full > cacheShards*limit {
			t.Errorf("limit %d: %d bytes in use", cacheShards*limit, full)
		}
	}
}

// The index is a map: whatever is set and deleted, it has what a map has, with ids that collide and with ids in a row.
func TestIndexAgainstMap(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 5))
		var x index
		want := map[NodeID]place{}
		ids := 1 + rng.IntN(400)
		for i := range 4000 {
			id := NodeID(1+rng.IntN(ids)) * cacheShards
			_, there := want[id]
			switch {
			case there && rng.IntN(3) > 0:
				x.del(id)
				delete(want, id)
			case !there:
				want[id] = place{segment: uint32(i), at: uint32(id)}
				x.set(id, want[id])
			}
			probe := NodeID(1+rng.IntN(ids)) * cacheShards
			have := x.get(probe)
			if p, ok := want[probe]; ok != (have != nil) || ok && have.place != p {
				t.Fatalf("seed %d: id %d is %v, want %v", seed, probe, have, p)
			}
		}
		for id, p := range want {
			if have := x.get(id); have == nil || have.place != p {
				t.Fatalf("seed %d: id %d is %v, want %v", seed, id, have, p)
			}
		}
		if x.used != len(want) || x.get(0) != nil {
			t.Fatalf("seed %d: %d entries, want %d", seed, x.used, len(want))
		}
	}
}

// What is in use stays: a walk over ten times as many nodes as there is room for, each read once, leaves what a
// checkpoint wrote where it is; and with checkpoints that take its place, what is used goes on having one.
func TestCacheKeepsWhatIsUsed(t *testing.T) {
	const size, hot = 100, 200
	c := newCache(1 << 20)
	room := (1 << 20) / (size + entryHeadBytes + 2*slotBytes)
	for id := 1; id <= hot; id++ {
		c.put(NodeID(id), cached(NodeID(id), size), true)
	}
	next := hot
	walk := func(fresh bool) {
		for range 10 * room {
			next++
			c.put(NodeID(next), cached(NodeID(next), size), fresh)
			if id := NodeID(1 + next%hot); next%10 == 0 || fresh {
				c.get(id)
			}
		}
	}
	for _, fresh := range []bool{false, true} {
		walk(fresh)
		for id := 1; id <= hot; id++ {
			if c.get(NodeID(id)) == nil {
				t.Fatalf("fresh %t: node %d, used all the time, is gone", fresh, id)
			}
		}
		checkShards(t, c)
	}
	for id := hot + 1; id < hot+100; id++ {
		if c.get(NodeID(id)) != nil {
			t.Fatalf("node %d, never used, is still there after %d others", id, next)
		}
	}
}

// The memory of a map whose state is many times as large as its cache is bounded by the cache: after each checkpoint
// nothing else is left, and while there is something new it is what NewBytes says.
func TestMemoryIsBoundedWithAStateLargerThanTheCache(t *testing.T) {
	const cacheBytes, seal = 256 << 10, 128 << 10
	store := newMemStore()
	m := Empty(store, WithCacheBytes(cacheBytes), WithSeal(0, seal))
	rng := rand.New(rand.NewPCG(6, 6))
	const accounts = 12_000
	key := func(i int) []byte { return fmt.Appendf(nil, "account %016x", uint64(i)*0x9e3779b97f4a7c15) }
	stateBytes, held := 0, int64(0)
	for i := 0; i < 2*accounts; {
		var changes []Change
		for range 50 {
			n := i
			if i >= accounts {
				n = rng.IntN(accounts)
			}
			c := Change{Key: key(n), Value: fmt.Appendf(nil, "%0100d", i)}
			i++
			if len(changes) == 0 || !bytes.Equal(changes[len(changes)-1].Key, c.Key) {
				changes = append(changes, c)
			}
		}
		next, err := m.Update(changes)
		if err != nil {
			continue // a key was drawn twice
		}
		m = next
		m.Root()
		if m.NewBytes() > seal+50*10_000 {
			t.Fatalf("%d bytes are new, and the map is not sealed", m.NewBytes())
		}
		if i%500 == 0 || m.Sealed() {
			if fresh := newNodes(m.root); int64(fresh) > m.NewBytes() {
				t.Fatalf("%d bytes of new nodes are in memory, NewBytes says %d", fresh, m.NewBytes())
			}
		}
		if m.Sealed() {
			_, stale := store.save(t, m)
			for _, id := range stale {
				delete(store.nodes, id)
			}
			if n := newNodes(m.root); n != 0 {
				t.Fatalf("%d bytes of new nodes are in memory after a checkpoint", n)
			}
		}
		held = max(held, m.CachedBytes())
		if m.CachedBytes() > cacheBytes {
			t.Fatalf("the cache takes %d bytes of %d", m.CachedBytes(), cacheBytes)
		}
	}
	for _, rec := range store.nodes {
		stateBytes += len(rec)
	}
	if stateBytes < 8*cacheBytes || held < cacheBytes*3/4 {
		t.Fatalf("a state of %d bytes and %d in the cache of %d do not test this", stateBytes, held, cacheBytes)
	}
}

// newNodes counts the memory that hangs on a link: bytes that are there for sure.
func newNodes(l *link) int {
	n := l.node.Load()
	if n == nil {
		return 0
	}
	sum := int(unsafe.Sizeof(*l)+unsafe.Sizeof(*n)) + len(n.bytes) + 8*cap(n.links)
	for _, k := range n.links {
		sum += newNodes(k)
	}
	return sum
}
