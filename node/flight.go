package node

import (
	"time"

	"github.com/baton-ha/baton/blockstore/block"
)

// flight is what this node proposed as the leader and what is not committed yet.
type flight struct {
	blocks []flown
	txs    int // in all of them
}

type flown struct {
	height block.Height
	txs    int
	at     time.Time
}

func (f *flight) add(b *block.Block) {
	f.blocks = append(f.blocks, flown{b.Header.Height, len(b.Txs), time.Now()})
	f.txs += len(b.Txs)
}

// land forgets all up to h and returns when each was proposed.
func (f *flight) land(h block.Height) []time.Time {
	var at []time.Time
	for len(f.blocks) > 0 && f.blocks[0].height <= h {
		at = append(at, f.blocks[0].at)
		f.txs -= f.blocks[0].txs
		f.blocks = f.blocks[1:]
	}
	return at
}

// fewTxs is up to how many transactions on their way another block waits for no more than as many.
const fewTxs = 8

// worthwhile says whether to build a block now. Each has a price of its own on every node, of an fsync, a signature and
// a round of messages. So while some are on their way, the next one waits until as many transactions have gathered as
// are in those, and under load twice as many: blocks grow with the load, and yet a second client need not wait for the
// first one's round trip. A commit makes the engine ask again.
func (e *engine) worthwhile() bool {
	e.mu.Lock()
	want := e.flying.txs
	e.mu.Unlock()
	if want > fewTxs {
		want *= 2
	}
	return e.pool.Takeable() >= min(want, e.n.cfg.Limits.MaxBlockTxs)
}
