package merkle

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
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
