package node

import (
	"fmt"

	nodesync "github.com/baton-ha/baton/node/sync"
)

// weigh decides whether to take an offered state over: errNotWorth if not.
//
// The rule is by blocks: up to as many as lie between two stored states, which is what a restart executes too, blocks are
// fetched and executed; beyond, the state is taken. Only what differs from the own state travels, so of a node that was
// away it is at most what the missed blocks changed, a few nodes for each transaction, without their bodies, signatures and
// fsyncs: less than the blocks. Of a newcomer it is what genesis did not make, since a large genesis is a checkpoint.
//
// Bytes would hardly decide otherwise, and nobody signs how many they are. What blocks have made of the state is less than
// they are: in the ledger an account takes about 100 bytes with its share of the nodes above it, the shortest transfer that
// makes one 120, without the rest of its transaction. Only of a genesis too small for a checkpoint, at most
// state.checkpoint_bytes, more may travel than the blocks would be.
func (s *syncer) weigh(offer nodesync.Offer) error {
	n := s.n
	h, own := offer.Final.Block.Header.Height, n.finals.height()
	switch {
	case h <= n.store.Committed().Height:
		return fmt.Errorf("%w: the newest state that is offered is that of block %d, this node is at %d", errNotWorth, h, own)
	case s.needs(own) || n.cfg.Sync.Mode == SyncFrom || h > own+n.cfg.Limits.CheckpointEvery:
		return nil
	}
	return errNotWorth
}
