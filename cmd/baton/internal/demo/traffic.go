package demo

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/baton-ha/baton/config"
	"github.com/baton-ha/baton/node/chain"
	"github.com/baton-ha/baton/node/client"
)

// payment is one transaction of an account, as its sender knows it.
type payment struct {
	receipt client.Receipt
	to      int // index of the account that was paid
	amount  uint64
	sent    time.Time // before the first byte left
	acked   time.Time // when the receipt was there
}

// account is one sender. Its payments belong to its goroutine until the traffic has ended.
type account struct {
	key      ed25519.PrivateKey
	pub      chain.PublicKey
	client   *client.Client
	payments []payment // in the order of their nonces, from 0
	err      error     // why it stopped early
}

// traffic is a set of accounts that pay each other, each one payment at a time, as fast as they are acknowledged.
type traffic struct {
	chainID  string
	accounts []*account
	stop     chan struct{}
	stopOnce sync.Once
	wg       sync.WaitGroup
	count    atomic.Int64

	mu     sync.Mutex
	acks   []time.Time // of all accounts, ascending
	waiter *waiter
}

// waiter waits for the first acknowledgement of a payment sent after a time.
type waiter struct {
	after time.Time
	acked chan time.Time
}

// newTraffic makes accounts for all users of the cluster, each beginning at another node. They own their nonces: nobody
// else may use their keys.
func (c *cluster) newTraffic() (*traffic, error) {
	t := &traffic{chainID: c.genesis.ChainID, stop: make(chan struct{})}
	for i, key := range c.users {
		cl, err := c.client(i % len(c.nodes))
		if err != nil {
			return nil, err
		}
		t.accounts = append(t.accounts, &account{key: key, pub: chain.PublicKey(config.PublicKey(key)), client: cl})
	}
	return t, nil
}

// start lets all accounts pay until finish, or until ctx ends, which leaves the outcome of what is under way open.
func (t *traffic) start(ctx context.Context) {
	for i := range t.accounts {
		t.wg.Go(func() { t.run(ctx, i) })
	}
}

// finish lets every account end the payment that it is making, and waits for that.
func (t *traffic) finish() {
	t.stopOnce.Do(func() { close(t.stop) })
	t.wg.Wait()
}

func (t *traffic) run(ctx context.Context, i int) {
	a := t.accounts[i]
	for ctx.Err() == nil {
		select {
		case <-t.stop:
			return
		default:
		}
		if a.err = t.pay(ctx, i); a.err != nil {
			return
		}
	}
}

// pay makes one payment, submitting the same bytes until there is an answer.
func (t *traffic) pay(ctx context.Context, i int) error {
	a, n := t.accounts[i], len(t.accounts)
	nonce := uint64(len(a.payments))
	p := payment{to: (i + 1 + int(nonce)%max(n-1, 1)) % n, amount: 1 + nonce%7}
	message, err := client.Transfer{To: t.accounts[p.to].pub[:], Amount: fmt.Sprint(p.amount)}.Message()
	if err != nil {
		return err
	}
	tx, err := client.Build(t.chainID, a.key, nonce, 0, message)
	if err != nil {
		return err
	}
	p.sent = time.Now()
	if p.receipt, err = a.client.Submit(ctx, tx); err != nil {
		return fmt.Errorf("account %d, nonce %d: %w", i, nonce, err)
	}
	p.acked = t.acknowledged(p.sent)
	a.payments = append(a.payments, p)
	return nil
}

// acknowledged notes an acknowledgement and returns its time. Times are taken under the lock, so that they ascend.
func (t *traffic) acknowledged(sent time.Time) time.Time {
	t.count.Add(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.acks = append(t.acks, now)
	if t.waiter != nil && sent.After(t.waiter.after) {
		t.waiter.acked <- now
		t.waiter = nil
	}
	return now
}

// firstAfter returns a channel that gets the time of the first acknowledgement of a payment that was sent after the
// given time. There can be one at a time.
func (t *traffic) firstAfter(after time.Time) <-chan time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiter = &waiter{after: after, acked: make(chan time.Time, 1)}
	return t.waiter.acked
}

// longestPause returns the longest time between two acknowledgements in a row of which the later came after from and the
// earlier before to.
func (t *traffic) longestPause(from, to time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return longestPause(t.acks, from, to)
}

func longestPause(acks []time.Time, from, to time.Time) (longest time.Duration) {
	for i := 1; i < len(acks); i++ {
		if acks[i].After(from) && acks[i-1].Before(to) {
			longest = max(longest, acks[i].Sub(acks[i-1]))
		}
	}
	return longest
}

// errs returns why accounts stopped early.
func (t *traffic) errs() error {
	var errs []error
	for _, a := range t.accounts {
		if a.err != nil {
			errs = append(errs, a.err)
		}
	}
	return errors.Join(errs...)
}

// again makes a traffic that has ended ready to be started again. An account whose last payment got no answer makes the
// same one again, byte for byte.
func (t *traffic) again() {
	t.stop, t.stopOnce = make(chan struct{}), sync.Once{}
	for _, a := range t.accounts {
		a.err = nil
	}
}
