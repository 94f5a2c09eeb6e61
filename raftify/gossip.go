package raftify

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/raftify/core"
)

const (
	// maxPacketBytes is the longest message that goes in one UDP packet; with memberlist's frame and encryption it stays
	// below an Ethernet frame. Longer ones take a TCP connection each.
	maxPacketBytes = 1300
	sendQueue      = 1024
	longQueue      = 16 // per node
	tcpTimeout     = 2 * time.Second
	rejoinEvery    = 2 * time.Second
)

// gossip is the transport: one port, encrypted and authenticated with the cluster's key, shared with memberlist. Messages
// that fit go in datagrams of their own, long ones over memberlist's connections. Membership is used to know who seems
// alive, never to decide anything.
type gossip struct {
	id      core.NodeID
	total   int // nodes that the configuration speaks of
	deliver func(core.Message)
	count   *counters
	log     zerolog.Logger
	list    *memberlist.Memberlist
	ring    *memberlist.Keyring
	ringMu  sync.Mutex // of those who change the ring
	seal    *sealer
	sockets *sockets
	names   *resolver
	packets chan outgoing // what may have to wait
	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	long    map[core.NodeID]chan outgoing // of sendLoop alone

	mu     sync.Mutex
	alive  map[core.NodeID]bool
	peers  []core.Peer
	others []string // peer_list addresses that belong to no known peer
}

type outgoing struct {
	to   core.NodeID
	addr string
	b    []byte
	ap   netip.AddrPort // of a datagram that is sealed already
}

func openGossip(cfg *Config, deliver func(core.Message), count *counters, l zerolog.Logger) (*gossip, error) {
	ctx, cancel := context.WithCancel(context.Background())
	g := &gossip{
		id: cfg.ID, deliver: deliver, count: count, log: l, names: newResolver(ctx),
		packets: make(chan outgoing, sendQueue), ctx: ctx, cancel: cancel,
		alive: map[core.NodeID]bool{}, long: map[core.NodeID]chan outgoing{},
	}
	g.lookFor(cfg)
	g.total = max(len(cfg.PeerList), len(g.peers)+1)
	mc, err := g.memberlistConfig(cfg)
	if err != nil {
		cancel()
		return nil, err
	}
	if g.list, err = memberlist.Create(mc); err != nil {
		cancel()
		return nil, errors.Join(err, mc.Transport.Shutdown())
	}
	g.wg.Go(g.sendLoop)
	g.wg.Go(g.joinLoop)
	return g, nil
}

// lookFor says whom to look for from now on.
func (g *gossip) lookFor(cfg *Config) {
	g.mu.Lock()
	defer g.mu.Unlock()
	known := map[string]bool{cfg.addr(): true, cfg.bound(): true}
	g.peers, g.others = nil, nil
	for _, p := range cfg.peers() {
		known[p.Addr] = true
		if p.ID != cfg.ID {
			g.peers = append(g.peers, p)
		}
	}
	for _, a := range cfg.PeerList {
		if !known[a] {
			g.others = append(g.others, a)
		}
	}
}

