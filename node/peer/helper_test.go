package peer

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

const (
	patience = 20 * time.Second // after which a test gives up; never what a test waits for
	// unhurried is an idle timeout for tests in which a living peer must not be taken for dead: it forgives a loaded
	// machine a stall of two thirds of it.
	unhurried = 2400 * time.Millisecond
)

type message struct {
	from    string
	kind    byte
	payload []byte
}

// recorder is a Handler that reports everything on channels; the functions, if set, come first.
type recorder struct {
	onMessage func(message)
	onRequest func(ctx context.Context, from string, kind byte, payload []byte) ([]byte, error)
	onUp      func(id string)

	messages chan message
	up, down chan string
}

func newRecorder() *recorder {
	return &recorder{
		messages: make(chan message, 100_000),
		up:       make(chan string, 1000),
		down:     make(chan string, 1000),
	}
}

func (r *recorder) HandleMessage(from string, kind byte, payload []byte) {
	m := message{from, kind, payload}
	if r.onMessage != nil {
		r.onMessage(m)
	}
	r.messages <- m
}

func (r *recorder) HandleRequest(ctx context.Context, from string, kind byte, payload []byte) ([]byte, error) {
	if r.onRequest != nil {
		return r.onRequest(ctx, from, kind, payload)
	}
	return append([]byte(from+":"), payload...), nil
}

func (r *recorder) PeerUp(id string) {
	if r.onUp != nil {
		r.onUp(id)
	}
	r.up <- id
}

func (r *recorder) PeerDown(id string) { r.down <- id }

// node is a link under test.
type node struct {
	*Link
	*recorder
	key  ed25519.PrivateKey
	logs *logBuffer
}

func (n *node) asPeer() Peer {
	return Peer{ID: n.cfg.ID, Addr: n.Addr().String(), PublicKey: publicKey(n.key)}
}

// logBuffer counts log lines.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), text)
}

// keyOf returns the key that a test's node i has.
func keyOf(i int) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, fmt.Sprintf("test key %d", i))
	return ed25519.NewKeyFromSeed(seed)
}

func testConfig(i int) Config {
	cfg := DefaultConfig()
	cfg.ID = fmt.Sprintf("node%d", i)
	cfg.Listen = "127.0.0.1:0"
	cfg.Key = keyOf(i)
	return cfg
}

// newNode makes an unstarted node without peers; it is closed with the test.
func newNode(tb testing.TB, cfg Config) *node {
	tb.Helper()
	n := &node{recorder: newRecorder(), key: cfg.Key, logs: &logBuffer{}}
	link, err := New(cfg, n.recorder, zerolog.New(n.logs))
	if err != nil {
		tb.Fatal(err)
	}
	n.Link = link
	tb.Cleanup(func() {
		if err := link.Close(); err != nil {
			tb.Errorf("close %s: %v", cfg.ID, err)
		}
		if tb.Failed() {
			tb.Logf("log of %s:\n%s", cfg.ID, n.logs.b.String())
		}
	})
	return n
}

// cluster makes n unstarted nodes that know each other. tune may change a node's config.
func cluster(tb testing.TB, n int, tune func(i int, cfg *Config)) []*node {
	tb.Helper()
	checkLeaks(tb)
	nodes := make([]*node, n)
	peers := make([]Peer, n)
	for i := range nodes {
		cfg := testConfig(i + 1)
		if tune != nil {
			tune(i, &cfg)
		}
		nodes[i] = newNode(tb, cfg)
		peers[i] = nodes[i].asPeer()
	}
	for _, n := range nodes {
		if err := n.SetPeers(peers); err != nil {
			tb.Fatal(err)
		}
	}
	return nodes
}

// startAll starts nodes and waits until all streams work.
func startAll(tb testing.TB, nodes []*node) {
	tb.Helper()
	for _, n := range nodes {
		n.Start()
	}
	for _, n := range nodes {
		for range len(nodes) - 1 {
			recv(tb, n.up)
		}
	}
}

// recv waits for a value.
func recv[T any](tb testing.TB, ch <-chan T) T {
	tb.Helper()
	select {
	case v, ok := <-ch:
		if !ok {
			tb.Fatal("channel closed")
		}
		return v
	case <-time.After(patience):
		tb.Fatalf("nothing came within %v", patience)
	}
	panic("unreachable")
}

// eventually waits for a condition that no channel reports.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			tb.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// checkLeaks fails the test if, after everything was closed, a goroutine of this package's own code is left.
func checkLeaks(tb testing.TB) {
	tb.Helper()
	tb.Cleanup(func() {
		eventually(tb, "all goroutines ended", func() bool {
			stacks := make([]byte, 1<<20)
			stacks = stacks[:runtime.Stack(stacks, true)]
			for stack := range strings.SplitSeq(string(stacks), "\n\n") {
				if strings.Contains(stack, "node/peer.") && !strings.Contains(stack, "testing.tRunner(") &&
					!strings.Contains(stack, "testing.(*B)") {
					return false
				}
			}
			return true
		})
	})
}

// ctxFor is a context that ends with the test's patience.
func ctxFor(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	tb.Cleanup(cancel)
	return ctx
}

// relay forwards TCP connections to a target until it is frozen: then it keeps them open and moves nothing, as a
// network does that lost its route.
type relay struct {
	ln     net.Listener
	target string

	mu     sync.Mutex
	frozen chan struct{}
	wg     sync.WaitGroup
	conns  []net.Conn
}

func newRelay(tb testing.TB, target string) *relay {
	tb.Helper()
	var lc net.ListenConfig
	ln, err := lc.Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	r := &relay{ln: ln, target: target, frozen: make(chan struct{})}
	r.wg.Go(func() { r.accept(tb.Context()) })
	tb.Cleanup(r.close)
	return r
}

func (r *relay) accept(ctx context.Context) {
	var dialer net.Dialer
	for {
		in, err := r.ln.Accept()
		if err != nil {
			return
		}
		r.hold(in)
		select {
		case <-r.frozen:
			continue
		default:
		}
		out, err := dialer.DialContext(ctx, "tcp", r.target)
		if err != nil {
			_ = in.Close()
			continue
		}
		r.hold(out)
		r.wg.Go(func() { r.pump(in, out) })
		r.wg.Go(func() { r.pump(out, in) })
	}
}

func (r *relay) hold(c net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns = append(r.conns, c)
}

func (r *relay) pump(to, from net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		select {
		case <-r.frozen:
			return
		default:
		}
		if err != nil {
			_ = to.Close()
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			_ = from.Close()
			return
		}
	}
}

func (r *relay) freeze() { close(r.frozen) }

func (r *relay) close() {
	_ = r.ln.Close()
	r.mu.Lock()
	for _, c := range r.conns {
		_ = c.Close()
	}
	r.mu.Unlock()
	r.wg.Wait()
}
