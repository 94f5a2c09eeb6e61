package raftify

import (
	"context"
	"errors"
	"fmt"

	"github.com/baton-ha/baton/raftify/core"
)

// ErrTransferFailed is returned by Transfer when the handover ended with this node leading: the target did not catch
// up or did not take over.
var ErrTransferFailed = errors.New("the handover failed")

// Transfer hands leadership to a voter, with to == "" to the best one, and waits until another node is known to lead,
// which in a storm of failures may be another one than to. It returns ErrNotLeader, or core.ErrTransferring,
// core.ErrNotVoter or core.ErrUnreachable when it could not begin; with ctx ended the handover may still go on.
func (n *Node) Transfer(ctx context.Context, to core.NodeID) error {
	var term core.Term
	var began error
	err := n.call(ctx, func(now core.Instant, c *core.Core) {
		term = c.Status().Term
		began = c.Transfer(now, to)
	})
	if err == nil {
		err = began
	}
	if err != nil {
		return fmt.Errorf("transfer to %q: %w", to, err)
	}
	for {
		s, changed := n.watch()
		switch {
		case s.Term > term && s.Leader != "" && s.Leader != n.cfg.ID:
			return nil
		case s.Role == core.RoleLeader && (s.Term > term || !s.Transferring):
			return fmt.Errorf("transfer to %q: %w", to, ErrTransferFailed)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("transfer to %q: %w", to, ctx.Err())
		case <-n.stopped:
			return fmt.Errorf("transfer to %q: %w", to, ErrClosed)
		}
	}
}
