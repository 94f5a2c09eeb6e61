package node

import (
	"context"

	"github.com/baton-ha/baton/blockstore/block"
)

// How many blocks may be committed here and not final before no more are executed. The second is for what the leader has not
// committed either: its commit may wait for this node, which therefore holds back only where memory is at stake.
const (
	unfinalBehind = 256
	unfinalLive   = 8 * unfinalBehind
)

// pace keeps the engine from running away from the finalizer, which waits for the checkpoint writer when states come faster
// than they can be written: each block that is executed meanwhile would leave a state in memory. Only committed blocks count,
// since it takes execution to have others committed. No circle comes of it: the finalizer needs states that are in memory
// already, the store and the checkpoint writer, and neither these nor the owner loop wait for the engine.
type pace struct{ behind, live block.Height }

// next returns the height that has to be final before block h is executed.
func (e *engine) next(h block.Height) block.Height {
	limit := e.pace.live
	if h <= e.n.view.Load().leaderHeight {
		limit = e.pace.behind
	}
	return below(e.n.finalizer.newest(), limit)
}

// await waits until block h may be executed; false when ctx ends first. The engine alone: it holds no lock.
func (e *engine) await(ctx context.Context, h block.Height) bool {
	_, err := e.n.finals.wait(ctx, e.next(h))
	return err == nil
}

// newest returns the newest height that is to be made final.
func (f *finalizer) newest() block.Height {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.top
}