func (g *gossip) memberlistConfig(cfg *Config) (*memberlist.Config, error) {
	bind, err := lookupOne(g.ctx, cfg.BindAddr, g.names.lookup)
	if err != nil {
		return nil, fmt.Errorf("bind_addr: %w", err)
	}
	mc := memberlist.DefaultLANConfig()
	mc.Name = string(cfg.ID)
	mc.BindAddr, mc.BindPort = bind.String(), cfg.BindPort
	mc.AdvertisePort = cfg.BindPort
	// What memberlist advertises is only for its own probes: our messages go to the configured addresses.
	host, port, err := net.SplitHostPort(cfg.addr())
	if err == nil {
		if ip, err := lookupOne(g.ctx, host, g.names.lookup); err == nil && !ip.IsUnspecified() {
			p, err := net.DefaultResolver.LookupPort(g.ctx, "tcp", port)
			if err != nil {
				return nil, fmt.Errorf("advertise_addr: %w", err)
			}
			mc.AdvertiseAddr, mc.AdvertisePort = ip.String(), p
		} else if err != nil {
			g.log.Warn().Err(err).Str("addr", cfg.addr()).Msg("own address does not resolve")
		}
	}
	bound, ok := netip.AddrFromSlice(net.ParseIP(mc.BindAddr))
	if !ok {
		return nil, fmt.Errorf("bind_addr %s is no address", mc.BindAddr)
	}
	if g.ring, err = memberlist.NewKeyring(cfg.EncryptAlso, cfg.Encrypt); err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	mc.Keyring, g.seal = g.ring, newSealer(g.ring)
	mc.GossipVerifyIncoming, mc.GossipVerifyOutgoing = true, true
	mc.EnableCompression = false
	mc.Logger = newGossipLog(g.log)
	mc.Delegate, mc.Events, mc.Conflict = g, g, g
	mc.TCPTimeout = tcpTimeout
	mc.GossipInterval = 500 * time.Millisecond
	mc.GossipNodes = 2
	mc.PushPullInterval = time.Minute
	mc.DeadNodeReclaimTime = 10 * time.Second // a node may come back at another address
	own := map[string]func([]byte){noticePrefix: g.notice, datagramPrefix: g.datagram}
	if g.sockets, err = listen(netip.AddrPortFrom(bound.Unmap(), uint16(cfg.BindPort)), own, mc.Logger); err != nil {
		return nil, err
	}
	mc.Transport = g.sockets
	return mc, nil
}

// Send implements Transport: a datagram leaves before it returns.
func (g *gossip) Send(to core.NodeID, addr string, m core.Message) {
	b, err := EncodeMessage(&m)
	if err != nil {
		g.count.sendErrors.Add(1)
		g.log.Error().Err(err).Stringer("type", m.Type).Msg("message does not fit the wire")
		return
	}
	o := outgoing{to: to, addr: addr, b: b}
	if len(b) > maxPacketBytes {
		g.queue(g.packets, o)
		return
	}
	var ok bool
	if o.ap, ok = g.names.resolve(addr); !ok {
		g.count.noAddress.Add(1)
		return
	}
	if o.b, err = g.seal.seal(b); err == nil {
		ok, err = g.sockets.send(o.b, o.ap)
	}
	switch {
	case err != nil:
		g.count.sendErrors.Add(1)
	case !ok:
		g.queue(g.packets, o)
	}
}

// queue drops the oldest when there is no room.
func (g *gossip) queue(ch chan outgoing, o outgoing) {
	for {
		select {
		case ch <- o:
			return
		default:
		}
		select {
		case <-ch:
			g.count.overflow.Add(1)
		default:
		}
	}
}

func (g *gossip) sendLoop() {
	for {
		select {
		case <-g.ctx.Done():
			return
		case o := <-g.packets:
			g.sendOne(o)
		}
	}
}

func (g *gossip) sendOne(o outgoing) {
	if !o.ap.IsValid() {
		g.queue(g.longLane(o.to), o)
		return
	}
	if err := g.sockets.wait(o.b, o.ap); err != nil {
		g.count.sendErrors.Add(1)
	}
}

// longLane returns the queue of long messages to a node; each has a goroutine, so that one that hangs holds up nobody
// else. There are as many as nodes with a known address.
func (g *gossip) longLane(to core.NodeID) chan outgoing {
	ch, ok := g.long[to]
	if !ok {
		ch = make(chan outgoing, longQueue)
		g.long[to] = ch
		g.wg.Go(func() {
			for {
				select {
				case <-g.ctx.Done():
					return
				case o := <-ch:
					g.sendLong(o)
				}
			}
		})
	}
	return ch
}

func (g *gossip) sendLong(o outgoing) {
	ap, ok := g.names.resolve(o.addr)
	if !ok {
		g.count.noAddress.Add(1)
		return
	}
	node := &memberlist.Node{Name: string(o.to), Addr: net.IP(ap.Addr().AsSlice()), Port: ap.Port()}
	if err := g.list.SendReliable(node, o.b); err != nil {
		g.count.sendErrors.Add(1)
	}
}

