package node

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/chain"
)

// checkpoints writes the state out now and then, beside the work, and then removes what retention lets go: the chain is
// the log, so that a restart executes only what came after the newest checkpoint.
type checkpoints struct {
	n       *Node
	todo    chan *chain.State
	skipped int64 // bytes of new nodes that were passed over since the last state that was taken

	mu    sync.Mutex
	holds int // readers of stored states
}

func newCheckpoints(n *Node) *checkpoints {
	return &checkpoints{n: n, todo: make(chan *chain.State, 1)}
}

// offer is called for every final block, by one goroutine. A state that comes while others are being written is passed
// over, and a later one takes what is new in it along; but when much has gathered in memory that way, offer waits.
func (c *checkpoints) offer(ctx context.Context, st *chain.State) {
	m := st.Map()
	if !m.Sealed() {
		return
	}
	if c.skipped += m.NewBytes(); c.skipped > 4*c.n.cfg.Limits.CheckpointBytes {
		select {
		case c.todo <- st:
			c.skipped = 0
		case <-ctx.Done():
		}
		return
	}
	select {
	case c.todo <- st:
		c.skipped = 0
	default: // the one before is still being written
	}
}

func (c *checkpoints) run(ctx context.Context) {
	if err := c.prune(ctx); err != nil {
		c.n.fail(err)
		return
	}
	for {
		select {
		case st := <-c.todo:
			if err := c.write(ctx, st); err != nil && ctx.Err() == nil {
				c.n.fail(err)
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

func (c *checkpoints) write(ctx context.Context, st *chain.State) error {
	cp, err := c.n.store.SaveState(ctx, st.Map(), st.Height(), st.BlockHash())
	if errors.Is(err, blockstore.ErrSuperseded) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	c.n.log.Debug().Uint64("height", uint64(cp.Height)).Uint64("seq", cp.Seq).Msg("checkpoint written")
	return c.prune(ctx)
}

// prune removes what retention does not keep, step by step, until that is done, there is a checkpoint to be written or
// ctx ends; what is left then is done after the next checkpoint.
func (c *checkpoints) prune(ctx context.Context) error {
	keep, store := c.n.cfg.Retention, c.n.store
	final := c.n.finals.height()
	// States that are still in memory read their nodes from the store.
	readable := below(final, keepStates)
	for more := keep.Checkpoints > 0; more && ctx.Err() == nil && len(c.todo) == 0 && !c.held(); {
		var err error
		if more, err = store.PruneState(keep.Checkpoints, readable); isDamage(err) {
			c.n.stateDamaged(err)
			return nil
		} else if err != nil {
			return err
		}
	}
	for more := keep.Blocks > 0; more && ctx.Err() == nil && len(c.todo) == 0; {
		receipts := block.Height(0)
		if keep.Receipts > 0 {
			receipts = below(final, keep.Receipts-1)
		}
		var err error
		if more, err = store.PruneBlocks(below(final, keep.Blocks-1), receipts); c.n.mender.found(err) {
			return nil // it goes on with the next checkpoint
		} else if err != nil {
			return err
		}
	}
	return nil
}

// hold keeps stored states from being pruned until the function that it returns is called. A step under way may still end.
func (c *checkpoints) hold() (release func()) {
	c.count(1)
	return sync.OnceFunc(func() { c.count(-1) })
}

func (c *checkpoints) count(change int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holds += change
}

func (c *checkpoints) held() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.holds > 0
}

// below returns the height n below h, 0 when there is none.
func below(h, n block.Height) block.Height { return max(h, n) - n }
