package node

import (
	"context"
	"errors"
	"time"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/merkle"
)

// warm brings the state that was found at the start into memory, as far as its cache allows, so that the first blocks do not
// wait for it node by node. It is idle for as long as it reads, and ends with ctx, when it is done, or when what it reads
// was pruned meanwhile. What is damaged is told by whoever needs it.
func (n *Node) warm(ctx context.Context, m *merkle.Map) {
	last := time.Now()
	err := m.Warm(func() error {
		select {
		case <-time.After(time.Since(last)):
			last = time.Now()
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	if err != nil && ctx.Err() == nil && !errors.Is(err, blockstore.ErrNotFound) {
		n.log.Warn().Err(err).Msg("the state could not be read ahead")
	}
}
