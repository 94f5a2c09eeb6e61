package blockstore

import (
	"sync"
	"time"
)

// Stats are counters since Open, for metrics.
type Stats struct {
	// Batches were enqueued and written, in Groups; Syncs of the groups ended in an fsync.
	Batches, Groups, Syncs uint64
	// LogSyncs are those of the log, which follow behind and which nobody waits for.
	LogSyncs uint64
	// Bytes went to the log, before compression and framing.
	Bytes uint64
	// LastSync and TotalSync are how long groups waited for their fsync.
	LastSync, TotalSync time.Duration
	// SyncBuckets[i] counts the waits of at most SyncBounds()[i]; longer ones are only in Syncs. Cumulative, as
	// Prometheus wants it.
	SyncBuckets []uint64
	// Queued batches wait for the writer now.
	Queued int
}

// SyncBounds returns the upper bounds of Stats.SyncBuckets: 128 µs, doubling up to about 8 s.
func SyncBounds() []time.Duration {
	bounds := make([]time.Duration, 17)
	for i := range bounds {
		bounds[i] = 128 * time.Microsecond << i
	}
	return bounds
}

// stats is the counting side.
type stats struct {
	mu     sync.Mutex
	counts Stats
}

func (s *stats) record(g *group, bytes int, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.counts
	c.Batches += uint64(g.batches)
	c.Groups++
	c.Bytes += uint64(bytes)
	if !g.sync {
		return
	}
	c.Syncs++
	c.LastSync = wait
	c.TotalSync += wait
	bounds := SyncBounds()
	if c.SyncBuckets == nil {
		c.SyncBuckets = make([]uint64, len(bounds))
	}
	for i, bound := range bounds {
		if wait <= bound {
			c.SyncBuckets[i]++
		}
	}
}

// Stats returns the counters.
func (s *Store) Stats() Stats {
	s.stats.mu.Lock()
	out := s.stats.counts
	out.SyncBuckets = make([]uint64, len(SyncBounds()))
	copy(out.SyncBuckets, s.stats.counts.SyncBuckets)
	s.stats.mu.Unlock()
	out.LogSyncs = s.log.count()
	s.mu.Lock()
	out.Queued = len(s.queue)
	s.mu.Unlock()
	return out
}
