package sync

import (
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/node/internal/storetest"
)

// BenchmarkTransfer moves a state of 50,000 accounts between two stores in one process, over loopback.
func BenchmarkTransfer(b *testing.B) {
	w := newWorld(b, 1)
	w.add(accounts(50_000, 1, 0), 0)
	server := w.server(0)
	peer := w.peer("a", server)
	var bytes, nodes uint64
	for b.Loop() {
		b.StopTimer()
		s, err := blockstore.Open(blockstore.Options{
			Dir: filepath.Join(b.TempDir(), "data"), FS: vfs.Default, Logger: zerolog.Nop(),
		})
		if err != nil {
			b.Fatal(err)
		}
		storetest.Write(b, s, blockstore.Batch{Append: w.blocks[:1]})
		c := NewClient(w.config(peer))
		o, err := c.Newest(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if _, err := bring(b.Context(), c, s, o); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		bytes += c.Progress().Bytes
		nodes += c.Progress().Nodes
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(nodes), "ns/node")
	b.SetBytes(int64(bytes) / int64(b.N)) //nolint:gosec // it is small
}
