package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api/wire"
	"github.com/baton-ha/baton/node/client"
)

func TestNew(t *testing.T) {
	for _, bad := range [][]string{nil, {""}, {"127.0.0.1:7002"}, {"ftp://x"}, {"http://"}, {"http://x?y"}, {"http://x", "%"}} {
		if _, err := client.New(bad, client.Options{}); err == nil {
			t.Errorf("%q accepted", bad)
		}
	}
	c, err := client.New([]string{" http://a:1/ ", "https://b"}, client.Options{})
	if err != nil || strings.Join(c.URLs(), " ") != "http://a:1 https://b" {
		t.Errorf("%v %v", c.URLs(), err)
	}
}

// One of the nodes is healthy: whatever ails those before it, the transaction has its one answer.
func TestSubmitFailover(t *testing.T) {
	tx := block.SignTx(key(1), []byte(`{"<é>":1}`))
	for name, ill := range map[string]http.HandlerFunc{
		"hangs":           hang,
		"dies mid-answer": die,
		"no leader":       refuse(503, wire.CodeNoLeader),
		"unavailable":     refuse(503, wire.CodeUnavailable),
		"unknown outcome": refuse(504, wire.CodeUnknownOutcome),
		"overloaded":      refuseFor(429, wire.CodeOverloaded, 60),
		"broken":          refuse(500, wire.CodeInternal),
		"slow request":    refuse(408, wire.CodeSlowRequest),
		"another server": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "<html>not here</html>", http.StatusNotFound)
		},
		"redirects": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusTemporaryRedirect)
		},
		"garbage": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "garbage") },
		"endless": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 2<<20)) },
		"answer about another": func(w http.ResponseWriter, _ *http.Request) {
			answer(w, 200, wire.Receipt{Hash: block.Hash{1}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			var once sync.Once
			asked := make(chan struct{})
			sick := newNode(t, func(w http.ResponseWriter, r *http.Request) {
				once.Do(func() { close(asked) })
				ill(w, r)
			})
			// On a slow machine the healthy node is asked before the sick one's request arrives.
			healthy := newNode(t, func(w http.ResponseWriter, r *http.Request) {
				select {
				case <-asked:
					accept(w, r)
				case <-t.Context().Done():
				}
			})
			c := newClient(t, hedged, deadURL(t), sick.url, healthy.url)
			receipt, err := c.Submit(within(t, 10*time.Second), tx)
			want := client.Receipt{Hash: tx.Hash(), Height: 7, Index: 2, BlockHash: block.Hash{5}}
			if err != nil || receipt != want {
				t.Fatalf("%+v %v", receipt, err)
			}
		})
	}
}

// The node that gave the last answer is asked first the next time.
func TestSubmitRemembers(t *testing.T) {
	sick, healthy := newNode(t, refuse(503, wire.CodeNoLeader)), newNode(t, accept)
	c := newClient(t, nil, sick.url, healthy.url)
	for range 3 {
		if _, err := c.Submit(within(t, 10*time.Second), block.SignTx(key(1), []byte("{}"))); err != nil {
			t.Fatal(err)
		}
	}
	if sick.asked.Load() != 1 || healthy.asked.Load() != 3 {
		t.Errorf("asked %d and %d times", sick.asked.Load(), healthy.asked.Load())
	}
}

// All nodes see the same signed bytes.
func TestSubmitSameBytes(t *testing.T) {
	var mu sync.Mutex
	bodies := map[string]int{}
	record := func(next http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			data, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			bodies[string(data)]++
			mu.Unlock()
			r.Body = io.NopCloser(strings.NewReader(string(data)))
			next(w, r)
		}
	}
	tx := block.SignTx(key(1), []byte("{\"x\":\"<>&\u2028é\\n\"}"))
	a, b := newNode(t, record(refuse(504, wire.CodeUnknownOutcome))), newNode(t, record(accept))
	if _, err := newClient(t, nil, a.url, b.url).Submit(within(t, 10*time.Second), tx); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(bodies) != 1 {
		t.Errorf("%d different requests: %v", len(bodies), bodies)
	}
}

func TestSubmitRefusals(t *testing.T) {
	tx := block.SignTx(key(1), []byte("{}"))
	for _, c := range []struct {
		status int
		code   wire.Code
	}{
		{400, wire.CodeMalformed},
		{400, wire.CodeWrongChain},
		{401, wire.CodeBadSignature},
		{413, wire.CodeTooLarge},
		{422, wire.CodeRejected},
	} {
		other := newNode(t, accept)
		n := newNode(t, refuse(c.status, c.code))
		_, err := newClient(t, nil, n.url, other.url).Submit(within(t, 10*time.Second), tx)
		var e *client.APIError
		if !errors.As(err, &e) || e.Status != c.status || e.Code != c.code || e.Message != string(c.code) {
			t.Errorf("%s: %v", c.code, err)
		}
		if n.asked.Load() != 1 || other.asked.Load() != 0 || errors.Is(err, client.ErrEarlierAttempt) {
			t.Errorf("%s: asked %d times and %d times, %v", c.code, n.asked.Load(), other.asked.Load(), err)
		}
	}
	nonce := uint64(8)
	n := newNode(t, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 409, (&wire.Error{Code: wire.CodeBadNonce, Message: "m", ExpectedNonce: &nonce}).Body())
	})
	_, err := newClient(t, nil, n.url).Submit(within(t, 10*time.Second), tx)
	var e *client.APIError
	if !errors.As(err, &e) || e.ExpectedNonce == nil || *e.ExpectedNonce != 8 {
		t.Errorf("bad nonce: %v", err)
	}
}

