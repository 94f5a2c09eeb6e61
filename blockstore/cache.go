package blockstore

import (
	"sync"

	"github.com/baton-ha/baton/blockstore/block"
)

// recent keeps the newest blocks, bounded in encoded bytes: when full, the lowest height goes first.
type recent struct {
	mu     sync.RWMutex
	blocks map[block.Height]*block.Block
	lowest block.Height // no block below; exact while there are blocks
	bytes  int64
	limit  int64
}

func newRecent(limitBytes int64) *recent {
	return &recent{blocks: make(map[block.Height]*block.Block), limit: limitBytes}
}

func (r *recent) get(h block.Height) *block.Block {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.blocks[h]
}

// update drops what was cut above the height cut, if any was, and adds blocks, which are dense and end at the tip.
func (r *recent) update(cut *block.Height, oldTip block.Height, blocks []*block.Block) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if cut != nil {
		for h := oldTip; h > *cut; h-- {
			r.drop(h)
		}
	}
	for _, b := range blocks {
		if len(r.blocks) == 0 {
			r.lowest = b.Header.Height
		}
		r.lowest = min(r.lowest, b.Header.Height)
		r.drop(b.Header.Height)
		r.blocks[b.Header.Height] = b
		r.bytes += int64(b.Size())
	}
	for ; r.bytes > r.limit && len(r.blocks) > 0; r.lowest++ {
		r.drop(r.lowest)
	}
}

// clear drops all.
func (r *recent) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.blocks)
	r.bytes = 0
}

func (r *recent) drop(h block.Height) {
	if b, ok := r.blocks[h]; ok {
		r.bytes -= int64(b.Size())
		delete(r.blocks, h)
	}
}
