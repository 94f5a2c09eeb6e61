package node

import (
	"context"
	"fmt"
	"time"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/node/chain"
	"github.com/baton-ha/baton/raftify/core"
)

// readWait is how long a read looks for a leader.
const readWait = 3 * time.Second

// leaderReadIndex notes the commit, at least the takeover, then proves with a heartbeat round that this node still
// leads (PROTOCOL R20).
func (n *Node) leaderReadIndex(ctx context.Context) (block.Height, error) {
	var h block.Height
	ok := false
	err := n.raft.ReadRound(ctx, func(core.Instant, *core.Core) { h, ok = n.ch.ReadHeight() })
	if err != nil {
		return 0, fmt.Errorf("read index: %w", err)
	}
	if !ok {
		return 0, fmt.Errorf("read index: this node does not lead")
	}
	return h, nil
}

// State returns the state after the newest final block that this node has. It may be behind what others have.
func (n *Node) State() *chain.State { return n.finals.state() }

// ConsistentState returns a final state that holds everything decided before the call, on any node: a linearizable read
// (PROTOCOL R20). The error is the API's 503 when no leader could be reached in time.
func (n *Node) ConsistentState(ctx context.Context) (*chain.State, error) {
	ctx, cancel := context.WithTimeout(ctx, readWait)
	defer cancel()
	for {
		h, err := n.readIndex(ctx)
		if err == nil {
			st, err := n.finals.wait(ctx, h)
			if err != nil {
				return nil, api.NoLeader(0)
			}
			return st, nil
		}
		select {
		case <-ctx.Done():
			return nil, api.NoLeader(0)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (n *Node) readIndex(ctx context.Context) (block.Height, error) {
	v := n.view.Load()
	switch {
	case v.leading:
		return n.leaderReadIndex(ctx)
	case v.leader == "" || v.leader == n.cfg.ID:
		return 0, fmt.Errorf("no leader is known")
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	b, err := n.link.Request(ctx, v.leader, reqReadIndex, nil)
	if err != nil {
		return 0, fmt.Errorf("ask %s: %w", v.leader, err)
	}
	return decodeHeight(b)
}
