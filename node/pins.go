package node

import (
	"crypto/ed25519"
	"fmt"
	"net"
	"strconv"

	"github.com/baton-ha/baton/node/api/wire"
	"github.com/baton-ha/baton/node/chain"
	"github.com/baton-ha/baton/node/peer"
	"github.com/baton-ha/baton/raftify/core"
)

// pinInfo is what `member add` says about a node and every processor has to know to let it in. It travels as
// core.Pin.Info, in the election's configuration: durable on a majority before the command returns, under every later
// leader, and on a node that was away when it next hears of the cluster. A record of its own would need all that again.
type pinInfo struct {
	key    ed25519.PublicKey
	peer   string // host:port of its peer link
	gossip string // host:port of its gossip
}

const maxPinAddrBytes = 200

func (p pinInfo) encode() string {
	return string(encode([]byte(p.key), []byte(p.peer), []byte(p.gossip)))
}

func decodePin(info string) (pinInfo, error) {
	d := newReader([]byte(info), 3)
	p := pinInfo{key: make(ed25519.PublicKey, ed25519.PublicKeySize)}
	d.fixed(p.key)
	p.peer, p.gossip = string(d.bytes(maxPinAddrBytes)), string(d.bytes(maxPinAddrBytes))
	return p, d.end()
}

// peersOf are the nodes that may connect: the configured ones and those that the configuration pins, without those that
// it bars. What an operator said to the cluster counts more than a file.
func (n *Node) peersOf(cfg core.Config) []peer.Peer {
	pinned := map[string]core.Pin{}
	for _, p := range cfg.Pins {
		pinned[string(p.ID)] = p
	}
	var out []peer.Peer
	for _, p := range *n.known.Load() {
		if pin, ok := pinned[p.ID]; !ok || p.ID == n.cfg.ID || pin.State != core.PinBarred && pin.Info == "" {
			out = append(out, p)
			delete(pinned, p.ID)
		}
	}
	for _, pin := range cfg.Pins {
		if _, ok := pinned[string(pin.ID)]; !ok || pin.Info == "" || pin.State == core.PinBarred || string(pin.ID) == n.cfg.ID {
			continue
		}
		info, err := decodePin(pin.Info)
		if err != nil {
			n.log.Error().Err(err).Str("member", string(pin.ID)).Msg("pin of a member is not readable: it cannot connect")
			continue
		}
		out = append(out, peer.Peer{ID: string(pin.ID), Addr: info.peer, PublicKey: info.key})
	}
	return out
}

// setPeers gives the link the nodes that may connect now. Owner loop.
func (n *Node) setPeers(cfg core.Config) {
	peers := n.peersOf(cfg)
	if err := n.link.SetPeers(peers); err != nil {
		n.log.Error().Err(err).Msg("the configuration's peers are not usable: those of before stay")
		return
	}
	n.peerSet.Store(&peers)
}

// peers are the nodes that may connect at present.
func (n *Node) peers() []peer.Peer {
	if p := n.peerSet.Load(); p != nil {
		return *p
	}
	return *n.known.Load()
}

// pinOf reads what an operator says about a node and checks it against the nodes that are known. The empty pin is the
// one of a configured peer of which nothing new is said.
func (n *Node) pinOf(cfg core.Config, req wire.MemberRequest) (pinInfo, error) {
	known := n.peersOf(core.Config{Pins: cfg.Pins})
	var own *peer.Peer
	for _, p := range *n.known.Load() {
		if p.ID == req.ID {
			own = &p
		}
	}
	pin, _ := cfg.Pin(core.NodeID(req.ID))
	if req.Key == "" {
		switch {
		case req.Addr != "" || req.PeerAddr != "":
			return pinInfo{}, fmt.Errorf("an address of %s without its key: name both", req.ID)
		case own == nil && pin.Info == "":
			return pinInfo{}, fmt.Errorf("%q is not among the peers of %s, which leads: name its key and address", req.ID, n.cfg.ID)
		}
		return pinInfo{}, nil
	}
	public, err := chain.ParsePublicKey(req.Key)
	if err != nil {
		return pinInfo{}, fmt.Errorf("key %.80q is not a public key of %d hex digits", req.Key, 2*ed25519.PublicKeySize)
	}
	key := ed25519.PublicKey(public[:])
	for _, p := range known {
		if p.PublicKey.Equal(key) && p.ID != req.ID {
			return pinInfo{}, fmt.Errorf("key %s is that of %s", req.Key, p.ID)
		}
	}
	info := pinInfo{key: key, gossip: req.Addr, peer: req.PeerAddr}
	if info.peer == "" && own != nil && own.PublicKey.Equal(key) {
		info.peer = own.Addr
	}
	if info.peer == "" {
		if info.peer, err = nextPort(req.Addr); err != nil {
			return pinInfo{}, fmt.Errorf("gossip address %.80q: %w", req.Addr, err)
		}
	}
	for _, addr := range []string{info.peer, info.gossip} {
		if _, err := nextPort(addr); err != nil && addr != "" || len(addr) > maxPinAddrBytes {
			return pinInfo{}, fmt.Errorf("address %.80q: want host:port", addr)
		}
	}
	return info, nil
}

// nextPort is the address of the peer link where it follows the gossip's, as `baton init` lays them out.
func nextPort(addr string) (string, error) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil || host == "" {
		return "", fmt.Errorf("want host:port")
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 || port == 65535 {
		return "", fmt.Errorf("want a port from 1 to 65534, not %q", text)
	}
	return net.JoinHostPort(host, strconv.FormatUint(port+1, 10)), nil
}
