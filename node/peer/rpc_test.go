package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func TestRequests(t *testing.T) {
	nodes := cluster(t, 3, nil)
	startAll(t, nodes)
	ctx := ctxFor(t)
	var wg sync.WaitGroup
	for _, from := range nodes {
		for _, to := range from.Connected() {
			for i := range 100 {
				wg.Go(func() {
					payload := bytes.Repeat([]byte{byte(i)}, i*500)
					got, err := from.Request(ctx, to, byte(i), payload)
					if want := append([]byte(from.cfg.ID+":"), payload...); err != nil || !bytes.Equal(got, want) {
						t.Errorf("request %d from %s to %s: %d bytes, %v", i, from.cfg.ID, to, len(got), err)
					}
				})
			}
		}
	}
	wg.Wait()
}

func TestRemoteError(t *testing.T) {
	nodes := cluster(t, 2, nil)
	long := strings.Repeat("é", maxErrorBytes)
	nodes[1].onRequest = func(_ context.Context, _ string, kind byte, _ []byte) ([]byte, error) {
		switch kind {
		case 1:
			return []byte("ignored"), errors.New("no such block")
		case 2:
			return nil, errors.New(long)
		default:
			return make([]byte, nodes[1].cfg.MaxPayloadBytes()+1), nil
		}
	}
	startAll(t, nodes)
	for kind, want := range map[byte]string{1: "no such block", 2: long[:maxErrorBytes], 3: "payload is too large"} {
		got, err := nodes[0].Request(ctxFor(t), "node2", kind, nil)
		remote, ok := errors.AsType[*RemoteError](err)
		if !ok || remote.Peer != "node2" || !strings.Contains(remote.Text, want) || got != nil {
			t.Errorf("kind %d: %q, %v", kind, got, err)
		}
	}
}

func TestLargestRequestAndAnswer(t *testing.T) {
	nodes := cluster(t, 2, nil)
	nodes[1].onRequest = func(_ context.Context, _ string, _ byte, payload []byte) ([]byte, error) { return payload, nil }
	startAll(t, nodes)
	payload := bytes.Repeat([]byte("0123456789abcdef"), nodes[0].cfg.MaxPayloadBytes()/16)
	payload = append(payload, make([]byte, nodes[0].cfg.MaxPayloadBytes()-len(payload))...)
	got, err := nodes[0].Request(ctxFor(t), "node2", 1, payload)
	if err != nil || !bytes.Equal(got, payload) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
}

func TestCancellationReachesTheHandler(t *testing.T) {
	nodes := cluster(t, 2, nil)
	started, ended := make(chan struct{}), make(chan error, 1)
	nodes[1].onRequest = func(ctx context.Context, _ string, kind byte, payload []byte) ([]byte, error) {
		if kind == 1 {
			return payload, nil
		}
		close(started)
		<-ctx.Done()
		ended <- ctx.Err()
		return []byte("late"), nil
	}
	startAll(t, nodes)
	ctx, cancel := context.WithCancel(ctxFor(t))
	failed := make(chan error, 1)
	go func() {
		_, err := nodes[0].Request(ctx, "node2", 2, nil)
		failed <- err
	}()
	recvClosed(t, started)
	cancel()
	if err := recv(t, failed); !errors.Is(err, context.Canceled) {
		t.Errorf("the request returned %v", err)
	}
	if err := recv(t, ended); !errors.Is(err, context.Canceled) {
		t.Errorf("the handler's context ended with %v", err)
	}
	// The connection is as good as before.
	if got, err := nodes[0].Request(ctxFor(t), "node2", 1, []byte("next")); err != nil || string(got) != "next" {
		t.Errorf("%q, %v", got, err)
	}
	if s := nodes[0].Stats(); s.ProtocolErrors != 0 || s.Connects != 2 {
		t.Errorf("stats %+v", s)
	}
	if _, err := nodes[0].Request(ctx, "node2", 1, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a request with an ended context: %v", err)
	}
}

func recvClosed(tb testing.TB, ch <-chan struct{}) {
	tb.Helper()
	done := make(chan bool, 1)
	go func() { <-ch; done <- true }()
	recv(tb, done)
}

