package blockstore

import (
	"errors"
	"fmt"
	"math"
	"os"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/blockstore/merkle"
)

var _ merkle.NodeStore = (*Reader)(nil)

// Reader reads a data folder that no node has open, and changes nothing in it. Its methods are safe for concurrent use.
type Reader struct {
	db    *pebble.DB
	lock  *pebble.Lock
	state *state
}

// OpenReader opens a folder for reading; a nil fs is the disk. It returns [ErrInUse] when somebody has it open, an error
// that wraps [os.ErrNotExist] when there is none, and a [*CorruptionError] when its small records cannot be read.
func OpenReader(fs vfs.FS, dir string) (*Reader, error) {
	r, err := openReader(fs, dir)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", dir, err)
	}
	return r, nil
}

func openReader(fs vfs.FS, dir string) (_ *Reader, err error) {
	if fs == nil {
		fs = vfs.Default
	}
	if _, err := fs.Stat(dir); err != nil {
		return nil, err
	}
	lock, err := pebble.LockDirectory(dir, fs)
	if err != nil {
		if errors.Is(err, os.ErrPermission) {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %w", ErrInUse, err)
	}
	r := &Reader{lock: lock}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	cache := pebble.NewCache(defaultCacheBytes)
	defer cache.Unref()
	opts := pebbleOptions(fs, cache, zerolog.Nop(), func(error) {})
	opts.ReadOnly, opts.ErrorIfNotExists, opts.Lock = true, true, lock
	if r.db, err = pebble.Open(dir, opts); err != nil {
		if pebble.IsCorruptionError(err) {
			err = &CorruptionError{Op: "open", Err: err}
		}
		return nil, err
	}
	if err := checkFormat(r.db); err != nil {
		return nil, err
	}
	if r.state, err = loadState(r.db); err != nil {
		return nil, err
	}
	return r, nil
}

// Close lets go of the folder.
func (r *Reader) Close() error {
	var err error
	if r.db != nil {
		err = r.db.Close()
	}
	return errors.Join(err, r.lock.Close())
}

// Empty reports whether there is no chain at all, not even genesis.
func (r *Reader) Empty() bool { return !r.state.started }

// Committed returns the commit height as last set.
func (r *Reader) Committed() Commit { return r.state.commit }

// Base returns the lowest height from which on all blocks are there, 0 when none was pruned.
func (r *Reader) Base() block.Height { return r.state.base.blocks }

// Checkpoints returns all checkpoints whose states can be read, oldest first.
func (r *Reader) Checkpoints() ([]Checkpoint, error) { return checkpoints(r.db, math.MaxInt) }

// Node returns a stored state node; see [Store.Node].
func (r *Reader) Node(id merkle.NodeID) ([]byte, error) { return nodes{r.db}.Node(id) }

// Block returns a committed block. It returns [ErrNotFinal] above the commit, [ErrPruned] below the base, and a
// [*CorruptionError] when the block cannot be read as it was written.
func (r *Reader) Block(h block.Height) (*block.Block, error) {
	switch {
	case !r.state.started || h > r.state.commit.Height:
		return nil, fmt.Errorf("block %d: %w", h, ErrNotFinal)
	case h > 0 && h < r.state.base.blocks:
		return nil, fmt.Errorf("block %d: %w", h, ErrPruned)
	}
	b, err := loadLinked(r.db, h)
	if err == nil && h == r.state.commit.Height && b.Hash() != r.state.commit.Hash {
		err = corrupt("read block", h, "committed %s, stored %s", r.state.commit.Hash, b.Hash())
	}
	return b, err
}

// Final returns a block that is committed and signed; its CTerm is 0. Errors are those of Block; [ErrNotFinal] also stands
// for a block without a signature.
func (r *Reader) Final(h block.Height) (block.Final, error) {
	b, err := r.Block(h)
	if err != nil {
		return block.Final{}, err
	}
	sig, err := read(r.db, "read signature", heightKey(spaceSignature, h), decodeSignature)
	if errors.Is(err, ErrNotFound) {
		return block.Final{}, fmt.Errorf("block %d: %w", h, ErrNotFinal)
	}
	if err != nil {
		return block.Final{}, atHeight(h, err)
	}
	return block.Final{Block: b, Signature: sig}, nil
}
