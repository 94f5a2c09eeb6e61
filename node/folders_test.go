package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/baton-ha/baton/raftify"
	"github.com/baton-ha/baton/raftify/core"
)

// An old backup of a data folder in its place: the node refuses to start with it, however often it is tried, and comes back
// with an empty one as a new incarnation that has none of the old rights.
func TestRestoredBackupIsRefused(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.startAll()
	lead := c.leader()
	c.submit(lead, 0)
	who := (lead + 1) % 3
	old := c.nodes[who].raft.Status().Inc
	c.stop(who)
	backup := filepath.Join(c.dir, "backup")
	if err := os.CopyFS(backup, os.DirFS(c.cfgs[who].DataDir)); err != nil {
		t.Fatal(err)
	}
	c.start(who)
	c.submit(who, 1)
	c.stop(who)
	c.cfgs[who].DataDir = backup
	for range 3 {
		n, err := New(c.cfgs[who])
		if err == nil {
			_ = n.Close()
		}
		if !errors.Is(err, ErrOldFolder) || !strings.Contains(err.Error(), backup) || !strings.Contains(err.Error(), "empty it") {
			t.Fatalf("error %v", err)
		}
	}
	c.cfgs[who].DataDir = filepath.Join(c.dir, "fresh")
	c.start(who)
	c.until("the new incarnation votes", func() bool {
		m, _ := c.config().Member(core.NodeID(c.cfgs[who].ID))
		return m.Voter && m.Inc != old
	})
	c.submit(who, 2)
	c.settled()
}

// alarms is how often a node asked for an operator.
func (n *testNode) alarms(t *testing.T) float64 {
	t.Helper()
	families, err := n.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "baton_alarms_total" {
			return f.Metric[0].Counter.GetValue()
		}
	}
	return 0
}

// Two machines are set up as one node. The one that is a member stays one, the cluster goes on and says what is wrong; the
// other never gets in while the first lives, and does when it is gone.
func TestTwoNodesOfOneID(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.startAll()
	lead := c.leader()
	c.submit(lead, 0)
	who := (lead + 1) % 3
	inc := c.nodes[who].raft.Status().Inc
	host, _, err := net.SplitHostPort(c.cfgs[who].Peer.Listen)
	if err != nil {
		t.Fatal(err)
	}
	ports := freePorts(t, host, 2)
	twin := c.cfgs[who]
	twin.DataDir, twin.StateDir = filepath.Join(c.dir, "twin"), filepath.Join(c.dir, "twin")
	if err := os.MkdirAll(twin.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	twin.Peer.Listen = fmt.Sprintf("%s:%d", host, ports[0])
	twin.Peer.Peers, twin.Raftify.Peers = slices.Clone(twin.Peer.Peers), slices.Clone(twin.Raftify.Peers)
	twin.Peer.Peers[who].Addr = twin.Peer.Listen
	twin.Raftify.BindPort = ports[1]
	twin.Raftify.Peers[who].Addr = fmt.Sprintf("%s:%d", host, ports[1])
	c.cfgs, c.nodes = append(c.cfgs, twin), append(c.nodes, nil)
	c.start(3)
	c.until("somebody asks for an operator", func() bool {
		sum := 0.0
		for _, n := range c.nodes[:3] {
			sum += n.alarms(t)
		}
		return sum > 0
	})
	for nonce := range uint64(5) {
		c.submit(lead, nonce+1)
	}
	if m, _ := c.config().Member(core.NodeID(twin.ID)); m.Inc != inc || !m.Voter {
		t.Errorf("%s is %+v in the configuration, its incarnation was %v", twin.ID, m, inc)
	}
	c.stop(3)
	c.until("the first is undisturbed", func() bool { return c.nodes[who].Ready() == nil })
	c.submit(who, 6)
	c.settled()
}

// Both folders of a node are put back to what they were, so that nothing of its own tells it how old they are: the others
// do. It ends with a message that says what happened and what to do, and never starts with them again; with an empty data
// folder it comes back as another incarnation.
func TestRestoredDataAndStateAreFound(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.startAll()
	lead := c.leader()
	c.submit(lead, 0)
	who := (lead + 1) % 3
	old := c.nodes[who].raft.Status().Inc
	c.stop(who)
	dirs := map[string]string{c.cfgs[who].DataDir: filepath.Join(c.dir, "data.backup"), c.cfgs[who].StateDir: filepath.Join(c.dir, "state.backup")}
	for dir, backup := range dirs {
		if err := os.CopyFS(backup, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
	}
	c.start(who)
	for nonce := range uint64(3) {
		c.submit(who, nonce+1)
	}
	c.stop(who)
	for dir, backup := range dirs {
		if err := errors.Join(os.RemoveAll(dir), os.CopyFS(dir, os.DirFS(backup))); err != nil {
			t.Fatal(err)
		}
	}
	n, err := New(c.cfgs[who])
	if err != nil {
		t.Fatalf("its own folders say nothing: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err = n.Run(ctx)
	if ctx.Err() != nil {
		t.Fatal("it runs with old folders")
	}
	for range 3 {
		for _, part := range []string{c.cfgs[who].DataDir, "restored from a backup", "empty it"} {
			if !errors.Is(err, raftify.ErrStaleFolder) || !strings.Contains(err.Error(), part) {
				t.Fatalf("error %v", err)
			}
		}
		if n, err = New(c.cfgs[who]); err == nil {
			_ = n.Close()
		}
	}
	if err := errors.Join(os.RemoveAll(c.cfgs[who].DataDir), os.Mkdir(c.cfgs[who].DataDir, 0o700)); err != nil {
		t.Fatal(err)
	}
	c.start(who)
	c.until("the new incarnation votes", func() bool {
		m, _ := c.config().Member(core.NodeID(c.cfgs[who].ID))
		return m.Voter && m.Inc != old
	})
	c.submit(who, 4)
	c.settled()
}
