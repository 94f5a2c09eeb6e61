package client

import (
	"context"
	"fmt"
	"time"

	"github.com/baton-ha/baton/node/api/wire"
)

// target is one node during one call.
type target struct {
	index   int
	tries   int
	busy    bool
	readyAt time.Time // not asked again before
}

// result is what one attempt came to.
type result[T any] struct {
	target *target
	value  T
	err    error
}

// call is one request on its way to a final answer. It belongs to the goroutine of anyNode.
type call[T any] struct {
	c       *Client
	reads   bool // the request changes nothing
	attempt func(ctx context.Context, base string) (T, error)
	targets []*target
	results chan result[T] // as many as targets: an attempt never waits for its reader
	busy    int

	// hedgeAt is when the next node is asked although others are still working.
	hedgeAt time.Time
	// maybeTaken is set once a node may have acted on the request.
	maybeTaken bool
	last       error
}

// anyNode runs attempt on one node after the other, and beside each other when one is silent, until an answer is final
// or ctx ends; the error is then [ErrUnavailable] or, unless the request only reads, [ErrUnknownOutcome]. attempt must be safe to repeat and to run on
// several nodes at a time.
func anyNode[T any](
	ctx context.Context, c *Client, reads bool, attempt func(ctx context.Context, base string) (T, error),
) (T, error) {
	running, cancel := context.WithCancel(ctx)
	defer cancel() // ends the attempts that are no longer needed

	r := &call[T]{c: c, reads: reads, attempt: attempt, results: make(chan result[T], len(c.urls))}
	first := int(c.next.Load() % uint64(len(c.urls)))
	for i := range c.urls {
		r.targets = append(r.targets, &target{index: (first + i) % len(c.urls)})
	}
	for ctx.Err() == nil {
		next, wait := r.soonest()
		if next != nil && wait <= 0 {
			r.start(running, next)
			continue
		}
		var wake <-chan time.Time // nil, for ever, when all nodes are busy
		if next != nil {
			wake = time.After(wait)
		}
		select {
		case <-wake:
		case <-ctx.Done():
		case got := <-r.results:
			if r.take(got) {
				return got.value, r.settle(got.err)
			}
		}
	}
	// The attempts end with their context. One may have brought the answer in the last instant.
	for r.busy > 0 {
		if got := <-r.results; r.take(got) {
			return got.value, r.settle(got.err)
		}
	}
	var zero T
	return zero, r.ended(ctx.Err())
}

// soonest returns the idle node that is asked next and how long until then, nil when all are busy. Among equals the
// order of targets counts.
func (r *call[T]) soonest() (*target, time.Duration) {
	var best *target
	for _, t := range r.targets {
		if !t.busy && (best == nil || t.readyAt.Before(best.readyAt)) {
			best = t
		}
	}
	if best == nil {
		return nil, 0
	}
	at := best.readyAt
	if r.busy > 0 && at.Before(r.hedgeAt) {
		at = r.hedgeAt // somebody is working on it: leave them the time
	}
	return best, time.Until(at)
}

// start begins an attempt on t.
func (r *call[T]) start(ctx context.Context, t *target) {
	t.busy = true
	t.tries++
	r.busy++
	r.hedgeAt = time.Now().Add(r.c.opts.Hedge)
	go func() {
		ctx, cancel := context.WithTimeout(ctx, r.c.opts.AttemptTimeout)
		defer cancel()
		value, err := r.attempt(ctx, r.c.urls[t.index])
		r.results <- result[T]{t, value, err}
	}()
}

// take notes what an attempt came to and reports whether it is the answer.
func (r *call[T]) take(got result[T]) bool {
	t := got.target
	t.busy = false
	r.busy--
	switch judge(got.err) {
	case final:
		r.c.next.Store(uint64(t.index))
		return true
	case unknown:
		r.maybeTaken = !r.reads
	case notTaken:
	}
	r.last = fmt.Errorf("%s: %w", r.c.urls[t.index], got.err)
	t.readyAt = time.Now().Add(r.c.backoff(t.tries-1, got.err))
	r.hedgeAt = time.Now() // one that failed need not be left alone
	return false
}

// settle completes a final answer: a refusal that another state would not have given says whether a copy may be around.
func (r *call[T]) settle(err error) error {
	if (r.maybeTaken || r.busy > 0) && (IsCode(err, wire.CodeRejected) || IsCode(err, wire.CodeBadNonce)) {
		return fmt.Errorf("%w; %w", err, ErrEarlierAttempt)
	}
	return err
}

// ended is the error when there was no final answer before ctx's end.
func (r *call[T]) ended(ctxErr error) error {
	kind := ErrUnavailable
	if r.maybeTaken {
		kind = ErrUnknownOutcome
	}
	if r.last == nil {
		return fmt.Errorf("%w: %w", kind, ctxErr)
	}
	return fmt.Errorf("%w: %w; last: %w", kind, ctxErr, r.last)
}
