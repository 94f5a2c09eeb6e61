package raftify

import (
	"errors"
	"slices"
	"testing"

	"github.com/baton-ha/baton/raftify/core"
)

// voters waits until node n knows a configuration with just these voters.
func (c *cluster) voters(n core.NodeID, want ...core.NodeID) {
	c.t.Helper()
	eventually(c.t, "the voters", func() bool { return slices.Equal(c.node(n).Status().Cfg.Voters(), want) })
}

// leave has a node leave; on a machine that stands still another voter may not have answered lately, and is waited for.
func (c *cluster) leave(id core.NodeID) {
	c.t.Helper()
	ctx := bounded(c.t)
	eventually(c.t, string(id)+" leaves", func() bool {
		err := c.node(id).Leave(ctx)
		if err != nil && !errors.Is(err, core.ErrUnsafe) && !errors.Is(err, core.ErrUnreachable) && !errors.Is(err, ErrTransferFailed) {
			c.t.Fatal(err)
		}
		return err == nil
	})
}

func TestLeave(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	c.checkI1()
	first := c.leader()
	follower := core.NodeID("a")
	if first == follower {
		follower = "b"
	}
	others := slices.DeleteFunc([]core.NodeID{"a", "b", "c"}, func(id core.NodeID) bool { return id == follower })
	c.leave(follower)
	for _, id := range c.ids {
		c.voters(id, others...)
	}
	if pin, _ := c.node(follower).Status().Cfg.Pin(follower); pin.State != core.PinHeld {
		t.Errorf("it has left, its pin is %v", pin.State)
	}
	eventually(t, "a learner", func() bool { return c.node(follower).Status().Role == core.RoleLearner })
	if err := c.node(follower).Leave(bounded(t)); err != nil {
		t.Errorf("what has left leaves again: %v", err)
	}
	// The next one is whoever leads: it hands over first. Then one voter is left, which can give its vote to nobody.
	leader := c.leader()
	c.leave(leader)
	last := slices.DeleteFunc(others, func(id core.NodeID) bool { return id == leader })[0]
	for _, id := range c.ids {
		c.voters(id, last)
	}
	if got := c.leader(); got != last {
		t.Errorf("%s leads, %s is the only voter", got, last)
	}
	if err := c.node(last).Leave(bounded(t)); err == nil {
		t.Error("the last voter left")
	}
}

// Who is needed for the majority stays, and is told so.
func TestLeaveUnsafe(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	leader := c.leader()
	others := slices.DeleteFunc([]core.NodeID{"a", "b", "c"}, func(id core.NodeID) bool { return id == leader })
	if err := c.node(others[0]).Close(); err != nil {
		t.Fatal(err)
	}
	n := c.node(leader)
	eventually(t, "a silent voter, or another leader", func() bool {
		silent := false
		err := n.call(bounded(t), func(now core.Instant, k *core.Core) {
			d, ever := k.LastHeard(now, others[0])
			silent = !ever || d > n.tm.MinElection
		})
		return err == nil && silent
	})
	// The leader may change: with two of three voters left neither may go.
	ctx := bounded(t)
	eventually(t, "a refusal to leave", func() bool {
		err := c.node(others[1]).Leave(ctx)
		if err == nil {
			t.Error("left")
		}
		return err == nil || errors.Is(err, core.ErrUnsafe)
	})
	if got := c.node(others[1]).Status().Cfg.Voters(); len(got) != 3 {
		t.Errorf("voters %v", got)
	}
}
