package raftify

import (
	"errors"
	"testing"

	"github.com/baton-ha/baton/raftify/core"
)

// A leader that is cut off as soon as it has made a change does not know what comes of it, and says so: "not the leader"
// alone would say that nothing was done.
func TestAChangeThatOutlivesItsLeaderIsUnclear(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	c.checkI1()
	eventually(t, "a change that is made by a leader who is then cut off", func() bool {
		leader := c.leader()
		old := c.node(leader).Status().Cfg.Key.Ver
		c.net.mu.Lock()
		c.net.watch = func(from core.NodeID, m core.Message) {
			if from == leader && m.Cfg != nil && m.Cfg.Key.Ver > old {
				c.net.isolate(leader, true)
			}
		}
		c.net.mu.Unlock()
		err := c.node(leader).InviteMember(bounded(t), "x", "")
		switch got := c.node(leader).Status().Cfg.Key.Ver; {
		case errors.Is(err, core.ErrReconfiguring) && errors.Is(err, core.ErrNotLeader):
			return true
		case errors.Is(err, core.ErrNotLeader) && got == old:
			return false // it lost its lead before, as on a busy machine
		default:
			t.Fatalf("version %d after %d: the change comes back with %v", got, old, err)
			return false
		}
	})
}
