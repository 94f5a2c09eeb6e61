package raftify

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/raftify/core"
)

// freePorts returns ports of a loopback address that are free for UDP and TCP at this moment.
func freePorts(t *testing.T, host string, n int) []int {
	t.Helper()
	var ports []int
	for len(ports) < n {
		l, err := net.Listen("tcp", host+":0") //nolint:noctx // closed below
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() //nolint:errcheck // a test's
		port := l.Addr().(*net.TCPAddr).Port
		p, err := net.ListenPacket("udp", fmt.Sprintf("%s:%d", host, port)) //nolint:noctx // closed below
		if err != nil {
			continue
		}
		defer p.Close() //nolint:errcheck // a test's
		ports = append(ports, port)
	}
	return ports
}

// gossipCluster is real nodes on loopback: memberlist below, vote files on disk.
type gossipCluster struct {
	t     *testing.T
	dir   string
	host  string // an address of its own: nobody else gets a port between two starts of a node
	ports []int
	ids   []core.NodeID
	nodes map[core.NodeID]*Node
	store map[core.NodeID]*FileStore
	// hears, when not nil, is called with each message that a node's gossip lets through; any goroutine may call it.
	hears func(at core.NodeID, m core.Message)
}

func newGossipCluster(t *testing.T) *gossipCluster {
	t.Helper()
	host := fmt.Sprintf("127.%d.%d.%d", 10+rand.IntN(200), rand.IntN(250), 1+rand.IntN(250))
	g := &gossipCluster{
		t: t, dir: t.TempDir(), host: host, ports: freePorts(t, host, 3), ids: []core.NodeID{"a", "b", "c"},
		nodes: map[core.NodeID]*Node{}, store: map[core.NodeID]*FileStore{},
	}
	t.Cleanup(func() {
		for _, id := range g.ids {
			g.kill(id)
		}
		noGoroutines(t)
	})
	return g
}

func (g *gossipCluster) config(id core.NodeID) Config {
	cfg := DefaultConfig()
	cfg.ID, cfg.Timing, cfg.Expect, cfg.Encrypt = id, testTiming(), 3, bytes.Repeat([]byte{7}, 32)
	for i, p := range g.ids {
		addr := fmt.Sprintf("%s:%d", g.host, g.ports[i])
		if p == id {
			cfg.BindAddr, cfg.BindPort = g.host, g.ports[i]
		}
		cfg.Peers = append(cfg.Peers, core.Peer{ID: p, Addr: addr})
		cfg.PeerList = append(cfg.PeerList, addr)
	}
	return cfg
}

func (g *gossipCluster) start(id core.NodeID, cfg Config) *Node {
	g.t.Helper()
	return g.startWith(id, cfg, func(*Options) {})
}

func (g *gossipCluster) startWith(id core.NodeID, cfg Config, change func(*Options)) *Node {
	g.t.Helper()
	store, err := OpenFileStore(filepath.Join(g.dir, string(id)))
	if err != nil {
		g.t.Fatal(err)
	}
	g.store[id] = store
	var n *Node
	opt := Options{
		Config: cfg, Store: store,
		Logger: zerolog.New(zerolog.NewTestWriter(g.t)).With().Str("node", string(id)).Logger(),
	}
	change(&opt)
	if g.hears != nil {
		opt.Transport = func(deliver func(core.Message)) (Transport, error) {
			return openGossip(&n.cfg, func(m core.Message) {
				g.hears(id, m)
				deliver(m)
			}, &n.count, n.log)
		}
	}
	n, err = New(opt)
	if err != nil {
		g.t.Fatal(err)
	}
	g.nodes[id] = n
	// The port may still be in the hands of whoever had it last.
	eventually(g.t, "the port is free", func() bool {
		err = n.Start()
		return err == nil
	})
	return n
}

// kill closes without a handover.
func (g *gossipCluster) kill(id core.NodeID) {
	g.t.Helper()
	if n := g.nodes[id]; n != nil {
		if err := n.Close(); err != nil {
			g.t.Error(err)
		}
		delete(g.nodes, id)
	}
	if s := g.store[id]; s != nil {
		if err := s.Close(); err != nil {
			g.t.Error(err)
		}
		delete(g.store, id)
	}
}

func (g *gossipCluster) leader() (leader core.NodeID) {
	g.t.Helper()
	eventually(g.t, "a leader", func() bool {
		for id, n := range g.nodes {
			if n.Leading() {
				leader = id
				return true
			}
		}
		return false
	})
	return leader
}

