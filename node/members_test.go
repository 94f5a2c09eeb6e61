package node

import (
	"context"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/baton-ha/baton/node/api/wire"
	"github.com/baton-ha/baton/raftify/core"
)

func (c *cluster) voters() []core.NodeID {
	for _, n := range c.nodes {
		if n != nil && n.Leading() {
			return n.raft.Status().Cfg.Voters()
		}
	}
	return nil
}

// submit sends a transaction and waits until it is final.
func (c *cluster) submit(i int, nonce uint64) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := c.nodes[i].Submit(ctx, c.transfer(0, nonce, pub(c.users[1]), "1")); err != nil {
		c.t.Fatalf("nonce %d: %v", nonce, err)
	}
}

// A node whose data folder was emptied comes back as another incarnation: a learner that fetches the chain, and then a
// voter. The cluster can then do without another node.
func TestFreshDiskRejoins(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.startAll()
	lead := c.leader()
	for nonce := range uint64(100) {
		c.submit(lead, nonce)
	}
	away := (lead + 1) % 3
	old := c.nodes[away].raft.Status().Inc
	c.stop(away)
	c.cfgs[away].DataDir = filepath.Join(c.dir, "fresh")
	c.start(away)
	c.until("the new incarnation votes", func() bool {
		s := c.nodes[away].raft.Status()
		m, _ := s.Cfg.Member(s.Leader)
		me, _ := s.Cfg.Member(core.NodeID(c.cfgs[away].ID))
		return m.Voter && me.Voter && me.Inc == s.Inc && me.Inc != old
	})
	c.settled()
	c.stop(lead)
	c.submit(c.leader(), 100)
}

// An operator takes a node out, and two are left; the node does not come back until it is added again.
func TestMemberRemoveAndAdd(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.startAll()
	lead := c.leader()
	who, asked := (lead+1)%3, (lead+2)%3
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	id := c.cfgs[who].ID
	if err := c.nodes[asked].MemberChange(ctx, wire.MemberRemove, id); err != nil {
		t.Fatal(err)
	}
	c.until("two voters", func() bool { return len(c.voters()) == 2 && !slices.Contains(c.voters(), core.NodeID(id)) })
	c.submit(c.leader(), 0)
	ended := time.After(10 * c.cfgs[0].Raftify.Timings().MinElection)
	<-ended
	if v := c.voters(); slices.Contains(v, core.NodeID(id)) {
		t.Fatalf("%s came back by itself: %v", id, v)
	}
	if err := c.nodes[asked].MemberChange(ctx, wire.MemberAdd, id); err != nil {
		t.Fatal(err)
	}
	c.until("it votes again", func() bool { return slices.Contains(c.voters(), core.NodeID(id)) })
	if err := c.nodes[asked].MemberChange(ctx, wire.MemberAdd, "nobody"); err == nil {
		t.Error("an unknown node was added")
	}
}
