package api_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/node/api/wire"
)

func TestSubmit(t *testing.T) {
	b := newBackend(0)
	payload := `{"chain_id":"test","é":"\u00e9<>&\"\n","big":12345678901234567890}`
	tx := block.SignTx(userKey, []byte(payload))
	var got *block.Tx
	b.submit = func(ctx context.Context, tx *block.Tx) (api.Receipt, error) {
		got = tx
		deadline, ok := ctx.Deadline()
		if left := time.Until(deadline); !ok || left > 30*time.Second || left < 20*time.Second {
			t.Errorf("backend has %v", left)
		}
		return api.Receipt{Hash: tx.Hash(), Height: 4, Index: 1, BlockHash: block.Hash{9}}, nil
	}
	base := serve(t, b, nil)
	for _, query := range []string{"", "?wait=final"} {
		a := do(t, "POST", base+"/v1/transactions"+query, requestOf(t, tx))
		want := fmt.Sprintf(`{"hash":"%s","height":4,"index":1,"block_hash":"%s"}`+"\n", tx.Hash(), block.Hash{9})
		if a.status != 200 || a.body != want {
			t.Errorf("got %d %s, want %s", a.status, a.body, want)
		}
		if got == nil || !bytes.Equal(got.Payload, tx.Payload) || got.Signature != tx.Signature {
			t.Errorf("backend got %+v", got)
		}
	}
	got = nil
	a := do(t, "POST", base+"/v1/transactions?wait=accepted", requestOf(t, tx))
	if want := fmt.Sprintf(`{"hash":"%s"}`+"\n", tx.Hash()); a.status != 202 || a.body != want || got != nil {
		t.Errorf("got %d %s, want %s", a.status, a.body, want)
	}
}

func TestSubmitErrors(t *testing.T) {
	b := newBackend(0)
	var give error
	b.submit = func(context.Context, *block.Tx) (api.Receipt, error) { return api.Receipt{}, give }
	b.submitAsync = func(context.Context, *block.Tx) (block.Hash, error) { return block.Hash{}, give }
	base := serve(t, b, nil)
	body := requestOf(t, block.SignTx(userKey, []byte("{}")))
	for _, c := range []struct {
		err    error
		status int
		code   wire.Code
		retry  string
	}{
		{api.Malformed("unknown message type"), 400, "malformed", ""},
		{api.WrongChain("a", "b"), 400, "wrong_chain", ""},
		{api.BadSignature(), 401, "bad_signature", ""},
		{api.BadNonce(0), 409, "bad_nonce", ""},
		{api.TooLarge(5), 413, "too_large", ""},
		{api.Rejected("overspend"), 422, "rejected", ""},
		{api.Overloaded(1500 * time.Millisecond), 429, "overloaded", "2"},
		{api.NoLeader(0), 503, "no_leader", "1"},
		{fmt.Errorf("forward: %w", api.NoLeader(3*time.Second)), 503, "no_leader", "3"},
		{api.UnknownOutcome(), 504, "unknown_outcome", ""},
		{errors.New("secret of the disk"), 504, "unknown_outcome", ""},
		{context.DeadlineExceeded, 504, "unknown_outcome", ""},
	} {
		give = c.err
		for _, query := range []string{"", "?wait=accepted"} {
			a := do(t, "POST", base+"/v1/transactions"+query, body)
			detail := wantError(t, c.err.Error()+query, a, c.status, c.code)
			if a.header.Get("Retry-After") != c.retry {
				t.Errorf("%v: Retry-After %q", c.err, a.header.Get("Retry-After"))
			}
			if strings.Contains(a.body, "secret") {
				t.Error("an internal error was shown")
			}
			if nonce := detail.ExpectedNonce; (nonce != nil) != (c.code == "bad_nonce") || (nonce != nil && *nonce != 0) {
				t.Errorf("%v: expected_nonce in %s", c.err, a.body)
			}
		}
	}
	wantError(t, "wait", do(t, "POST", base+"/v1/transactions?wait=never", body), 400, "malformed")
	wantError(t, "query", do(t, "POST", base+"/v1/transactions?wait=%zz", body), 400, "malformed")
}

// A backend that does not come back is 504 when the node's own time is up.
func TestSubmitTimeout(t *testing.T) {
	b := newBackend(0)
	b.submit = func(ctx context.Context, _ *block.Tx) (api.Receipt, error) {
		<-ctx.Done()
		return api.Receipt{}, fmt.Errorf("wait: %w", ctx.Err())
	}
	base := serve(t, b, func(c *api.Config) { c.SubmitTimeout = 20 * time.Millisecond })
	a := do(t, "POST", base+"/v1/transactions", requestOf(t, block.SignTx(userKey, []byte("{}"))))
	wantError(t, "timeout", a, 504, "unknown_outcome")
}

