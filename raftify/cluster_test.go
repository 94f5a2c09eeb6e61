package raftify

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/raftify/core"
)

// patience is how long a test waits for what must happen in the end. It is no statement about speed.
const patience = 3 * time.Minute

func testTiming() *core.Timing {
	tm := core.DefaultTiming(2)
	tm.MaxBackoff = 2 * time.Second
	return &tm
}

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually polls a condition that nothing signals.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	limit := time.NewTimer(patience) // not the test's context, which is over in its cleanup
	defer limit.Stop()
	for !cond() {
		select {
		case <-poll.C:
		case <-limit.C:
			t.Fatalf("never came: %s", what)
		}
	}
}

// testNet connects nodes within the process, through the wire format; links can be cut one way.
type testNet struct {
	mu    sync.Mutex
	nodes map[core.NodeID]func(core.Message)
	cut   map[[2]core.NodeID]bool
	sent  map[core.NodeID]map[core.MessageType]int
	// watch, when not nil, sees each message in its sender's owner loop, before it is on its way.
	watch func(from core.NodeID, m core.Message)
}

func newTestNet() *testNet {
	return &testNet{
		nodes: map[core.NodeID]func(core.Message){}, cut: map[[2]core.NodeID]bool{},
		sent: map[core.NodeID]map[core.MessageType]int{},
	}
}

type testLink struct {
	net *testNet
	id  core.NodeID
}

func (n *testNet) open(id core.NodeID) func(func(core.Message)) (Transport, error) {
	return func(deliver func(core.Message)) (Transport, error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.nodes[id] = deliver
		return &testLink{n, id}, nil
	}
}

func (l *testLink) Send(to core.NodeID, _ string, m core.Message) {
	b, err := EncodeMessage(&m)
	if err != nil {
		panic(err)
	}
	if m, err = DecodeMessage(b); err != nil {
		panic(err)
	}
	l.net.mu.Lock()
	deliver := l.net.nodes[to]
	if l.net.sent[l.id] == nil {
		l.net.sent[l.id] = map[core.MessageType]int{}
	}
	l.net.sent[l.id][m.Type]++
	watch := l.net.watch
	if l.net.cut[[2]core.NodeID{l.id, to}] {
		deliver = nil
	}
	l.net.mu.Unlock()
	if watch != nil {
		watch(l.id, m)
	}
	if deliver != nil {
		deliver(m)
	}
}

func (l *testLink) Close() error {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	delete(l.net.nodes, l.id)
	return nil
}

func (n *testNet) count(id core.NodeID, t core.MessageType) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sent[id][t]
}

// isolate cuts all links of id, or mends them.
func (n *testNet) isolate(id core.NodeID, on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for other := range n.nodes {
		n.cut[[2]core.NodeID{id, other}], n.cut[[2]core.NodeID{other, id}] = on, on
	}
}

var errDisk = errors.New("disk is gone")

// memStore is a disk in memory whose completions come from a goroutine, in order. It checks I2 on each write.
type memStore struct {
	t    *testing.T
	jobs chan func()

	mu     sync.Mutex
	state  []byte
	broken bool
}

func newMemStore(t *testing.T) *memStore {
	t.Helper()
	s := &memStore{t: t, jobs: make(chan func(), 1024)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for job := range s.jobs {
			job()
		}
	}()
	t.Cleanup(func() { close(s.jobs); <-done })
	return s
}

// Load stands for closing and opening the store as well: a node that stopped may have left writes in the queue.
func (s *memStore) Load() ([]byte, error) {
	written := make(chan struct{})
	s.jobs <- func() { close(written) }
	<-written
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state, nil
}

func (s *memStore) Save(state []byte, done func(error)) {
	s.jobs <- func() { done(s.write(state)) }
}

func (s *memStore) write(state []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken {
		return errDisk
	}
	now, err := DecodeState(state)
	if err != nil {
		s.t.Errorf("saved state: %v", err)
	}
	if s.state != nil {
		if old, err := DecodeState(s.state); err != nil {
			s.t.Errorf("stored state: %v", err)
		} else {
			checkI2(s.t, old, now)
		}
	}
	s.state = state
	return nil
}

// checkI2 demands that a later state takes nothing of an earlier one back.
func checkI2(t *testing.T, old, now core.HardState) {
	t.Helper()
	if now.Inc != old.Inc || now.ID != old.ID || now.Boot < old.Boot || now.Term < old.Term {
		t.Errorf("state fell from %+v to %+v", old, now)
	}
	if now.Term == old.Term && old.Vote.Kind != core.VoteNone && now.Vote != old.Vote {
		t.Errorf("vote of term %d changed from %v to %v", now.Term, old.Vote, now.Vote)
	}
	if now.Cfg.Key.Compare(old.Cfg.Key) < 0 {
		t.Errorf("configuration fell from %+v to %+v", old.Cfg.Key, now.Cfg.Key)
	}
}

func (s *memStore) breakDown() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = true
}

