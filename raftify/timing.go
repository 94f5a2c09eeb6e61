package raftify

import (
	"time"

	"github.com/baton-ha/baton/raftify/core"
)

// TimingOf returns the timings of a performance level, 1 being the fastest: an election timeout of 300 ms and a heartbeat
// of 50 ms a level.
//
// How they were chosen: what unseats a leader without a fault is a machine that does not run its processes in time.
// With `baton demo` (three nodes and their clients) on a 2-core virtual machine that other work kept at a load average
// of 10 to 12, the leader changed up to twice in 10 seconds with a timeout of 200 ms, and not at all with 300 ms; a
// killed leader was replaced after 190 to 300 ms and 320 to 385 ms. At a load average of 24, with 64 clients, there were 12,
// 5 and 2 such changes in 12 seconds with 200, 300 and 450 ms: a machine that is overloaded like that wants level 2.
// A heartbeat is a sixth of the timeout, so that several in a row must be missed.
func TimingOf(performance int) core.Timing {
	t := core.DefaultTiming(performance)
	p := time.Duration(max(performance, 1))
	t.MinElection, t.Heartbeat = 300*time.Millisecond*p, 50*time.Millisecond*p
	return t
}
