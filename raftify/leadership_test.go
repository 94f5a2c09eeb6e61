package raftify

import (
	"context"
	"errors"
	"testing"

	"github.com/baton-ha/baton/raftify/core"
)

// TestLeadershipEndsWithTheLease: a leader that is cut off loses its Leadership before another has one, and terms grow.
func TestLeadershipEndsWithTheLease(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	ctx := bounded(t)
	// leadership is that of a node, unless it leads no more: the leader may change between two looks.
	leadership := func(id core.NodeID) (*Leadership, context.CancelFunc) {
		short, cancel := context.WithCancel(ctx)
		got := make(chan *Leadership, 1)
		go func() {
			defer close(got)
			if l, err := c.node(id).Leadership(short); err == nil {
				got <- l
			}
		}()
		eventually(t, "leadership, or another leader", func() bool { return len(got) > 0 || !c.node(id).Leading() })
		if len(got) == 0 {
			cancel()
		}
		return <-got, cancel
	}
	var l *Leadership
	var id core.NodeID
	for l == nil {
		id = c.leader()
		ended, cancel := leadership(id)
		cancel()
		if ended == nil {
			continue
		}
		if err := ended.Err(); !errors.Is(err, context.Canceled) && !errors.Is(err, ErrLeadershipLost) {
			t.Errorf("its context ended, and it has %v", err)
		}
		l, cancel = leadership(id)
		t.Cleanup(cancel)
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := c.node(id).Leadership(over); !errors.Is(err, context.Canceled) {
		t.Errorf("a leadership for a context that has ended: %v", err)
	}
	c.net.isolate(id, true)
	var next *Leadership
	eventually(t, "another leads", func() bool {
		for _, other := range c.ids {
			if other != id && c.node(other).Leading() {
				if err := l.Err(); !errors.Is(err, ErrLeadershipLost) {
					t.Errorf("%s leads term %d and %s still has a leadership of term %d: %v", other, c.node(other).Term(), id, l.Term, err)
				}
				var cancel context.CancelFunc
				next, cancel = leadership(other)
				t.Cleanup(cancel)
				return next != nil
			}
		}
		return false
	})
	<-l.Done()
	if l.Left() != 0 || next.Term <= l.Term {
		t.Errorf("%v left; term %d after %d", l.Left(), next.Term, l.Term)
	}
	c.net.isolate(id, false)
	if err := l.Err(); !errors.Is(err, ErrLeadershipLost) {
		t.Errorf("a leadership that is over came back: %v", err)
	}
}

// TestLeadershipAsksTheClock: Err is right at once, whether or not any goroutine ran since the lease ended.
func TestLeadershipAsksTheClock(t *testing.T) {
	cfg := DefaultConfig()
	cfg.ID, cfg.Timing = "only", testTiming()
	clock := &stepClock{Clock: SystemClock()}
	n, err := New(Options{Config: cfg, Store: newMemStore(t), Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.Close() }()
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	l, err := n.Leadership(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	// One turn of the owner loop: the loop is here, so nothing renews the lease while the clock jumps.
	done := make(chan error, 1)
	n.Post(func(core.Instant, *core.Core) {
		clock.ahead.Store(int64(testTiming().MinElection))
		done <- l.Err()
	})
	if err := <-done; !errors.Is(err, ErrLeadershipLost) {
		t.Errorf("an election timeout after the last heartbeat: %v", err)
	}
	<-l.Done()
}

// TestOpen waits for the bootstrap, and gives up with its context.
func TestOpen(t *testing.T) {
	cfg := DefaultConfig()
	cfg.ID, cfg.Timing = "only", testTiming()
	n, err := Open(bounded(t), Options{Config: cfg, Store: newMemStore(t)})
	if err != nil {
		t.Fatal(err)
	}
	if n.Leader() != "only" || n.ID() != "only" || n.State() != core.RoleLeader || n.Term() == 0 || n.HealthScore() != 0 {
		t.Errorf("%v %v %v %v", n.ID(), n.Leader(), n.State(), n.Term())
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	net := newTestNet()
	alone := Options{Config: threePeers(), Store: newMemStore(t), Transport: net.open("a")}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, alone); !errors.Is(err, context.Canceled) {
		t.Errorf("one of three: %v", err)
	}
	noGoroutines(t)
}

// voteHook attaches its name to votes, and notes what a winner got.
type voteHook struct {
	BasicHook
	name   string
	elects chan []core.Report
}

func (h *voteHook) Report() []byte { return []byte(h.name) }

func (h *voteHook) Elected(now core.Instant, term core.Term, reports []core.Report) {
	select {
	case h.elects <- reports:
	default:
	}
	h.BasicHook.Elected(now, term, reports)
}

// TestAttachmentsOnVotes: the winner has the attachments of the majority that elected it.
func TestAttachmentsOnVotes(t *testing.T) {
	c := &cluster{t: t, net: newTestNet(), ids: []core.NodeID{"a", "b", "c"}, stores: map[core.NodeID]*memStore{}, nodes: map[core.NodeID]*Node{}}
	elects := make(chan []core.Report, 16)
	for _, id := range c.ids {
		c.stores[id] = newMemStore(t)
		c.start(id, func(o *Options) { o.Hook = &voteHook{name: "I am " + string(id), elects: elects} })
	}
	c.leader()
	reports := <-elects
	if len(reports) < 2 {
		t.Fatalf("%v is no majority", reports)
	}
	for _, r := range reports {
		if string(r.Attachment) != "I am "+string(r.From) {
			t.Errorf("%s attached %q", r.From, r.Attachment)
		}
	}
}
