package sync

import (
	"time"

	"github.com/baton-ha/baton/blockstore/block"
)

// Progress says how far a transfer of state is. It is a plain copy.
type Progress struct {
	// Height is the block whose state is being transferred, 0 before the first transfer.
	Height block.Height
	// Done is how much of the state is here, from 0 to 1, and Linked how much of it was here before: counted by places in
	// the tree, of which equal ones hold about equally much.
	Done, Linked float64
	// Bytes were received, as they were on the wire without HTTP's own.
	Bytes uint64
	// Pieces is how many subtrees are stored, and Known how many there are as far as is known: it rises as larger ones are
	// split.
	Pieces, Known uint64
	// Nodes is how many of the state's nodes arrived.
	Nodes uint64
	// BytesPerSecond is the rate of late, and Remaining what is left at the pace so far; 0 while that cannot be told.
	BytesPerSecond float64
	Remaining      time.Duration
	// Running says that a transfer is under way.
	Running bool
}
