//go:build faults

package node

import (
	"fmt"
	"os"

	"github.com/baton-ha/baton/raftify"
	"github.com/baton-ha/baton/raftify/core"
)

// clock returns the machine's clocks, or ones that jump as the file BATON_CLOCK says: two numbers of nanoseconds that are
// added to the wall clock and to the one that goes on during sleep. Chaos runs write it; the machine's clocks stay alone.
func (n *Node) clock() raftify.Clock {
	path := os.Getenv("BATON_CLOCK")
	if path == "" {
		return raftify.SystemClock()
	}
	return warpedClock{raftify.SystemClock(), path}
}

type warpedClock struct {
	under raftify.Clock
	path  string
}

// Now implements raftify.Clock. It reads the file each time: a process that was stopped must see at once what happened to
// its clock meanwhile. A file that is not there says nothing.
func (c warpedClock) Now() core.Instant {
	now := c.under.Now()
	var wall, asleep int64
	if data, err := os.ReadFile(c.path); err == nil {
		if _, err := fmt.Sscanf(string(data), "%d %d\n", &wall, &asleep); err == nil {
			now.Real += wall
			now.Boot += asleep
		}
	}
	return now
}
