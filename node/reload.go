package node

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"

	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/node/api/wire"
	"github.com/baton-ha/baton/node/peer"
	"github.com/baton-ha/baton/raftify"
	"github.com/baton-ha/baton/raftify/core"
)

// ErrOtherPeers is returned by SetPeers when the peers are not those that the node was started with.
var ErrOtherPeers = raftify.ErrOtherPeers

// Reload implements api.AdminBackend by Config.Reload.
func (n *Node) Reload(ctx context.Context, req wire.ReloadRequest) (wire.Reloaded, error) {
	if n.cfg.Reload == nil {
		return wire.Reloaded{}, api.NotReloadable("this node has no configuration to read again")
	}
	return n.cfg.Reload(ctx, req)
}

// SetPeers gives a running node new addresses of its peers: of their links, and of their gossip (gossip and list are as
// raftify.Config has them). Who the peers are, their keys and this node's own addresses stay: ErrOtherPeers, and nothing
// has changed. Connections that work are kept; a new address counts when one is made next. What the cluster pins (`member
// add`) counts more than these addresses. Safe for concurrent use.
func (n *Node) SetPeers(links []peer.Peer, gossip []core.Peer, list []string) error {
	n.reload.Lock()
	defer n.reload.Unlock()
	old := *n.known.Load()
	if len(old) != len(links) {
		return fmt.Errorf("set peers: %w", ErrOtherPeers)
	}
	for _, p := range links {
		i := slices.IndexFunc(old, func(q peer.Peer) bool { return q.ID == p.ID })
		if i < 0 || !old[i].PublicKey.Equal(p.PublicKey) || p.ID == n.cfg.ID && p.Addr != old[i].Addr {
			return fmt.Errorf("set peers: %s: %w", p.ID, ErrOtherPeers)
		}
	}
	if err := n.raft.SetPeers(gossip, list); err != nil {
		return err //nolint:wrapcheck // says what was tried
	}
	links = slices.Clone(links)
	n.known.Store(&links)
	n.raft.Post(func(core.Instant, *core.Core) { n.setPeers(n.seen) })
	return nil
}

// SetGossipKeys makes these the keys of the gossip; see raftify.Node.SetKeys. It fails before Run.
func (n *Node) SetGossipKeys(keys [][]byte) error {
	n.reload.Lock()
	defer n.reload.Unlock()
	return n.raft.SetKeys(keys) //nolint:wrapcheck // says what was tried
}

// SetRateLimit changes the API's limit of requests a second and client address; see api.Config.
func (n *Node) SetRateLimit(perSecond, burst int) { n.server.SetRateLimit(perSecond, burst) }

// SetSyncRate changes how many bytes a second are served to all together that catch up; 0 is no limit. Answers under way go
// on at the new rate.
func (n *Node) SetSyncRate(bytesPerSecond int) { n.syncServer.SetRate(int64(bytesPerSecond)) }

// SetCertificate replaces the API's certificate; api.ErrNoTLS when it was started without one.
func (n *Node) SetCertificate(cert tls.Certificate) error {
	return n.server.SetCertificate(cert) //nolint:wrapcheck // says all
}
