package sync

import (
	"context"
	"sync"
	"time"
)

// rate spreads bytes over time: so many a second, a tenth of a second's worth at once.
type rate struct {
	mu       sync.Mutex
	perSec   int64         // 0: no limit
	next     time.Time     // when what was taken so far is used up
	changed  chan struct{} // closed by set
	nowClock func() time.Time
}

func newRate(perSec int64) *rate {
	return &rate{perSec: perSec, changed: make(chan struct{}), nowClock: time.Now}
}

func (r *rate) set(perSec int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.perSec, r.next = perSec, time.Time{}
	close(r.changed)
	r.changed = make(chan struct{})
}

// reserve takes n bytes and returns how long to wait before they may be sent.
func (r *rate) reserve(n int) (time.Duration, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.perSec <= 0 {
		return 0, r.changed
	}
	now := r.nowClock()
	if floor := now.Add(-time.Second / 10); r.next.Before(floor) {
		r.next = floor
	}
	r.next = r.next.Add(time.Duration(int64(n) * int64(time.Second) / r.perSec))
	return r.next.Sub(now), r.changed
}

// wait takes n bytes and returns when they may be sent, or ctx's error.
func (r *rate) wait(ctx context.Context, n int) error {
	d, changed := r.reserve(n)
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-changed:
	case <-ctx.Done():
	}
	return ctx.Err()
}
