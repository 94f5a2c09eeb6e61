package node

import (
	"context"
	"encoding/hex"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/node/api/wire"
	"github.com/baton-ha/baton/raftify/core"
)

// config is the configuration of whoever leads.
func (c *cluster) config() core.Config {
	c.t.Helper()
	return c.nodes[c.leader()].raft.Status().Cfg
}

func (c *cluster) voters() []core.NodeID { return c.config().Voters() }

// untilVoters waits until the leader's configuration has exactly these voters, named by index.
func (c *cluster) untilVoters(is ...int) {
	c.t.Helper()
	var want []core.NodeID
	for _, i := range is {
		want = append(want, core.NodeID(c.cfgs[i].ID))
	}
	c.until("the voters are as wanted", func() bool { return slices.Equal(c.voters(), want) })
}

// submit sends a transaction and waits until it is final.
func (c *cluster) submit(i int, nonce uint64) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := finally(ctx, c.nodes[i], c.transfer(0, nonce, pub(c.users[1]), "1")); err != nil {
		c.t.Fatalf("nonce %d: %v", nonce, err)
	}
}

// change asks node i for a change of members, again while the cluster says that it cannot just now.
func (c *cluster) change(i int, req wire.MemberRequest) error {
	c.t.Helper()
	var err error
	c.until("the change is decided", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		err = c.nodes[i].MemberChange(ctx, req)
		var busy *api.Error
		return err == nil || errors.As(err, &busy) && busy.Status != 503
	})
	return err
}

// A node whose data folder was emptied comes back as another incarnation: a learner that fetches the chain, and then a
// voter. The cluster can then do without another node.
func TestFreshDiskRejoins(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.startAll()
	lead := c.leader()
	for nonce := range uint64(100) {
		c.submit(lead, nonce)
	}
	away := (lead + 1) % 3
	old := c.nodes[away].raft.Status().Inc
	c.stop(away)
	c.cfgs[away].DataDir = filepath.Join(c.dir, "fresh")
	c.start(away)
	c.until("the new incarnation votes", func() bool {
		s := c.nodes[away].raft.Status()
		m, _ := s.Cfg.Member(s.Leader)
		me, _ := s.Cfg.Member(core.NodeID(c.cfgs[away].ID))
		return m.Voter && me.Voter && me.Inc == s.Inc && me.Inc != old
	})
	c.settled()
	c.stop(lead)
	c.submit(c.leader(), 100)
}

