package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/node/api/wire"
)

func into[T any](t *testing.T, a answer) T {
	t.Helper()
	var v T
	if a.status != 200 || a.header.Get("Content-Type") != "application/json" {
		t.Fatalf("%d %s %s", a.status, a.header.Get("Content-Type"), a.body)
	}
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("%s: %v", a.body, err)
	}
	return v
}

func TestClusterAndLeaders(t *testing.T) {
	b := newBackend(2)
	base := serve(t, b, nil)
	for _, path := range []string{"/v1/cluster", "/v1/leaders"} {
		if a := do(t, "GET", base+path, ""); strings.Contains(a.body, "null") {
			t.Errorf("%s without anything: %s", path, a.body)
		}
	}
	b.cluster = api.Cluster{Node: "node1", Leader: "node2", Term: 3, LeaseFullMs: 293, Members: []wire.ClusterMember{
		{ID: "node2", Voter: true, Alive: true, HeardMs: 40, RTTMicros: 600, Lag: 2, NodeReport: wire.NodeReport{State: wire.StateLeader, LeaseMs: 200}},
	}}
	b.leaders = api.Leaders{Node: "node1", Spans: []wire.LeaderSpan{{Leader: "node2", Term: 3, From: 1000, Micros: 5}}, Dropped: 7}
	if got := into[api.Cluster](t, do(t, "GET", base+"/v1/cluster", "")); !reflect.DeepEqual(got, b.cluster) {
		t.Errorf("got %+v, want %+v", got, b.cluster)
	}
	if got := into[api.Leaders](t, do(t, "GET", base+"/v1/leaders", "")); !reflect.DeepEqual(got, b.leaders) {
		t.Errorf("got %+v, want %+v", got, b.leaders)
	}
}

func TestRecent(t *testing.T) {
	b := newBackend(5)
	base := serve(t, b, nil)
	get := func(query string) wire.Recent { return into[wire.Recent](t, do(t, "GET", base+"/v1/recent"+query, "")) }
	all := get("")
	if all.Height != 5 || len(all.Blocks) != 5 || len(all.Transactions) != 5 {
		t.Fatalf("%+v", all)
	}
	for i, tx := range all.Transactions {
		f := b.chain[5-i]
		if want := wire.NewBlockEvent(f.Block); !reflect.DeepEqual(all.Blocks[i], want) {
			t.Errorf("block %+v, want %+v", all.Blocks[i], want)
		}
		want := wire.RecentTx{
			Hash: f.Block.Txs[0].Hash(), Height: f.Block.Header.Height, Time: f.Block.Header.TimeMs,
			Payload: string(f.Block.Txs[0].Payload), PayloadBytes: len(f.Block.Txs[0].Payload),
		}
		if tx != want {
			t.Errorf("transaction %+v, want %+v", tx, want)
		}
	}
	if some := get("?blocks=1&transactions=3"); len(some.Blocks) != 1 || len(some.Transactions) != 3 {
		t.Errorf("%+v", some)
	}
	if none := get("?blocks=0&transactions=0"); none.Blocks == nil || len(none.Blocks) != 0 || none.Transactions == nil {
		t.Errorf("%+v", none)
	}
	// A payload is shortened between two characters, and what is not kept any more ends the answer.
	long := block.SignTx(userKey, []byte(strings.Repeat("ä", 1000)))
	b.mu.Lock()
	f := block.Final{Block: block.New(block.Header{ChainID: "test", Height: 6, TimeMs: 2000, ChainVersion: "1"}, []*block.Tx{long, long})}
	b.chain = append(b.chain, f)
	b.mu.Unlock()
	some := get("?transactions=2&blocks=1")
	if tx := some.Transactions[0]; tx.Payload != strings.Repeat("ä", 256) || tx.PayloadBytes != 2000 || tx.Index != 1 || some.Transactions[1].Index != 0 {
		t.Errorf("%+v", some)
	}
	chain := b.chain
	b.final = func(_ context.Context, h block.Height) (block.Final, error) {
		if h < 4 {
			return block.Final{}, fmt.Errorf("block %d: %w", h, api.ErrNotFound)
		}
		return chain[h], nil
	}
	if got := get(""); len(got.Blocks) != 3 || len(got.Transactions) != 4 {
		t.Errorf("%+v", got)
	}
	for _, bad := range []string{"blocks=x", "transactions=-1"} {
		wantError(t, bad, do(t, "GET", base+"/v1/recent?"+bad, ""), 400, "malformed")
	}
}

