package sync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/blockstore/merkle"
)

// raceAfter is the least time after which what one peer is fetching is fetched from another as well, when nothing else is
// left to do.
const raceAfter = time.Second

// item is a subtree that is to be fetched.
type item struct {
	pos    position
	hash   merkle.Hash
	weight float64 // of the whole state
	parent *split  // nil at the top
	index  int     // among its parent's children

	// Under run.mu:
	attempts []*attempt
	lacks    map[*source]bool
	over     bool             // claimed: by the attempt that was first
	part     *blockstore.Part // begun, and left by an attempt that ended
	nodes    nodeSet          // fetched one by one, likewise
}

// attempt is an item under way from one source.
type attempt struct {
	it     *item
	src    *source
	ctx    context.Context //nolint:containedctx // it is what ends the attempt
	cancel context.CancelFunc
	begun  time.Time
	part   *blockstore.Part
}

// split is a node whose children are items of their own, or were.
type split struct {
	pos     position
	hash    merkle.Hash
	enc     []byte
	ids     []merkle.NodeID // of the children
	missing int
	parent  *split
	index   int
}

// run is one state under way. What is to be fetched is a stack, so that a subtree is finished before another one is begun
// and no more than a few nodes a level wait for their children.
type run struct {
	c    *Client
	t    *blockstore.Transfer
	root block.Hash
	wg   sync.WaitGroup
	over chan struct{} // closed when the run has ended

	mu      sync.Mutex
	todo    []*item // the next one last
	busy    []*item // with attempts
	changed chan struct{}
	sources []*source
	useful  time.Time // when something arrived last
	peak    int       // of todo
	reading int       // attempts that look at what is here, which may take long
	done    bool
	err     error
}

func newRun(c *Client, t *blockstore.Transfer, root block.Hash) *run {
	return &run{
		c: c, t: t, root: root, over: make(chan struct{}), changed: make(chan struct{}), useful: time.Now(),
		todo: []*item{{hash: merkle.Hash(root), weight: 1}},
	}
}

// close waits for the workers, who have been told to end, and drops what they have begun.
func (r *run) close() {
	r.finish(context.Canceled)
	r.wg.Wait()
	r.c.peak = r.peak
	for _, it := range r.todo {
		if it.part != nil {
			_ = it.part.Abort() // the next transfer clears it away in any case
		}
	}
}

// finish ends the run, if it has not ended yet.
func (r *run) finish(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done {
		return
	}
	r.done, r.err = true, err
	close(r.over)
	for _, it := range r.busy {
		for _, a := range it.attempts {
			a.cancel()
		}
	}
	r.wake()
}

func (r *run) wake() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// meet says who is there.
func (r *run) meet(all []*source) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sources = all
}

// state says whether the run is over, and how it ended. It ends a run that nobody can help.
func (r *run) state(now time.Time) (over bool, err error) {
	r.mu.Lock()
	over, err = r.done, r.err
	helpless := !slices.ContainsFunc(r.sources, func(s *source) bool { return !s.isBanned() }) && len(r.sources) > 0
	stuck := now.Sub(r.useful) > r.c.cfg.Patience && r.reading == 0
	r.mu.Unlock()
	if !over && (helpless || stuck) {
		return true, r.c.noPeer()
	}
	return over, err
}

// moved takes note that something arrived that was wanted.
func (r *run) moved(nodes int) {
	r.mu.Lock()
	r.useful = time.Now()
	r.mu.Unlock()
	r.c.progress.change(func(p *Progress) { p.Nodes += uint64(nodes) })
}

// have looks for a subtree in the own store.
func (r *run) have(pos position, hash merkle.Hash) (merkle.NodeID, bool, error) {
	r.reads(1)
	id, ok, err := r.t.Have(pos, hash)
	r.reads(-1)
	return id, ok, stored(err)
}

func (r *run) reads(change int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reading += change
	r.useful = time.Now()
}