// A refusal that rests on the state says when a copy may still be around.
func TestSubmitEarlierAttempt(t *testing.T) {
	tx := block.SignTx(key(1), []byte("{}"))
	for name, ill := range map[string]http.HandlerFunc{"hangs": hang, "dies": die} {
		for code, want := range map[wire.Code]bool{wire.CodeRejected: true, wire.CodeBadNonce: true, wire.CodeMalformed: false} {
			c := newClient(t, hedged, newNode(t, ill).url, newNode(t, refuse(422, code)).url)
			_, err := c.Submit(within(t, 10*time.Second), tx)
			if !client.IsCode(err, code) || errors.Is(err, client.ErrEarlierAttempt) != want {
				t.Errorf("%s, then %s: %v", name, code, err)
			}
		}
	}
}

// A cluster that has no leader for a while gets there in the end.
func TestSubmitWaitsForLeader(t *testing.T) {
	n := newNode(t, refuse(503, wire.CodeNoLeader))
	n.become(func(w http.ResponseWriter, r *http.Request) {
		if n.asked.Load() > 5 {
			accept(w, r)
			return
		}
		refuse(503, wire.CodeNoLeader)(w, r)
	})
	c := newClient(t, nil, n.url)
	if _, err := c.Submit(within(t, 10*time.Second), block.SignTx(key(1), []byte("{}"))); err != nil {
		t.Fatal(err)
	}
}

func TestSubmitRetryAfter(t *testing.T) {
	var first, second time.Time
	n := newNode(t, nil)
	n.become(func(w http.ResponseWriter, r *http.Request) {
		if n.asked.Load() == 1 {
			first = time.Now()
			refuseFor(429, wire.CodeOverloaded, 1)(w, r)
			return
		}
		second = time.Now()
		accept(w, r)
	})
	if _, err := newClient(t, nil, n.url).Submit(within(t, 10*time.Second), block.SignTx(key(1), []byte("{}"))); err != nil {
		t.Fatal(err)
	}
	if waited := second.Sub(first); waited < 900*time.Millisecond || n.asked.Load() != 2 {
		t.Errorf("asked again after %v, %d times", waited, n.asked.Load())
	}
}

// What is known when time runs out.
func TestSubmitDeadline(t *testing.T) {
	tx := block.SignTx(key(1), []byte("{}"))
	for _, c := range []struct {
		name string
		urls []string
		want error
	}{
		{"nobody there", []string{deadURL(t), deadURL(t)}, client.ErrUnavailable},
		{"no leader", []string{newNode(t, refuse(503, wire.CodeNoLeader)).url, deadURL(t)}, client.ErrUnavailable},
		{"overloaded", []string{newNode(t, refuse(429, wire.CodeOverloaded)).url}, client.ErrUnavailable},
		{"hangs", []string{newNode(t, hang).url}, client.ErrUnknownOutcome},
		{"dies", []string{newNode(t, die).url, deadURL(t)}, client.ErrUnknownOutcome},
		{"unknown", []string{newNode(t, refuse(504, wire.CodeUnknownOutcome)).url}, client.ErrUnknownOutcome},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := newClient(t, patient, c.urls...).Submit(within(t, 2*time.Second), tx)
			if !errors.Is(err, c.want) || !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			if errors.Is(err, client.ErrUnavailable) == errors.Is(err, client.ErrUnknownOutcome) {
				t.Errorf("both or none: %v", err)
			}
		})
	}
}

// A node that answers nothing at all, again and again, is given up within its own time too.
func TestAttemptTimeout(t *testing.T) {
	n := newNode(t, nil)
	n.become(func(w http.ResponseWriter, r *http.Request) {
		if n.asked.Load() < 3 {
			hang(w, r)
			return
		}
		accept(w, r)
	})
	c := newClient(t, func(o *client.Options) { o.AttemptTimeout = 200 * time.Millisecond }, n.url)
	if _, err := c.Submit(within(t, 10*time.Second), block.SignTx(key(1), []byte("{}"))); err != nil {
		t.Fatal(err)
	}
}

func TestConcurrentSubmits(t *testing.T) {
	var turn atomic.Int64
	flaky := func(w http.ResponseWriter, r *http.Request) {
		switch turn.Add(1) % 4 {
		case 0:
			die(w, r)
		case 1:
			refuse(503, wire.CodeNoLeader)(w, r)
		default:
			accept(w, r)
		}
	}
	c := newClient(t, nil, newNode(t, flaky).url, newNode(t, flaky).url, deadURL(t))
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			tx := block.SignTx(key(1), fmt.Appendf(nil, "%d", i))
			receipt, err := c.Submit(within(t, 20*time.Second), tx)
			if err != nil || receipt.Hash != tx.Hash() {
				t.Errorf("%+v %v", receipt, err)
			}
		})
	}
	wg.Wait()
}