// Consensus may take longer than the time for the request and for the answer.
func TestSubmitOutlivesRequestDeadlines(t *testing.T) {
	t.Parallel()
	b := newBackend(0)
	b.submit = func(ctx context.Context, tx *block.Tx) (api.Receipt, error) {
		select {
		case <-time.After(time.Second):
			return api.Receipt{Hash: tx.Hash()}, nil
		case <-ctx.Done():
			return api.Receipt{}, ctx.Err()
		}
	}
	b.account = func(ctx context.Context, _ [32]byte, _ bool) (api.Account, error) {
		select {
		case <-time.After(time.Second):
			return api.Account{}, nil
		case <-ctx.Done():
			return api.Account{}, ctx.Err()
		}
	}
	base := serve(t, b, func(c *api.Config) {
		c.HeaderTimeout, c.BodyTimeout, c.WriteTimeout = 400*time.Millisecond, 400*time.Millisecond, 400*time.Millisecond
	})
	if a := do(t, "POST", base+"/v1/transactions", requestOf(t, block.SignTx(userKey, []byte("{}")))); a.status != 200 {
		t.Errorf("submit: %d %s", a.status, a.body)
	}
	if a := do(t, "GET", base+"/v1/accounts/"+strings.Repeat("00", 32), ""); a.status != 200 {
		t.Errorf("account: %d %s", a.status, a.body)
	}
}

func TestSubmitMalformed(t *testing.T) {
	b := newBackend(0)
	b.submit = func(context.Context, *block.Tx) (api.Receipt, error) {
		t.Error("reached the backend")
		return api.Receipt{}, nil
	}
	base := serve(t, b, nil)
	sig := strings.Repeat("ab", 64)
	for name, body := range map[string]string{
		"empty":              ``,
		"no object":          `[]`,
		"text":               `"x"`,
		"null":               `null`,
		"no fields":          `{}`,
		"no signature":       `{"payload":"x"}`,
		"no payload":         `{"signature":"` + sig + `"}`,
		"empty payload":      `{"payload":"","signature":"` + sig + `"}`,
		"unknown field":      `{"payload":"x","signature":"` + sig + `","x":"y"}`,
		"duplicate":          `{"payload":"x","payload":"y","signature":"` + sig + `"}`,
		"duplicate, escaped": `{"payload":"x","p\u0061yload":"y","signature":"` + sig + `"}`,
		"other case":         `{"Payload":"x","signature":"` + sig + `"}`,
		"payload object":     `{"payload":{"a":1},"signature":"` + sig + `"}`,
		"payload null":       `{"payload":null,"signature":"` + sig + `"}`,
		"short signature":    `{"payload":"x","signature":"` + sig[2:] + `"}`,
		"not hex":            `{"payload":"x","signature":"` + sig[1:] + `g"}`,
		"cut off":            `{"payload":"x","signature":"` + sig + `"`,
		"trailing comma":     `{"payload":"x","signature":"` + sig + `",}`,
		"trailing object":    `{"payload":"x","signature":"` + sig + `"}{}`,
		"trailing garbage":   `{"payload":"x","signature":"` + sig + `"}x`,
		"not UTF-8":          "{\"payload\":\"\xff\",\"signature\":\"" + sig + `"}`,
		"control character":  "{\"payload\":\"\n\",\"signature\":\"" + sig + `"}`,
		"deep":               strings.Repeat(`{"payload":`, 20000),
	} {
		wantError(t, name, do(t, "POST", base+"/v1/transactions", body), 400, "malformed")
	}
}

func TestSubmitTooLarge(t *testing.T) {
	b := newBackend(0)
	base := serve(t, b, nil)
	url := base + "/v1/transactions"
	big := requestOf(t, block.SignTx(userKey, bytes.Repeat([]byte("x"), 3<<20)))
	wantError(t, "known length", do(t, "POST", url, big), 413, "too_large")

	req, err := http.NewRequestWithContext(t.Context(), "POST", url, io.MultiReader(strings.NewReader(big)))
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, "chunked", send(t, req), 413, "too_large")

	req, err = http.NewRequestWithContext(t.Context(), "POST", url, strings.NewReader(big))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Expect", "100-continue")
	wantError(t, "asked first", send(t, req), 413, "too_large")

	envelope := len(requestOf(t, block.SignTx(userKey, nil)))
	fits := requestOf(t, block.SignTx(userKey, bytes.Repeat([]byte("x"), 1<<20-envelope)))
	if a := do(t, "POST", url, fits); len(fits) != 1<<20 || a.status != 200 {
		t.Errorf("exactly the limit, %d bytes: %d %s", len(fits), a.status, a.body)
	}
	over := requestOf(t, block.SignTx(userKey, bytes.Repeat([]byte("x"), 1<<20-envelope+1)))
	wantError(t, "one over", do(t, "POST", url, over), 413, "too_large")
}

