package trace

import (
	"golang.org/x/sys/unix"

	"github.com/baton-ha/baton/raftify/core"
)

// monotonic reads the clock that all processes of a machine share.
func monotonic() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0
	}
	return ts.Nano()
}

// since returns the time from now, a reading of the same clock, to at.
func since(now core.Instant, at int64) int64 { return max(at-now.Mono, 0) }
