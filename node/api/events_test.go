package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/node/api/wire"
)

type eventReader struct {
	t    *testing.T
	body io.ReadCloser
	r    *bufio.Reader
}

// openEvents opens a stream and waits until the server has subscribed to what comes.
func openEvents(t *testing.T, url, lastID string) *eventReader {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	tr := &http.Transport{DisableKeepAlives: true}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		data, err := io.ReadAll(resp.Body)
		t.Fatalf("%d %s %v", resp.StatusCode, data, err)
	}
	return &eventReader{t, resp.Body, bufio.NewReader(resp.Body)}
}

// chunk returns the lines up to the next empty one.
func (r *eventReader) chunk() string {
	r.t.Helper()
	var sb strings.Builder
	for {
		line, err := r.r.ReadString('\n')
		if err != nil {
			r.t.Fatalf("after %q: %v", sb.String(), err)
		}
		if line == "\n" {
			return sb.String()
		}
		sb.WriteString(line)
	}
}

func (r *eventReader) wantBlock(f block.Final) {
	r.t.Helper()
	data, err := json.Marshal(wire.NewBlockEvent(f.Block))
	if err != nil {
		r.t.Fatal(err)
	}
	want := fmt.Sprintf("id: %d\nevent: block\ndata: %s\n", f.Block.Header.Height, data)
	if got := r.chunk(); got != want {
		r.t.Errorf("got %q, want %q", got, want)
	}
}

func blockEvent(f block.Final) api.Event { return api.Event{Block: wire.NewBlockEvent(f.Block)} }

func TestEvents(t *testing.T) {
	b := newBackend(3)
	base := serve(t, b, nil)
	r := openEvents(t, base+"/v1/events", "")
	if got := r.chunk(); got != "id: 3\nretry: 1000\n" {
		t.Errorf("begins with %q", got)
	}
	wait(t, b.subscribed)
	b.publish(blockEvent(b.chain[2])) // old: not sent again
	b.publish(blockEvent(b.grow()))
	r.wantBlock(b.chain[4])
	b.publish(api.Event{Leader: &wire.LeaderEvent{Leader: "node2", Term: 4}})
	b.publish(api.Event{TxFailed: &wire.TxFailedEvent{Hash: block.Hash{1}, Code: wire.CodeRejected, Message: "no\nmoney"}})
	b.publish(api.Event{Member: &wire.MemberEvent{ID: "node3", Change: "demoted", Alive: true, ConfigVersion: 2}})
	for _, want := range []string{
		"event: leader\ndata: {\"leader\":\"node2\",\"term\":4}\n",
		fmt.Sprintf("event: tx_failed\ndata: {\"hash\":\"%s\",\"code\":\"rejected\",\"message\":\"no\\nmoney\"}\n", block.Hash{1}),
		"event: member\ndata: {\"id\":\"node3\",\"change\":\"demoted\",\"voter\":false,\"alive\":true,\"config_version\":2}\n",
	} {
		if got := r.chunk(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	// Blocks that the subscription did not tell of come from the chain.
	b.grow()
	b.grow()
	b.publish(blockEvent(b.grow()))
	for h := 5; h <= 7; h++ {
		r.wantBlock(b.chain[h])
	}
	// The backend drops the reader: the stream ends.
	close(b.subs[0].events)
	if rest, err := io.ReadAll(r.r); err != nil || len(rest) > 0 {
		t.Errorf("%q %v", rest, err)
	}
}

func TestEventsResume(t *testing.T) {
	b := newBackend(6)
	base := serve(t, b, nil)
	r := openEvents(t, base+"/v1/events", "4")
	wait(t, b.subscribed)
	r.chunk()
	r.wantBlock(b.chain[5])
	r.wantBlock(b.chain[6])
	r = openEvents(t, base+"/v1/events?from=1", "")
	wait(t, b.subscribed)
	if got := r.chunk(); !strings.HasPrefix(got, "id: 0\n") {
		t.Errorf("begins with %q", got)
	}
	for h := 1; h <= 6; h++ {
		r.wantBlock(b.chain[h])
	}
	// A reader that comes from a node which is ahead hears of nothing twice.
	r = openEvents(t, base+"/v1/events", "8")
	r.chunk()
	wait(t, b.subscribed)
	var grown []block.Final
	for range 3 {
		grown = append(grown, b.grow())
	}
	b.mu.Lock()
	third := b.subs[2]
	b.mu.Unlock()
	for _, f := range grown {
		third.events <- blockEvent(f)
	}
	r.wantBlock(b.chain[9])
	for _, bad := range []string{"from=x", "from=0", "from=-1"} {
		wantError(t, bad, do(t, "GET", base+"/v1/events?"+bad, ""), 400, "malformed")
	}
}

func TestEventsHeartbeatAndLimit(t *testing.T) {
	b := newBackend(0)
	base := serve(t, b, func(c *api.Config) {
		c.Heartbeat = 60 * time.Millisecond
		c.MaxStreams = 1
		// Shorter than the stream lives: it must not end with them.
		c.HeaderTimeout, c.BodyTimeout, c.WriteTimeout = 400*time.Millisecond, 400*time.Millisecond, 400*time.Millisecond
	})
	r := openEvents(t, base+"/v1/events", "")
	r.chunk()
	for range 10 {
		if got := r.chunk(); !strings.HasPrefix(got, ":") {
			t.Errorf("got %q", got)
		}
	}
	wantError(t, "second stream", do(t, "GET", base+"/v1/events", ""), 429, "overloaded")
	_ = r.body.Close()
	for { // its slot becomes free again, within the test's time
		req, err := http.NewRequestWithContext(t.Context(), "GET", base+"/v1/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode == 200 {
			return
		}
	}
}

// A reader that takes nothing is cut once the buffers between are full.
func TestEventsSlowReader(t *testing.T) {
	b := newBackend(0)
	base := serve(t, b, func(c *api.Config) { c.WriteTimeout = 100 * time.Millisecond })
	conn := dial(t, base)
	say(t, conn, "GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
	wait(t, b.subscribed)
	e := api.Event{TxFailed: &wire.TxFailedEvent{Message: strings.Repeat("x", 1<<20)}}
	for range 1000 {
		select {
		case b.subs[0].events <- e:
		case <-b.subs[0].ctx.Done():
			wantClosed(t, conn)
			return
		}
	}
	t.Fatal("1000 MiB were sent to a reader that reads nothing")
}
