package blockstore

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/blockstore/merkle"
)

var _ merkle.NodeStore = (*Store)(nil)

// Tip returns the height and hash of the highest block, committed or not. An empty store answers 0 and the zero hash.
func (s *Store) Tip() (block.Height, block.Hash) {
	m := s.state.Load().mark
	return m.height, m.tip
}

// Synced returns the term whose leader's chain the own one is a prefix of, 0 for none.
func (s *Store) Synced() uint64 { return s.state.Load().mark.synced }

// Mark returns synced, height and tip as they were written together: what a vote reports. It is above the tip while
// something is [Store.Lost].
func (s *Store) Mark() (synced uint64, height block.Height, tip block.Hash) {
	m := s.state.Load().asserted()
	return m.synced, m.height, m.tip
}

// Nacked returns the last term in which this node nacked, 0 for none.
func (s *Store) Nacked() uint64 { return s.state.Load().nacked }

// Committed returns the commit height as last set. CTerm and From are those of that setting.
func (s *Store) Committed() Commit { return s.state.Load().commit }

// Election returns a copy of the election layer's hard state, nil when there is none.
func (s *Store) Election() []byte { return bytes.Clone(s.state.Load().election) }

// SignerRecord returns the highest signed height and the hash that was signed there (R12); height 0 means none.
func (s *Store) SignerRecord() (block.Height, block.Hash) {
	r := s.state.Load().signer
	return r.height, r.hash
}

// Base returns the lowest height from which on all blocks are there; 0 when none was pruned. Genesis always stays.
func (s *Store) Base() block.Height { return s.state.Load().base.blocks }

// ReceiptBase returns the lowest height whose transactions [Store.Lookup] still finds.
func (s *Store) ReceiptBase() block.Height { return s.state.Load().base.receipts }

// Checkpoint returns the newest completely stored state and whether there is one.
func (s *Store) Checkpoint() (Checkpoint, bool) {
	st := s.state.Load()
	return st.checkpoint, st.hasCheckpoint
}

// has reports whether a height is in the published chain.
func (s *Store) has(h block.Height) bool {
	st := s.state.Load()
	return st.started && h <= st.mark.height
}

// Block returns the block at a height, committed or not. It returns [ErrNotFound] above the tip and a
// [*CorruptionError] when the block cannot be read as it was written.
func (s *Store) Block(h block.Height) (*block.Block, error) {
	if !s.has(h) {
		return nil, fmt.Errorf("block %d: %w", h, ErrNotFound)
	}
	if h > 0 && h < s.Base() { // memory may still have it
		return nil, fmt.Errorf("block %d: %w", h, ErrPruned)
	}
	return s.storedBlock(h)
}

// storedBlock returns a block from the cache or the database. A height that is in the chain must be there.
func (s *Store) storedBlock(h block.Height) (*block.Block, error) {
	if b := s.recent.get(h); b != nil {
		return b, nil
	}
	b, err := read(s.db, "read block", heightKey(spaceBlock, h), func(rec []byte) (*block.Block, error) {
		return decodeBlock(h, rec)
	})
	return b, s.mustHave(h, err)
}

func (s *Store) storedHash(h block.Height) (block.Hash, error) {
	if b := s.recent.get(h); b != nil {
		return b.Hash(), nil
	}
	hash, err := read(s.db, "read hash", heightKey(spaceHash, h), decodeHash)
	return hash, s.mustHave(h, err)
}

// mustHave adds the height to an error of reading something at h. What is missing there was cut a moment ago, or, if the
// height is committed, is lost.
func (s *Store) mustHave(h block.Height, err error) error {
	st := s.state.Load()
	if errors.Is(err, ErrNotFound) && h <= st.commit.Height {
		if base, pruned := s.prunedTo(h); pruned {
			return fmt.Errorf("height %d, lowest kept is %d: %w", h, base, ErrPruned)
		}
		return &CorruptionError{Op: "read", Height: h, Err: err}
	}
	return atHeight(h, err)
}

// prunedTo returns the lowest kept height if h is below it, for a reader who misses something at h. A write that removes
// blocks is seen in the database a moment before it is published, so that is asked as well.
func (s *Store) prunedTo(h block.Height) (base block.Height, pruned bool) {
	base = s.Base()
	if h > 0 && h >= base {
		if b, err := read(s.db, "read base", []byte(metaBase), decodeBases); err == nil {
			base = b.blocks
		}
	}
	return base, h > 0 && h < base
}

// BlockByHash returns the block with this hash if it is in the chain, committed or not, otherwise [ErrNotFound].
func (s *Store) BlockByHash(hash block.Hash) (*block.Block, error) {
	h, err := read(s.db, "find block", hashKey(spaceHeight, hash), decodeHeight)
	if err != nil {
		return nil, fmt.Errorf("block %s: %w", hash, err)
	}
	b, err := s.Block(h)
	if err != nil {
		return nil, err
	}
	if b.Hash() != hash { // cut and replaced in between
		return nil, fmt.Errorf("block %s: %w", hash, ErrNotFound)
	}
	return b, nil
}

