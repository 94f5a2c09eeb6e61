package client_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api/wire"
	"github.com/baton-ha/baton/node/client"
)

func key(seed byte) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, 32)) }

func pub(seed byte) ed25519.PublicKey { return key(seed).Public().(ed25519.PublicKey) }

// node is a fake node; its behaviour may be replaced while it serves.
type node struct {
	url    string
	asked  atomic.Int64
	handle atomic.Pointer[http.HandlerFunc]
}

func newNode(t *testing.T, h http.HandlerFunc) *node {
	t.Helper()
	n := new(node)
	n.handle.Store(&h)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.asked.Add(1)
		(*n.handle.Load())(w, r)
	}))
	t.Cleanup(s.Close)
	n.url = s.URL
	return n
}

func (n *node) become(h http.HandlerFunc) { n.handle.Store(&h) }

// deadURL is an address at which nobody listens.
func deadURL(t *testing.T) string {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return "http://" + l.Addr().String()
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func refuse(status int, code wire.Code) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		answer(w, status, (&wire.Error{Code: code, Message: string(code)}).Body())
	}
}

func refuseFor(status int, code wire.Code, retryAfter int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
		refuse(status, code)(w, r)
	}
}

// accept answers a submitted transaction with a receipt.
func accept(w http.ResponseWriter, r *http.Request) {
	var req wire.TxRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		answer(w, 400, (&wire.Error{Code: wire.CodeMalformed, Message: err.Error()}).Body())
		return
	}
	tx := &block.Tx{Payload: []byte(req.Payload), Signature: req.Signature}
	answer(w, 200, wire.Receipt{Hash: tx.Hash(), Height: 7, Index: 2, BlockHash: block.Hash{5}})
}

// hang takes a request and says nothing until the client leaves.
func hang(_ http.ResponseWriter, r *http.Request) {
	buf := make([]byte, 1<<16)
	for { // the server notices that the client left only once the body is read
		if _, err := r.Body.Read(buf); err != nil {
			break
		}
	}
	<-r.Context().Done()
}

// die begins an answer and cuts the connection.
func die(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "300")
	w.WriteHeader(200)
	_, _ = fmt.Fprint(w, `{"hash":"00`)
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

// hedged makes a client ask the next node soon; others do so only when a node has answered, however slow the machine is.
func hedged(o *client.Options) { o.Hedge = 50 * time.Millisecond }

// patient makes a client ask each node once.
func patient(o *client.Options) { o.BackoffMin = time.Hour }

func newClient(t *testing.T, change func(*client.Options), urls ...string) *client.Client {
	t.Helper()
	opts := client.Options{
		Hedge: time.Hour, AttemptTimeout: time.Hour, BackoffMin: time.Millisecond, BackoffMax: 5 * time.Millisecond,
	}
	if change != nil {
		change(&opts)
	}
	c, err := client.New(urls, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
