package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/baton-ha/baton/node/api/wire"
	"github.com/baton-ha/baton/node/client"
)

// script is a node whose streams are written out; it notes the Last-Event-ID of each.
type script struct {
	mu      sync.Mutex
	streams []string
	resumed []string
	hold    bool // the last stream stays open and silent, and is there for everybody who asks
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.resumed = append(s.resumed, r.Header.Get("Last-Event-ID"))
	var text string
	more := len(s.streams) > 0
	hold := s.hold && len(s.streams) == 1
	if more {
		text = s.streams[0]
	}
	if more && !hold {
		s.streams = s.streams[1:]
	}
	s.mu.Unlock()
	if !more {
		refuse(503, wire.CodeUnavailable)(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = fmt.Fprint(w, text)
	w.(http.Flusher).Flush()
	if hold {
		<-r.Context().Done()
	}
	panic(http.ErrAbortHandler) // the connection dies
}

func blocks(heights ...int) string {
	var sb strings.Builder
	for _, h := range heights {
		fmt.Fprintf(&sb, "id: %d\nevent: block\ndata: {\"height\":%d}\n\n", h, h)
	}
	return sb.String()
}

// collect reads n events and describes them.
func collect(t *testing.T, c *client.Client, from uint64, n int) string {
	t.Helper()
	var got []string
	for e, err := range c.Events(within(t, 10*time.Second), client.Height(from)) {
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case e.Block != nil:
			got = append(got, fmt.Sprint(e.Block.Height))
		case e.Leader != nil:
			got = append(got, "leader "+e.Leader.Leader)
		default:
			got = append(got, string(e.Type()))
		}
		if len(got) == n {
			break
		}
	}
	return strings.Join(got, ", ")
}

func TestEvents(t *testing.T) {
	s := &script{streams: []string{
		"id: 4\nretry: 1000\n\n" + blocks(5) +
			": still here\n\nevent: leader\ndata: {\"leader\":\"node2\",\ndata: \"term\":4}\n\n" +
			"event: newer\ndata: {}\n\n" + blocks(6) +
			"event: leader\ndata: {\"leader\":\"cut off", // no empty line: not an event
		blocks(6, 7), // one that is known comes again
		blocks(9),    // a gap: this node is not believed
		blocks(8, 9), //
		"event: block\n" + "data: broken\n\n",
		blocks(10),
	}}
	a, b := newNode(t, s.ServeHTTP), newNode(t, s.ServeHTTP)
	c := newClient(t, nil, a.url, deadURL(t), b.url)
	if got := collect(t, c, 0, 7); got != "5, leader node2, 6, 7, 8, 9, 10" {
		t.Errorf("got %s", got)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if got := strings.Join(s.resumed, ","); got != ",6,7,7,9,9" {
		t.Errorf("resumed at %s", got)
	}
	if a.asked.Load() == 0 || b.asked.Load() == 0 {
		t.Error("one node did not take over from the other")
	}
}

// A stream that is cut before its first event goes on from where it began.
func TestEventsResumeBeforeFirst(t *testing.T) {
	s := &script{streams: []string{"id: 4\nretry: 1000\n\n", blocks(5)}}
	if got := collect(t, newClient(t, nil, newNode(t, s.ServeHTTP).url), 0, 1); got != "5" {
		t.Errorf("got %s", got)
	}
	if s.resumed[1] != "4" {
		t.Errorf("resumed at %q", s.resumed)
	}
}

func TestEventsFrom(t *testing.T) {
	s := &script{streams: []string{blocks(1, 2)}}
	if got := collect(t, newClient(t, nil, newNode(t, s.ServeHTTP).url), 1, 2); got != "1, 2" {
		t.Errorf("got %s", got)
	}
	if s.resumed[0] != "0" {
		t.Errorf("resumed at %q", s.resumed)
	}
}

// A node that hangs, with or without having begun, is left.
func TestEventsSilence(t *testing.T) {
	s := &script{streams: []string{blocks(1)}, hold: true}
	healthy := &script{streams: []string{blocks(2)}, hold: true}
	c := newClient(t, func(o *client.Options) { o.StreamSilence = 300 * time.Millisecond },
		newNode(t, s.ServeHTTP).url, newNode(t, hang).url, newNode(t, healthy.ServeHTTP).url)
	if got := collect(t, c, 1, 2); got != "1, 2" {
		t.Errorf("got %s", got)
	}
}

func TestEventsEnd(t *testing.T) {
	n := newNode(t, refuse(400, wire.CodeMalformed))
	seen := 0
	for _, err := range newClient(t, nil, n.url).Events(within(t, 10*time.Second), 0) {
		seen++
		if !client.IsCode(err, wire.CodeMalformed) {
			t.Errorf("got %v", err)
		}
	}
	if seen != 1 {
		t.Errorf("%d errors", seen)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	for _, err := range newClient(t, nil, newNode(t, hang).url, deadURL(t)).Events(ctx, 0) {
		t.Errorf("got %v", err)
	}
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.Error("ended before the context did")
	}
}
