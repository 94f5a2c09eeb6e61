//go:build !linux

package raftify

import (
	"time"

	"github.com/baton-ha/baton/raftify/core"
)

// processStart gives the runtime's monotonic clock an origin that all values of systemClock share, as on Linux. It is
// never changed.
var processStart = time.Now()

type systemClock struct{}

// Now reads the runtime's monotonic clock, which also stands in for the boot clock, and the wall clock.
func (systemClock) Now() core.Instant {
	now := time.Now()
	mono := int64(now.Sub(processStart))
	return core.Instant{Mono: mono, Boot: mono, Real: now.UnixNano()}
}
