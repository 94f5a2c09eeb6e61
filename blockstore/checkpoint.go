package blockstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/blockstore/merkle"
)

const (
	// pieceBytes is how much of a checkpoint goes into one batch, so that blocks never wait long behind it.
	pieceBytes = 256 << 10
	// chunkIDs is how many stale nodes one record lists, and one step of pruning deletes.
	chunkIDs = 4096
)

// sideWrite is what checkpoints and pruning write. Nothing in it is about the chain's end.
type sideWrite struct {
	clear      [][2][]byte // key ranges to delete first
	set        []pair
	del        [][]byte
	base       *bases
	lower      bool // base goes down: what is between was filled in
	checkpoint *Checkpoint
	imported   *ImportState
	reset      bool // of the state, to resetTo
	resetTo    *Checkpoint
}

type pair struct{ key, value []byte }

// side applies a sideWrite.
func (g *group) side(w *sideWrite) error {
	for _, r := range w.clear {
		if err := g.pb.DeleteRange(r[0], r[1], nil); err != nil {
			return err
		}
	}
	for _, p := range w.set {
		if err := g.set(p.key, p.value); err != nil {
			return err
		}
	}
	for _, key := range w.del {
		if err := g.pb.Delete(key, nil); err != nil {
			return err
		}
	}
	if w.base != nil {
		if err := g.setBase(*w.base, w.lower); err != nil {
			return err
		}
	}
	if w.reset {
		g.resetState(w.resetTo)
	}
	if w.imported != nil {
		if err := g.setImport(*w.imported); err != nil {
			return err
		}
	}
	if w.checkpoint != nil {
		return g.checkpoint(*w.checkpoint)
	}
	return nil
}

// writeSide writes w and waits. It rides on a later fsync unless sync is set.
func (s *Store) writeSide(w *sideWrite, sync bool) error {
	done := make(chan error, 1)
	s.Enqueue(Batch{side: w, NoSync: !sync}, func(err error) { done <- err })
	return <-done
}

// SaveState makes a checkpoint of the state after a committed block: what is new in m since the last one is written,
// a piece at a time and without an fsync of its own, then, with one, the record that says that the checkpoint is whole. A
// crash before that leaves the last checkpoint as it was, and pieces that the next one clears away. Blocks are written
// meanwhile; the caller may go on with m and with maps made from it. m must be sealed, descend from the map of the last
// checkpoint and read its nodes from this store.
//
// It blocks until the checkpoint is durable. When ctx ends it stops between two pieces. One call at a time, of this and
// of PruneState and PruneBlocks, gets on; others wait. It returns ErrSuperseded, and writes nothing, if a [Jump] has gone
// beyond the state.
func (s *Store) SaveState(ctx context.Context, m *merkle.Map, height block.Height, hash block.Hash) (Checkpoint, error) {
	s.sideMu.Lock()
	defer s.sideMu.Unlock()
	c, err := s.saveState(ctx, m, height, hash)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("checkpoint at %d: %w", height, err)
	}
	return c, nil
}

func (s *Store) saveState(ctx context.Context, m *merkle.Map, height block.Height, hash block.Hash) (Checkpoint, error) {
	last, _ := s.Checkpoint()
	if height < last.Height { // this node jumped over it while the call waited
		return Checkpoint{}, ErrSuperseded
	}
	c := Checkpoint{Seq: last.Seq + 1, Height: height, Hash: hash, Root: block.Hash(m.Root())}
	w, err := s.leftovers(last)
	if err != nil {
		return Checkpoint{}, err
	}
	size := 0
	put := func(key, value []byte) error {
		w.set = append(w.set, pair{key, value})
		if size += len(key) + len(value); size < s.pieceBytes {
			return nil
		}
		full := w
		w, size = &sideWrite{}, 0
		if err := s.writeSide(full, false); err != nil {
			return err
		}
		return ctx.Err()
	}
	saved, err := m.Save(max(last.NextNode, 1), func(id merkle.NodeID, rec []byte) error {
		return put(seqKey(spaceNode, uint64(id)), rec)
	})
	if err != nil {
		return Checkpoint{}, err
	}
	for chunk, ids := uint32(0), saved.Stale; len(ids) > 0; chunk++ {
		n := min(chunkIDs, len(ids))
		if err := put(staleKey(c.Seq, chunk), encodeIDs(ids[:n])); err != nil {
			return Checkpoint{}, err
		}
		ids = ids[n:]
	}
	c.RootNode, c.NextNode = saved.Root, saved.Next
	w.checkpoint = &c
	if err := s.writeSide(w, true); err != nil {
		return Checkpoint{}, err
	}
	m.MarkStored()
	return c, nil
}

// leftovers begins a checkpoint by clearing what one that a crash ended, or a transfer, may have left above the last whole
// one.
func (s *Store) leftovers(last Checkpoint) (*sideWrite, error) {
	w := &sideWrite{}
	for _, r := range [][2][]byte{
		{seqKey(spaceNode, uint64(last.NextNode)), {spaceNode + 1}},
		{seqKey(spaceStale, last.Seq+1), {spaceStale + 1}},
		{{spacePart}, {spacePart + 1}},
	} {
		n, err := countUpTo(s.db, r[0], r[1], 1)
		if err != nil {
			return nil, err
		}
		if n > 0 {
			w.clear = append(w.clear, r)
		}
	}
	return w, nil
}

// Checkpoints returns all checkpoints whose states can be read, oldest first. It reads the disk.
func (s *Store) Checkpoints() ([]Checkpoint, error) { return checkpoints(s.db, 1<<31) }

// checkpoints returns the oldest checkpoints, at most limit.
func checkpoints(db pebble.Reader, limit int) (out []Checkpoint, err error) {
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte{spaceCheckpoint}, UpperBound: []byte{spaceCheckpoint + 1}})
	if err != nil {
		return nil, fmt.Errorf("list checkpoints: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for more := it.First(); more && len(out) < limit; more = it.Next() {
		c, err := decodeCheckpoint(it.Value())
		if err != nil || string(it.Key()) != string(seqKey(spaceCheckpoint, c.Seq)) {
			return nil, corrupt("list checkpoints", c.Height, "key %x: %w", it.Key(), errors.Join(err, errRecord))
		}
		out = append(out, c)
	}
	return out, it.Error()
}

// countUpTo counts the keys of a range, but no more than limit.
func countUpTo(db pebble.Reader, from, to []byte, limit uint64) (n uint64, err error) {
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return 0, fmt.Errorf("count: %w", err)
	}
	for more := it.First(); more && n < limit; more = it.Next() {
		n++
	}
	return n, errors.Join(it.Error(), it.Close())
}
