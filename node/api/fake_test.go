package api_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/node/api/wire"
)

var (
	processorKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	userKey      = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, 32))
)

func processorPub() [32]byte { return [32]byte(processorKey.Public().(ed25519.PublicKey)) }

// backend is a chain in memory whose every answer a test may replace.
type backend struct {
	submit      func(context.Context, *block.Tx) (api.Receipt, error)
	submitAsync func(context.Context, *block.Tx) (block.Hash, error)
	account     func(context.Context, [32]byte, bool) (api.Account, error)
	state       func(ctx context.Context, key []byte, local, proof bool) (api.StateEntry, error)
	final       func(context.Context, block.Height) (block.Final, error)
	ready       error
	leading     bool
	changes     []wire.MemberRequest
	transfer    func(context.Context, string) error
	reload      func(context.Context, wire.ReloadRequest) (wire.Reloaded, error)

	mu       sync.Mutex
	status   api.Status
	cluster  api.Cluster
	leaders  api.Leaders
	watchers []chan *api.Cluster
	chain    []block.Final
	subs     []subscriber

	subscribed chan struct{} // one token a subscription
}

// subscriber is one stream that the server has open, until ctx ends.
type subscriber struct {
	events chan api.Event
	ctx    context.Context
}

// newBackend makes a chain of genesis and n blocks with one transaction each.
func newBackend(n int) *backend {
	b := &backend{subscribed: make(chan struct{}, 100), status: api.Status{
		ID: "node1", State: wire.StateLeader, Term: 3, Leader: "node1", ChainID: "test", LeaseMs: 70, PID: 7, Quorum: 2,
	}}
	for range n + 1 {
		b.grow()
	}
	return b
}

// grow adds a final block and tells nobody.
func (b *backend) grow() block.Final {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := block.Header{ChainID: "test", Height: block.Height(len(b.chain)), TimeMs: 1000 + int64(len(b.chain)), ChainVersion: "1"}
	var txs []*block.Tx
	var f block.Final
	if h.Height > 0 {
		h.Parent = b.chain[h.Height-1].Block.Hash()
		h.Proposer, h.Term = "node1", 3
		txs = []*block.Tx{block.SignTx(userKey, fmt.Appendf(nil, `{"n":%d,"html":"<&>"}`, h.Height))}
	}
	f.Block = block.New(h, txs)
	if h.Height > 0 {
		f.Signature = block.Sign(processorKey, f.Block.Hash())
	}
	b.chain = append(b.chain, f)
	return f
}

// publish sends e to all subscribers and waits for them: a test's events are not to be lost.
func (b *backend) publish(e api.Event) {
	b.mu.Lock()
	subs := b.subs
	b.mu.Unlock()
	for _, s := range subs {
		select {
		case s.events <- e:
		case <-s.ctx.Done():
		}
	}
}

func (b *backend) Submit(ctx context.Context, tx *block.Tx) (api.Receipt, error) {
	if b.submit != nil {
		return b.submit(ctx, tx)
	}
	return api.Receipt{Hash: tx.Hash(), Height: 4, Index: 1, BlockHash: block.Hash{9}}, nil
}

func (b *backend) SubmitAsync(ctx context.Context, tx *block.Tx) (block.Hash, error) {
	if b.submitAsync != nil {
		return b.submitAsync(ctx, tx)
	}
	return tx.Hash(), nil
}

func (b *backend) Receipt(_ context.Context, hash block.Hash) (api.Receipt, bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.chain {
		for i, tx := range f.Block.Txs {
			if tx.Hash() == hash {
				return api.Receipt{Hash: hash, Height: f.Block.Header.Height, Index: uint32(i), BlockHash: f.Block.Hash()}, true, nil
			}
		}
	}
	return api.Receipt{}, false, nil
}

func (b *backend) Final(ctx context.Context, h block.Height) (block.Final, error) {
	if b.final != nil {
		return b.final(ctx, h)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if int(h) >= len(b.chain) {
		return block.Final{}, fmt.Errorf("block %d: %w", h, api.ErrNotFound)
	}
	return b.chain[h], nil
}

func (b *backend) Signer(block.Height) [32]byte { return processorPub() }

func (b *backend) Latest(context.Context) block.Height {
	b.mu.Lock()
	defer b.mu.Unlock()
	return block.Height(len(b.chain) - 1)
}

func (b *backend) Account(ctx context.Context, pub [32]byte, local bool) (api.Account, error) {
	if b.account != nil {
		return b.account(ctx, pub, local)
	}
	return api.Account{Nonce: 5, Height: 2}, nil
}

func (b *backend) ProvenAccount(ctx context.Context, pub [32]byte, local bool) (api.Account, error) {
	a, err := b.Account(ctx, pub, local)
	a.Proof = &wire.StateProof{Key: pub[:]}
	return a, err
}

func (b *backend) StateEntry(ctx context.Context, key []byte, local, proof bool) (api.StateEntry, error) {
	if b.state != nil {
		return b.state(ctx, key, local, proof)
	}
	return api.StateEntry{Key: key}, nil
}

func (b *backend) Status() api.Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.status
}

