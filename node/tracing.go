package node

import (
	"github.com/baton-ha/baton/node/replication"
	"github.com/baton-ha/baton/node/trace"
	"github.com/baton-ha/baton/raftify/core"
)

// tracedChain tells the trace what the election core hands to the chain alone.
type tracedChain struct {
	*replication.Chain
	t *trace.Writer
}

func (c tracedChain) Elected(now core.Instant, term core.Term, reports []core.Report) {
	c.t.Elected(term, reports)
	c.Chain.Elected(now, term, reports)
}

// hook is what the election core calls.
func (n *Node) hook() core.Hook {
	if n.cfg.Trace == nil {
		return n.ch
	}
	return tracedChain{n.ch, n.cfg.Trace}
}

// traceStart tells with what this process begins. Nothing runs yet.
func (n *Node) traceStart() {
	if n.cfg.Trace == nil {
		return
	}
	synced, tip, hash := n.store.Mark()
	if tip == 0 {
		hash = n.finals.genesis.Hash()
	}
	n.cfg.Trace.Start(core.NodeID(n.cfg.ID), n.raft.Status(), core.Term(synced),
		replication.Ref{Height: tip, Hash: hash}, n.ch.Commit())
	n.cfg.Trace.Flush()
}

// traceElection returns what is told of the election core, nil without a trace.
func (n *Node) traceElection() func(core.Ready) {
	if n.cfg.Trace == nil {
		return nil
	}
	return n.cfg.Trace.Election
}

// traceChain tells what the chain wants done before any of it is.
func (n *Node) traceChain(c *core.Core, r *replication.Ready) {
	if n.cfg.Trace != nil {
		n.cfg.Trace.Chain(core.NodeID(n.cfg.ID), c.Status().Role == core.RoleLeader, r)
	}
}

// traceStep ends a step's part of the trace: what follows is sent.
func (n *Node) traceStep(now core.Instant, c *core.Core) {
	if n.cfg.Trace != nil {
		n.cfg.Trace.Stepped(now, c.Status().Lease, n.ch.Commit())
		n.cfg.Trace.Flush()
	}
}
