package raftify

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/baton-ha/baton/raftify/core"
)

type systemClock struct{}

// Now reads CLOCK_MONOTONIC, CLOCK_BOOTTIME and CLOCK_REALTIME.
func (systemClock) Now() core.Instant {
	mono := gettime(unix.CLOCK_MONOTONIC, 0)
	return core.Instant{Mono: mono, Boot: gettime(unix.CLOCK_BOOTTIME, mono), Real: time.Now().UnixNano()}
}

// gettime returns a clock's nanoseconds, and otherwise when the kernel does not have that clock. A kernel either
// always has one or never, so the origin stays fixed.
func gettime(id int32, otherwise int64) int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(id, &ts); err != nil {
		return otherwise
	}
	return ts.Nano()
}
