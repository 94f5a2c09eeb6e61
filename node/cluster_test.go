package node

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/chain"
	"github.com/baton-ha/baton/node/client"
	"github.com/baton-ha/baton/node/peer"
	"github.com/baton-ha/baton/raftify/core"
)

// cluster is a set of nodes in this process, on loopback, with real folders.
type cluster struct {
	t       *testing.T
	dir     string
	genesis *chain.Genesis
	proc    ed25519.PrivateKey
	users   []ed25519.PrivateKey
	cfgs    []Config
	nodes   []*testNode
	tune    func(*Config)
	// The ports of a node that stay are on one address of loopback; where the system chooses, it is on another one. Otherwise
	// it would now and then choose a port of a node that is not running just now.
	host, other string
}

type testNode struct {
	*Node
	cancel context.CancelFunc
	done   chan error
}

// patience bounds every wait; the machine may be slow and the race detector on.
const patience = 3 * time.Minute

func testKey(seed byte) ed25519.PrivateKey {
	s := make([]byte, ed25519.SeedSize)
	s[0], s[31] = seed, 1
	return ed25519.NewKeyFromSeed(s)
}

func pub(k ed25519.PrivateKey) (p chain.PublicKey) {
	copy(p[:], k.Public().(ed25519.PublicKey))
	return p
}

// freePorts returns ports that were free for both UDP and TCP a moment ago, on an address of this test's own.
func freePorts(t *testing.T, host string, n int) []int {
	t.Helper()
	var out []int
	for range n {
		l, err := net.Listen("tcp", host+":0") //nolint:noctx // a test's port
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() //nolint:errcheck // it has served
		out = append(out, l.Addr().(*net.TCPAddr).Port)
	}
	return out
}

func newCluster(t *testing.T, size int, tune func(*Config)) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir(), proc: testKey(200), tune: tune}
	c.genesis = &chain.Genesis{
		ChainID: "test", ChainVersion: chain.LedgerVersion, Created: time.Unix(1_700_000_000, 0).UTC(),
		Processor: chain.Processor{PublicKey: pub(c.proc)}, Balances: map[chain.PublicKey]map[string]chain.Amount{},
	}
	for i := range 8 {
		k := testKey(byte(100 + i))
		c.users = append(c.users, k)
		c.genesis.Balances[pub(k)] = map[string]chain.Amount{chain.NativeAsset: chain.NewAmount(1_000_000)}
	}
	// Addresses of its own keep other tests of this machine from taking a port between two starts of a node.
	host := fmt.Sprintf("127.%d.%d.%d", 10+rand.IntN(200), rand.IntN(250), 1+rand.IntN(250))
	c.host, c.other = host, fmt.Sprintf("127.%d.%d.%d", 10+rand.IntN(200), 251, 1+rand.IntN(250))
	ports := freePorts(t, host, 2*size)
	var peers []peer.Peer
	var gossip []core.Peer
	var list []string
	for i := range size {
		id := fmt.Sprintf("node%d", i+1)
		peers = append(peers, peer.Peer{
			ID: id, Addr: fmt.Sprintf("%s:%d", host, ports[2*i]), PublicKey: testKey(byte(i + 1)).Public().(ed25519.PublicKey),
		})
		addr := fmt.Sprintf("%s:%d", host, ports[2*i+1])
		gossip = append(gossip, core.Peer{ID: core.NodeID(id), Addr: addr})
		list = append(list, addr)
	}
	for i := range size {
		cfg := DefaultConfig()
		cfg.ID = peers[i].ID
		cfg.DataDir = filepath.Join(c.dir, cfg.ID, "data")
		cfg.StateDir = filepath.Join(c.dir, cfg.ID)
		if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
			t.Fatal(err)
		}
		cfg.Genesis, cfg.ProcessorKey = c.genesis, c.proc
		cfg.Peer.ID, cfg.Peer.Listen, cfg.Peer.Key, cfg.Peer.Peers = cfg.ID, peers[i].Addr, testKey(byte(i+1)), peers
		cfg.Raftify.ID, cfg.Raftify.BindAddr, cfg.Raftify.BindPort = core.NodeID(cfg.ID), host, ports[2*i+1]
		cfg.Raftify.Peers, cfg.Raftify.PeerList = gossip, list
		cfg.Raftify.MaxNodes, cfg.Raftify.Expect = size, size
		cfg.Raftify.Encrypt = make([]byte, 32)
		cfg.API.Listen = c.other + ":0"
		cfg.Logger = zerolog.Nop()
		if os.Getenv("BATON_TEST_LOG") != "" {
			cfg.Logger = zerolog.New(zerolog.ConsoleWriter{Out: os.Stderr, TimeFormat: "05.000"}).With().Timestamp().Str("node", cfg.ID).Logger()
		}
		cfg.Limits.CheckpointEvery = 10
		if tune != nil {
			tune(&cfg)
		}
		c.cfgs = append(c.cfgs, cfg)
		c.nodes = append(c.nodes, nil)
	}
	t.Cleanup(c.stopAll)
	return c
}