// The server bounds what it runs for a peer, also against a client that allows itself more.
func TestRequestConcurrencyIsBounded(t *testing.T) {
	const bound, requests = 4, 40
	for _, c := range []struct {
		name           string
		client, server int
	}{{"by the server", requests, bound}, {"by the client", bound, requests}} {
		t.Run(c.name, func(t *testing.T) {
			nodes := cluster(t, 2, func(i int, cfg *Config) { cfg.MaxRequests = []int{c.client, c.server}[i] })
			var running, most atomic.Int64
			arrived, leave := make(chan struct{}, requests), make(chan struct{})
			nodes[1].onRequest = func(_ context.Context, _ string, _ byte, payload []byte) ([]byte, error) {
				now := running.Add(1)
				defer running.Add(-1)
				old := most.Load()
				for now > old && !most.CompareAndSwap(old, now) {
					old = most.Load()
				}
				arrived <- struct{}{}
				<-leave
				return payload, nil
			}
			startAll(t, nodes)
			var wg sync.WaitGroup
			for i := range requests {
				wg.Go(func() {
					want := fmt.Sprint(i)
					if got, err := nodes[0].Request(ctxFor(t), "node2", 1, []byte(want)); err != nil || string(got) != want {
						t.Errorf("%q, %v", got, err)
					}
				})
			}
			for range bound {
				recv(t, arrived)
			}
			for range 100 { // time enough for more to come, if they could
				if err := nodes[0].Send("node2", 1, nil); err != nil {
					t.Fatal(err)
				}
				recv(t, nodes[1].messages)
			}
			for range requests - bound {
				leave <- struct{}{} // one may go, one more may come
				recv(t, arrived)
			}
			close(leave)
			wg.Wait()
			if got := most.Load(); got != bound {
				t.Errorf("%d requests ran at once, want %d", got, bound)
			}
		})
	}
}

func TestRequestIsInterrupted(t *testing.T) {
	nodes := cluster(t, 2, nil)
	started := make(chan struct{})
	ended := make(chan struct{})
	nodes[1].onRequest = func(ctx context.Context, _ string, _ byte, _ []byte) ([]byte, error) {
		close(started)
		<-ctx.Done()
		close(ended)
		return nil, ctx.Err()
	}
	startAll(t, nodes)
	failed := make(chan error, 1)
	go func() {
		_, err := nodes[0].Request(ctxFor(t), "node2", 1, nil)
		failed <- err
	}()
	recvClosed(t, started)
	if err := nodes[1].Close(); err != nil {
		t.Fatal(err)
	}
	recvClosed(t, ended)
	if err := recv(t, failed); !errors.Is(err, ErrInterrupted) {
		t.Errorf("the request returned %v", err)
	}
}

// When PeerUp is called a request works, although it has another connection.
func TestRequestFromPeerUp(t *testing.T) {
	nodes := cluster(t, 2, nil)
	a := nodes[0]
	got := make(chan error, 1)
	a.onUp = func(id string) {
		answer, err := a.Request(ctxFor(t), id, 1, []byte("hi"))
		if err == nil && string(answer) != "node1:hi" {
			err = fmt.Errorf("answer %q", answer)
		}
		got <- err
	}
	startAll(t, nodes)
	if err := recv(t, got); err != nil {
		t.Fatal(err)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	nodes := cluster(t, 3, nil)
	nodes[1].onRequest = func(ctx context.Context, _ string, _ byte, _ []byte) ([]byte, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	startAll(t, nodes)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := nodes[0].Request(ctxFor(t), "node2", 1, nil); err == nil {
				t.Error("a request that nobody answered succeeded")
			}
		})
		wg.Go(func() {
			var err error
			for err == nil {
				err = nodes[0].Send("node3", 1, []byte("x"))
			}
		})
	}
	eventually(t, "requests run", func() bool { return len(nodes[1].byID["node1"].seat.requests) > 10 })
	var closing sync.WaitGroup
	for _, n := range nodes {
		for range 2 {
			closing.Go(func() {
				if err := n.Close(); err != nil {
					t.Error(err)
				}
			})
		}
	}
	closing.Wait()
	wg.Wait() // checkLeaks does the rest
	for _, n := range nodes {
		if got := n.Stats().Conns; got != 0 {
			t.Errorf("%s has %d connections left", n.cfg.ID, got)
		}
	}
}
