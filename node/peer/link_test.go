package peer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

func TestMessagesBothWays(t *testing.T) {
	nodes := cluster(t, 2, nil)
	startAll(t, nodes)
	a, b := nodes[0], nodes[1]
	big := bytes.Repeat([]byte("block"), 300_000)
	for _, payload := range [][]byte{nil, []byte("x"), big, make([]byte, a.cfg.MaxPayloadBytes())} {
		for _, way := range []struct{ from, to *node }{{a, b}, {b, a}} {
			if err := way.from.Send(way.to.cfg.ID, 7, payload); err != nil {
				t.Fatal(err)
			}
			m := recv(t, way.to.messages)
			if m.from != way.from.cfg.ID || m.kind != 7 || !bytes.Equal(m.payload, payload) {
				t.Fatalf("got kind %d and %d bytes from %s, want kind 7 and %d bytes from %s",
					m.kind, len(m.payload), m.from, len(payload), way.from.cfg.ID)
			}
		}
	}
	if s := a.Stats(); s.Drops != 0 || s.ProtocolErrors != 0 || s.BytesOut < uint64(len(big)) || s.BytesIn < uint64(len(big)) {
		t.Errorf("stats %+v", s)
	}
}

func TestThreeNodesKeepOrder(t *testing.T) {
	const each = 2000
	nodes := cluster(t, 3, func(_ int, cfg *Config) { cfg.QueueFrames = each })
	startAll(t, nodes)
	for _, n := range nodes {
		if got := n.Connected(); len(got) != 2 || !slices.IsSorted(got) {
			t.Fatalf("%s is connected to %v", n.cfg.ID, got)
		}
	}
	for i := range each {
		payload := binary.BigEndian.AppendUint32(nil, uint32(i))
		for _, from := range nodes {
			for _, to := range from.Connected() {
				if err := from.Send(to, byte(i), payload); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for _, n := range nodes {
		next := map[string]int{}
		for range 2 * each {
			m := recv(t, n.messages)
			if got := int(binary.BigEndian.Uint32(m.payload)); got != next[m.from] || m.kind != byte(got) {
				t.Fatalf("%s got message %d from %s, want %d", n.cfg.ID, got, m.from, next[m.from])
			}
			next[m.from]++
		}
		if len(next) != 2 {
			t.Fatalf("%s heard from %v", n.cfg.ID, next)
		}
	}
}

func TestSendErrors(t *testing.T) {
	nodes := cluster(t, 2, nil)
	a := nodes[0]
	a.Start() // node2 listens but does not accept yet
	for _, c := range []struct {
		to      string
		payload []byte
		want    error
	}{
		{"nobody", nil, ErrUnknownPeer},
		{"node1", nil, ErrUnknownPeer},
		{"node2", nil, ErrNotConnected},
		{"node2", make([]byte, a.cfg.MaxPayloadBytes()+1), ErrTooLarge},
	} {
		if err := a.Send(c.to, 1, c.payload); !errors.Is(err, c.want) {
			t.Errorf("Send to %s: %v, want %v", c.to, err, c.want)
		}
		if _, err := a.Request(t.Context(), c.to, 1, c.payload); !errors.Is(err, c.want) {
			t.Errorf("Request to %s: %v, want %v", c.to, err, c.want)
		}
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if err := a.Send("node2", 1, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Send after Close: %v", err)
	}
	if _, err := a.Request(t.Context(), "node2", 1, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Request after Close: %v", err)
	}
	if err := a.SetPeers(nil); !errors.Is(err, ErrClosed) {
		t.Errorf("SetPeers after Close: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

// A reader that stands still fills the sender's queue up to its bound and no further, is not taken for dead, does not
// disturb other peers, and gets everything that Send accepted once it goes on.
func TestSlowReader(t *testing.T) {
	nodes := cluster(t, 3, func(_ int, cfg *Config) {
		cfg.MaxFrameBytes, cfg.QueueBytes = 64<<10, 256<<10
		cfg.IdleTimeout = unhurried
	})
	gate := make(chan struct{})
	nodes[1].onMessage = func(message) { <-gate }
	defer func() {
		select {
		case <-gate:
		default:
			close(gate)
		}
	}()
	startAll(t, nodes)
	a, b, c := nodes[0], nodes[1], nodes[2]

	payload := make([]byte, 32<<10)
	accepted := 0
	full := func() bool {
		for {
			copied := bytes.Clone(payload)
			binary.BigEndian.PutUint32(copied, uint32(accepted))
			err := a.Send("node2", 1, copied)
			if held := a.Stats().QueuedBytes; held > 256<<10 {
				t.Fatalf("%d bytes are queued", held)
			}
			if errors.Is(err, ErrQueueFull) {
				return true
			}
			if err != nil {
				t.Fatal(err)
			}
			if accepted++; accepted > 20_000 {
				return false
			}
		}
	}
	if !full() {
		t.Fatal("the queue never filled")
	}
	if a.Stats().Drops == 0 {
		t.Error("no drop was counted")
	}
	// Each of eight connections brings a ping a third of the idle timeout: so many mean that it has passed.
	pings := a.Stats().FramesIn
	eventually(t, "pings came", func() bool { return a.Stats().FramesIn >= pings+8*5 })
	if got := a.Connected(); !slices.Equal(got, []string{"node2", "node3"}) {
		t.Fatalf("connected to %v", got)
	}
	if err := a.Send("node3", 9, []byte("hi")); err != nil {
		t.Fatal(err)
	}
	if m := recv(t, c.messages); m.kind != 9 {
		t.Fatalf("node3 got %v", m)
	}
	close(gate)
	for i := range accepted {
		if m := recv(t, b.messages); binary.BigEndian.Uint32(m.payload) != uint32(i) {
			t.Fatalf("message %d has number %d", i, binary.BigEndian.Uint32(m.payload))
		}
	}
	eventually(t, "the queue is empty again", func() bool { return a.Stats().QueuedBytes == 0 })
	if len(a.down) != 0 {
		t.Error("the slow peer was reported down")
	}
}

func TestReconnectAfterRestartOnTheSamePort(t *testing.T) {
	nodes := cluster(t, 2, nil)
	startAll(t, nodes)
	a, b := nodes[0], nodes[1]
	for round := range 3 {
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		if id := recv(t, a.down); id != "node2" {
			t.Fatalf("%s went down", id)
		}
		if err := a.Send("node2", 1, nil); !errors.Is(err, ErrNotConnected) {
			t.Fatalf("Send to a peer that is down: %v", err)
		}
		cfg := b.cfg
		cfg.Listen, cfg.Peers = b.Addr().String(), []Peer{a.asPeer()}
		b = newNode(t, cfg)
		b.Start()
		recv(t, a.up)
		recv(t, b.up)
		text := fmt.Sprintf("round %d", round)
		if err := a.Send("node2", 1, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if m := recv(t, b.messages); string(m.payload) != text {
			t.Fatalf("got %q", m.payload)
		}
		if got, err := b.Request(ctxFor(t), "node1", 1, []byte(text)); err != nil || string(got) != "node2:"+text {
			t.Fatalf("%q, %v", got, err)
		}
	}
}

// A peer that is back shows it by dialling: nobody sits out his wait then.
func TestIncomingConnectionEndsTheWait(t *testing.T) {
	nodes := cluster(t, 2, func(i int, cfg *Config) {
		if i == 0 {
			cfg.BackoffMin, cfg.BackoffMax = time.Hour, time.Hour
		}
	})
	a, b := nodes[0], nodes[1]
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	a.Start()
	eventually(t, "both dial loops wait", func() bool { return a.logs.count("no connection to peer") == 2 })
	cfg := b.cfg
	cfg.Listen, cfg.Peers = b.Addr().String(), []Peer{a.asPeer()}
	b = newNode(t, cfg)
	b.Start()
	recv(t, a.up)
	if got, err := a.Request(ctxFor(t), "node2", 1, []byte("x")); err != nil || string(got) != "node1:x" {
		t.Fatalf("%q, %v", got, err)
	}
}

// A corrected address is tried at once.
func TestNewAddressEndsTheWait(t *testing.T) {
	nodes := cluster(t, 2, func(_ int, cfg *Config) { cfg.BackoffMin, cfg.BackoffMax = time.Hour, time.Hour })
	a, b := nodes[0], nodes[1]
	if err := b.SetPeers(nil); err != nil { // b dials nobody
		t.Fatal(err)
	}
	lost := b.asPeer()
	lost.Addr = "127.0.0.1:1"
	if err := a.SetPeers([]Peer{lost}); err != nil {
		t.Fatal(err)
	}
	a.Start()
	eventually(t, "both dial loops wait", func() bool { return a.logs.count("no connection to peer") == 2 })
	if err := a.SetPeers([]Peer{b.asPeer()}); err != nil {
		t.Fatal(err)
	}
	b.Start() // and refuses, which is enough to see
	eventually(t, "the new address was dialled", func() bool { return b.Stats().Refused >= 2 })
}

func TestSilentNetworkIsNoticed(t *testing.T) {
	nodes := cluster(t, 2, func(_ int, cfg *Config) { cfg.IdleTimeout = unhurried })
	a, b := nodes[0], nodes[1]
	r := newRelay(t, b.Addr().String())
	viaRelay := b.asPeer()
	viaRelay.Addr = r.ln.Addr().String()
	if err := a.SetPeers([]Peer{viaRelay}); err != nil {
		t.Fatal(err)
	}
	startAll(t, nodes)
	if got, err := a.Request(ctxFor(t), "node2", 1, []byte("x")); err != nil || string(got) != "node1:x" {
		t.Fatalf("%q, %v", got, err)
	}
	accepted := b.Stats().Conns
	r.freeze()
	if id := recv(t, a.down); id != "node2" {
		t.Fatalf("%s went down", id)
	}
	eventually(t, "the accepter dropped both dead connections", func() bool { return b.Stats().Conns <= accepted-2 })
	if len(b.down) != 0 {
		t.Error("the healthy direction went down too")
	}
}

func TestIdleLinkStaysUp(t *testing.T) {
	nodes := cluster(t, 2, func(_ int, cfg *Config) { cfg.IdleTimeout = unhurried })
	startAll(t, nodes)
	// Each of four connections brings a ping a third of the idle timeout.
	eventually(t, "the idle timeout passed", func() bool { return nodes[0].Stats().FramesIn > 4*5 })
	if s := nodes[0].Stats(); len(nodes[0].down)+len(nodes[1].down) != 0 || s.Connects != 2 {
		t.Errorf("an idle connection was lost: %+v", s)
	}
}

func TestSetPeers(t *testing.T) {
	nodes := cluster(t, 3, nil)
	a, b, c := nodes[0], nodes[1], nodes[2]
	if err := a.SetPeers([]Peer{b.asPeer()}); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		n.Start()
	}
	if id := recv(t, a.up); id != "node2" {
		t.Fatalf("%s came up", id)
	}
	if err := a.Send("node3", 1, nil); !errors.Is(err, ErrUnknownPeer) {
		t.Fatal(err)
	}

	// A new peer is dialled; the old one is not disturbed.
	if err := a.SetPeers([]Peer{c.asPeer(), a.asPeer(), b.asPeer()}); err != nil {
		t.Fatal(err)
	}
	if id := recv(t, a.up); id != "node3" {
		t.Fatalf("%s came up", id)
	}
	for range 2 {
		recv(t, b.up)
		recv(t, c.up) // now node1 lets it in too
	}

	// A peer that is gone loses its connections both ways and is refused.
	if err := a.SetPeers([]Peer{c.asPeer()}); err != nil {
		t.Fatal(err)
	}
	if id := recv(t, a.down); id != "node2" {
		t.Fatalf("%s went down", id)
	}
	for {
		if id := recv(t, b.down); id == "node1" {
			break
		}
	}
	if got := a.Connected(); !slices.Equal(got, []string{"node3"}) {
		t.Fatalf("connected to %v", got)
	}

	// Another key for an id is another peer: the old key is of no use any more.
	other := c.asPeer()
	other.PublicKey = publicKey(keyOf(99))
	if err := a.SetPeers([]Peer{other}); err != nil {
		t.Fatal(err)
	}
	if id := recv(t, a.down); id != "node3" {
		t.Fatalf("%s went down", id)
	}
	refused := a.Stats().Refused
	eventually(t, "the old key was refused", func() bool { return a.Stats().Refused > refused+2 })

	// And back, also after wrong addresses.
	lost := b.asPeer()
	lost.Addr = "127.0.0.1:1"
	if err := a.SetPeers([]Peer{lost, c.asPeer()}); err != nil {
		t.Fatal(err)
	}
	if id := recv(t, a.up); id != "node3" {
		t.Fatalf("%s came up", id)
	}
	if err := a.SetPeers([]Peer{b.asPeer(), c.asPeer()}); err != nil {
		t.Fatal(err)
	}
	if id := recv(t, a.up); id != "node2" {
		t.Fatalf("%s came up", id)
	}

	if err := a.SetPeers([]Peer{b.asPeer(), b.asPeer()}); err == nil {
		t.Error("a peer may appear twice")
	}
	if got := a.Connected(); !slices.Equal(got, []string{"node2", "node3"}) {
		t.Errorf("an invalid list changed the peers to %v", got)
	}
}

// PeerUp and PeerDown alternate, whatever happens.
func TestPeerUpAndDownAlternate(t *testing.T) {
	nodes := cluster(t, 2, nil)
	a, b := nodes[0], nodes[1]
	startAll(t, nodes)
	for range 10 {
		if err := a.SetPeers(nil); err != nil {
			t.Fatal(err)
		}
		if err := a.SetPeers([]Peer{b.asPeer()}); err != nil {
			t.Fatal(err)
		}
		recv(t, a.down)
		recv(t, a.up)
	}
	if len(a.up)+len(a.down) != 0 {
		t.Errorf("%d more ups, %d more downs", len(a.up), len(a.down))
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if len(a.down) != 1 || len(a.up) != 0 {
		t.Errorf("Close reported %d downs and %d ups, want 1 and 0", len(a.down), len(a.up))
	}
}

func TestListenErrorNamesTheAddress(t *testing.T) {
	n := cluster(t, 1, nil)[0]
	cfg := testConfig(2)
	cfg.Listen = n.Addr().String()
	_, err := New(cfg, newRecorder(), zerolog.Nop())
	if err == nil || !strings.Contains(err.Error(), cfg.Listen) {
		t.Fatalf("error %v does not name %s", err, cfg.Listen)
	}
	if _, err := New(testConfig(1), nil, zerolog.Nop()); err == nil {
		t.Error("a nil handler was accepted")
	}
}