// cluster is some nodes on a testNet.
type cluster struct {
	t      *testing.T
	net    *testNet
	ids    []core.NodeID
	stores map[core.NodeID]*memStore

	mu    sync.Mutex
	nodes map[core.NodeID]*Node
}

func newCluster(t *testing.T, ids ...core.NodeID) *cluster {
	t.Helper()
	t.Cleanup(func() { noGoroutines(t) }) // after all else: the last in, first out
	c := &cluster{t: t, net: newTestNet(), ids: ids, stores: map[core.NodeID]*memStore{}, nodes: map[core.NodeID]*Node{}}
	for _, id := range ids {
		c.stores[id] = newMemStore(t)
	}
	for _, id := range ids {
		c.start(id, nil)
	}
	return c
}

func (c *cluster) config(id core.NodeID) Config {
	cfg := DefaultConfig()
	cfg.ID, cfg.Timing, cfg.Expect, cfg.MaxNodes = id, testTiming(), len(c.ids), len(c.ids)
	if len(c.ids) > 1 {
		cfg.Encrypt = make([]byte, 16)
	}
	for _, p := range c.ids {
		cfg.Peers = append(cfg.Peers, core.Peer{ID: p, Addr: string(p) + ".test:1"})
	}
	return cfg
}

func (c *cluster) start(id core.NodeID, change func(*Options)) *Node {
	c.t.Helper()
	opt := Options{
		Config: c.config(id), Store: c.stores[id], Transport: c.net.open(id),
		Logger: zerolog.New(zerolog.NewTestWriter(c.t)).With().Str("node", string(id)).Logger(),
	}
	if change != nil {
		change(&opt)
	}
	n, err := New(opt)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = n.Close() })
	if err := n.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes[id] = n
	return n
}

func (c *cluster) node(id core.NodeID) *Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nodes[id]
}

// leader waits until one node other than those left out holds a lease, and returns it.
func (c *cluster) leader(without ...core.NodeID) (id core.NodeID) {
	c.t.Helper()
	eventually(c.t, "a leader", func() bool {
		for _, i := range c.ids {
			skip := false
			for _, w := range without {
				skip = skip || w == i
			}
			if !skip && c.node(i).Leading() {
				id = i
				return true
			}
		}
		return false
	})
	return id
}

// checkI1 watches all nodes: no term may ever have two leaders.
func (c *cluster) checkI1() {
	c.t.Helper()
	leaders := map[core.Term]core.NodeID{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	c.t.Cleanup(wg.Wait) // after the subscriptions have ended: the last in, first out
	for _, id := range c.ids {
		events, end := c.node(id).Events()
		c.t.Cleanup(end)
		wg.Go(func() {
			for e := range events {
				if e.Kind != core.EventElected {
					continue
				}
				mu.Lock()
				if other, ok := leaders[e.Term]; ok && other != id {
					c.t.Errorf("I1: %s and %s were both elected in term %d", other, id, e.Term)
				}
				leaders[e.Term] = id
				mu.Unlock()
			}
		})
	}
}

// leaseHolder is what checkLeases looks at: the lease in force, and for how long.
type leaseHolder interface {
	held() (core.Term, bool)
}

func (n *Node) held() (core.Term, bool) {
	for {
		s := n.snap.Load()
		left := s.Lease.Left(n.clock.Now())
		if n.snap.Load() == s {
			return s.Lease.Term, left > 0
		}
	}
}

// overlap reports a moment at which both held a lease: b did at some moment between two at which a held one and the
// same. A lease of a term that is over or given up never comes back, so a held it throughout.
func overlap(a, b leaseHolder) bool {
	term, ok := a.held()
	if !ok {
		return false
	}
	if _, ok := b.held(); !ok {
		return false
	}
	again, ok := a.held()
	return ok && again == term
}

// checkLeases samples all pairs of nodes without a pause until stop is called (I15); stop says how many samples saw a
// lease at all.
func checkLeases(t *testing.T, all func() []leaseHolder) (stop func() int) {
	t.Helper()
	done := make(chan struct{})
	seen, once := 0, sync.Once{}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			hs := all()
			for i, a := range hs {
				if _, ok := a.held(); ok {
					seen++
				}
				for j, b := range hs {
					if i != j && overlap(a, b) {
						t.Error("I15: two nodes held a lease at once")
						return
					}
				}
			}
		}
	})
	stop = func() int {
		once.Do(func() { close(done) })
		wg.Wait()
		return seen
	}
	t.Cleanup(func() { stop() })
	return stop
}

func (c *cluster) holders() []leaseHolder {
	c.mu.Lock()
	defer c.mu.Unlock()
	hs := make([]leaseHolder, 0, len(c.nodes))
	for _, n := range c.nodes {
		hs = append(hs, n)
	}
	return hs
}

// stepClock is a clock that a test may put forward.
type stepClock struct {
	Clock
	ahead atomic.Int64
}

func (c *stepClock) Now() core.Instant {
	now, d := c.Clock.Now(), c.ahead.Load()
	return core.Instant{Mono: now.Mono + d, Boot: now.Boot + d, Real: now.Real + d}
}
