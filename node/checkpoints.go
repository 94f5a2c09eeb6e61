package node

import (
	"context"
	"fmt"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/chain"
)

// checkpoints writes the state out now and then, beside the work: the chain is the log, so that a restart executes
// only what came after the newest checkpoint.
type checkpoints struct {
	n    *Node
	last block.Height
	todo chan *chain.State
}

// chunkBytes is how much of a checkpoint goes into one batch, so that blocks never wait long behind it.
const chunkBytes = 256 << 10

func newCheckpoints(n *Node) *checkpoints {
	c := &checkpoints{n: n, todo: make(chan *chain.State, 1)}
	if cp, ok := n.store.Checkpoint(); ok {
		c.last = cp.Height
	}
	return c
}

// offer is called for every final block, by one goroutine.
func (c *checkpoints) offer(st *chain.State) {
	if st.Height() < c.last+c.n.cfg.Limits.CheckpointEvery {
		return
	}
	select {
	case c.todo <- st:
		c.last = st.Height()
	default: // the one before is still being written
	}
}

func (c *checkpoints) run(ctx context.Context) {
	for {
		select {
		case st := <-c.todo:
			if err := c.write(ctx, st); err != nil && ctx.Err() == nil {
				c.n.fail(fmt.Errorf("checkpoint %d: %w", st.Height(), err))
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// write stores the nodes that are new, chunk by chunk, then says that the checkpoint is whole.
func (c *checkpoints) write(ctx context.Context, st *chain.State) error {
	var chunk []blockstore.NodeRecord
	size := 0
	done := make(chan error, 1)
	flush := func(b blockstore.Batch) error {
		c.n.store.Enqueue(b, func(err error) { done <- err })
		if err := <-done; err != nil {
			return fmt.Errorf("store state nodes: %w", err)
		}
		return ctx.Err()
	}
	m := st.Map()
	err := m.NewNodes(func(hash [32]byte, enc []byte) error {
		chunk = append(chunk, blockstore.NodeRecord{Hash: hash, Enc: enc})
		if size += len(enc); size < chunkBytes {
			return nil
		}
		b := blockstore.Batch{Nodes: chunk, NoSync: true}
		chunk, size = nil, 0
		return flush(b)
	})
	if err != nil {
		return fmt.Errorf("collect state nodes: %w", err)
	}
	err = flush(blockstore.Batch{
		Nodes: chunk, Checkpoint: &blockstore.Checkpoint{Height: st.Height(), Hash: st.BlockHash(), Root: st.Root()},
	})
	if err != nil {
		return err
	}
	m.MarkStored()
	c.n.log.Debug().Uint64("height", uint64(st.Height())).Msg("checkpoint written")
	return nil
}
