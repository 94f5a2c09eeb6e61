package raftify

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/raftify/core"
)

// testKey is the node key of an id in these tests.
func testKey(id core.NodeID) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, id)
	return ed25519.NewKeyFromSeed(seed)
}

func testPeerKey(id core.NodeID) ed25519.PublicKey {
	return testKey(id).Public().(ed25519.PublicKey)
}

func sampleDeath() *core.Death {
	d, err := ParseDeath(SignDeath(testKey("c"), core.Death{ID: "c", Inc: core.Inc{3, 2, 1}, Boot: 7, Session: 1<<64 - 2}))
	if err != nil {
		panic(err)
	}
	return &d
}

func TestDeathNoticeRoundTrip(t *testing.T) {
	for _, id := range []core.NodeID{"a", core.NodeID(strings.Repeat("x", maxIDBytes))} {
		want := core.Death{ID: id, Inc: core.Inc{1}, Boot: 1 << 40, Session: 3}
		b := SignDeath(testKey(id), want)
		got, err := ParseDeath(b)
		if err != nil || !VerifyDeath(testPeerKey(id), got) {
			t.Fatalf("%s: %v, verified %v", id, err, VerifyDeath(testPeerKey(id), got))
		}
		want.Sig = got.Sig
		if !reflect.DeepEqual(got, want) || !bytes.Equal(SignDeath(testKey(id), got), b) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		// It is good for nothing else: no bit can be changed, nothing cut off or added.
		for i := range b {
			bad := bytes.Clone(b)
			bad[i] ^= 1
			if d, err := ParseDeath(bad); err == nil && VerifyDeath(testPeerKey(id), d) {
				t.Fatalf("accepted with byte %d changed", i)
			}
			if _, err := ParseDeath(b[:i]); !errors.Is(err, ErrMalformed) {
				t.Fatalf("accepted when cut to %d bytes: %v", i, err)
			}
		}
		if _, err := ParseDeath(append(bytes.Clone(b), 0)); !errors.Is(err, ErrMalformed) {
			t.Errorf("accepted with a trailing byte: %v", err)
		}
		if VerifyDeath(testPeerKey("other"), got) || VerifyDeath(nil, got) {
			t.Error("verified with another key")
		}
	}
}

func FuzzParseDeath(f *testing.F) {
	f.Add(SignDeath(testKey("a"), core.Death{ID: "a", Inc: core.Inc{1}, Boot: 2, Session: 3}))
	f.Add([]byte(noticePrefix))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := ParseDeath(b)
		if err != nil {
			return
		}
		if again := append(encodeDeath(d), d.Sig...); !bytes.Equal(again, b) {
			t.Fatalf("accepted %x, encodes as %x", b, again)
		}
	})
}

func TestNoticesAreProven(t *testing.T) {
	cfg := core.NewConfig(core.CfgKey{Ver: 1}, []core.Member{{ID: "a", Inc: core.Inc{1}}, {ID: "c", Inc: core.Inc{3, 2, 1}}})
	asked := 0
	v := notices{key: func(id core.NodeID) ed25519.PublicKey {
		asked++
		return testPeerKey(id)
	}}
	good := *sampleDeath()
	forged, other, stranger := good, good, good
	forged.Boot++
	other.Inc[0]++
	stranger.ID = "z"
	for name, d := range map[string]core.Death{"forged": forged, "other incarnation": other, "stranger": stranger} {
		if v.proven(cfg, d) {
			t.Errorf("%s was believed", name)
		}
	}
	if asked != 1 {
		t.Errorf("%d signatures were looked at, only the forged one is worth it", asked)
	}
	for range 2 { // the second time it is known
		if !v.proven(cfg, good) || asked != 2 {
			t.Errorf("a good one: %d signatures were looked at", asked)
		}
	}
	unsigned := good
	unsigned.Sig = make([]byte, ed25519.SignatureSize)
	if v.proven(cfg, unsigned) {
		t.Error("believed without its signature, since it had been seen with it")
	}
	if (&notices{}).proven(cfg, good) {
		t.Error("believed without keys")
	}
}

// sendNotice sends a packet to a node's gossip port, as a supervisor does: it has no gossip key.
func (g *gossipCluster) sendNotice(to core.NodeID, b []byte) {
	g.t.Helper()
	for i, id := range g.ids {
		if id != to {
			continue
		}
		conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(g.host), uint16(g.ports[i]))))
		if err != nil {
			g.t.Fatal(err)
		}
		if _, err := conn.Write(b); err != nil {
			g.t.Fatal(err)
		}
		_ = conn.Close()
	}
}

// TestDeathNoticeOverGossip: the timeout is so long that nothing but the notice replaces the leader.
func TestDeathNoticeOverGossip(t *testing.T) {
	g := newGossipCluster(t)
	tm := core.Timing{Heartbeat: 200 * time.Millisecond, MinElection: 4 * time.Second, MaxBackoff: 30 * time.Second, Drift: 0.01}
	type seen struct {
		at core.NodeID
		e  core.Event
	}
	events := make(chan seen, 1024)
	for _, id := range g.ids {
		cfg := g.config(id)
		cfg.Timing = &tm
		n := g.startWith(id, cfg, func(o *Options) {
			o.PeerKey = testPeerKey
			o.Logger = zerolog.Nop()
		})
		ch, end := n.Events()
		defer end()
		go func() {
			for e := range ch {
				events <- seen{id, e}
			}
		}()
	}
	leader := g.leader()
	will := g.nodes[leader].Death()
	var others []core.NodeID
	for _, id := range g.ids {
		if id != leader {
			others = append(others, id)
		}
	}
	// What the leader did not sign itself says nothing, nor does what is no notice.
	before := g.nodes[others[0]].Stats()
	g.sendNotice(others[0], SignDeath(testKey("somebody"), will))
	g.sendNotice(others[0], []byte(noticePrefix+"nonsense"))
	eventually(t, "both are counted", func() bool {
		s := g.nodes[others[0]].Stats()
		return s.Unproven > before.Unproven && s.Malformed > before.Malformed
	})
	if s := g.nodes[others[0]].Status(); s.Leader != leader {
		t.Errorf("a false notice unseated %s", leader)
	}

	g.kill(leader)
	g.sendNotice(others[1], SignDeath(testKey(leader), will)) // one is enough: it tells the other
	died := map[core.NodeID]bool{}
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for stood := false; !stood || len(died) < 2; {
		select {
		case s := <-events:
			died[s.at] = died[s.at] || s.e.Kind == core.EventDied
			if !died[s.at] {
				delete(died, s.at)
			}
			stood = stood || s.e.Kind == core.EventRole && s.e.Detail == "the leader has ended"
		case <-limit.C:
			t.Fatalf("noted by %v, stood for %v", died, stood)
		}
	}
	if next := g.leader(); next == leader {
		t.Errorf("%s leads", next)
	}
}