// An operator takes a node out: two are left, its connections are refused, and it does not come back, not even with an
// empty disk, until it is added again.
func TestMemberRemoveAndAdd(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.startAll()
	lead := c.leader()
	who, asked := (lead+1)%3, (lead+2)%3
	id := c.cfgs[who].ID
	if err := c.change(asked, wire.MemberRequest{Op: wire.MemberRemove, ID: id}); err != nil {
		t.Fatal(err)
	}
	c.until("two voters", func() bool { return len(c.voters()) == 2 && !slices.Contains(c.voters(), core.NodeID(id)) })
	c.submit(c.leader(), 0)
	c.until("it reaches nobody", func() bool { return len(c.nodes[who].link.Connected()) == 0 })
	c.stop(who)
	c.cfgs[who].DataDir = filepath.Join(c.dir, "fresh")
	c.start(who)
	ended := time.After(10 * c.cfgs[0].Raftify.Timings().MinElection)
	<-ended
	if v := c.voters(); slices.Contains(v, core.NodeID(id)) {
		t.Fatalf("%s came back by itself: %v", id, v)
	}
	if s := c.nodes[asked].Status(); !slices.Equal(s.Removed, []string{id}) {
		t.Errorf("removed: %v", s.Removed)
	}
	// Two are left: each is needed.
	err := c.change(asked, wire.MemberRequest{Op: wire.MemberRemove, ID: c.cfgs[asked].ID})
	wantAPIError(t, err, 422, wire.CodeRejected)
	if err := c.change(asked, wire.MemberRequest{Op: wire.MemberAdd, ID: id}); err != nil {
		t.Fatal(err)
	}
	c.until("it votes again", func() bool { return slices.Contains(c.voters(), core.NodeID(id)) })
	for name, req := range map[string]wire.MemberRequest{
		"unknown node without a key": {Op: wire.MemberAdd, ID: "nobody"},
		"malformed key":              {Op: wire.MemberAdd, ID: "node9", Key: "abc", Addr: "127.0.0.1:1"},
		"key of another":             {Op: wire.MemberAdd, ID: "node9", Key: hex.EncodeToString(pubKey(testKey(1))), Addr: "127.0.0.1:1"},
		"no address":                 {Op: wire.MemberAdd, ID: "node9", Key: hex.EncodeToString(pubKey(testKey(99)))},
		"key of one that answers":    {Op: wire.MemberAdd, ID: c.cfgs[asked].ID, Key: hex.EncodeToString(pubKey(testKey(99))), Addr: "127.0.0.1:1"},
		"no such member":             {Op: wire.MemberRemove, ID: "nobody"},
		"no such learner":            {Op: wire.MemberPromote, ID: "nobody"},
		"no such voter":              {Op: wire.MemberLeave, ID: "nobody"},
	} {
		if name == "key of one that answers" && c.nodes[asked].Leading() {
			continue
		}
		if err := c.change(asked, req); err == nil {
			t.Errorf("%s: accepted", name)
		} else {
			t.Log(name+":", err)
			wantAPIError(t, err, 422, wire.CodeRejected)
		}
	}
}

// strangerCluster is three nodes that know each other, and a fourth that knows them and is in nobody's config.
func strangerCluster(t *testing.T) *cluster {
	t.Helper()
	return newCluster(t, 4, func(cfg *Config) {
		cfg.Raftify.Expect = 3
		if cfg.ID == "node4" {
			return
		}
		cfg.Peer.Peers, cfg.Raftify.Peers = cfg.Peer.Peers[:3], cfg.Raftify.Peers[:3]
		cfg.Raftify.PeerList, cfg.Raftify.MaxNodes, cfg.Raftify.Expect = cfg.Raftify.PeerList[:3], 3, 2
	})
}

func (c *cluster) addRequest(i int) wire.MemberRequest {
	return wire.MemberRequest{
		Op: wire.MemberAdd, ID: c.cfgs[i].ID, Key: hex.EncodeToString(pubKey(c.cfgs[i].Peer.Key)),
		Addr: c.cfgs[i].Raftify.PeerList[i], PeerAddr: c.cfgs[i].Peer.Listen,
	}
}

// A node that is in nobody's config file stays out until it is added. What was said of it survives a restart of every node
// and another leader; it joins, catches up, votes, and can lead. Removed, it is locked out again.
func TestMemberAddOfAStranger(t *testing.T) {
	c := strangerCluster(t)
	c.start(0, 1, 2)
	lead := c.leader()
	c.untilVoters(0, 1, 2)
	c.submit(lead, 0)
	away := (lead + 1) % 3
	c.stop(away) // it will hear of the newcomer only afterwards
	if err := c.change((lead+2)%3, c.addRequest(3)); err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{0, 1, 2} {
		c.stop(i)
		c.start(i)
	}
	c.leader()
	for _, i := range []int{0, 1, 2} {
		c.until("every node knows it", func() bool { return slices.Equal(c.nodes[i].Status().Invited, []string{"node4"}) })
	}
	c.start(3)
	c.untilVoters(0, 1, 2, 3)
	c.lead(3)
	c.submit(0, 1)
	c.until("it reaches all", func() bool { return len(c.nodes[3].link.Connected()) == 3 })
	// With its disk lost it comes again, as any configured peer does.
	old := c.nodes[3].raft.Status().Inc
	c.stop(3)
	c.cfgs[3].DataDir = filepath.Join(c.dir, "fresh")
	c.start(3)
	c.until("its new incarnation votes", func() bool {
		m, _ := c.config().Member("node4")
		return m.Voter && m.Inc != old
	})
	c.settled()
	if err := c.change(0, wire.MemberRequest{Op: wire.MemberRemove, ID: "node4"}); err != nil {
		t.Fatal(err)
	}
	c.until("it is locked out", func() bool { return len(c.nodes[3].link.Connected()) == 0 })
	c.untilVoters(0, 1, 2)
	c.stop(3)
	c.settled()
}

