package node

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/baton-ha/baton/node/api/wire"
)

func member(t *testing.T, c *wire.Cluster, id string) wire.ClusterMember {
	t.Helper()
	for _, m := range c.Members {
		if m.ID == id {
			return m
		}
	}
	t.Fatalf("no %s in %+v", id, c.Members)
	return wire.ClusterMember{}
}

// Each node tells of all: who leads, under how long a lease, and how far everybody is; also after the leader has gone.
func TestOutlook(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.startAll()
	lead := c.leader()
	ctx := t.Context()
	c.submit(lead, 0)
	// knows reports whether node i sees all that is up as it is.
	knows := func(i int, up ...int) bool {
		all := c.nodes[i].Cluster()
		leaders := 0
		for _, j := range up {
			m := member(t, &all, c.cfgs[j].ID)
			if !m.Alive || m.HeardMs < 0 || m.Height != 1 || m.Lag != 0 || m.Tip != 1 || !m.Ready || m.Health != "ok" || m.API != c.url(j) {
				return false
			}
			if m.State == wire.StateLeader && m.ID == all.Leader && m.LeaseMs > 0 && m.LeaseMs <= all.LeaseFullMs {
				leaders++
			}
		}
		return leaders == 1 && all.Node == c.cfgs[i].ID && all.Height == 1 && len(all.Members) == 3
	}
	for i := range c.nodes {
		c.until("every node knows how all are", func() bool { return knows(i, 0, 1, 2) })
	}

	watcher := 0
	c.until("the watcher sees who leads", func() bool {
		lead = c.leader()
		watcher = (lead + 1) % 3
		return c.nodes[watcher].Cluster().Leader == c.cfgs[lead].ID
	})
	watch, stopWatching := context.WithCancel(ctx)
	defer stopWatching()
	told := c.nodes[watcher].WatchCluster(watch)
	gone := c.cfgs[lead].ID
	c.stop(lead)
	for all := range told {
		m := member(t, all, gone)
		if all.Leader != "" && all.Leader != gone && !m.Alive {
			break
		}
	}
	if ctx.Err() != nil {
		t.Fatal("the watcher was never told of another leader")
	}
	spans := c.nodes[watcher].Leaders().Spans
	c.until("the timeline has both leaders", func() bool {
		spans = c.nodes[watcher].Leaders().Spans
		last := spans[len(spans)-1]
		return last.Leader != "" && last.Leader != gone
	})
	if first := spans[0]; first.Leader != "" {
		t.Errorf("a node that starts knows no leader: %+v", first)
	}
	ruled := false
	for i, s := range spans {
		ruled = ruled || s.Leader == gone
		if i > 0 && (s.Term < spans[i-1].Term || s.Leader == spans[i-1].Leader && s.Term == spans[i-1].Term) {
			t.Errorf("span %d of %+v", i, spans)
		}
	}
	if !ruled {
		t.Errorf("%s led and is not in %+v", gone, spans)
	}

	stopWatching()
	for range told { // it is closed in the end
	}
	c.until("nobody watches", func() bool { return !c.nodes[watcher].outlook.watchers.some() })
	late := c.nodes[watcher].WatchCluster(ctx)
	c.stop(watcher)
	for range late { // a node that stops closes it
	}
}

// The page is there unless it is switched off.
func TestPageIsServed(t *testing.T) {
	c := newCluster(t, 1, func(cfg *Config) { cfg.API.Page = cfg.ID != "node1" })
	c.startAll()
	resp, err := http.Get(c.url(0) + "/") //nolint:noctx // a test's own node
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read only for its status
	if resp.StatusCode != http.StatusNotFound || !strings.Contains(resp.Header.Get("Content-Type"), "json") {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
}
