package cluster

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/baton-ha/baton/node/api/wire"
	"github.com/baton-ha/baton/node/client"
)

// Sample is what a node said of itself at one moment.
type Sample struct {
	At     time.Time
	Up     bool // it answered
	State  wire.State
	Term   uint64
	Leader string
	Lease  bool
	Height uint64
}

// Watcher asks all nodes for their status. Make it with [Watch].
type Watcher struct {
	c  *Cluster
	cl *client.Client

	mu      sync.Mutex
	last    []Sample
	status  []client.Status
	history [][]Sample // by node, only changes
	terms   map[uint64]string
	twice   []string // terms with two leaders
	wg      sync.WaitGroup
}

const (
	watchEvery   = 100 * time.Millisecond
	watchTimeout = 500 * time.Millisecond
)

// Watch begins to ask, until ctx ends.
func Watch(ctx context.Context, c *Cluster) (*Watcher, error) {
	cl, err := client.New(c.URLs(), client.Options{HTTP: &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute}, Timeout: watchTimeout,
	}})
	if err != nil {
		return nil, err
	}
	w := &Watcher{
		c: c, cl: cl, last: make([]Sample, len(c.Nodes)), status: make([]client.Status, len(c.Nodes)),
		history: make([][]Sample, len(c.Nodes)), terms: map[uint64]string{},
	}
	for _, n := range c.Nodes {
		w.wg.Go(func() { w.watch(ctx, n) })
	}
	return w, nil
}

// Wait returns when the watcher has ended.
func (w *Watcher) Wait() { w.wg.Wait() }

func (w *Watcher) watch(ctx context.Context, n *Node) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		s := Sample{At: time.Now()}
		st, err := w.cl.StatusOf(ctx, n.API)
		if err == nil {
			s.Up, s.State, s.Term, s.Leader = true, st.State, st.Term, st.Leader
			s.Lease, s.Height = st.LeaseMs > 0, uint64(st.Height)
		}
		if ctx.Err() != nil {
			return
		}
		w.note(n, s, st)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (w *Watcher) note(n *Node, s Sample, st client.Status) {
	w.mu.Lock()
	defer w.mu.Unlock()
	last := w.last[n.Index]
	w.last[n.Index] = s
	if s.Up {
		w.status[n.Index] = st
	}
	if s.Up && s.State == wire.StateLeader {
		if old, ok := w.terms[s.Term]; ok && old != n.ID {
			w.twice = append(w.twice, fmt.Sprintf("%s and %s were both seen to lead term %d", old, n.ID, s.Term))
		}
		w.terms[s.Term] = n.ID
	}
	h := last
	h.At, h.Height = s.At, s.Height
	if h != s || len(w.history[n.Index]) == 0 {
		w.history[n.Index] = append(w.history[n.Index], s)
	}
}

// Last returns what each node said last.
func (w *Watcher) Last() []Sample {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]Sample(nil), w.last...)
}

// Status returns a node's last answer.
func (w *Watcher) Status(i int) client.Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.status[i]
}

// History returns, by node, every sample that differed from the one before it in more than its height.
func (w *Watcher) History() [][]Sample {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([][]Sample, len(w.history))
	for i := range out {
		out[i] = append([]Sample(nil), w.history[i]...)
	}
	return out
}

// Terms returns who was seen to lead each term, and the terms that two nodes were seen to lead.
func (w *Watcher) Terms() (map[uint64]string, []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[uint64]string{}
	maps.Copy(out, w.terms)
	return out, append([]string(nil), w.twice...)
}

// Leader returns the node that holds a lease of the greatest term, as far as was heard in the last second; nil if none.
func (w *Watcher) Leader() *Node {
	w.mu.Lock()
	defer w.mu.Unlock()
	best := -1
	for i, s := range w.last {
		if s.Up && s.Lease && time.Since(s.At) < time.Second && (best < 0 || s.Term > w.last[best].Term) {
			best = i
		}
	}
	if best < 0 {
		return nil
	}
	return w.c.Nodes[best]
}
