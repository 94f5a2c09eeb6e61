package blockstore

import (
	"fmt"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/baton-ha/baton/blockstore/block"
)

// benchChild makes a block of ten unsigned transactions: signing them would take longer than an fsync.
func benchChild(parent *block.Block) *block.Block {
	h := parent.Header
	h.Parent, h.Height = parent.Hash(), h.Height+1
	txs := make([]*block.Tx, 10)
	for i := range txs {
		txs[i] = &block.Tx{Payload: fmt.Appendf(nil, "%0200d/%d", h.Height, i)}
	}
	return block.New(h, txs)
}

// Blocks of ten transactions on a real disk, with so many batches in flight as the name says. The metrics show how
// many batches share an fsync.
func BenchmarkEnqueue(b *testing.B) {
	for _, inFlight := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("inflight=%d", inFlight), func(b *testing.B) {
			o := testOptions(vfs.Default)
			o.Dir = b.TempDir()
			s, err := Open(o)
			if err != nil {
				b.Fatal(err)
			}
			tip := genesis()
			write(b, s, Batch{Append: []*block.Block{tip}})
			before := s.Stats()
			slots := make(chan struct{}, inFlight)
			var wg sync.WaitGroup
			b.ReportAllocs()
			for b.Loop() {
				tip = benchChild(tip)
				slots <- struct{}{}
				wg.Add(1)
				s.Enqueue(Batch{Append: []*block.Block{tip}}, func(err error) {
					defer wg.Done()
					if err != nil {
						b.Error(err)
					}
					<-slots
				})
			}
			wg.Wait()
			after := s.Stats()
			b.ReportMetric(float64(after.Batches-before.Batches)/float64(after.Syncs-before.Syncs), "batches/fsync")
			b.ReportMetric((after.TotalSync-before.TotalSync).Seconds()*1e3/float64(after.Syncs-before.Syncs), "ms/fsync")
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

func BenchmarkReadUncached(b *testing.B) {
	o := testOptions(vfs.Default)
	o.Dir, o.CacheBytes = b.TempDir(), 1<<20
	s, err := Open(o)
	if err != nil {
		b.Fatal(err)
	}
	blocks := []*block.Block{genesis()}
	for i := range 1000 {
		blocks = append(blocks, benchChild(blocks[i]))
	}
	write(b, s, Batch{Append: blocks})
	s.recent.update(new(block.Height(0)), 1000, nil)
	i := 0
	for b.Loop() {
		if _, err := s.Block(block.Height(i % 1000)); err != nil {
			b.Fatal(err)
		}
		i += 7
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}
