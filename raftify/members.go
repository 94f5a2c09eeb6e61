package raftify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/baton-ha/baton/raftify/core"
)

// InviteMember lets a node join that is no configured peer, or that was removed, with or without its folder; one that
// left is promoted again. info is the application's (core.Pin); "" keeps what is known. The invitation stands in the
// configuration: it is as durable as the members are and holds under any leader. Otherwise it is like RemoveMember.
func (n *Node) InviteMember(ctx context.Context, id core.NodeID, info string) error {
	if err := checkID(id); err != nil {
		return fmt.Errorf("invite: %w", err)
	}
	return n.reconfigure(ctx, core.Change{Kind: core.ChangeInvite, Member: core.Member{ID: id}, Info: info})
}

// RemoveMember removes a voter or learner, or takes an invitation back, and bars the id until it is invited again. It
// returns when a majority of those that remain has that configuration (PROTOCOL R14). It works on the leader alone, and
// not for the leader itself: core.ErrNotLeader, core.ErrSelf. It returns core.ErrUnsafe when the voters that are left and
// answer would be no majority, and core.ErrNotMember when there is no such member. With core.ErrReconfiguring, which says
// that the leadership ended meanwhile, or with ctx ended, it may still happen.
func (n *Node) RemoveMember(ctx context.Context, id core.NodeID) error {
	return n.reconfigure(ctx, core.Change{Kind: core.ChangeRemove, Member: core.Member{ID: id}})
}

// DemoteMember makes a voter a learner; otherwise it is like RemoveMember. One that answers is promoted again by itself
// as long as there are fewer voters than Config.MaxNodes.
func (n *Node) DemoteMember(ctx context.Context, id core.NodeID) error {
	return n.reconfigure(ctx, core.Change{Kind: core.ChangeDemote, Member: core.Member{ID: id}})
}

// LeaveMember makes a voter a learner that is not promoted by itself: PromoteMember and InviteMember end that. Otherwise
// it is like RemoveMember.
func (n *Node) LeaveMember(ctx context.Context, id core.NodeID) error {
	return n.reconfigure(ctx, core.Change{Kind: core.ChangeLeave, Member: core.Member{ID: id}})
}

// PromoteMember makes a learner that has caught up a voter (core.ErrNotLevel: it has not); otherwise it is like
// RemoveMember. Automatic promotion ends at Config.MaxNodes voters; this does not.
func (n *Node) PromoteMember(ctx context.Context, id core.NodeID) error {
	return n.reconfigure(ctx, core.Change{Kind: core.ChangePromote, Member: core.Member{ID: id}})
}

// reconfigure tries until the present configuration is settled, makes the change, and waits until that is. A leadership
// that ends between the two leaves open what comes of the change: no later one of this node says.
func (n *Node) reconfigure(ctx context.Context, ch core.Change) error {
	again := time.NewTicker(n.tm.Heartbeat / 2)
	defer again.Stop()
	made := core.Term(0) // the term of the change, once it is made
	for {
		var err error
		called := n.call(ctx, func(now core.Instant, c *core.Core) {
			s := c.Status()
			switch {
			case made == 0:
				if err = c.ReconfigureAnswered(now, ch); err == nil {
					made, err = s.Term, core.ErrReconfiguring
				}
			case s.Term == made:
				err = c.Settled()
			default:
				err = core.ErrNotLeader
			}
		})
		switch {
		case called != nil:
			return fmt.Errorf("%v %s: %w", ch.Kind, ch.Member.ID, called)
		case err == nil:
			return nil
		case errors.Is(err, core.ErrReconfiguring):
		case made != 0:
			return fmt.Errorf("%v %s: %w: %w since the change was made", ch.Kind, ch.Member.ID, core.ErrReconfiguring, err)
		default:
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
