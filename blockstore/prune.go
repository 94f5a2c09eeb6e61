package blockstore

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/baton-ha/baton/blockstore/block"
)

// pruneBytes bounds, about, what one step of PruneBlocks reads.
const pruneBytes = 1 << 20

// PruneState does one bounded step towards keeping the newest keep checkpoints (at least 1), and all those that lie above
// the height from or are the newest at or below it, and reports whether there is more to do. A step writes one small
// batch without an fsync: either it forgets the oldest checkpoint, or it deletes up to 4096 nodes that only forgotten
// checkpoints had. It can be stopped, and crash, anywhere: what is not done is found again.
//
// A map that is older than the oldest checkpoint kept finds nodes missing ([ErrNotFound]).
func (s *Store) PruneState(keep int, from block.Height) (more bool, err error) {
	s.sideMu.Lock()
	defer s.sideMu.Unlock()
	if more, err = s.pruneState(max(keep, 1), from); err != nil {
		return false, fmt.Errorf("prune state: %w", err)
	}
	return more, nil
}

func (s *Store) pruneState(keep int, from block.Height) (bool, error) {
	oldest, err := checkpoints(s.db, 2)
	if err != nil || len(oldest) == 0 {
		return false, err
	}
	key, ids, err := s.staleUpTo(oldest[0].Seq)
	if err != nil {
		return false, err
	}
	w := &sideWrite{}
	switch {
	case key != nil:
		w.del = append(w.del, key)
		nodes, err := decodeIDs(ids)
		if err != nil {
			return false, &CorruptionError{Op: "prune state", Height: oldest[0].Height, Err: err}
		}
		for _, id := range nodes {
			w.del = append(w.del, seqKey(spaceNode, uint64(id)))
		}
	case s.state.Load().checkpoint.Seq >= oldest[0].Seq+uint64(keep) && oldest[1].Height <= from:
		w.del = append(w.del, seqKey(spaceCheckpoint, oldest[0].Seq))
	default:
		return false, nil
	}
	return true, s.writeSide(w, false)
}

// staleUpTo returns the first record of stale nodes of a checkpoint up to seq: the oldest that is kept does not have
// them, so nobody does.
func (s *Store) staleUpTo(seq uint64) (key, ids []byte, err error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{spaceStale}, UpperBound: seqKey(spaceStale, seq+1)})
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	if it.First() {
		key, ids = append(key, it.Key()...), append([]byte{}, it.Value()...)
	}
	return key, ids, it.Error()
}

// PruneBlocks does one bounded step towards having no block below the height blocks and no receipt below the height
// receipts, which is not above the former, and reports whether there is more to do. A block that goes takes its body, its
// signature and its certificate with it; while its receipts stay, so do its hash and the list of its transactions'
// hashes. Genesis always stays. Both heights are brought down to the newest checkpoint's, from which a restart executes.
// A step writes one batch without an fsync and may be stopped, and crash, anywhere.
func (s *Store) PruneBlocks(blocks, receipts block.Height) (more bool, err error) {
	s.sideMu.Lock()
	defer s.sideMu.Unlock()
	st := s.state.Load()
	blocks = min(blocks, st.checkpoint.Height, st.commit.Height)
	if more, err = s.pruneBlocks(st.base, bases{blocks, min(blocks, receipts)}); err != nil {
		return false, fmt.Errorf("prune blocks: %w", err)
	}
	return more, nil
}

func (s *Store) pruneBlocks(from, to bases) (bool, error) {
	w, size, next := &sideWrite{}, 0, from
	for next.blocks = max(next.blocks, 1); next.blocks < to.blocks && size < pruneBytes; next.blocks++ {
		b, err := s.storedBlock(next.blocks)
		if err != nil {
			return false, err
		}
		h, hash := next.blocks, b.Hash()
		w.del = append(w.del, heightKey(spaceBlock, h), hashKey(spaceHeight, hash), heightKey(spaceSignature, h),
			heightKey(spaceCTerm, h))
		hashes := make([]block.Hash, 0, len(b.Txs))
		for _, tx := range b.Txs {
			hashes = append(hashes, tx.Hash())
		}
		w.set = append(w.set, pair{heightKey(spaceTxs, h), encodeHashes(hashes)})
		size += b.Size() + 200
	}
	// Receipts go in a step of their own: what they are found by was written, and can be read, by then.
	if len(w.set) == 0 {
		next.blocks = from.blocks
		for next.receipts = max(next.receipts, 1); next.receipts < min(to.receipts, from.blocks) && size < pruneBytes; next.receipts++ {
			h := next.receipts
			hashes, err := read(s.db, "read pruned transactions", heightKey(spaceTxs, h), decodeHashes)
			if err != nil {
				return false, missing(h, err)
			}
			w.del = append(w.del, heightKey(spaceTxs, h), heightKey(spaceHash, h))
			for _, hash := range hashes {
				w.del = append(w.del, hashKey(spaceTx, hash))
			}
			size += 300*len(hashes) + 200
		}
	}
	if len(w.del) == 0 {
		return false, nil
	}
	w.base = &next
	return true, s.writeSide(w, false)
}

func (g *group) setBase(b bases, lower bool) error {
	old := g.st.base
	if lower {
		invariant(b.blocks < old.blocks && b.receipts == b.blocks && old.receipts == old.blocks, "filled in down to %+v below %+v", b, old)
	} else {
		invariant(b.blocks >= old.blocks && b.receipts >= old.receipts && b.receipts <= max(b.blocks, 1),
			"base %+v after %+v", b, old)
	}
	invariant(b.blocks <= g.st.checkpoint.Height && b.blocks <= g.st.commit.Height,
		"base %d above the checkpoint at %d or the commit at %d", b.blocks, g.st.checkpoint.Height, g.st.commit.Height)
	g.st.base = b
	return g.set([]byte(metaBase), b.encode())
}
