package raftify

import (
	"errors"
	"fmt"
	"slices"

	"github.com/baton-ha/baton/raftify/core"
)

// ErrOtherPeers is returned by SetPeers when the peers are not those that the node was made with.
var ErrOtherPeers = errors.New("other peers than the node was started with")

// SetPeers gives a running node new addresses of its peers: what Config.Peers and Config.PeerList say, as an operator
// changes them. Who the peers are, and this node's own address, stay as they were when it started: ErrOtherPeers. The
// configuration of the cluster is not touched; where its address of a member is another one, both are tried.
func (n *Node) SetPeers(peers []core.Peer, peerList []string) error {
	next := n.cfg
	next.Peers, next.PeerList = slices.Clone(peers), slices.Clone(peerList)
	if err := errors.Join(next.validatePeers()...); err != nil {
		return fmt.Errorf("set peers: %w", err)
	}
	old, now := *addresses(n.cfg.peers()), *addresses(next.peers())
	same := len(old) == len(now) && old[n.cfg.ID] == now[n.cfg.ID]
	for id := range now {
		_, ok := old[id]
		same = same && ok
	}
	if !same {
		return fmt.Errorf("set peers: %w", ErrOtherPeers)
	}
	n.peers.Store(&now)
	if live, ok := n.liveness(); ok {
		if g, ok := live.(*gossip); ok {
			g.lookFor(&next)
		}
	}
	return nil
}

// addresses are those of peers, by id.
func addresses(peers []core.Peer) *map[core.NodeID]string {
	m := make(map[core.NodeID]string, len(peers))
	for _, p := range peers {
		m[p.ID] = p.Addr
	}
	return &m
}
