package blockstore

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// maxGroupBytes is where a group takes no further batch. It keeps a group's memory bounded and its log record below
// Pebble's threshold for large batches, unless a single batch is over it.
const maxGroupBytes = 8 << 20

// write is the writer goroutine: it takes all that is queued, makes groups of it, has each committed with at most one
// fsync, publishes the result and answers, all in order.
func (s *Store) write() {
	defer close(s.writerDone)
	defer close(s.commits)
	for range s.wake {
		s.mu.Lock()
		items, closing := s.queue, s.closing
		s.queue = nil
		s.mu.Unlock()
		for len(items) > 0 {
			items = items[s.writeGroup(items):]
		}
		if closing { // nothing is queued after that
			return
		}
	}
}

// writeGroup writes and answers as many items from the front as one group takes, and returns their number.
func (s *Store) writeGroup(items []item) int {
	n, err := 0, s.failure()
	if err != nil {
		n = len(items)
	} else {
		g := s.newGroup()
		for n < len(items) && (n == 0 || g.pb.Len() < maxGroupBytes) && err == nil {
			err = g.add(items[n].batch)
			n++
		}
		if err != nil {
			s.fail(err)
			err = s.failure()
		} else {
			err = s.commit(g)
		}
	}
	for _, it := range items[:n] {
		it.done(err)
	}
	return n
}

// commit has a group committed and publishes it. A commit that hangs in a failed file system is given up.
func (s *Store) commit(g *group) error {
	if g.sync && g.pb.Empty() { // a barrier: Pebble would not sync for it
		if err := g.pb.LogData([]byte("sync"), nil); err != nil {
			s.fail(err)
			return s.failure()
		}
	}
	bytes := g.pb.Len()
	s.commits <- g
	select {
	case err := <-s.results:
		if err != nil {
			s.fail(err)
		}
	case <-s.failed:
	}
	// Pebble reports some errors to its logger only, which has them recorded as a failure.
	if err := s.failure(); err != nil {
		return err
	}
	s.stats.record(g, bytes, g.pb.CommitStats().CommitWaitDuration)
	if err := g.pb.Close(); err != nil {
		s.fail(err)
		return s.failure()
	}
	s.recent.update(g.cut, g.oldTip, g.blocks())
	s.state.Store(&g.st)
	return nil
}

// commitGroups is the committer goroutine. It is apart from the writer because a failed file system never lets go of
// it; the writer must still answer then.
func (s *Store) commitGroups() {
	for g := range s.commits {
		s.results <- s.apply(g)
	}
}

func (s *Store) apply(g *group) (err error) {
	defer func() {
		if r := recover(); r != nil { // Pebble panics when its log cannot take a record
			err = fmt.Errorf("commit: %v", r)
		}
	}()
	if g.pb.Empty() {
		return nil
	}
	opts := pebble.NoSync
	if g.sync {
		opts = pebble.Sync
	}
	if err := s.db.Apply(g.pb, opts); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}
