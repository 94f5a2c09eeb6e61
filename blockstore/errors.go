package blockstore

import (
	"errors"
	"fmt"

	"github.com/baton-ha/baton/blockstore/block"
)

var (
	// ErrSuperseded is returned by [Store.SaveState] for a state that is older than the newest stored one.
	ErrSuperseded = errors.New("a newer state is stored")
	// ErrNotFound is returned when the store has no such block, signature, state node or record.
	ErrNotFound = errors.New("not in the store")
	// ErrPruned is returned for a block that was there and that retention has removed. It is an ErrNotFound as well.
	ErrPruned = fmt.Errorf("pruned: %w", ErrNotFound)
	// ErrNotFinal is returned when a block is not committed yet, or not signed yet.
	ErrNotFinal = errors.New("not final")
	// ErrInUse is returned when another process, or another Store of this one, has the folder open.
	ErrInUse = errors.New("data folder is in use")
	// ErrFailed is given to every batch from the first failed write or fsync on; the first cause is wrapped with it.
	// The store takes no more writes: nothing is retried (PROTOCOL.md R24).
	ErrFailed = errors.New("store has failed")
	// ErrClosed is given to batches that come after Close.
	ErrClosed = errors.New("store is closed")
)

// OpReadNode is the Op of a [CorruptionError] about a stored state node.
const OpReadNode = "read state node"

// CorruptionError is returned when what is on disk is not what was written, or contradicts itself. Nothing was
// truncated or repaired.
type CorruptionError struct {
	// Op says what was being done.
	Op string
	// Height is the block concerned, 0 where none is.
	Height block.Height
	// Err says what is wrong.
	Err error
}

// Error names the operation, the height and what is wrong.
func (e *CorruptionError) Error() string {
	return fmt.Sprintf("%s (height %d): corrupt: %v", e.Op, e.Height, e.Err)
}

// Unwrap returns what is wrong.
func (e *CorruptionError) Unwrap() error { return e.Err }

// corrupt makes a CorruptionError with a formatted cause.
func corrupt(op string, h block.Height, format string, args ...any) error {
	return &CorruptionError{Op: op, Height: h, Err: fmt.Errorf(format, args...)}
}

// invariant panics when our own code broke a promise of this package or of PROTOCOL.md.
func invariant(ok bool, format string, args ...any) {
	if !ok {
		panic("blockstore: invariant broken: " + fmt.Sprintf(format, args...))
	}
}