// HashAt returns the hash of the block at a height, [ErrNotFound] above the tip.
func (s *Store) HashAt(h block.Height) (block.Hash, error) {
	st := s.state.Load()
	switch {
	case !st.started || h > st.mark.height:
		return block.Hash{}, fmt.Errorf("hash at %d: %w", h, ErrNotFound)
	case h == st.mark.height:
		return st.mark.tip, nil
	case h == st.commit.Height:
		return st.commit.Hash, nil
	}
	return s.storedHash(h)
}

// Final returns a block that is committed and signed, with its signature. It returns [ErrNotFinal] for a height above
// the commit or without a signature; genesis, which is never signed, is not final in this sense.
func (s *Store) Final(h block.Height) (block.Final, error) {
	if st := s.state.Load(); !st.started || h > st.commit.Height {
		return block.Final{}, fmt.Errorf("block %d: %w", h, ErrNotFinal)
	}
	sig, err := s.Signature(h)
	if errors.Is(err, ErrNotFound) && h > 0 && h < s.Base() {
		return block.Final{}, fmt.Errorf("block %d: %w", h, ErrPruned)
	}
	if errors.Is(err, ErrNotFound) {
		return block.Final{}, fmt.Errorf("block %d: %w", h, ErrNotFinal)
	}
	if err != nil {
		return block.Final{}, err
	}
	b, err := s.storedBlock(h)
	if err != nil {
		return block.Final{}, err
	}
	cterm, err := s.CTermAt(h)
	if err != nil {
		return block.Final{}, err
	}
	return block.Final{Block: b, Signature: sig, CTerm: cterm}, nil
}

// Signature returns the stored signature of the block at a height, [ErrNotFound] when there is none.
func (s *Store) Signature(h block.Height) (block.Signature, error) {
	sig, err := read(s.db, "read signature", heightKey(spaceSignature, h), decodeSignature)
	return sig, atHeight(h, err)
}

// CTermAt returns the term of the commit certificate recorded for a height, 0 when it has none of its own.
func (s *Store) CTermAt(h block.Height) (uint64, error) {
	term, err := read(s.db, "read certificate", heightKey(spaceCTerm, h), decodeUint64)
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	return term, atHeight(h, err)
}

// atHeight adds the height to an error.
func atHeight(h block.Height, err error) error {
	if damage, ok := errors.AsType[*CorruptionError](err); ok {
		return &CorruptionError{Op: damage.Op, Height: h, Err: damage.Err}
	}
	if err != nil {
		return fmt.Errorf("height %d: %w", h, err)
	}
	return nil
}

// Lookup returns where a committed transaction stands and whether it is known.
func (s *Store) Lookup(txHash block.Hash) (h block.Height, index uint32, ok bool, err error) {
	r, err := read(s.db, "find transaction", hashKey(spaceTx, txHash), decodeTxRef)
	if errors.Is(err, ErrNotFound) {
		return 0, 0, false, nil
	}
	if err != nil {
		return 0, 0, false, err
	}
	if r.height > s.state.Load().commit.Height {
		return 0, 0, false, nil // Pebble shows a write before it is synced; it counts from when it is published
	}
	return r.height, r.index, true, nil
}

// Node returns a stored state node, [ErrNotFound] when it is not stored, or not any more. It implements
// merkle.NodeStore, whose user verifies the hash.
func (s *Store) Node(id merkle.NodeID) ([]byte, error) {
	return get(s.db, OpReadNode, seqKey(spaceNode, uint64(id)))
}

// DiskUsage says how much the store takes and how much room its file system has, in bytes.
type DiskUsage struct {
	StoreBytes, FreeBytes, TotalBytes uint64
}

// DiskUsage asks the file system. Free is what this process may still use.
func (s *Store) DiskUsage() (DiskUsage, error) {
	u, err := s.opts.FS.GetDiskUsage(s.opts.Dir)
	if err != nil {
		return DiskUsage{}, fmt.Errorf("disk usage: %w", err)
	}
	return DiskUsage{StoreBytes: s.db.Metrics().DiskSpaceUsage(), FreeBytes: u.AvailBytes, TotalBytes: u.TotalBytes}, nil
}

// Written says how many bytes went to the disk since Open: into the log, into both mirrors of the mark file, into tables as
// memory tables were flushed, and into tables again as they were compacted.
type Written struct{ Log, Mark, Flushed, Compacted uint64 }

// Written counts. What the log has is there as it was written, framing included.
func (s *Store) Written() Written {
	m := s.db.Metrics()
	w := Written{Log: m.WAL.BytesWritten, Mark: s.mark.wrote.Load()}
	for i := range m.Levels {
		w.Flushed += m.Levels[i].TableBytesFlushed
		w.Compacted += m.Levels[i].TableBytesCompacted
	}
	return w
}
