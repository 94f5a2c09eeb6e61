package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net"
	"syscall"
	"time"

	"github.com/baton-ha/baton/raftify"
	"github.com/baton-ha/baton/raftify/core"
)

// DeathNotice returns what tells the other nodes that this very start of this node has ended, signed with its own key
// (PROTOCOL R23a). It is for a supervisor, which sends it in one UDP packet to each of NoticeTargets when it has seen this
// process exit, and never otherwise: until then it is a secret.
func (n *Node) DeathNotice() []byte { return raftify.SignDeath(n.cfg.Peer.Key, n.raft.Death()) }

// NoticeTargets returns the gossip addresses, host:port, of all other nodes that this one knows.
func (n *Node) NoticeTargets() []string {
	var out []string
	for _, m := range n.raft.Members() {
		if !m.Self && m.Addr != "" {
			out = append(out, n.raft.Addr(m.ID))
		}
	}
	return out
}

// Turned returns when the owner loop has taken a turn since the call, or with an error when ctx ends first: whoever
// watches over this process can tell a busy node from a stuck one.
func (n *Node) Turned(ctx context.Context) error { return n.raft.Turned(ctx) }

// peerKey is the key that a death notice of a node must be signed with.
func (n *Node) peerKey(id core.NodeID) ed25519.PublicKey {
	for _, p := range n.peers() {
		if p.ID == string(id) {
			return p.PublicKey
		}
	}
	return nil
}

// probe connects to the leader, the link to which was lost a moment ago. That it refuses is a hint that its process has
// ended (PROTOCOL R23b); silence says nothing.
func (n *Node) probe(id string) {
	ctx, cancel := context.WithTimeout(n.ctx, n.cfg.Raftify.Timings().MinElection)
	defer cancel()
	again := time.NewTicker(n.cfg.Raftify.Timings().Heartbeat)
	defer again.Stop()
	// The port may close a moment after the connection.
	for string(n.raft.Status().Leader) == id {
		refused, err := n.refuses(ctx, id)
		if refused {
			n.raft.Suspect(core.NodeID(id))
			return
		}
		if err == nil || ctx.Err() != nil {
			return
		}
		select {
		case <-again.C:
		case <-ctx.Done():
		}
	}
}

// refuses reports whether a peer's host refuses connections to the port of its peer link.
func (n *Node) refuses(ctx context.Context, id string) (bool, error) {
	for _, p := range n.peers() {
		if p.ID != id {
			continue
		}
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", p.Addr)
		if err == nil {
			return false, conn.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED), err
	}
	return false, nil
}