func TestRecentOfEmptyChain(t *testing.T) {
	base := serve(t, newBackend(0), nil)
	if got := into[wire.Recent](t, do(t, "GET", base+"/v1/recent", "")); got.Height != 0 || len(got.Blocks) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestEventsWithCluster(t *testing.T) {
	b := newBackend(1)
	base := serve(t, b, nil)
	r := openEvents(t, base+"/v1/events?cluster=1", "")
	r.chunk()
	wait(t, b.subscribed)
	publish := func() {
		b.mu.Lock()
		ch := b.watchers[0]
		b.mu.Unlock()
		ch <- &api.Cluster{Node: "node1", Members: []wire.ClusterMember{}}
	}
	b.publish(api.Event{Leader: &wire.LeaderEvent{Leader: "node2", Term: 4}}) // after it, both subscriptions are there
	if got := r.chunk(); !strings.HasPrefix(got, "event: leader\n") {
		t.Errorf("got %q", got)
	}
	publish()
	got := r.chunk()
	data, ok := strings.CutPrefix(got, "event: cluster\ndata: ")
	if !ok {
		t.Fatalf("got %q", got)
	}
	if e, err := wire.ParseEvent(wire.EventCluster, []byte(data)); err != nil || e.Cluster == nil || e.Cluster.Node != "node1" {
		t.Errorf("%+v %v", e, err)
	}
	wantError(t, "cluster=x", do(t, "GET", base+"/v1/events?cluster=x", ""), 400, "malformed")
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := len(b.watchers); n != 1 {
		t.Errorf("%d watch", n)
	}
}

// HEAD must not hold a stream open.
func TestEventsHead(t *testing.T) {
	base := serve(t, newBackend(1), nil)
	for range 2 {
		a := do(t, "HEAD", base+"/v1/events", "")
		if a.status != 200 || a.header.Get("Content-Type") != "text/event-stream" || a.body != "" {
			t.Errorf("%+v", a)
		}
	}
}

// A reader that wants blocks which are not kept any more is told so once, rather than cut off again and again.
func TestEventsOfForgottenBlocks(t *testing.T) {
	b := newBackend(6)
	chain := b.chain
	b.final = func(_ context.Context, h block.Height) (block.Final, error) {
		if h < 4 {
			return block.Final{}, fmt.Errorf("block %d: %w", h, api.ErrNotFound)
		}
		return chain[h], nil
	}
	base := serve(t, b, nil)
	wantError(t, "from=2", do(t, "GET", base+"/v1/events?from=2", ""), 404, "not_found")
	r := openEvents(t, base+"/v1/events?from=5", "")
	r.chunk()
	r.wantBlock(chain[5])
}

func TestPage(t *testing.T) {
	base := serve(t, newBackend(1), nil)
	a := do(t, "GET", base+"/", "")
	if a.status != 200 || !strings.HasPrefix(a.body, "<!doctype html>") {
		t.Fatalf("%d %.100s", a.status, a.body)
	}
	if got := a.header.Get("Content-Type"); got != "text/html; charset=utf-8" {
		t.Errorf("content type %q", got)
	}
	if h := do(t, "HEAD", base+"/", ""); h.status != 200 || h.body != "" || h.header.Get("ETag") != a.header.Get("ETag") {
		t.Errorf("HEAD: %+v", h)
	}
	wantError(t, "POST", do(t, "POST", base+"/", ""), http.StatusMethodNotAllowed, "method_not_allowed")
	wantError(t, "elsewhere", do(t, "GET", base+"/nothing", ""), http.StatusNotFound, "not_found")
	wantError(t, "a folder", do(t, "GET", base+"/page/", ""), http.StatusNotFound, "not_found")

	// A browser asks for all of its files at once.
	slow := serve(t, newBackend(1), func(c *api.Config) { c.RateLimit, c.RateBurst = 1, 1 })
	for range 10 {
		if a := do(t, "GET", slow+"/page/main.js", ""); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}

	off := serve(t, newBackend(1), func(c *api.Config) { c.Page = false })
	for _, path := range []string{"/", "/page/main.js"} {
		wantError(t, path, do(t, "GET", off+path, ""), http.StatusNotFound, "not_found")
	}
}
