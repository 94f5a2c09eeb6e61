//go:build faults

package node

import (
	"slices"

	"github.com/baton-ha/baton/node/replication"
	"github.com/baton-ha/baton/raftify/core"
)

// signEarly has a node sign and publish a block when it is appended, not when it is committed.
const signEarly = "R12-early"

// mutant are the rules that were switched off.
type mutant struct{ rules []string }

func (m mutant) broken(rule string) bool { return slices.Contains(m.rules, rule) }

// Break switches rules of this node and of its cores off, by their names there. Call it before Run. Present only in
// builds with the tag `faults`, for chaos runs that must notice.
func (n *Node) Break(rules ...string) {
	n.mutant.rules = append(n.mutant.rules, rules...)
	for _, rule := range rules {
		n.ch.Break(replication.Fault(rule))
	}
	n.raft.Post(func(_ core.Instant, c *core.Core) {
		for _, rule := range rules {
			c.Break(core.Fault(rule))
		}
	})
}