// joinLoop keeps looking for configured peers that memberlist does not know or has forgotten.
func (g *gossip) joinLoop() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-g.ctx.Done():
			return
		case <-timer.C:
		}
		for _, addr := range g.missing() {
			if g.ctx.Err() != nil {
				return
			}
			if _, err := g.list.Join([]string{addr.String()}); err != nil {
				g.log.Debug().Err(err).Stringer("addr", addr).Msg("peer does not answer")
			}
		}
		timer.Reset(rejoinEvery + rand.N(rejoinEvery/2))
	}
}

func (g *gossip) missing() []netip.AddrPort {
	g.mu.Lock()
	var names []string
	for _, p := range g.peers {
		if !g.alive[p.ID] {
			names = append(names, p.Addr)
		}
	}
	if len(g.alive)+1 < g.total {
		names = append(names, g.others...)
	}
	g.mu.Unlock()
	var out []netip.AddrPort
	for _, a := range names {
		if ap, ok := g.names.resolve(a); ok {
			out = append(out, ap)
		}
	}
	return out
}

// Alive implements Liveness.
func (g *gossip) Alive(id core.NodeID) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.alive[id]
}

// Close implements Transport. It does not leave: a node that stops is not a node that goes away.
func (g *gossip) Close() error {
	g.cancel()
	var err error
	if e := g.list.Shutdown(); e != nil {
		err = errors.Join(err, fmt.Errorf("close gossip: %w", e))
	}
	g.wg.Wait()
	g.names.wg.Wait()
	return err
}

// datagram is called with a packet that begins like a message of the election.
func (g *gossip) datagram(b []byte) {
	message, err := g.seal.open(b)
	if err != nil {
		g.count.malformed.Add(1)
		return
	}
	g.NotifyMsg(message)
}

// NotifyMsg is called by memberlist with an authenticated message; b is memberlist's own.
func (g *gossip) NotifyMsg(b []byte) {
	if g.ctx.Err() != nil {
		return
	}
	m, err := DecodeMessage(b)
	if err != nil {
		g.count.malformed.Add(1)
		g.log.Debug().Err(err).Msg("message dropped")
		return
	}
	g.deliver(m)
}

// notice is called with a packet that begins like a death notice.
func (g *gossip) notice(b []byte) {
	d, err := ParseDeath(b)
	if err != nil {
		g.count.malformed.Add(1)
		return
	}
	g.deliver(core.Message{Type: core.MsgDeath, Header: core.Header{From: d.ID, To: g.id}, Dead: &d})
}

// NodeMeta is part of memberlist's delegate; no metadata is gossiped.
func (g *gossip) NodeMeta(int) []byte { return nil }

// GetBroadcasts is part of memberlist's delegate; nothing is gossiped.
func (g *gossip) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState is part of memberlist's delegate; no state is exchanged.
func (g *gossip) LocalState(bool) []byte { return nil }

// MergeRemoteState is part of memberlist's delegate.
func (g *gossip) MergeRemoteState([]byte, bool) {}

// NotifyJoin runs under memberlist's lock: note and return.
func (g *gossip) NotifyJoin(n *memberlist.Node) { g.mark(n.Name, true) }

// NotifyLeave runs under memberlist's lock: note and return.
func (g *gossip) NotifyLeave(n *memberlist.Node) { g.mark(n.Name, false) }

// NotifyUpdate is part of memberlist's delegate.
func (g *gossip) NotifyUpdate(*memberlist.Node) {}

// NotifyConflict tells of two nodes with one id.
func (g *gossip) NotifyConflict(existing, other *memberlist.Node) {
	g.log.Error().Str("id", existing.Name).Stringer("addr", existing.Addr).Stringer("other", other.Addr).
		Msg("two nodes use the same id")
}

func (g *gossip) mark(name string, alive bool) {
	id := core.NodeID(name)
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case id == g.id:
	case alive:
		g.alive[id] = true
	default:
		delete(g.alive, id)
	}
}
