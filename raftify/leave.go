package raftify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/baton-ha/baton/raftify/core"
)

// Leave has this node give up its vote for good (PROTOCOL R16), so that the others need one voter less for a majority:
// what a program does that is to be taken out of the cluster, before Shutdown. If the node leads it hands over first. Leave
// asks the leader over the network, again until it answers, and returns once no change of leader can undo it. The node is
// a learner then, which is not promoted by itself: PromoteMember or InviteMember on the leader end that, RemoveMember takes
// it out altogether.
//
// It returns core.ErrUnsafe when the voters that are left and answer would be no majority, core.ErrTooManyPins when the
// configuration has no room to say so, core.ErrNotMember when this node is no member, an error of Transfer, or that of
// ctx, in which case it may still happen.
func (n *Node) Leave(ctx context.Context) error {
	events, end := n.Events()
	defer end()
	again := time.NewTicker(n.tm.Heartbeat)
	defer again.Stop()
	for {
		var err error
		if called := n.call(ctx, func(now core.Instant, c *core.Core) { err = c.Leave(now) }); called != nil {
			return fmt.Errorf("leave: %w", called)
		}
		if errors.Is(err, core.ErrSelf) {
			if err = n.Transfer(ctx, ""); errors.Is(err, core.ErrTransferring) || errors.Is(err, ErrNotLeader) {
				err = nil // another handover is under way, or the leadership is lost already
			}
		}
		if err != nil {
			return fmt.Errorf("leave: %w", err)
		}
		if done, err := n.left(ctx, events, again.C); done || err != nil {
			return err
		}
	}
}

// left waits for the leader's answer until it is time to ask again.
func (n *Node) left(ctx context.Context, events <-chan core.Event, again <-chan time.Time) (bool, error) {
	for {
		select {
		case e, ok := <-events:
			switch {
			case !ok:
				return false, fmt.Errorf("leave: %w", ErrClosed)
			case e.Kind != core.EventLeave:
			case e.Detail == "":
				return true, nil
			case e.Detail == core.ErrUnsafe.Error():
				return false, fmt.Errorf("leave: %w", core.ErrUnsafe)
			default:
				return false, fmt.Errorf("leave: %w", core.ErrTooManyPins)
			}
		case <-again:
			return false, nil
		case <-ctx.Done():
			return false, fmt.Errorf("leave: %w", ctx.Err())
		}
	}
}