func (c *cluster) start(is ...int) {
	c.t.Helper()
	for _, i := range is {
		c.startWith(i, func(*Node) {})
	}
}

// startWith starts node i after something was done to it.
func (c *cluster) startWith(i int, tune func(*Node)) {
	c.t.Helper()
	n, err := New(c.cfgs[i])
	if err != nil {
		c.t.Fatalf("node%d: %v", i+1, err)
	}
	tune(n)
	ctx, cancel := context.WithCancel(context.Background())
	tn := &testNode{Node: n, cancel: cancel, done: make(chan error, 1)}
	go func() { tn.done <- n.Run(ctx) }()
	c.nodes[i] = tn
	c.until("the API listens", func() bool { return n.APIAddr() != "" })
}

func (c *cluster) startAll() {
	c.t.Helper()
	for i := range c.cfgs {
		c.start(i)
	}
}

// stop ends a node as SIGTERM does.
func (c *cluster) stop(i int) {
	c.t.Helper()
	n := c.nodes[i]
	if n == nil {
		return
	}
	c.nodes[i] = nil
	n.cancel()
	select {
	case err := <-n.done:
		if err != nil {
			c.t.Errorf("node%d stopped with %v", i+1, err)
		}
	case <-time.After(patience):
		c.t.Fatalf("node%d does not stop", i+1)
	}
}

func (c *cluster) stopAll() {
	for i := range c.nodes {
		c.stop(i)
	}
}

func (c *cluster) until(what string, ok func() bool) {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			c.t.Fatalf("waited %v in vain until %s", patience, what)
		}
		time.Sleep(2 * time.Millisecond) //nolint:forbidigo // polling a condition with a deadline
	}
}

// leader waits until one running node leads and returns its index.
func (c *cluster) leader() int {
	c.t.Helper()
	found := -1
	c.until("a node leads", func() bool {
		for i, n := range c.nodes {
			if n != nil && n.Leading() {
				found = i
				return true
			}
		}
		return false
	})
	return found
}

// lead has node i lead. A handover may fail and is asked for again: its target has to have answered the leader before
// and to take over in time, and a slow machine may change the leader meanwhile.
func (c *cluster) lead(i int) {
	c.t.Helper()
	c.until("it leads", func() bool {
		if c.nodes[i].Leading() {
			return true
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = c.nodes[c.leader()].LeaderTransfer(ctx, c.cfgs[i].ID)
		return c.nodes[i].Leading()
	})
}

func (c *cluster) url(i int) string { return "http://" + c.nodes[i].APIAddr() }

func (c *cluster) transfer(user int, nonce uint64, to chain.PublicKey, amount string) *block.Tx {
	c.t.Helper()
	tx, err := client.BuildTransfer("test", c.users[user], nonce, client.Transfer{To: to[:], Asset: chain.NativeAsset, Amount: amount})
	if err != nil {
		c.t.Fatal(err)
	}
	return tx
}

func pubKey(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }
