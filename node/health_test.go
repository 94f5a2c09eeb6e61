package node

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-ha/baton/node/api/wire"
	"github.com/baton-ha/baton/raftify/core"
)

// A leader whose application says that it cannot work hands over to the one that can, and stays when none can.
func TestUnhealthyLeaderHandsOver(t *testing.T) {
	var sick [3]atomic.Bool
	c := newCluster(t, 3, func(cfg *Config) {
		i := int(cfg.ID[4] - '1')
		cfg.Health = func(context.Context) error {
			if sick[i].Load() {
				return errors.New("the licence server is away")
			}
			return nil
		}
	})
	c.startAll()
	lead := c.leader()
	other, well := (lead+1)%3, (lead+2)%3
	unfit := func(i int) {
		sick[i].Store(true)
		c.until("the node says so", func() bool { return strings.Contains(c.nodes[i].Status().Health, "licence server") })
		c.until("its leader was told", func() bool { return c.nodes[i].raft.Status().Fitness == core.Unfit })
	}
	unfit(other)
	unfit(lead)
	c.until("the healthy node leads", func() bool { return c.nodes[well].Leading() })
	c.submit(lead, 0)
	// Nobody hands over to a node that says that it should not lead.
	c.until("the leader knows and refuses", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		err := c.nodes[c.leader()].LeaderTransfer(ctx, c.cfgs[other].ID)
		return err != nil && strings.Contains(err.Error(), "not fit to lead")
	})
	unfit(well)
	// Each election from now on would be a needless one; a machine that stalls may cause some all the same.
	term := c.nodes[c.leader()].Status().Term
	ended := time.After(10 * c.cfgs[0].Raftify.Timings().MinElection)
	<-ended
	if now := c.nodes[c.leader()].Status().Term; now > term+4 {
		t.Errorf("%d elections among unhealthy nodes", now-term)
	}
	c.submit(c.leader(), 1)
	sick[other].Store(false)
	c.until("the one that is well again leads", func() bool { return c.nodes[other].Leading() })
	if h := c.nodes[other].Status().Health; h != "ok" {
		t.Errorf("health %q", h)
	}
	c.submit(other, 2)
}

// A node without room does not stand, and one with little hands over.
func TestFreeSpace(t *testing.T) {
	dir := t.TempDir()
	if err := freeSpace(dir, 1); err != nil {
		t.Error(err)
	}
	if err := freeSpace(dir, 1<<62); !errors.Is(err, errNoSpace) {
		t.Error(err)
	}
	if err := freeSpace(filepath.Join(dir, "none"), 1); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	c := newCluster(t, 3, func(cfg *Config) {
		if cfg.ID == "node1" {
			cfg.Limits.FreeBytes = 1 << 62
		}
	})
	c.startAll()
	c.until("a node with room leads", func() bool { return c.nodes[1].Leading() || c.nodes[2].Leading() })
	c.until("the other says why not", func() bool { return strings.Contains(c.nodes[0].Status().Health, "no free space") })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c.until("it is refused the lead", func() bool {
		err := c.nodes[c.leader()].LeaderTransfer(ctx, "node1")
		return err != nil && strings.Contains(err.Error(), "not fit to lead")
	})
	wantAPIError(t, c.nodes[c.leader()].LeaderTransfer(ctx, "node1"), 422, wire.CodeRejected)
}

// A node that stops is not elected again while it lets requests end, whatever is found about its health meanwhile; it votes to
// the end, and one that nobody can replace stops as well.
func TestStoppingNodeDoesNotStand(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.startAll()
	lead := c.leader()
	other, third := (lead+1)%3, (lead+2)%3
	c.submit(lead, 0)
	n := c.nodes[other]
	n.health.leave(t.Context())
	n.health.set(nil)
	if err := n.raft.Turned(t.Context()); err != nil {
		t.Fatal(err)
	}
	if f := n.raft.Status().Fitness; f != core.Unable {
		t.Errorf("a node that is about to stop says that it is %v", f)
	}
	c.stop(lead) // the other two are a majority, and one of them does not lead
	c.until("the third node leads", func() bool { return c.nodes[third].Leading() })
	c.submit(third, 1)
	for _, i := range []int{third, other} {
		n := c.nodes[i]
		c.stop(i)
		if f := n.raft.Status().Fitness; f != core.Unable {
			t.Errorf("node%d has stopped and could have been elected while it did: %v", i+1, f)
		}
	}
}

func TestProbeDisk(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		if err := probeDisk(dir); err != nil {
			t.Fatal(err)
		}
	}
	if err := probeDisk(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder that went away: %v", err)
	}
}

// A check that hangs is a bad answer, is asked once, and is believed again when it answers.
func TestCheckThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var asked atomic.Int32
		c := check{every: time.Second, fn: func(context.Context) error { asked.Add(1); <-release; return nil }}
		var err error
		for range 20 {
			if err = c.ask(t.Context()); err != nil {
				break
			}
			time.Sleep(healthEvery) //nolint:forbidigo // fake clock
		}
		if err == nil || asked.Load() != 1 {
			t.Fatalf("asked %d times, last answer %v", asked.Load(), err)
		}
		close(release)
		synctest.Wait()
		if err := c.ask(t.Context()); err != nil {
			t.Errorf("it answered, and says %v", err)
		}
		time.Sleep(2 * time.Second) //nolint:forbidigo // fake clock
		if err := c.ask(t.Context()); err != nil || asked.Load() != 2 {
			t.Errorf("asked %d times, %v", asked.Load(), err)
		}
		c.finish()
	})
}
