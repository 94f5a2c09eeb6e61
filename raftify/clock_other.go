//go:build !linux

package raftify

import (
	"time"

	"github.com/baton-ha/baton/raftify/core"
)

// systemClock counts from start, which gives the runtime's monotonic clock an origin.
type systemClock struct{ start time.Time }

func newSystemClock() systemClock { return systemClock{start: time.Now()} }

// Now reads the runtime's monotonic clock, which also stands in for the boot clock, and the wall clock.
func (s systemClock) Now() core.Instant {
	now := time.Now()
	mono := int64(now.Sub(s.start))
	return core.Instant{Mono: mono, Boot: mono, Real: now.UnixNano()}
}