// A client that does not send what it announced is answered, and its connection ended.
func TestSlowBody(t *testing.T) {
	t.Parallel()
	base := serve(t, newBackend(0), func(c *api.Config) {
		c.HeaderTimeout, c.BodyTimeout = 400*time.Millisecond, 400*time.Millisecond
	})
	conn := dial(t, base)
	say(t, conn, "POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, "slow", read(t, resp), 408, "slow_request")
	wantClosed(t, conn)

	conn = dial(t, base)
	say(t, conn, "GET /healthz HTTP/1.1\r\nHos")
	wantClosed(t, conn)
}

func TestSubmitOverloaded(t *testing.T) {
	b := newBackend(0)
	entered, leave := b.gate()
	base := serve(t, b, func(c *api.Config) { c.MaxSubmits = 2 })
	body := requestOf(t, block.SignTx(userKey, []byte("{}")))
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if a := do(t, "POST", base+"/v1/transactions", body); a.status != 200 {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
	<-entered
	<-entered
	a := do(t, "POST", base+"/v1/transactions", body)
	wantError(t, "third", a, 429, "overloaded")
	if a.header.Get("Retry-After") != "1" {
		t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
	}
	if a := do(t, "GET", base+"/healthz", ""); a.status != 200 {
		t.Errorf("health of an overloaded node: %d", a.status)
	}
	if a := do(t, "GET", base+"/v1/blocks/0", ""); a.status != 200 {
		t.Errorf("reads of an overloaded node: %d", a.status)
	}
	close(leave)
	wg.Wait()
	go func() { <-entered }()
	if a := do(t, "POST", base+"/v1/transactions", body); a.status != 200 {
		t.Errorf("afterwards: %d %s", a.status, a.body)
	}
}

// The memory that bodies take is bounded, and given back.
func TestHeldBytes(t *testing.T) {
	b := newBackend(0)
	entered, leave := b.gate()
	base := serve(t, b, func(c *api.Config) { c.MaxBodyBytes, c.MaxHeldBytes = 3000, 5000 })
	body := requestOf(t, block.SignTx(userKey, bytes.Repeat([]byte("x"), 2600)))
	var wg sync.WaitGroup
	wg.Go(func() {
		if a := do(t, "POST", base+"/v1/transactions", body); a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
	<-entered
	wantError(t, "second", do(t, "POST", base+"/v1/transactions", body), 429, "overloaded")
	close(leave)
	wg.Wait()
	for range 5 { // failing requests give back what they held, too
		wantError(t, "malformed", do(t, "POST", base+"/v1/transactions", strings.Repeat("x", 2900)), 400, "malformed")
	}
	go func() { <-entered }()
	if a := do(t, "POST", base+"/v1/transactions", body); a.status != 200 {
		t.Errorf("afterwards: %d %s", a.status, a.body)
	}
}

// A client that goes away takes its wait with it.
func TestSubmitClientLeaves(t *testing.T) {
	b := newBackend(0)
	entered, left := make(chan struct{}), make(chan struct{})
	b.submit = func(ctx context.Context, _ *block.Tx) (api.Receipt, error) {
		close(entered)
		<-ctx.Done()
		close(left)
		return api.Receipt{}, ctx.Err()
	}
	base := serve(t, b, nil)
	conn := dial(t, base)
	body := requestOf(t, block.SignTx(userKey, []byte("{}")))
	say(t, conn, "POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	<-entered
	_ = conn.Close()
	wait(t, left)
}

func dial(t *testing.T, base string) net.Conn {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// say writes to a connection by hand.
func say(t *testing.T, conn io.Writer, format string, args ...any) {
	t.Helper()
	if _, err := fmt.Fprintf(conn, format, args...); err != nil {
		t.Error(err)
	}
}

// wantClosed waits until the server has ended conn, within its deadline.
func wantClosed(t *testing.T, conn net.Conn) {
	t.Helper()
	_, err := io.Copy(io.Discard, conn)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		t.Error("the connection is still open")
	}
}

func wait(t *testing.T, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("still waiting after 10 s")
	}
}
