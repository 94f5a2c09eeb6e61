package node

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/node/chain"
	"github.com/baton-ha/baton/node/peer"
	"github.com/baton-ha/baton/raftify/core"
)

// One host has a genesis.json of its own: both sides say so, with what differs, whether it leads or follows, and a node
// whose leader is the stranger is not ready.
func TestOtherGenesisIsToldOf(t *testing.T) {
	for what, change := range map[string]func(g *chain.Genesis){
		"chain id": func(g *chain.Genesis) { g.ChainID = "other" },
		"genesis block": func(g *chain.Genesis) {
			g.Balances = map[chain.PublicKey]map[string]chain.Amount{pub(testKey(99)): {chain.NativeAsset: chain.NewAmount(5)}}
		},
	} {
		t.Run(what, func(t *testing.T) {
			logs := make([]lockedLog, 3)
			c := newCluster(t, 3, nil)
			for i := range c.cfgs {
				c.cfgs[i].Logger = zerolog.New(&logs[i])
			}
			other := *c.genesis
			change(&other)
			c.cfgs[2].Genesis = &other
			c.startAll()
			c.until("the other two say it", func() bool {
				return logs[0].has(what, "node3") && logs[1].has(what, "node3")
			})
			c.until("it says it of both", func() bool { return logs[2].has(what, "node1") && logs[2].has(what, "node2") })
			c.lead(0)
			c.until("it is not ready, and says why", func() bool {
				err := c.nodes[2].Ready()
				return err != nil && strings.Contains(err.Error(), "give both the same genesis.json")
			})
			c.until("the others are", func() bool { return c.nodes[0].Ready() == nil && c.nodes[1].Ready() == nil })
		})
	}
}

// An answer that waits for the rate of sync goes out as soon as there is none any more.
func TestSyncRateIsChanged(t *testing.T) {
	c := newCluster(t, 1, nil)
	c.cfgs[0].Sync.Listen = c.other + ":0"
	c.start(0)
	c.leader()
	c.submit(0, 0)
	n := c.nodes[0]
	fetch := func() (int, int, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+n.ReadersAddr().String()+"/sync/v1/blocks?from=1&to=1", nil)
		if err != nil {
			return 0, 0, err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, 0, err
		}
		defer resp.Body.Close() //nolint:errcheck // only read from
		data, err := io.ReadAll(resp.Body)
		return resp.StatusCode, len(data), err
	}
	for end := time.Now().Add(patience); ; { // a block is served when its certificate is stored, a moment after it is final
		status, _, err := fetch()
		if err == nil && status == http.StatusOK {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the block is not served: %d, %v", status, err)
		}
		time.Sleep(5 * time.Millisecond) //nolint:forbidigo // polling a condition with a deadline
	}
	n.SetSyncRate(1) // a byte a second
	body := make(chan int, 1)
	go func() {
		defer close(body)
		status, got, err := fetch()
		if err != nil || status != http.StatusOK {
			t.Errorf("status %d: %v", status, err)
		}
		body <- got
	}()
	select {
	case got := <-body:
		t.Fatalf("%d bytes at a byte a second", got)
	case <-time.After(300 * time.Millisecond): // more than that takes nobody who is not held back
	}
	n.SetSyncRate(0)
	select {
	case got, ok := <-body:
		if least := int(patience.Seconds()); ok && got <= least {
			t.Fatalf("a block of %d bytes: shows nothing, want more than %d", got, least)
		}
	case <-time.After(patience):
		t.Fatal("it is still held back")
	}
}

// lockedLog is a log that is read while it is written.
type lockedLog struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// has says whether a line has all words.
func (l *lockedLog) has(words ...string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			return true
		}
	}
	return false
}

// A node whose links and gossip have moved is reached again as soon as the others are told where it is, and blocks are
// agreed on with it. Lists with other nodes or keys change nothing.
func TestPeersAreMoved(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.startAll()
	c.leader()
	host, _, _ := strings.Cut(c.cfgs[0].Peer.Listen, ":")
	before := c.cfgs[0]
	stranger := slices.Clone(before.Peer.Peers)
	stranger[2].PublicKey = pubKey(testKey(77))
	for name, links := range map[string][]peer.Peer{"fewer": before.Peer.Peers[:2], "another key": stranger} {
		if err := c.nodes[0].SetPeers(links, before.Raftify.Peers, before.Raftify.PeerList); !errors.Is(err, ErrOtherPeers) {
			t.Errorf("%s: %v", name, err)
		}
	}

	c.stop(2)
	ports := freePorts(t, host, 2)
	links, gossip, list := slices.Clone(before.Peer.Peers), slices.Clone(before.Raftify.Peers), slices.Clone(before.Raftify.PeerList)
	links[2].Addr = fmt.Sprintf("%s:%d", host, ports[0])
	list[2] = fmt.Sprintf("%s:%d", host, ports[1])
	gossip[2] = core.Peer{ID: "node3", Addr: list[2]}
	moved := &c.cfgs[2]
	moved.Peer.Listen, moved.Peer.Peers = links[2].Addr, links
	moved.Raftify.BindPort, moved.Raftify.Peers, moved.Raftify.PeerList = ports[1], gossip, list
	for i := range 2 {
		if err := c.nodes[i].SetPeers(links, gossip, list); err != nil {
			t.Fatal(err)
		}
	}
	c.start(2)
	c.until("both are linked to it", func() bool {
		return slices.Contains(c.nodes[0].link.Connected(), "node3") && slices.Contains(c.nodes[1].link.Connected(), "node3")
	})
	c.until("it is ready", func() bool { return c.nodes[2].Ready() == nil })

	key := slices.Repeat([]byte{1}, 32)
	old := make([]byte, 32)
	for _, keys := range [][][]byte{{old, key}, {key, old}, {key}} {
		for _, n := range c.nodes {
			if err := n.SetGossipKeys(keys); err != nil {
				t.Fatal(err)
			}
		}
	}
	leader := c.leader()
	tx := c.transfer(0, 0, pub(c.users[1]), "1")
	receipt, err := finally(t.Context(), c.nodes[leader], tx)
	if err != nil {
		t.Fatal(err)
	}
	c.until("it has the block", func() bool { return c.nodes[2].Latest(t.Context()) >= receipt.Height })
}