func (b *backend) Cluster() api.Cluster { return b.cluster }
func (b *backend) Leaders() api.Leaders { return b.leaders }

func (b *backend) WatchCluster(context.Context) <-chan *api.Cluster {
	b.mu.Lock()
	defer b.mu.Unlock()
	ch := make(chan *api.Cluster)
	b.watchers = append(b.watchers, ch)
	return ch
}

func (b *backend) Ready() error  { return b.ready }
func (b *backend) Leading() bool { return b.leading }

func (b *backend) Subscribe(ctx context.Context) <-chan api.Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := subscriber{make(chan api.Event), ctx} // unbuffered: what was sent was taken
	b.subs = append(b.subs, s)
	b.subscribed <- struct{}{}
	return s.events
}

func (b *backend) Gatherer() prometheus.Gatherer {
	r := prometheus.NewRegistry()
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "baton_test_total", Help: "From the backend."})
	r.MustRegister(c)
	return r
}

func (b *backend) Reload(ctx context.Context, req wire.ReloadRequest) (wire.Reloaded, error) {
	return b.reload(ctx, req)
}

func (b *backend) Export(_ context.Context, w io.Writer, from, to block.Height, state bool) error {
	if to > 0 && to < from {
		return &api.Error{Status: 422, Code: wire.CodeRejected, Message: "nothing there"}
	}
	if _, err := fmt.Fprintf(w, "%d to %d, state %v", from, to, state); err != nil || to != 13 {
		return err
	}
	if _, err := w.Write(make([]byte, 4<<20)); err != nil {
		return err
	}
	return errors.New("the disk is damaged")
}

func (b *backend) MemberChange(_ context.Context, req wire.MemberRequest) error {
	if req.ID == "stranger" {
		return api.Rejected("no such member")
	}
	b.changes = append(b.changes, req)
	return nil
}

func (b *backend) LeaderTransfer(ctx context.Context, to string) error { return b.transfer(ctx, to) }

// serve starts a server on a free port and stops it with the test.
func serve(t *testing.T, b api.Backend, change func(*api.Config)) string {
	t.Helper()
	_, base := start(t, b, change)
	return base
}

func start(t *testing.T, b api.Backend, change func(*api.Config)) (*api.Server, string) {
	t.Helper()
	cfg := api.DefaultConfig()
	cfg.Listen = "127.0.0.1:0"
	if change != nil {
		change(&cfg)
	}
	s, err := api.New(cfg, b, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		select {
		case err := <-s.Failed():
			t.Error(err)
		default:
		}
	})
	return s, "http://" + s.Addr().String()
}

// gate makes each submission say that it entered, and then wait until leave is closed.
func (b *backend) gate() (entered, leave chan struct{}) {
	entered, leave = make(chan struct{}), make(chan struct{})
	b.submit = func(_ context.Context, tx *block.Tx) (api.Receipt, error) {
		entered <- struct{}{}
		<-leave
		return api.Receipt{Hash: tx.Hash()}, nil
	}
	return entered, leave
}

type answer struct {
	status int
	header http.Header
	body   string
}

func do(t *testing.T, method, url, body string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return send(t, req)
}

func send(t *testing.T, req *http.Request) answer {
	t.Helper()
	tr := &http.Transport{DisableKeepAlives: true, ExpectContinueTimeout: 10 * time.Second}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, resp)
}

// read takes an answer whole.
func read(t *testing.T, resp *http.Response) answer {
	t.Helper()
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(data)}
}

// wantError checks an answer's status and code, and that it is a proper error.
func wantError(t *testing.T, name string, a answer, status int, code wire.Code) wire.ErrorDetail {
	t.Helper()
	var body wire.ErrorBody
	if err := json.Unmarshal([]byte(a.body), &body); err != nil {
		t.Fatalf("%s: %d %q: %v", name, a.status, a.body, err)
	}
	if a.status != status || body.Error.Code != code || body.Error.Message == "" {
		t.Errorf("%s: got %d %s, want %d %s", name, a.status, a.body, status, code)
	}
	if a.header.Get("Content-Type") != "application/json" {
		t.Errorf("%s: content type %q", name, a.header.Get("Content-Type"))
	}
	return body.Error
}

func requestOf(t *testing.T, tx *block.Tx) string {
	t.Helper()
	data, err := json.Marshal(wire.NewTxRequest(tx))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
