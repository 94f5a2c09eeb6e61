package node

import (
	"context"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/baton-ha/baton/node/internal/nettest"
)

// network is a cluster whose nodes reach each other through forwarders, with a client that counts.
type network struct {
	*cluster
	*nettest.Net
	nonce uint64
}

func newNetwork(t *testing.T, size int) *network {
	t.Helper()
	c := newCluster(t, size, nil)
	w := &network{cluster: c, Net: nettest.New(c.other)}
	t.Cleanup(w.Close)
	t.Cleanup(c.stopAll) // before that: the last in, first out
	forward := func(from, to, target string) string {
		addr, err := w.Forward(from, to, target)
		if err != nil {
			t.Fatal(err)
		}
		return addr
	}
	targets, gossip := slices.Clone(c.cfgs[0].Peer.Peers), slices.Clone(c.cfgs[0].Raftify.Peers)
	for i := range c.cfgs {
		cfg := &c.cfgs[i]
		// Where a node says that it is reaches nobody: each is to be reached through the forwarders alone.
		nowhere, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", net.JoinHostPort(c.other, "0"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = nowhere.Close() })
		cfg.Raftify.AdvertiseAddr = nowhere.LocalAddr().String()
		cfg.Peer.Peers, cfg.Raftify.Peers = slices.Clone(targets), slices.Clone(gossip)
		cfg.Raftify.PeerList = nil
		for j := range targets {
			if i != j {
				cfg.Peer.Peers[j].Addr = forward(cfg.ID, targets[j].ID, targets[j].Addr)
				cfg.Raftify.Peers[j].Addr = forward(cfg.ID, targets[j].ID, gossip[j].Addr)
			}
			cfg.Raftify.PeerList = append(cfg.Raftify.PeerList, cfg.Raftify.Peers[j].Addr)
		}
	}
	return w
}

func (w *network) id(i int) string { return w.cfgs[i].ID }

// only leaves no link but those given, between indices.
func (w *network) only(links ...[2]int) {
	for i := range w.cfgs {
		for j := range i {
			keep := slices.Contains(links, [2]int{i, j}) || slices.Contains(links, [2]int{j, i})
			w.CutBoth(w.id(i), w.id(j), !keep)
		}
	}
}

// star leaves only the links of one node, but for those to the ones left out.
func (w *network) star(hub int, out ...int) {
	var links [][2]int
	for i := range w.cfgs {
		if i != hub && !slices.Contains(out, i) {
			links = append(links, [2]int{hub, i})
		}
	}
	w.only(links...)
}

// pay sends transactions one after the other through node i until count are final, and returns the longest wait for one.
func (w *network) pay(i, count int) time.Duration {
	w.t.Helper()
	worst := time.Duration(0)
	for range count {
		tx := w.transfer(0, w.nonce, pub(w.users[1]), "1")
		began := time.Now()
		w.until("a payment is final", func() bool {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			_, err := w.nodes[i].Submit(ctx, tx)
			return err == nil
		})
		worst = max(worst, time.Since(began))
		w.nonce++
	}
	return worst
}

// Partial partitions, as Omni-Paxos names them and some more: whatever links are left, commits go on as long as one node
// is connected both ways to a majority (I14), and afterwards all hold one chain. How long they stood still is printed.
func TestPartialPartitions(t *testing.T) {
	w := newNetwork(t, 5)
	w.startAll()
	w.leader()
	w.pay(0, 3)
	for _, tt := range []struct {
		name string
		run  func(lead, hub int, rest []int) time.Duration
	}{
		{"quorum-loss: the leader and all others reach only a hub", func(_, hub int, _ []int) time.Duration {
			w.star(hub)
			return w.pay(hub, 10)
		}},
		{"constrained election: the hub was away and is behind, the leader is gone", func(lead, hub int, rest []int) time.Duration {
			for i := range w.cfgs {
				if i != hub {
					w.CutBoth(w.id(hub), w.id(i), true)
				}
			}
			w.pay(rest[0], 20)
			w.star(hub, lead)
			return w.pay(hub, 10)
		}},
		{"chained: each reaches only its neighbours, the leader stands at the second place", func(lead, hub int, rest []int) time.Duration {
			w.only([2]int{rest[0], lead}, [2]int{lead, hub}, [2]int{hub, rest[1]}, [2]int{rest[1], rest[2]})
			return w.pay(hub, 10)
		}},
		{"deaf leader: it hears nobody", func(lead, hub int, _ []int) time.Duration {
			for i := range w.cfgs {
				if i != lead {
					w.Cut(w.id(i), w.id(lead), true)
				}
			}
			return w.pay(hub, 10)
		}},
		{"mute leader: nobody hears it", func(lead, hub int, _ []int) time.Duration {
			for i := range w.cfgs {
				if i != lead {
					w.Cut(w.id(lead), w.id(i), true)
				}
			}
			return w.pay(hub, 10)
		}},
		{"flapping link between the leader and one follower, with resets", func(lead, hub int, _ []int) time.Duration {
			done, stopped := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(stopped)
				tick := time.NewTicker(70 * time.Millisecond)
				defer tick.Stop()
				for n := 0; ; n++ {
					w.CutBoth(w.id(lead), w.id(hub), n%2 == 0)
					if n%5 == 4 {
						w.Reset(w.id(lead), w.id(hub))
					}
					select {
					case <-tick.C:
					case <-done:
						return
					}
				}
			}()
			worst := w.pay(hub, 20)
			close(done)
			<-stopped
			return worst
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lead := w.leader()
			hub := (lead + 1) % 5
			term := w.nodes[lead].Status().Term
			worst := tt.run(lead, hub, []int{(lead + 2) % 5, (lead + 3) % 5, (lead + 4) % 5})
			w.Mend()
			w.settled()
			now := w.nodes[w.leader()].Status().Term
			t.Logf("longest wait for a commit %v, %d terms", worst.Round(time.Millisecond), now-term)
			w.pay(lead, 3)
		})
	}
}
