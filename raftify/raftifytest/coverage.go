package raftifytest

import (
	"strings"

	"github.com/baton-ha/baton/raftify/core"
)

// Branches are the rare branches that a Cluster counts. A run over many seeds that never takes one of them tests less
// than it seems to.
func Branches() []string {
	return []string{
		"leads", "bootstrapped", "handover began", "handover taken up", "handover given up", "handover not taken up",
		"takeover limit", "split vote", "quorum lost", "pre-vote refused by a sticky node", "vote refused by a sticky node",
		"second vote refused", "vote for an old term refused", "older configuration refused", "told a lower term",
		"back-off doubled twice", "vote closed", "read round asked", "read round done", "crash loses writes",
		"crash of a lease holder", "pause of a lease holder", "suspected",
		"killed", "killed a leader", "death noted", "notice replayed", "false notice", "requests carry a notice", "no leases", "stood still", "heartbeat repeated",
		"disk lost", "joined", "change: add", "change: promote", "change: demote", "change: remove", "join refused",
		"restored folder", "restored folder known by its term", "restored folder found",
	}
}

// count notes the branch that an event tells of.
func (c *Cluster) count(n *Node, e core.Event) {
	name := ""
	switch e.Kind {
	case core.EventLeading:
		name = "leads"
	case core.EventElected:
		c.elected++
		if c.handed[e.Term] {
			name = "handover taken up"
		}
	case core.EventBootstrapped:
		name = "bootstrapped"
	case core.EventJoined:
		name = "joined"
	case core.EventJoinRefused:
		name = "join refused"
	case core.EventReconfigured:
		name = "change: " + e.Detail
	case core.EventDied:
		name = "death noted"
	case core.EventRound:
		name = "read round done"
	case core.EventTransfer:
		switch {
		case e.Role == core.RoleLeader && e.Detail == "":
			name = "handover began"
		case e.Role == core.RoleLeader:
			name = "handover given up"
		default:
			c.handed[e.Term+1] = true
		}
	case core.EventStepDown, core.EventRole:
		name = detail(e.Detail, map[string]string{
			"no majority answers": "quorum lost", "takeover makes no": "takeover limit",
			"handover was not": "handover not taken up", "no majority voted": "split vote",
		})
	case core.EventVoteRefused:
		switch {
		case strings.HasPrefix(e.Detail, "pre-vote while"):
			name = "pre-vote refused by a sticky node"
		case strings.Contains(e.Detail, " while "):
			name = "vote refused by a sticky node"
		case strings.Contains(e.Detail, "was given to"):
			name = "second vote refused"
		case strings.HasPrefix(e.Detail, "vote for old term"):
			name = "vote for an old term refused"
		case strings.Contains(e.Detail, "older configuration"):
			name = "older configuration refused"
		}
	default:
	}
	if name != "" {
		c.Count[name]++
	}
	if n.core.Backoff() >= 2 {
		c.Count["back-off doubled twice"]++
	}
}

func detail(d string, names map[string]string) string {
	for prefix, name := range names {
		if strings.HasPrefix(d, prefix) {
			return name
		}
	}
	return ""
}