func (g *gossipCluster) stored(id core.NodeID) core.HardState {
	g.t.Helper()
	s, err := OpenFileStore(filepath.Join(g.dir, string(id)))
	if err != nil {
		g.t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // only read
	raw, err := s.Load()
	if err != nil {
		g.t.Fatal(err)
	}
	hs, err := DecodeState(raw)
	if err != nil {
		g.t.Fatal(err)
	}
	return hs
}

func TestGossipClusterKillAndRestart(t *testing.T) {
	g := newGossipCluster(t)
	for _, id := range g.ids {
		g.start(id, g.config(id))
	}
	ctx := bounded(t)
	for range 2 {
		old := g.leader()
		g.kill(old)
		before := g.stored(old)
		next := g.leader()
		if err := g.nodes[next].Round(ctx); err != nil {
			t.Logf("leadership moved on during the read: %v", err)
		}
		n := g.start(old, g.config(old))
		if _, err := n.WaitLeader(ctx); err != nil {
			t.Fatal(err)
		}
		g.kill(old)
		after := g.stored(old)
		checkI2(t, before, after)
		if after.Boot != before.Boot+1 || after.Term < before.Term {
			t.Errorf("boot %d after %d, term %d after %d", after.Boot, before.Boot, after.Term, before.Term)
		}
		n = g.start(old, g.config(old))
		if _, err := n.WaitLeader(ctx); err != nil {
			t.Fatal(err)
		}
	}
	// memberlist forgets the dead; the nodes must have found each other again.
	for _, n := range g.nodes {
		eventually(t, "all are seen alive", func() bool {
			live := n.transport.(Liveness)
			for _, id := range g.ids {
				if id != n.cfg.ID && !live.Alive(id) {
					return false
				}
			}
			return true
		})
	}
	old := g.leader()
	if err := g.nodes[old].Shutdown(ctx); err != nil {
		t.Error(err)
	}
	delete(g.nodes, old)
	if next := g.leader(); next == old {
		t.Error("the node that was shut down leads")
	}
}

// With another key nothing is heard, in either direction: the smallest id, which alone may propose the cluster, talks to
// deaf ears, and hears nothing of what b and c say.
func TestGossipWrongKey(t *testing.T) {
	g := newGossipCluster(t)
	var mu sync.Mutex
	heard := map[[2]core.NodeID]int{} // from, at
	g.hears = func(at core.NodeID, m core.Message) {
		mu.Lock()
		defer mu.Unlock()
		heard[[2]core.NodeID{m.From, at}]++
	}
	count := func(from, at core.NodeID) int {
		mu.Lock()
		defer mu.Unlock()
		return heard[[2]core.NodeID{from, at}]
	}
	stranger := g.config("a")
	stranger.Encrypt = bytes.Repeat([]byte{8}, 32)
	for _, id := range []core.NodeID{"b", "c"} {
		g.start(id, g.config(id))
	}
	a := g.start("a", stranger)
	eventually(t, "the stranger talks", func() bool { return a.Stats().Sent > 40 })
	eventually(t, "b and c see each other", func() bool {
		return g.nodes["b"].transport.(Liveness).Alive("c") && g.nodes["c"].transport.(Liveness).Alive("b")
	})
	eventually(t, "b and c ask each other for a cluster", func() bool { return count("b", "c") > 0 && count("c", "b") > 0 })
	for _, id := range []core.NodeID{"b", "c"} {
		if n := count("a", id); n != 0 {
			t.Errorf("%s heard the stranger %d times", id, n)
		}
		if n := count(id, "a"); n != 0 {
			t.Errorf("the stranger heard %s %d times", id, n)
		}
		if g.nodes[id].transport.(Liveness).Alive("a") {
			t.Errorf("%s counts the stranger as alive", id)
		}
		if s := g.nodes[id].Status(); s.Cfg.Key.Ver != 0 || s.Leader != "" {
			t.Errorf("%s got a configuration: %+v", id, s)
		}
	}
	if n := a.Stats().Received; n != 0 {
		t.Errorf("the stranger received %d messages", n)
	}
	// The same node with the right key is heard.
	g.kill("a")
	g.start("a", g.config("a"))
	g.leader()
	for _, id := range []core.NodeID{"b", "c"} {
		if count("a", id) == 0 || count(id, "a") == 0 {
			t.Errorf("%s and a: the count sees nothing where there is something", id)
		}
	}
}

// Long messages take TCP; bytes that are no message are counted and dropped.
func TestGossipTransport(t *testing.T) {
	g := newGossipCluster(t)
	g.ports = freePorts(t, "127.0.0.1", 3)
	got := make(chan core.Message, 16)
	var count [2]counters
	var open [2]*gossip
	for i, id := range g.ids[:2] {
		cfg := g.config(id)
		cfg.BindAddr = "localhost" // a name
		eventually(t, "the port is free", func() bool {
			tr, err := openGossip(&cfg, func(m core.Message) { got <- m }, &count[i], zerolog.Nop())
			open[i] = tr
			return err == nil
		})
		defer func() {
			if err := open[i].Close(); err != nil {
				t.Error(err)
			}
		}()
	}
	addr := fmt.Sprintf("localhost:%d", g.ports[1])
	for _, size := range []int{0, 900, maxAttachmentBytes} {
		m := core.Message{Type: core.MsgHB, Header: core.Header{From: "a", To: "b"}, Seq: uint64(size), Attachment: make([]byte, size)}
		if size == 0 {
			m.Attachment = nil
		}
		// Best effort: the name may not be resolved at the first try.
		eventually(t, fmt.Sprintf("a message with %d bytes", size), func() bool {
			open[0].Send("b", addr, m)
			select {
			case r := <-got:
				return r.Seq == uint64(size) && len(r.Attachment) == size
			default:
				return false
			}
		})
	}
	open[1].NotifyMsg([]byte("no message"))
	open[1].NotifyMsg(nil)
	if n := count[1].malformed.Load(); n != 2 {
		t.Errorf("%d malformed inputs counted", n)
	}
	open[0].Send("b", addr, core.Message{Attachment: make([]byte, maxAttachmentBytes+1)})
	if n := count[0].sendErrors.Load(); n != 1 {
		t.Errorf("%d send errors counted", n)
	}
	open[0].Send("b", "no.such.host.invalid:1", core.Message{Type: core.MsgHB})
	eventually(t, "the unknown address is counted", func() bool { return count[0].noAddress.Load() > 0 })
}

// A port that is taken is an error of Start that names it, and Start may be tried again.
func TestGossipPortInUse(t *testing.T) {
	g := newGossipCluster(t)
	l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", g.host, g.ports[0])) //nolint:noctx // closed below
	if err != nil {
		t.Fatal(err)
	}
	n, err := New(Options{Config: g.config("a"), Store: newMemStore(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.Close() }()
	if err := n.Start(); err == nil {
		t.Fatal("started on a port that is taken")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "start on the free port", func() bool { return n.Start() == nil })
}
