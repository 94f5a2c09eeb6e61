package chain

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/baton-ha/baton/blockstore/block"
)

// Apply executes a block on top of its parent's state and returns the state after it. Nothing in the block is trusted:
// the header must follow the parent, each transaction must be well-formed, rightly signed and next in its account.
// Errors are [ErrInvalidBlock], [ErrRootMismatch] or [ErrNoCode]; any other comes from the node store and says nothing
// about the block.
//
// Signatures that [Executor.Parse] did not see lately are checked on up to GOMAXPROCS goroutines, which have ended when
// Apply returns.
func (e *Executor) Apply(parent *State, b *block.Block) (*State, error) {
	return e.apply(parent, b, e.parse)
}

// Reapply is Apply for a committed block out of this node's own store, at a start: the transactions' signatures, which its
// hash covers, were checked before it was stored, and are not checked again. All else is.
func (e *Executor) Reapply(parent *State, b *block.Block) (*State, error) {
	return e.apply(parent, b, e.decode)
}

func (e *Executor) apply(
	parent *State, b *block.Block, parse func(*block.Tx) (*Tx, *TxError),
) (*State, error) {
	h := &b.Header
	if err := checkHeader(parent, b); err != nil {
		return nil, fmt.Errorf("block %d: %w: %w", h.Height, ErrInvalidBlock, err)
	}
	r, err := e.start(parent, h.TimeMs)
	if err != nil {
		return nil, fmt.Errorf("apply block %d: %w", h.Height, err)
	}
	txs, at, fault := parseAll(b.Txs, parse)
	if fault != nil {
		return nil, fmt.Errorf("block %d: %w: transaction %d: %w", h.Height, ErrInvalidBlock, at, fault)
	}
	for i, tx := range txs {
		kind, fault, err := r.check(tx)
		if err == nil && kind == VerdictIncluded {
			fault, err = r.execute(tx)
		}
		if err != nil {
			return nil, fmt.Errorf("apply block %d: %w", h.Height, err)
		}
		if fault != nil {
			return nil, fmt.Errorf("block %d: %w: transaction %d: %w", h.Height, ErrInvalidBlock, i, fault)
		}
	}
	next, err := r.finish()
	if err != nil {
		return nil, fmt.Errorf("apply block %d: %w", h.Height, err)
	}
	if root := next.Root(); root != h.StateRoot {
		return nil, &RootMismatchError{Height: h.Height, Header: h.StateRoot, Computed: root}
	}
	next.blockHash = b.Hash()
	return next, nil
}

// checkHeader compares all of a header but the state root with what it must be.
func checkHeader(parent *State, b *block.Block) error {
	h := &b.Header
	switch {
	case h.ChainID != parent.params.chainID:
		return fmt.Errorf("chain id %q, expected %q", h.ChainID, parent.params.chainID)
	case h.Height != parent.height+1:
		return fmt.Errorf("height on top of %d", parent.height)
	case h.Parent != parent.blockHash:
		return fmt.Errorf("parent %s, expected %s", h.Parent, parent.blockHash)
	case h.TimeMs < parent.timeMs:
		return fmt.Errorf("time %d below the parent's %d", h.TimeMs, parent.timeMs)
	case h.ChainVersion != parent.params.chainVersion:
		return fmt.Errorf("chain version %q, expected %q", h.ChainVersion, parent.params.chainVersion)
	case len(b.Txs) == 0:
		return fmt.Errorf("no transactions")
	case int(h.TxCount) != len(b.Txs):
		return fmt.Errorf("%d transactions, header says %d", len(b.Txs), h.TxCount)
	}
	if root := block.TxRoot(b.Txs); root != h.TxRoot {
		return fmt.Errorf("transactions hash to %s, header says %s", root, h.TxRoot)
	}
	return nil
}

// parseAll parses a block's transactions in parallel. On a fault it returns the first one's place in the block.
func parseAll(raw []*block.Tx, parse func(*block.Tx) (*Tx, *TxError)) ([]*Tx, int, *TxError) {
	const perWorker = 8 // fewer are not worth a goroutine
	txs := make([]*Tx, len(raw))
	faults := make([]*TxError, len(raw))
	var next atomic.Int64
	var failed atomic.Bool
	work := func() {
		for !failed.Load() {
			i := int(next.Add(1)) - 1 // whatever was taken is finished, so the first fault is found for sure
			if i >= len(raw) {
				return
			}
			if txs[i], faults[i] = parse(raw[i]); faults[i] != nil {
				failed.Store(true)
			}
		}
	}
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(raw)/perWorker) - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
	for i, fault := range faults {
		if fault != nil {
			return nil, i, fault
		}
	}
	return txs, 0, nil
}
