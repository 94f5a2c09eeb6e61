package raftify

import "github.com/baton-ha/baton/raftify/core"

// Clock reads the machine's clocks. Now may be called by any goroutine at any time and must not block.
type Clock interface {
	// Now returns the monotonic clock, the one that goes on while the machine sleeps, and the wall clock.
	Now() core.Instant
}

// SystemClock returns the clocks of this machine. All values of it share one origin for the life of the process.
func SystemClock() Clock { return systemClock{} }
