package node

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/node/chain"
)

// finals is what the outside may see: committed and signed blocks. The newest are kept in memory, at least until the
// store can serve them. Safe for concurrent use; one goroutine adds.
type finals struct {
	store   *blockstore.Store
	genesis *block.Block

	mu      sync.RWMutex
	tip     *chain.State // state after the newest final block
	recent  map[block.Height]block.Final
	lowest  block.Height // of recent
	index   map[block.Hash]place
	applied block.Height // the store can serve up to here
	changed chan struct{}
}

type place struct {
	height block.Height
	index  uint32
}

// keepFinals is how many final blocks stay in memory.
const keepFinals = 256

func newFinals(store *blockstore.Store, genesis *block.Block, tip *chain.State) *finals {
	return &finals{
		store: store, genesis: genesis, tip: tip, recent: map[block.Height]block.Final{},
		lowest: tip.Height() + 1, index: map[block.Hash]place{}, applied: tip.Height(), changed: make(chan struct{}),
	}
}

func (f *finals) add(b block.Final, st *chain.State) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := b.Block.Header.Height
	f.recent[h] = b
	for i, tx := range b.Block.Txs {
		f.index[tx.Hash()] = place{h, uint32(i)}
	}
	f.tip = st
	for ; len(f.recent) > keepFinals && f.lowest <= f.applied; f.lowest++ {
		for _, tx := range f.recent[f.lowest].Block.Txs {
			delete(f.index, tx.Hash())
		}
		delete(f.recent, f.lowest)
	}
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *finals) stored(h block.Height) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.applied = max(f.applied, h)
}

// stores returns up to which height the store has all signatures.
func (f *finals) stores() block.Height {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.applied
}

// state returns the state after the newest final block.
func (f *finals) state() *chain.State {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.tip
}

func (f *finals) height() block.Height { return f.state().Height() }

// wait returns the newest final state once its height has reached h.
func (f *finals) wait(ctx context.Context, h block.Height) (*chain.State, error) {
	for {
		f.mu.RLock()
		st, changed := f.tip, f.changed
		f.mu.RUnlock()
		if st.Height() >= h {
			return st, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for height %d: %w", h, ctx.Err())
		}
	}
}

func (f *finals) final(h block.Height) (block.Final, error) {
	if h == 0 {
		return block.Final{Block: f.genesis}, nil
	}
	f.mu.RLock()
	b, ok := f.recent[h]
	tip := f.tip.Height()
	f.mu.RUnlock()
	if ok {
		return b, nil
	}
	if h > tip {
		return block.Final{}, api.ErrNotFound
	}
	b, err := f.store.Final(h)
	if errors.Is(err, blockstore.ErrNotFinal) { // it was signed, and the signature stored
		err = &blockstore.CorruptionError{Op: "read signature", Height: h, Err: err}
	}
	if err != nil {
		return block.Final{}, fmt.Errorf("read final block %d: %w", h, err)
	}
	return b, nil
}

// hashAt returns the hash of the final block at h.
func (f *finals) hashAt(h block.Height) (block.Hash, error) {
	f.mu.RLock()
	b, ok := f.recent[h]
	f.mu.RUnlock()
	if ok {
		return b.Block.Hash(), nil
	}
	hash, err := f.store.HashAt(h)
	if err != nil {
		return block.Hash{}, fmt.Errorf("read hash at %d: %w", h, err)
	}
	return hash, nil
}

// receipt finds a transaction in the final blocks.
func (f *finals) receipt(tx block.Hash) (api.Receipt, bool, error) {
	f.mu.RLock()
	p, ok := f.index[tx]
	tip := f.tip.Height()
	f.mu.RUnlock()
	if !ok {
		h, i, found, err := f.store.Lookup(tx)
		if err != nil {
			return api.Receipt{}, false, fmt.Errorf("look up transaction %v: %w", tx, err)
		}
		if !found || h > tip {
			return api.Receipt{}, false, nil
		}
		p = place{h, i}
	}
	hash, err := f.hashAt(p.height)
	if err != nil {
		return api.Receipt{}, false, err
	}
	return api.Receipt{Hash: tx, Height: p.height, Index: p.index, BlockHash: hash}, true, nil
}
