package demo

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/baton-ha/baton/node/api/wire"
	"github.com/baton-ha/baton/node/client"
)

const (
	// pollEvery is how often each node is asked for its status. Gaps are measured by the clients, not by this.
	pollEvery = 40 * time.Millisecond
	// pollTimeout bounds one question.
	pollTimeout = 2 * time.Second
)

// view is what one node said last.
type view struct {
	status client.Status
	err    error // not answering
	at     time.Time
}

// watcher asks every node for its status all the time. It is safe for concurrent use.
type watcher struct {
	c *cluster

	mu      sync.Mutex
	views   map[string]view
	leaders map[uint64]string // who led each term, as far as was seen
	both    []string          // terms that two nodes led: there must be none
	changed chan struct{}     // closed and replaced at every answer
}

// watch asks until ctx ends; then every goroutine has ended once the returned function returns.
func (c *cluster) watch(ctx context.Context) (*watcher, func(), error) {
	w := &watcher{c: c, views: map[string]view{}, leaders: map[uint64]string{}, changed: make(chan struct{})}
	var wg sync.WaitGroup
	for _, n := range c.nodes {
		cl, err := c.only(n)
		if err != nil {
			return nil, nil, err
		}
		wg.Go(func() { w.poll(ctx, n, cl) })
	}
	return w, wg.Wait, nil
}

func (w *watcher) poll(ctx context.Context, n *node, cl *client.Client) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		ask, cancel := context.WithTimeout(ctx, pollTimeout)
		status, err := cl.StatusOf(ask, n.url)
		cancel()
		if ctx.Err() == nil {
			w.note(n.id, view{status: status, err: err, at: time.Now()})
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (w *watcher) note(id string, v view) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.views[id] = v
	if v.err == nil && v.status.State == wire.StateLeader {
		term := v.status.Term
		if before, seen := w.leaders[term]; seen && before != id {
			w.both = append(w.both, fmt.Sprintf("term %d was led by both %s and %s", term, before, id))
		}
		w.leaders[term] = id
	}
	close(w.changed)
	w.changed = make(chan struct{})
}

// wait returns once ready holds for what is known, or an error that says what was waited for and what every node said
// last. ready is called with the lock held.
func (w *watcher) wait(ctx context.Context, what string, ready func(views map[string]view) bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		w.mu.Lock()
		ok, changed := ready(w.views), w.changed
		w.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w (%s)", what, context.Cause(ctx), w)
		}
	}
}

// leader returns the id and term of the node that leads under a valid lease, after term, "" if none is known.
func leader(views map[string]view, after uint64) (string, uint64) {
	id, term := "", after
	for _, v := range views {
		if v.err == nil && v.status.State == wire.StateLeader && v.status.LeaseMs > 0 && v.status.Term > term {
			id, term = v.status.ID, v.status.Term
		}
	}
	return id, term
}

// awaitLeader returns the leader of a term after the given one.
func (w *watcher) awaitLeader(ctx context.Context, after uint64) (id string, term uint64, err error) {
	err = w.wait(ctx, "a leader", func(views map[string]view) bool {
		id, term = leader(views, after)
		return id != ""
	})
	return id, term, err
}

// leaderNow returns who leads, "" if nobody is known to.
func (w *watcher) leaderNow() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	id, _ := leader(w.views, 0)
	return id
}

// pid returns the process id that a node last said it has.
func (w *watcher) pid(id string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.views[id].status.PID
}

// awaitOtherPID returns the process id of n once it is another one than before.
func (w *watcher) awaitOtherPID(ctx context.Context, n *node, before int) (pid int, err error) {
	err = w.wait(ctx, n.id+" in another process", func(views map[string]view) bool {
		v := views[n.id]
		pid = v.status.PID
		return v.err == nil && pid != before
	})
	return pid, err
}

// height returns the greatest final height that any node has spoken of.
func (w *watcher) height() (h client.Height) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, v := range w.views {
		h = max(h, v.status.Height)
	}
	return h
}

// awaitHeight returns when n has spoken of final height h at a time after since.
func (w *watcher) awaitHeight(ctx context.Context, n *node, h client.Height, since time.Time) error {
	return w.wait(ctx, fmt.Sprintf("%s to reach height %d", n.id, h), func(views map[string]view) bool {
		v := views[n.id]
		return v.err == nil && v.at.After(since) && v.status.Height >= h && v.status.Leader != ""
	})
}

// awaitLevel returns when all nodes answer, and with the same tip.
func (w *watcher) awaitLevel(ctx context.Context, since time.Time) error {
	return w.wait(ctx, "all nodes at the same tip", func(views map[string]view) bool {
		first := views[w.c.nodes[0].id].status
		for _, n := range w.c.nodes {
			v := views[n.id]
			if v.err != nil || !v.at.After(since) || v.status.Height != first.Height || v.status.TipHash != first.TipHash {
				return false
			}
		}
		return true
	})
}

// awaitReady returns when n answers 200 to /readyz.
func (w *watcher) awaitReady(ctx context.Context, n *node) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.url+"/readyz", nil)
		if err != nil {
			return err
		}
		resp, err := w.c.http.Do(req)
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for %s to be ready: %w (%s)", n.id, context.Cause(ctx), w)
		}
	}
}

// led returns the terms that had a leader, ascending, and what must never be: a term with two.
func (w *watcher) led() (terms []uint64, both []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Keys(w.leaders)), slices.Clone(w.both)
}

// String is what every node said last.
func (w *watcher) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	parts := make([]string, 0, len(w.c.nodes))
	for _, n := range w.c.nodes {
		switch v := w.views[n.id]; {
		case v.at.IsZero():
			parts = append(parts, n.id+" was not asked")
		case v.err != nil:
			parts = append(parts, n.id+" does not answer")
		default:
			s := v.status
			parts = append(parts, fmt.Sprintf("%s is %s in term %d at height %d", n.id, s.State, s.Term, s.Height))
		}
	}
	return strings.Join(parts, ", ")
}
