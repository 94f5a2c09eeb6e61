package raftify

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/baton-ha/baton/raftify/core"
)

func singleNode(t *testing.T) *Node {
	t.Helper()
	cfg := DefaultConfig()
	cfg.ID, cfg.Timing = "only", testTiming()
	n, err := New(Options{Config: cfg, Store: newMemStore(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	return n
}

// Functions given to Do and Post never run at the same time as each other or as the loop, and each goroutine's run in
// its order.
func TestDoExcludesTheLoop(t *testing.T) {
	n := singleNode(t)
	early := make(chan struct{})
	if !n.Do(func(core.Instant, *core.Core) { close(early) }) {
		t.Fatal("refused before the start")
	}
	select {
	case <-early:
		t.Fatal("run before the start")
	default:
	}
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	<-early
	const workers, each = 4, 500
	inside, total := 0, 0 // the race detector sees it if two are inside
	var wg sync.WaitGroup
	for w := range workers {
		last := -1
		wg.Go(func() {
			for i := range each {
				fn := func(core.Instant, *core.Core) {
					inside++
					if inside != 1 {
						t.Errorf("%d at once", inside)
					}
					if i != last+1 {
						t.Errorf("function %d after %d", i, last)
					}
					last = i
					total++
					inside--
				}
				if do := (w+i)%3 != 0; do && !n.Do(fn) || !do && !n.Post(fn) {
					t.Error("refused")
				}
			}
		})
	}
	wg.Wait()
	if err := n.call(bounded(t), func(core.Instant, *core.Core) {}); err != nil {
		t.Fatal(err)
	}
	if total != workers*each {
		t.Errorf("%d of %d functions were called", total, workers*each)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	if n.Do(func(core.Instant, *core.Core) { t.Error("called after Close") }) {
		t.Error("a closed node takes functions")
	}
}

// With nobody in the loop, Do has done it when it returns; a function that calls Do does not wait for itself.
func TestDoOnThisGoroutine(t *testing.T) {
	n := singleNode(t)
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := n.WaitLeader(bounded(t)); err != nil {
		t.Fatal(err)
	}
	for ctx := bounded(t); ; {
		var outer, inner atomic.Bool
		n.Do(func(core.Instant, *core.Core) {
			outer.Store(true)
			n.Do(func(core.Instant, *core.Core) { inner.Store(true) })
		})
		if outer.Load() && inner.Load() {
			return
		}
		if ctx.Err() != nil { // now and then the loop is at work, but not each time
			t.Fatal("never done when Do returned")
		}
	}
}

// A node that stops while others are in its loop is at its end for all of them.
func TestDoMeetsTheEnd(t *testing.T) {
	n := singleNode(t)
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for n.Do(func(_ core.Instant, c *core.Core) { c.Status() }) { // until it is refused
			}
		})
	}
	if _, err := n.WaitLeader(bounded(t)); err != nil {
		t.Error(err)
	}
	n.Fail(errDisk)
	wg.Wait()
	<-n.Stopped()
}