// next returns what to fetch next from a source, when there is something; nil when the run or ctx is over.
func (r *run) next(ctx context.Context, s *source) *attempt {
	for {
		now := time.Now()
		wait := s.ready(now)
		r.mu.Lock()
		if r.done || ctx.Err() != nil {
			r.mu.Unlock()
			return nil
		}
		if wait <= 0 {
			wait = raceAfter / 4
			if it := r.pick(s, now); it != nil {
				a := &attempt{it: it, src: s, begun: now}
				a.ctx, a.cancel = context.WithCancel(ctx)
				if len(it.attempts) == 0 {
					r.busy = append(r.busy, it)
					a.part, it.part = it.part, nil
				}
				it.attempts = append(it.attempts, a)
				r.mu.Unlock()
				return a
			}
		}
		changed := r.changed
		r.mu.Unlock()
		t := time.NewTimer(wait)
		select {
		case <-changed:
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
	}
}

// pick takes the next item that the source may have; when there is none, one that another source is slow with.
func (r *run) pick(s *source, now time.Time) *item {
	for i, it := range slices.Backward(r.todo) {
		if !it.lacks[s] {
			r.todo = slices.Delete(r.todo, i, i+1)
			return it
		}
	}
	expected := max(raceAfter, s.expect(r.c.sizes.piece))
	for _, it := range r.busy {
		if it.lacks[s] || it.over || len(it.attempts) != 1 || it.attempts[0].src == s {
			continue
		}
		if now.Sub(it.attempts[0].begun) > expected {
			return it
		}
	}
	return nil
}

// push adds items, to be taken in their order.
func (r *run) push(items ...*item) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, it := range slices.Backward(items) {
		r.todo = append(r.todo, it)
	}
	r.peak = max(r.peak, len(r.todo))
	r.wake()
}

// claim makes an attempt the one that counts, and reports whether it is: of several at one item the first.
func (r *run) claim(a *attempt) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a.it.over {
		return false
	}
	a.it.over = true
	for _, other := range a.it.attempts {
		if other != a {
			other.cancel()
		}
	}
	return true
}

// give notes where a child of a split node is stored, and reports whether it was the last one.
func (r *run) give(up *split, i int, id merkle.NodeID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	invariant(up.ids[i] == 0, "child %d of node %v comes twice", i, up.pos)
	up.ids[i] = id
	up.missing--
	return up.missing == 0
}

// ended takes an attempt back. What it has begun stays for the next one.
func (r *run) ended(a *attempt, err error) {
	lost := a.ctx.Err() != nil // it was called off
	a.cancel()
	it, left := a.it, a.part
	r.mu.Lock()
	it.attempts = slices.DeleteFunc(it.attempts, func(other *attempt) bool { return other == a })
	if !it.over && left != nil && it.part == nil {
		it.part, left = left, nil
	}
	if !lost && errors.Is(err, errLacks) {
		if it.lacks == nil {
			it.lacks = map[*source]bool{}
		}
		it.lacks[a.src] = true
	}
	gone := !it.over && len(it.lacks) > 0 && !slices.ContainsFunc(r.sources, func(s *source) bool { return !it.lacks[s] && !s.isBanned() })
	if len(it.attempts) == 0 {
		r.busy = slices.DeleteFunc(r.busy, func(other *item) bool { return other == it })
		if !it.over {
			r.todo = append(r.todo, it)
		}
	}
	r.wake()
	r.mu.Unlock()
	if left != nil {
		if abortErr := left.Abort(); abortErr != nil {
			err = errors.Join(err, stored(abortErr))
		}
	}
	switch {
	case errors.Is(err, errStore):
		r.finish(err)
	case lost:
	case err == nil:
		a.src.good()
	default:
		a.src.failed(err, time.Now())
	}
	if gone {
		r.finish(fmt.Errorf("%w: %v of %v", ErrGone, it.pos, r.root))
	}
}
