package sync

import (
	"sync"
	"time"
)

// hold keeps stored states while somebody fetches them, within bounds: not when nobody asks for a while, and not for ever.
type hold struct {
	take      func() (release func()) // nil: nothing to hold
	idle, max time.Duration

	mu      sync.Mutex
	release func() // nil while nothing is held
	since   time.Time
	last    time.Time
	pause   time.Time // nothing is held before
	timer   *time.Timer
	closed  bool
}

// touch is called for each request that needs a stored state.
func (h *hold) touch(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.take == nil || h.closed {
		return
	}
	h.last = now
	if h.release != nil || now.Before(h.pause) {
		return
	}
	h.release, h.since = h.take(), now
	h.timer = time.AfterFunc(min(h.idle, h.max), h.look)
}

// look releases what nobody needs, or what was held for too long.
func (h *hold) look() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.release == nil {
		return
	}
	now := time.Now()
	left := min(h.idle-now.Sub(h.last), h.max-now.Sub(h.since))
	if left > 0 {
		h.timer.Reset(left)
		return
	}
	if now.Sub(h.since) >= h.max {
		h.pause = now.Add(h.idle)
	}
	h.let()
}

func (h *hold) let() {
	if h.release != nil {
		h.timer.Stop()
		h.release()
		h.release = nil
	}
}

func (h *hold) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	h.let()
}
