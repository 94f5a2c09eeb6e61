package raftify

import (
	"context"
	"errors"
	"fmt"

	"github.com/baton-ha/baton/raftify/core"
)

// Open makes a node, starts it and waits until it knows a leader: for the first start of a cluster that is until Expect
// nodes have met and elected one. If ctx ends before, the node is closed and the error says so. It is New, Start and
// WaitLeader in one.
func Open(ctx context.Context, opt Options) (*Node, error) {
	n, err := New(opt)
	if err != nil {
		return nil, err
	}
	if err := n.Start(); err != nil { //nolint:contextcheck // it runs until Close; ctx is for the wait only
		return nil, errors.Join(err, n.Close())
	}
	if _, err := n.WaitLeader(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("bootstrap: %w", err), n.Close())
	}
	return n, nil
}

// State is this node's part in the election at the moment; see core.Role.
func (n *Node) State() core.Role { return n.snap.Load().Role }

// Term is the newest term that this node knows of. It never falls, across restarts.
func (n *Node) Term() core.Term { return n.snap.Load().Term }

// Leader is who leads the present term as far as this node knows, "" while it knows of none. It is for forwarding a
// request; who acts on leadership of its own asks Lease or Leadership.
func (n *Node) Leader() core.NodeID { return n.snap.Load().Leader }

// ID is this node's id.
func (n *Node) ID() core.NodeID { return n.cfg.ID }

// HealthScore is how far the gossip trusts this very node's own view of the network: 0 is healthy, each step up means
// that probes go unanswered more than they should, as on an overloaded machine. It decides nothing. 0 without gossip.
func (n *Node) HealthScore() int {
	live, ok := n.liveness()
	if g, is := live.(*gossip); ok && is {
		return g.list.GetHealthScore()
	}
	return 0
}
