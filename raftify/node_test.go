package raftify

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/baton-ha/baton/raftify/core"
)

func TestSingleNodeLeadsWithoutNetworkOrKey(t *testing.T) {
	cfg := DefaultConfig()
	cfg.ID, cfg.Timing, cfg.BindAddr = "only", testTiming(), "does.not.resolve.invalid"
	n, err := New(Options{Config: cfg, Store: newMemStore(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.Close() }()
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	ctx := bounded(t)
	if id, err := n.WaitLeader(ctx); err != nil || id != "only" {
		t.Fatalf("%q, %v", id, err)
	}
	if err := n.Round(ctx); err != nil {
		t.Error(err)
	}
	if m := n.Members(); len(m) != 1 || !m[0].Self || !m[0].Alive || !m[0].Voter {
		t.Errorf("%+v", m)
	}
	if err := n.Transfer(ctx, ""); !errors.Is(err, core.ErrUnreachable) {
		t.Errorf("transfer of a single node: %v", err)
	}
	if err := n.Start(); !errors.Is(err, ErrStarted) {
		t.Errorf("second start: %v", err)
	}
	if err := n.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if n.Leading() || n.Status().Role == core.RoleLeader || n.Post(func(core.Instant, *core.Core) {}) {
		t.Error("a closed node leads, or takes functions")
	}
	for what, err := range map[string]error{"round": n.Round(ctx), "transfer": n.Transfer(ctx, ""), "start": n.Start()} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s of a closed node: %v", what, err)
		}
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
}

func TestRefusals(t *testing.T) {
	cfg := DefaultConfig()
	cfg.ID = "a"
	store := newMemStore(t)
	if _, err := New(Options{Config: cfg}); err == nil {
		t.Error("a node without a store")
	}
	n, err := New(Options{Config: cfg, Store: store})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	other := cfg
	other.ID = "b"
	if _, err := New(Options{Config: other, Store: store}); !errors.Is(err, ErrWrongID) {
		t.Errorf("the store of another node: %v", err)
	}
	store.breakDown()
	if _, err := New(Options{Config: cfg, Store: store}); !errors.Is(err, ErrStoreFailed) || !errors.Is(err, errDisk) {
		t.Errorf("boot number on a broken disk: %v", err)
	}
	store.state = store.state[1:]
	if _, err := New(Options{Config: cfg, Store: store}); !errors.Is(err, ErrMalformed) {
		t.Errorf("damaged state: %v", err)
	}
	cfg.BindPort = -1
	if _, err := New(Options{Config: cfg, Store: newMemStore(t)}); err == nil || !strings.Contains(err.Error(), "bind_port") {
		t.Errorf("bad config: %v", err)
	}
}

// The boot number rises with every start, and is on the disk before New returns.
func TestBootNumber(t *testing.T) {
	cfg := DefaultConfig()
	cfg.ID = "a"
	store := newMemStore(t)
	var inc core.Inc
	for boot := uint64(1); boot <= 3; boot++ {
		n, err := New(Options{Config: cfg, Store: store})
		if err != nil {
			t.Fatal(err)
		}
		raw, _ := store.Load()
		hs, err := DecodeState(raw)
		if err != nil || hs.Boot != boot || hs.Inc == (core.Inc{}) || boot > 1 && hs.Inc != inc {
			t.Errorf("boot %d: %+v, %v", boot, hs, err)
		}
		inc = hs.Inc
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestLeaderIsCutOffAndReplaced(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	c.checkI1()
	stop := checkLeases(t, c.holders)
	for range 4 {
		old := c.leader()
		c.net.isolate(old, true)
		next := c.leader(old)
		if next == old {
			t.Fatal("the node that was cut off leads")
		}
		c.net.isolate(old, false)
		eventually(t, "the old leader follows", func() bool {
			s := c.node(old).Status()
			return s.Role == core.RoleFollower && s.Leader != "" && s.Leader != old
		})
	}
	if seen := stop(); seen == 0 {
		t.Error("the checker never saw a lease")
	}
}

// A leader whose process stands still must not show a lease when it wakes, whatever its last snapshot says.
func TestLeaderThatStandsStill(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	c.checkI1()
	stop := checkLeases(t, c.holders)
	old := c.leader()
	frozen, thaw := make(chan struct{}), make(chan struct{})
	c.node(old).Post(func(core.Instant, *core.Core) { close(frozen); <-thaw })
	release := sync.OnceFunc(func() { close(thaw) })
	t.Cleanup(release) // before the nodes are closed: the last in, first out
	<-frozen
	c.leader(old)
	if s := c.node(old).Status(); s.Role != core.RoleLeader || !s.Lease.Valid {
		t.Errorf("the frozen loop published something: %+v", s)
	}
	if c.node(old).Lease() != 0 {
		t.Error("the frozen leader shows a lease")
	}
	release()
	eventually(t, "the old leader follows", func() bool { return c.node(old).Status().Role == core.RoleFollower })
	stop()
}

type fakeHolder struct {
	term core.Term
	on   func() bool
}

func (f fakeHolder) held() (core.Term, bool) { return f.term, f.on() }

// The negative twin of the lease checks: two leases at once are seen, two in turn are not.
func TestLeaseCheckCanFail(t *testing.T) {
	yes := func() bool { return true }
	if !overlap(fakeHolder{1, yes}, fakeHolder{2, yes}) {
		t.Error("two leases at once were not noticed")
	}
	calls := 0
	first := func() bool { calls++; return calls == 1 }
	if overlap(fakeHolder{1, first}, fakeHolder{2, yes}) {
		t.Error("leases one after the other were called an overlap")
	}
}

func TestTransfer(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	c.leader()
	// When the order to take over leaves, no reader may still see the lease that it gives up (PROTOCOL R22).
	c.net.mu.Lock()
	c.net.watch = func(from core.NodeID, m core.Message) {
		if m.Type == core.MsgTimeoutNow && c.node(from).Leading() {
			t.Errorf("%s hands over with a lease in force", from)
		}
	}
	c.net.mu.Unlock()
	c.checkI1()
	stop := checkLeases(t, c.holders)
	ctx := bounded(t)
	for range 3 {
		old := c.leader()
		to := c.ids[(slices.Index(c.ids, old)+1)%3]
		if err := c.node(to).Transfer(ctx, ""); !errors.Is(err, ErrNotLeader) {
			t.Errorf("transfer by a follower: %v", err)
		}
		if err := c.node(old).Transfer(ctx, "nobody"); !errors.Is(err, core.ErrNotVoter) {
			t.Errorf("transfer to nobody: %v", err)
		}
		// On a loaded machine a handover may fail; then somebody leads all the same and it is tried again.
		if err := c.node(old).Transfer(ctx, to); err != nil && !errors.Is(err, ErrTransferFailed) && !errors.Is(err, core.ErrUnreachable) {
			t.Fatal(err)
		} else if err == nil && c.node(old).Status().Leader == old {
			t.Error("after the handover the old leader still leads")
		}
	}
	stop()
}

// The target does not hear of it: the old leader must end up without a lease in that term, and say so.
func TestTransferToOneWhoDoesNotHear(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	ctx := bounded(t)
	var old core.NodeID
	var term core.Term
	// A target that has not answered lately, or a leader that leads no more, begins no handover.
	eventually(t, "a handover begins", func() bool {
		old = c.leader()
		term = c.node(old).Status().Term
		to := c.ids[(slices.Index(c.ids, old)+1)%3]
		deaf := func(on bool) {
			c.net.mu.Lock()
			defer c.net.mu.Unlock()
			c.net.cut[[2]core.NodeID{old, to}] = on
		}
		deaf(true)
		err := c.node(old).Transfer(ctx, to)
		if errors.Is(err, core.ErrUnreachable) || errors.Is(err, ErrNotLeader) {
			deaf(false)
			return false
		}
		t.Logf("the handover ended with %v", err)
		return true
	})
	if s := c.node(old).Status(); s.Term == term && s.Role == core.RoleLeader && c.node(old).Leading() {
		t.Error("a lease of the term that was handed over")
	}
}

func TestShutdownHandsOver(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	stop := checkLeases(t, c.holders)
	ctx := bounded(t)
	var old core.NodeID
	var n *Node
	// On a machine that stands still it may lead no more when it is told, or nobody may have answered it lately.
	eventually(t, "a leader hands over", func() bool {
		old = c.leader()
		before := c.net.count(old, core.MsgTimeoutNow)
		if err := c.node(old).Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
		c.leader(old)
		tried := c.net.count(old, core.MsgTimeoutNow) > before
		n = c.start(old, nil) //nolint:contextcheck // as the member that it was; a node runs until it is closed
		return tried
	})
	stop()
	eventually(t, "the node is back", func() bool { s := n.Status(); return s.Leader != "" && s.Cfg.IsVoter(old) })
	if s := n.Status(); len(s.Cfg.Voters()) != 3 {
		t.Errorf("a shutdown counted as a leave: %+v", s.Cfg)
	}
}

// makeLead hands leadership to id, as often as it takes.
func (c *cluster) makeLead(ctx context.Context, id core.NodeID) {
	c.t.Helper()
	eventually(c.t, string(id)+" leads", func() bool {
		for _, other := range c.ids {
			if other != id && c.node(other).Leading() {
				_ = c.node(other).Transfer(ctx, id)
			}
		}
		return c.node(id).Leading()
	})
}

func TestStoreFailureSilencesTheNode(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	victim := c.leader()
	if err := c.node(victim).Close(); err != nil {
		t.Fatal(err)
	}
	c.leader(victim)
	fatal := make(chan error, 10)
	n := c.start(victim, func(o *Options) { o.Fatal = func(err error) { fatal <- err } })
	ctx := bounded(t)
	if _, err := n.WaitLeader(ctx); err != nil {
		t.Fatal(err)
	}
	// Make it lead, so that its silence can be heard, then break the disk and make it write.
	c.makeLead(ctx, victim)
	c.stores[victim].breakDown()
	c.net.isolate(victim, true)
	c.leader(victim)
	c.net.isolate(victim, false) // now it hears of the higher term, and must write
	select {
	case err := <-fatal:
		if !errors.Is(err, ErrStoreFailed) || !errors.Is(err, errDisk) {
			t.Errorf("Fatal got %v", err)
		}
	case <-ctx.Done():
		t.Fatal("a failed write was not reported")
	}
	<-n.Stopped()
	if n.Leading() || n.Status().Leader != "" {
		t.Error("a node whose disk failed claims something")
	}
	before := c.net.count(victim, core.MsgHB) + c.net.count(victim, core.MsgHBAck)
	live := c.node(c.leader(victim))
	for range 3 {
		if err := live.Round(ctx); err != nil && !errors.Is(err, ErrLeadershipLost) && !errors.Is(err, ErrNotLeader) {
			t.Fatal(err)
		}
	}
	if after := c.net.count(victim, core.MsgHB) + c.net.count(victim, core.MsgHBAck); after != before {
		t.Errorf("%d messages after the failure", after-before)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	if len(fatal) != 0 {
		t.Error("Fatal was called twice")
	}
}

// The owner of the store may learn of a failure first: a leader that is told falls silent at once.
func TestFailStopsALeader(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	fatal := make(chan error, 2)
	id := c.leader()
	if err := c.node(id).Close(); err != nil {
		t.Fatal(err)
	}
	n := c.start(id, func(o *Options) {
		o.Fatal = func(err error) {
			_ = c.node(id).Close() // allowed
			fatal <- err
		}
	})
	ctx := bounded(t)
	c.makeLead(ctx, id)
	// While the loop stands still the failure comes in; whatever it does next, it must not speak any more.
	frozen, thaw := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(thaw) })
	t.Cleanup(release)
	n.Post(func(now core.Instant, co *core.Core) {
		close(frozen)
		<-thaw
		_, _ = co.RequestRound(now) // wants heartbeats sent
	})
	<-frozen
	// What the pulse says again until then is another matter, see TestPulse.
	before, repeated := c.net.count(id, core.MsgHB), n.Stats().Repeated
	n.Fail(errDisk)
	n.Fail(errors.New("later"))
	release()
	if err := <-fatal; !errors.Is(err, errDisk) {
		t.Error(err)
	}
	if n.Leading() {
		t.Error("still leading")
	}
	said, again := c.net.count(id, core.MsgHB)-before, int(n.Stats().Repeated-repeated)*2
	if said > again {
		t.Errorf("%d heartbeats after the failure, of which the pulse may have said %d", said, again)
	}
	c.leader(id)
}

func TestReadRound(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	ctx := bounded(t)
	// A machine that stands still for an election timeout changes the leader under the test's hands.
	var id core.NodeID
	eventually(t, "a leader reads, a follower does not", func() bool {
		id = c.leader()
		if err := c.node(c.ids[(slices.Index(c.ids, id)+1)%3]).Round(ctx); !errors.Is(err, ErrNotLeader) {
			return false
		}
		noted := false
		err := c.node(id).ReadRound(ctx, func(_ core.Instant, co *core.Core) { noted = co.Status().Role == core.RoleLeader })
		return err == nil && noted
	})
	n := c.node(id)
	// Many reads at once share rounds: one heartbeat each would be 2 x 400 of them.
	before := c.net.count(id, core.MsgHB)
	thaw := make(chan struct{})
	n.Post(func(core.Instant, *core.Core) { <-thaw })
	release := sync.OnceFunc(func() { close(thaw) })
	t.Cleanup(release) // before the nodes are closed: the last in, first out
	errs := make(chan error, 400)
	for range 400 {
		go func() { errs <- n.Round(ctx) }()
	}
	eventually(t, "the reads are queued", func() bool {
		n.inbox.mu.Lock()
		defer n.inbox.mu.Unlock()
		return n.inbox.posts.len() >= 400-turnPosts // the turn under way holds the rest
	})
	release()
	for range 400 {
		// A slow machine may cost it the leadership meanwhile.
		if err := <-errs; err != nil && !errors.Is(err, ErrLeadershipLost) && !errors.Is(err, ErrNotLeader) {
			t.Error(err)
		}
	}
	if sent := c.net.count(id, core.MsgHB) - before; sent > 400 {
		t.Errorf("400 reads at once sent %d heartbeats", sent)
	}
	// Cut off, no round may succeed: nobody confirms.
	c.net.isolate(id, true)
	if err := n.Round(ctx); !errors.Is(err, ErrLeadershipLost) && !errors.Is(err, ErrNotLeader) {
		t.Errorf("round of a leader that is cut off: %v", err)
	}
}

func TestPostKeepsOrderAndTimePasses(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	id := c.leader()
	n := c.node(id)
	term := n.Status().Term
	// A queue that never runs dry: each function posts the next two until told to stop.
	var stop atomic.Bool
	var ran atomic.Int64
	var flood func(core.Instant, *core.Core)
	flood = func(core.Instant, *core.Core) {
		ran.Add(1)
		if !stop.Load() {
			n.Post(flood)
		}
	}
	for range 100 {
		n.Post(flood)
	}
	const total = 20000
	var got []int
	for i := range total {
		n.Post(func(core.Instant, *core.Core) { got = append(got, i) })
	}
	if err := n.call(bounded(t), func(core.Instant, *core.Core) {}); err != nil {
		t.Fatal(err)
	}
	done := make(chan []int, 1)
	n.Post(func(core.Instant, *core.Core) { done <- got })
	if got := <-done; len(got) != total || !slices.IsSorted(got) {
		t.Errorf("%d functions ran, in order: %v", len(got), slices.IsSorted(got))
	}
	hb := c.net.count(id, core.MsgHB)
	eventually(t, "heartbeats while the queue is never empty", func() bool {
		return c.net.count(id, core.MsgHB) >= hb+40 || n.Status().Term != term
	})
	stop.Store(true)
	if ran.Load() < 1000 {
		t.Errorf("only %d functions ran meanwhile", ran.Load())
	}
}

// Within a turn the hard state goes to the store first, then the application has its turn, then messages and events
// leave.
func TestOrderWithinATurn(t *testing.T) {
	var log []string // of the owner loop alone
	store := &tapStore{memStore: newMemStore(t), tap: func() { log = append(log, "save") }}
	cfg := DefaultConfig()
	cfg.ID, cfg.Timing, cfg.Encrypt, cfg.Expect = "a", testTiming(), make([]byte, 16), 2
	cfg.Peers = []core.Peer{{ID: "a", Addr: "a.test:1"}, {ID: "b", Addr: "b.test:1"}}
	proposed := make(chan struct{})
	once := sync.OnceFunc(func() { close(proposed) })
	n, err := New(Options{
		Config: cfg, Store: store,
		Transport: func(deliver func(core.Message)) (Transport, error) {
			return sendFunc(func(m core.Message) {
				log = append(log, "send")
				switch m.Type {
				case core.MsgBootProbe: // b answers; the proposal that follows must be written before it is sent
					deliver(core.Message{Type: core.MsgBootInfo, Header: core.Header{From: "b", To: "a", Inc: core.Inc{7}}, Addr: "b.test:1"})
				case core.MsgBootPropose:
					once()
				default:
				}
			}), nil
		},
		AfterStep: func(core.Instant, *core.Core) { log = append(log, "after") },
		OnEvent:   func(core.Event) { log = append(log, "event") },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.Close() }()
	log = nil // New saved the boot number
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-proposed:
	case <-bounded(t).Done():
		t.Fatal("no proposal")
	}
	// b comes back with another folder: another proposal, which is another write.
	from := 0
	n.Post(func(now core.Instant, c *core.Core) {
		from = len(log)
		info := core.Header{From: "b", To: "a", Inc: core.Inc{8}}
		if err := c.Step(now, core.Message{Type: core.MsgBootInfo, Header: info, Addr: "b.test:1"}); err != nil {
			t.Error(err)
		}
	})
	err = n.call(bounded(t), func(core.Instant, *core.Core) {
		if turn := log[from:]; len(turn) < 2 || turn[0] != "save" || turn[1] != "after" {
			t.Errorf("a step that writes does %q", turn)
		}
		for i, what := range log {
			if (what == "send" || what == "event") && (i == 0 || log[i-1] == "save") {
				t.Errorf("%s without the application's turn before it: %q", what, log[:i+1])
			}
			if what == "save" && (i+1 >= len(log) || log[i+1] != "after") {
				t.Errorf("save is not followed by the application's turn: %q", log[i:])
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

type tapStore struct {
	*memStore
	tap func()
}

func (s *tapStore) Save(b []byte, done func(error)) {
	s.tap()
	s.memStore.Save(b, done)
}

type sendFunc func(core.Message)

func (f sendFunc) Send(_ core.NodeID, _ string, m core.Message) { f(m) }
func (f sendFunc) Close() error                                 { return nil }

func TestMembersAndEvents(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	id := c.leader()
	n := c.node(id)
	eventually(t, "all members are heard", func() bool {
		ms := n.Members()
		for _, m := range ms {
			if !m.Alive || !m.Voter || m.Self != (m.ID == id) {
				return false
			}
		}
		return len(ms) == 3
	})
	dead := c.ids[(slices.Index(c.ids, id)+1)%3]
	if err := c.node(dead).Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the dead one is noticed", func() bool {
		for _, m := range n.Members() {
			if m.ID == dead {
				return !m.Alive && m.Heard && m.LastHeard > 0
			}
		}
		return false
	})
	if !n.Suspect(dead) {
		t.Error("suspicion was not taken")
	}
	// Whoever leads now: a machine that stands still for an election timeout changes the leader.
	ctx := bounded(t)
	eventually(t, "a round is told as an event", func() bool {
		leader := c.node(c.leader())
		events, end := leader.Events()
		defer end()
		if leader.Round(ctx) != nil {
			return false
		}
		for {
			select {
			case e := <-events:
				if e.Kind == core.EventRound {
					return true
				}
			case <-ctx.Done():
				return false
			}
		}
	})
}

func TestWaitersEndWithTheirContext(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	id := c.leader()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	n := c.node(id)
	if err := n.Round(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("round: %v", err)
	}
	c.net.isolate(id, true)
	eventually(t, "the leader steps down", func() bool { return n.Status().Leader == "" })
	if _, err := n.WaitLeader(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("wait for a leader: %v", err)
	}
	waited := make(chan error, 1)
	go func() {
		_, err := n.WaitLeader(t.Context())
		waited <- err
	}()
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	if err := <-waited; !errors.Is(err, ErrClosed) {
		t.Errorf("wait on a node that closes: %v", err)
	}
}

// goroutines returns the stacks of goroutines that run our code or memberlist's, tests left out.
func goroutines() string {
	buf := make([]byte, 1<<20)
	var out []string
	for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(g, "hashicorp/memberlist") || strings.Contains(g, "raftify.(*Node)") ||
			strings.Contains(g, "raftify.(*gossip)") || strings.Contains(g, "raftify.(*FileStore)") {
			out = append(out, g)
		}
	}
	return strings.Join(out, "\n\n")
}

func noGoroutines(t *testing.T) {
	t.Helper()
	eventually(t, "the end of all goroutines", func() bool { return goroutines() == "" })
}
