package raftify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/baton-ha/baton/raftify/core"
)

// Invite lets a node join that is no configured peer, or that was removed with its folder whole; with an empty folder a
// configured peer joins by itself. It becomes a learner when it asks, and a voter when it has caught up. An invitation
// counts on the leader and is forgotten when a node restarts: give it to every node, or again.
func (n *Node) Invite(ctx context.Context, id core.NodeID) error {
	if err := checkID(id); err != nil {
		return fmt.Errorf("invite: %w", err)
	}
	return n.call(ctx, func(_ core.Instant, c *core.Core) { c.Invite(id) })
}

// RemoveMember removes a voter or learner, and returns when a majority of those that remain has that configuration
// (PROTOCOL R14). It works on the leader alone, and not for the leader itself: core.ErrNotLeader, core.ErrSelf. It
// returns core.ErrUnsafe when the voters that are left and answer would be no majority, and core.ErrNotMember when there
// is no such member. With ctx ended it may still happen.
func (n *Node) RemoveMember(ctx context.Context, id core.NodeID) error {
	return n.reconfigure(ctx, core.Change{Kind: core.ChangeRemove, Member: core.Member{ID: id}})
}

// DemoteMember makes a voter a learner; otherwise it is like RemoveMember. One that answers is promoted again by itself
// as long as there are fewer voters than Config.MaxNodes.
func (n *Node) DemoteMember(ctx context.Context, id core.NodeID) error {
	return n.reconfigure(ctx, core.Change{Kind: core.ChangeDemote, Member: core.Member{ID: id}})
}

// PromoteMember makes a learner that has caught up a voter (core.ErrNotLevel: it has not); otherwise it is like
// RemoveMember. Automatic promotion ends at Config.MaxNodes voters; this does not.
func (n *Node) PromoteMember(ctx context.Context, id core.NodeID) error {
	return n.reconfigure(ctx, core.Change{Kind: core.ChangePromote, Member: core.Member{ID: id}})
}

// reconfigure tries until the present configuration is settled, makes the change, and waits until that is.
func (n *Node) reconfigure(ctx context.Context, ch core.Change) error {
	again := time.NewTicker(n.tm.Heartbeat / 2)
	defer again.Stop()
	done := false
	for {
		var err error
		called := n.call(ctx, func(now core.Instant, c *core.Core) {
			if done {
				err = c.Settled()
			} else if err = c.Reconfigure(now, ch); err == nil {
				done, err = true, core.ErrReconfiguring
			}
		})
		switch {
		case called != nil:
			return fmt.Errorf("%v %s: %w", ch.Kind, ch.Member.ID, called)
		case err == nil:
			return nil
		case !errors.Is(err, core.ErrReconfiguring):
			return fmt.Errorf("%v %s: %w", ch.Kind, ch.Member.ID, err)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("%v %s: %w (%w)", ch.Kind, ch.Member.ID, ctx.Err(), err)
		case <-n.stopped:
			return fmt.Errorf("%v %s: %w", ch.Kind, ch.Member.ID, ErrClosed)
		}
	}
}