func TestSubmitNotUTF8(t *testing.T) {
	n := newNode(t, accept)
	_, err := newClient(t, nil, n.url).Submit(within(t, 10*time.Second), block.SignTx(key(1), []byte("\xff")))
	if !errors.Is(err, client.ErrBadMessage) || n.asked.Load() != 0 {
		t.Errorf("%v, asked %d times", err, n.asked.Load())
	}
}

func TestSubmitAsync(t *testing.T) {
	tx := block.SignTx(key(1), []byte("{}"))
	n := newNode(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.RequestURI() != "/v1/transactions?wait=accepted" {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		answer(w, 202, wire.Accepted{Hash: tx.Hash()})
	})
	hash, err := newClient(t, nil, newNode(t, refuse(503, wire.CodeNoLeader)).url, n.url).SubmitAsync(within(t, 10*time.Second), tx)
	if err != nil || hash != tx.Hash() {
		t.Errorf("%s %v", hash, err)
	}
}

func TestReads(t *testing.T) {
	built := block.New(block.Header{ChainID: "test", Height: 4, Proposer: "n"}, []*block.Tx{block.SignTx(key(2), []byte("x"))})
	shown := wire.NewBlock(block.Final{Block: built, Signature: block.Sign(key(1), built.Hash())}, [32]byte(pub(1)))
	receipt := wire.Receipt{Hash: block.Hash{1}, Height: 4}
	account := wire.Account{PublicKey: "k", Nonce: 3, Balances: map[string]string{"native": "1"}}
	hexPub := "8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394" // of seed 02..02
	routes := map[string]any{
		"/v1/transactions/" + block.Hash{1}.String(): receipt,
		"/v1/blocks/4":                                  shown,
		"/v1/blocks/latest":                             shown,
		"/v1/blocks?from=4&limit=2":                     wire.Blocks{Blocks: []*wire.Block{shown}},
		"/v1/accounts/" + hexPub:                        account,
		"/v1/accounts/" + hexPub + "?consistency=local": wire.Account{Nonce: 2},
		"/v1/status":                                    wire.Status{ID: "node1", State: wire.StateLeader},
	}
	n := newNode(t, func(w http.ResponseWriter, r *http.Request) {
		v, ok := routes[r.URL.RequestURI()]
		if !ok || r.Method != http.MethodGet {
			refuse(404, wire.CodeNotFound)(w, r)
			return
		}
		answer(w, 200, v)
	})
	c := newClient(t, hedged, deadURL(t), newNode(t, hang).url, n.url)
	ctx := within(t, 20*time.Second)
	if got, err := c.Receipt(ctx, block.Hash{1}); err != nil || got != receipt {
		t.Errorf("receipt: %+v %v", got, err)
	}
	if _, err := c.Receipt(ctx, block.Hash{2}); !client.IsCode(err, wire.CodeNotFound) {
		t.Errorf("unknown receipt: %v", err)
	}
	if got, err := c.Account(ctx, pub(2)); err != nil || got.Nonce != 3 || got.Balances["native"] != "1" {
		t.Errorf("account: %+v %v", got, err)
	}
	if got, err := c.AccountLocal(ctx, pub(2)); err != nil || got.Nonce != 2 {
		t.Errorf("local account: %+v %v", got, err)
	}
	got, err := c.Block(ctx, 4)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.VerifyBlock(got, pub(1)); err != nil {
		t.Errorf("block: %v", err)
	}
	if err := client.VerifyBlock(got, pub(2)); !errors.Is(err, wire.ErrBlockSignature) {
		t.Errorf("block under another key: %v", err)
	}
	if got, err := c.LatestBlock(ctx); err != nil || got.Hash != built.Hash() {
		t.Errorf("latest: %v", err)
	}
	if got, err := c.Blocks(ctx, 4, 2); err != nil || len(got) != 1 || got[0].Hash != built.Hash() {
		t.Errorf("blocks: %v", err)
	}
	if got, err := c.Status(ctx); err != nil || got.ID != "node1" {
		t.Errorf("status: %+v %v", got, err)
	}
	if got, err := c.StatusOf(ctx, n.url); err != nil || got.ID != "node1" {
		t.Errorf("status of: %+v %v", got, err)
	}
	if _, err := c.StatusOf(ctx, deadURL(t)); err == nil {
		t.Error("status of a dead node")
	}
	none := newClient(t, nil, newNode(t, die).url)
	if _, err := none.Status(within(t, 100*time.Millisecond)); !errors.Is(err, client.ErrUnavailable) || errors.Is(err, client.ErrUnknownOutcome) {
		t.Errorf("a read has no outcome: %v", err)
	}
}
