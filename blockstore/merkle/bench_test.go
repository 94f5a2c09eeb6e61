package merkle

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
)

// benchMap returns a stored map of n accounts with 32-byte random keys.
func benchMap(b *testing.B, n int) (*Map, [][]byte) {
	b.Helper()
	rng := rand.New(rand.NewPCG(1, 1))
	keys := make([][]byte, n)
	changes := make([]Change, n)
	for i := range keys {
		keys[i] = make([]byte, 32)
		for j := 0; j < 32; j += 8 {
			binary.BigEndian.PutUint64(keys[i][j:], rng.Uint64())
		}
		changes[i] = Change{Key: keys[i], Value: fmt.Appendf(nil, "balance %d", i)}
	}
	store := newMemStore()
	m := mustUpdate(b, Empty(store), changes...)
	m = store.checkpoint(b, m)
	return m, keys
}

// One operation is one block: a batch of changes and its root.
func BenchmarkUpdateRoot(b *testing.B) {
	for _, batch := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			m, keys := benchMap(b, 100_000)
			rng := rand.New(rand.NewPCG(2, 2))
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				seen := map[int]bool{}
				changes := make([]Change, 0, batch)
				for len(changes) < batch {
					k := rng.IntN(len(keys))
					if seen[k] {
						continue
					}
					seen[k] = true
					changes = append(changes, Change{Key: keys[k], Value: fmt.Appendf(nil, "changed %d", i)})
				}
				i++
				m = mustUpdate(b, m, changes...)
				m.Root()
			}
			b.ReportMetric(float64(batch)*float64(b.N)/b.Elapsed().Seconds(), "keys/s")
		})
	}
}

// One operation is one block of transfers: 500 accounts are read, then changed. Every 100 blocks a checkpoint lets go of what
// is new, without being counted. All stored nodes fit into the cache.
func BenchmarkBlock(b *testing.B) {
	const batch = 500
	for _, n := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			store := newMemStore()
			m := Empty(store, WithCacheBytes(256<<20))
			key := func(i int) []byte {
				rng := rand.NewPCG(uint64(i), 9)
				k := make([]byte, 0, 32)
				for range 4 {
					k = binary.BigEndian.AppendUint64(k, rng.Uint64())
				}
				return k
			}
			for from := 0; from < n; from += 10_000 {
				changes := make([]Change, 0, 10_000)
				for i := from; i < from+10_000; i++ {
					changes = append(changes, Change{Key: key(i), Value: fmt.Appendf(nil, "balance %032d", i)})
				}
				m = mustUpdate(b, m, changes...)
			}
			m = store.checkpoint(b, m)
			rng := rand.New(rand.NewPCG(2, 2))
			b.ReportAllocs()
			blocks, cpu := 0, 0.0
			for b.Loop() {
				b.StopTimer()
				if blocks++; blocks%100 == 0 {
					m = m.Seal()
					_, stale := store.save(b, m)
					for _, id := range stale {
						delete(store.nodes, id)
					}
				}
				seen := map[int]bool{}
				changes := make([]Change, 0, batch)
				for len(changes) < batch {
					i := rng.IntN(n)
					if seen[i] {
						continue
					}
					seen[i] = true
					changes = append(changes, Change{Key: key(i), Value: fmt.Appendf(nil, "changed %032d", blocks)})
				}
				b.StartTimer()
				cpu -= cpuNanos(b)
				for _, c := range changes {
					if _, ok, err := m.Get(c.Key); !ok || err != nil {
						b.Fatal(ok, err)
					}
				}
				m = mustUpdate(b, m, changes...)
				cpu += cpuNanos(b)
			}
			b.ReportMetric(cpu/batch/float64(b.N), "cpu-ns/key")
		})
	}
}

// cpuNanos is what this process has used, of all its threads: on a busy machine it says more than the time does.
func cpuNanos(b *testing.B) float64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkGet(b *testing.B) {
	m, keys := benchMap(b, 100_000)
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		if _, ok, err := m.Get(keys[i%len(keys)]); !ok || err != nil {
			b.Fatal(ok, err)
		}
		i++
	}
}