// A node that leaves is a learner at once, follows, and votes again only when it is promoted, whatever restarts; a leader
// hands over first. A node that merely restarts stays what it is.
func TestLeaveAndPromote(t *testing.T) {
	c := newCluster(t, 4, nil)
	c.startAll()
	who := c.leader()
	id := c.cfgs[who].ID
	events := c.nodes[(who+1)%4].Subscribe(t.Context())
	if err := c.change(who, wire.MemberRequest{Op: wire.MemberLeave, ID: id}); err != nil {
		t.Fatal(err)
	}
	c.until("three voters", func() bool { return len(c.voters()) == 3 && !slices.Contains(c.voters(), core.NodeID(id)) })
	c.submit(who, 0)
	c.stop(who)
	c.start(who)
	ended := time.After(10 * c.cfgs[0].Raftify.Timings().MinElection)
	<-ended
	if slices.Contains(c.voters(), core.NodeID(id)) {
		t.Fatalf("%s votes again: %v", id, c.voters())
	}
	c.until("it follows", func() bool { return c.nodes[who].Ready() == nil })
	for _, m := range c.nodes[who].Status().Members {
		if m.Held != (m.ID == id) || m.Voter == (m.ID == id) {
			t.Errorf("%+v", m)
		}
	}
	if err := c.change(who, wire.MemberRequest{Op: wire.MemberPromote, ID: id}); err != nil {
		t.Fatal(err)
	}
	c.untilVoters(0, 1, 2, 3)
	c.stop(who)
	c.submit(c.leader(), 1)
	if len(c.voters()) != 4 {
		t.Errorf("a restart shrank the cluster to %v", c.voters())
	}
	c.start(who)
	c.settled()
	for _, op := range []string{wire.MemberPromote, wire.MemberAdd} { // of whoever leads: that is what it is
		lead := c.leader()
		if err := c.change(lead, wire.MemberRequest{Op: op, ID: c.cfgs[lead].ID}); err != nil {
			t.Errorf("%s of the leader: %v", op, err)
		}
	}
	seen := map[string]bool{}
	c.until("subscribers are told", func() bool {
		for len(events) > 0 {
			if e := <-events; e.Member != nil && e.Member.ID == id {
				seen[e.Member.Change] = true
			}
		}
		return seen["demoted"] && seen["promoted"]
	})
}

func TestPinRoundTrip(t *testing.T) {
	want := pinInfo{key: pubKey(testKey(7)), peer: "10.0.0.4:7001", gossip: "host.example:7000"}
	got, err := decodePin(want.encode())
	if err != nil || !got.key.Equal(want.key) || got.peer != want.peer || got.gossip != want.gossip {
		t.Fatalf("%+v, %v", got, err)
	}
	for i := range len(want.encode()) {
		if _, err := decodePin(want.encode()[:i]); err == nil {
			t.Fatalf("accepted %d bytes", i)
		}
	}
	if n := len(pinInfo{key: want.key, peer: string(make([]byte, maxPinAddrBytes)), gossip: string(make([]byte, maxPinAddrBytes))}.encode()); n > core.MaxPinInfoBytes {
		t.Errorf("a pin may have %d bytes, the election carries %d", n, core.MaxPinInfoBytes)
	}
}
