package client_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api/wire"
	"github.com/baton-ha/baton/node/client"
)

// ledger is a fake cluster that executes one account's transactions exactly once, in order of the nonces.
type ledger struct {
	mu       sync.Mutex
	executed []block.Hash // by nonce
	reject   bool         // refuse everything new
	mute     func(w http.ResponseWriter, r *http.Request)
	lose     bool // what mute gets is executed nevertheless
}

func (l *ledger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.Method == http.MethodGet {
		answer(w, 200, wire.Account{Nonce: uint64(len(l.executed))})
		return
	}
	var req wire.TxRequest
	var p struct{ Nonce uint64 }
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		panic(err)
	}
	if err := json.Unmarshal([]byte(req.Payload), &p); err != nil {
		panic(err)
	}
	if l.mute != nil && !l.lose {
		l.mute(w, r)
		return
	}
	hash := (&block.Tx{Payload: []byte(req.Payload)}).Hash()
	next := uint64(len(l.executed))
	switch {
	case p.Nonce < next && l.executed[p.Nonce] == hash:
	case p.Nonce != next:
		answer(w, 409, (&wire.Error{Code: wire.CodeBadNonce, Message: "m", ExpectedNonce: &next}).Body())
		return
	case l.reject:
		answer(w, 422, (&wire.Error{Code: wire.CodeRejected, Message: "overspend"}).Body())
		return
	default:
		l.executed = append(l.executed, hash)
	}
	if l.mute != nil {
		l.mute(w, r)
		return
	}
	answer(w, 200, wire.Receipt{Hash: hash, Height: block.Height(p.Nonce + 1)})
}

func (l *ledger) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.executed)
}

func newSender(t *testing.T, change func(*client.Options)) (*ledger, *client.Sender, *client.Client) {
	t.Helper()
	l := new(ledger)
	c := newClient(t, change, newNode(t, l.ServeHTTP).url)
	return l, c.NewSender("c", key(1)), c
}

// doubt makes the ledger end the caller's context, and the connection, when it has a transaction.
func (l *ledger) doubt(t *testing.T, executed bool) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(within(t, 10*time.Second))
	l.set(func() {
		l.lose = executed
		l.mute = func(w http.ResponseWriter, r *http.Request) {
			cancel()
			die(w, r)
		}
	})
	return ctx
}

func pay(amount string) client.Transfer { return client.Transfer{To: pub(2), Amount: amount} }

func TestSenderCounts(t *testing.T) {
	l, s, _ := newSender(t, nil)
	ctx := within(t, 20*time.Second)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if _, err := s.Transfer(ctx, pay(fmt.Sprint(i+1))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if l.count() != 20 {
		t.Errorf("%d executed", l.count())
	}
	// A refusal uses no nonce.
	l.set(func() { l.reject = true })
	if _, err := s.Transfer(ctx, pay("1")); !client.IsCode(err, wire.CodeRejected) {
		t.Error(err)
	}
	l.set(func() { l.reject = false })
	if receipt, err := s.Transfer(ctx, pay("1")); err != nil || receipt.Height != 21 {
		t.Errorf("%+v %v", receipt, err)
	}
	if _, err := s.Transfer(ctx, pay("0")); !errors.Is(err, client.ErrBadMessage) {
		t.Error(err)
	}
}

// Two users of one key give way to each other.
func TestSenderSharedKey(t *testing.T) {
	l, s, c := newSender(t, nil)
	ctx := within(t, 20*time.Second)
	other := c.NewSender("c", key(1))
	for i := range 5 {
		if _, err := s.Transfer(ctx, pay(fmt.Sprint(2*i+1))); err != nil {
			t.Fatal(err)
		}
		if _, err := other.Transfer(ctx, pay(fmt.Sprint(2*i+2))); err != nil {
			t.Fatal(err)
		}
	}
	if l.count() != 10 {
		t.Errorf("%d executed", l.count())
	}
}

// While an outcome is unknown nothing newer is sent; then it is found out, whichever it was, and nothing happens twice.
func TestSenderUnknownOutcome(t *testing.T) {
	for _, executed := range []bool{false, true} {
		t.Run(fmt.Sprintf("executed %v", executed), func(t *testing.T) {
			l, s, _ := newSender(t, nil)
			if _, err := s.Transfer(within(t, 10*time.Second), pay("1")); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Transfer(l.doubt(t, executed), pay("2")); !errors.Is(err, client.ErrUnknownOutcome) {
				t.Fatal(err)
			}
			pending, err := s.Pending(t.Context())
			if err != nil || pending == nil {
				t.Fatal(pending, err)
			}
			if _, err := s.Transfer(l.doubt(t, executed), pay("3")); !errors.Is(err, client.ErrUnknownOutcome) {
				t.Fatal(err)
			}
			if again, _ := s.Pending(t.Context()); again != pending {
				t.Fatal("another transaction is pending now")
			}
			l.set(func() { l.mute = nil })
			if receipt, err := s.Resolve(within(t, 10*time.Second)); err != nil || receipt.Hash != pending.Hash() {
				t.Fatalf("%+v %v", receipt, err)
			}
			if receipt, err := s.Resolve(t.Context()); err != nil || receipt != (client.Receipt{}) {
				t.Fatalf("nothing to resolve: %+v %v", receipt, err)
			}
			if receipt, err := s.Transfer(within(t, 10*time.Second), pay("4")); err != nil || receipt.Height != 3 || l.count() != 3 {
				t.Errorf("%+v %v, %d executed", receipt, err, l.count())
			}
		})
	}
}

// Send settles the older transaction by itself.
func TestSenderSettlesFirst(t *testing.T) {
	l, s, _ := newSender(t, nil)
	if _, err := s.Transfer(l.doubt(t, true), pay("1")); !errors.Is(err, client.ErrUnknownOutcome) {
		t.Fatal(err)
	}
	l.set(func() { l.mute = nil })
	receipt, err := s.Transfer(within(t, 10*time.Second), pay("2"))
	if err != nil || receipt.Height != 2 || l.count() != 2 {
		t.Errorf("%+v %v, %d executed", receipt, err, l.count())
	}
}

// What was certainly not taken is forgotten.
func TestSenderUnavailable(t *testing.T) {
	l, s, _ := newSender(t, patient)
	if _, err := s.Transfer(within(t, 10*time.Second), pay("1")); err != nil {
		t.Fatal(err)
	}
	l.set(func() { l.mute = refuse(503, wire.CodeNoLeader) })
	if _, err := s.Transfer(within(t, 2*time.Second), pay("2")); !errors.Is(err, client.ErrUnavailable) {
		t.Fatal(err)
	}
	if pending, err := s.Pending(t.Context()); pending != nil || err != nil {
		t.Fatal(pending, err)
	}
	l.set(func() { l.mute = nil })
	if receipt, err := s.Transfer(within(t, 10*time.Second), pay("3")); err != nil || receipt.Height != 2 {
		t.Errorf("%+v %v", receipt, err)
	}
}

func TestSenderTurn(t *testing.T) {
	n := newNode(t, hang)
	s := newClient(t, nil, n.url).NewSender("c", ed25519.NewKeyFromSeed(make([]byte, 32)))
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if _, err := s.Transfer(within(t, 100*time.Millisecond), pay("1")); !errors.Is(err, client.ErrUnavailable) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
