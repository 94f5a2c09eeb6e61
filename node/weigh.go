package node

import (
	"context"
	"fmt"

	nodesync "github.com/baton-ha/baton/node/sync"
)

// weigh decides whether to take an offered state over: errNotWorth if not.
func (s *syncer) weigh(_ context.Context, offer nodesync.Offer) error {
	n := s.n
	h, own := offer.Final.Block.Header.Height, n.finals.height()
	s.mu.Lock()
	needs := s.need > own+1
	s.mu.Unlock()
	switch {
	case h <= n.store.Committed().Height:
		return fmt.Errorf("%w: the newest state that is offered is that of block %d, this node is at %d", errNotWorth, h, own)
	case needs || n.cfg.Sync.Mode == SyncFrom:
		return nil
	case h <= own+n.cfg.Limits.CheckpointEvery:
		return errNotWorth
	}
	return nil
}
