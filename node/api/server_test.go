package api_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api"
)

func TestConfig(t *testing.T) {
	cfg := api.DefaultConfig()
	cfg.Listen = "127.0.0.1:0"
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	cfg.Listen, cfg.MaxConns, cfg.Heartbeat, cfg.HeaderTimeout, cfg.MaxHeldBytes = "", 10, 0, time.Hour, 5
	_, err := api.New(cfg, newBackend(0), zerolog.Nop())
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"listen", "max_conns: 10", "heartbeat", "header_timeout: 1h", "max_held_bytes: 5"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not name %s", err, want)
		}
	}
}

func TestAddressInUse(t *testing.T) {
	s, _ := start(t, newBackend(0), nil)
	cfg := api.DefaultConfig()
	cfg.Listen = s.Addr().String()
	second, err := api.New(cfg, newBackend(0), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Start(t.Context()); err == nil || !strings.Contains(err.Error(), cfg.Listen) {
		t.Errorf("got %v", err)
	}
	if second.Addr() != nil {
		t.Error("address of a server that does not listen")
	}
	if err := second.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// syncBuffer is a log that a test reads while handlers write.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func TestPanic(t *testing.T) {
	b := newBackend(2)
	b.account = func(context.Context, [32]byte, bool) (api.Account, error) { panic("broken account") }
	b.final = func(_ context.Context, h block.Height) (block.Final, error) {
		if h == 2 {
			panic("broken block")
		}
		return b.chain[h], nil
	}
	var logged syncBuffer
	cfg := api.DefaultConfig()
	cfg.Listen, cfg.MaxReads = "127.0.0.1:0", 1
	s, err := api.New(cfg, b, zerolog.New(&logged))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	base := "http://" + s.Addr().String()
	for range 3 { // the slot is given back
		a := do(t, "GET", base+"/v1/accounts/"+strings.Repeat("00", 32), "")
		wantError(t, "panic", a, 500, "internal")
		if strings.Contains(a.body, "broken") {
			t.Errorf("shown: %s", a.body)
		}
	}
	if log := logged.String(); !strings.Contains(log, "broken account") || !strings.Contains(log, "server_test.go") {
		t.Errorf("not logged: %s", log)
	}
	conn := dial(t, base) // in the middle of an answer
	say(t, conn, "GET /v1/blocks HTTP/1.1\r\nHost: x\r\n\r\n")
	data, err := io.ReadAll(conn)
	if err != nil && !strings.Contains(err.Error(), "reset") {
		t.Fatal(err)
	}
	if strings.Contains(string(data), "\r\n0\r\n") {
		t.Errorf("ended in good order: %s", data)
	}
	if a := do(t, "GET", base+"/healthz", ""); a.status != 200 {
		t.Errorf("afterwards: %d", a.status)
	}
}

// With all connections taken the next one waits, and is served when one ends.
func TestConnectionLimit(t *testing.T) {
	base := serve(t, newBackend(0), func(c *api.Config) {
		c.MaxSubmits, c.MaxReads, c.MaxStreams, c.MaxConns = 1, 1, 1, 4
	})
	ask := func(conn io.ReadWriter) string {
		say(t, conn, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
		buf := make([]byte, 15)
		if _, err := io.ReadFull(conn, buf); err != nil {
			return err.Error()
		}
		return string(buf)
	}
	var held []io.Closer
	for range 4 {
		conn := dial(t, base)
		if got := ask(conn); got != "HTTP/1.1 200 OK" {
			t.Fatal(got)
		}
		held = append(held, conn)
	}
	fifth := dial(t, base)
	if err := fifth.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if got := ask(fifth); !strings.Contains(got, "timeout") {
		t.Fatalf("fifth connection: %s", got)
	}
	if err := fifth.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := held[0].Close(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 15)
	if _, err := io.ReadFull(fifth, buf); err != nil || string(buf) != "HTTP/1.1 200 OK" {
		t.Errorf("fifth connection after one ended: %q %v", buf, err)
	}
}

func TestShutdown(t *testing.T) {
	b := newBackend(0)
	entered, leave := make(chan struct{}), make(chan struct{})
	b.submit = func(_ context.Context, tx *block.Tx) (api.Receipt, error) {
		close(entered)
		<-leave
		return api.Receipt{Hash: tx.Hash()}, nil
	}
	s, base := start(t, b, nil)
	events := openEvents(t, base+"/v1/events", "")
	var wg sync.WaitGroup
	wg.Go(func() {
		a := do(t, "POST", base+"/v1/transactions", requestOf(t, block.SignTx(userKey, []byte("{}"))))
		if a.status != 200 {
			t.Errorf("in flight: %d %s", a.status, a.body)
		}
	})
	<-entered
	done := make(chan error, 1)
	go func() { done <- s.Shutdown(context.Background()) }()
	if _, err := io.ReadAll(events.body); err != nil { // ends, and in good order
		t.Error(err)
	}
	select {
	case err := <-done:
		t.Errorf("shut down before a request was answered: %v", err)
	default:
	}
	close(leave)
	wg.Wait()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Errorf("second time: %v", err)
	}
}

// What does not end in time is cut off.
func TestShutdownCuts(t *testing.T) {
	b := newBackend(0)
	entered := make(chan struct{})
	b.submit = func(ctx context.Context, _ *block.Tx) (api.Receipt, error) {
		close(entered)
		<-ctx.Done()
		return api.Receipt{}, ctx.Err()
	}
	s, base := start(t, b, nil)
	conn := dial(t, base)
	body := requestOf(t, block.SignTx(userKey, []byte("{}")))
	say(t, conn, "POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	<-entered
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	wantClosed(t, conn)
}
