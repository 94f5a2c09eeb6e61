package mempool

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/baton-ha/baton/node/chain"
)

// TestRandom plays a leader with senders that send out of order, twice, and with gaps. Nothing may get lost: each
// transaction ends included, refused, expired, or thrown out as one too many.
func TestRandom(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 7))
			const accounts, nonces = 5, 40
			b := newBench(t, accounts)
			limits := Limits{MaxTxs: 60, MaxBytes: 30_000, MaxPerAccountAhead: 6, AheadWait: 40}
			p := New(limits)
			var todo []*chain.Tx
			for a := range accounts {
				for n := range uint64(nonces) {
					todo = append(todo, b.pay(a, n))
					if r.IntN(10) == 0 {
						todo = append(todo, b.tx(a, n, 2, r.IntN(300)))
					}
				}
			}
			for i := range todo { // out of order, but not wildly
				j := min(len(todo)-1, i+r.IntN(12))
				todo[i], todo[j] = todo[j], todo[i]
			}
			in, out := map[*chain.Tx]bool{}, map[*chain.Tx]string{}
			gone := func(how string, txs ...*chain.Tx) {
				for _, tx := range txs {
					if !in[tx] || out[tx] != "" {
						t.Fatalf("%s: nonce %d, in %v, out %q", how, tx.Nonce(), in[tx], out[tx])
					}
					out[tx] = how
				}
			}
			included := map[chain.PublicKey]uint64{}
			idle, now := 0, time.Duration(0)
			for ; idle < 100; now++ {
				for range r.IntN(6) {
					if len(todo) == 0 {
						break
					}
					tx := todo[0]
					todo = todo[1:]
					switch err := p.Add(tx, now); {
					case err == nil:
						if in[tx] && out[tx] == "" {
							t.Fatal("held twice")
						}
						in[tx] = true
						delete(out, tx)
					case errors.Is(err, ErrFull), errors.Is(err, ErrTooManyAhead):
						todo = append(todo, tx) // as a client would
					default:
						t.Fatal(err)
					}
				}
				taken := p.Take(1+r.IntN(20), 1000+r.IntN(9000))
				if r.IntN(10) == 0 {
					p.Return(taken)
					check(t, p)
					continue
				}
				_, next, verdicts, err := b.exec.Build(b.state, chain.BuildSpec{MaxTxs: 1 + r.IntN(10)}, taken)
				if err != nil {
					t.Fatal(err)
				}
				b.state = next
				for i, v := range verdicts {
					switch v.Kind {
					case chain.VerdictIncluded:
						if taken[i].Nonce() != included[taken[i].Sender()] {
							t.Fatal("out of order")
						}
						included[taken[i].Sender()]++
						gone("included", taken[i])
					case chain.VerdictBehind, chain.VerdictRejected:
						gone("refused", taken[i])
					case chain.VerdictAhead, chain.VerdictNoRoom:
					}
				}
				over := p.Settle(taken, verdicts)
				check(t, p)
				gone("over", over...)
				late := p.Expire(now)
				gone("late", late...)
				todo = append(todo, append(over, late...)...) // sent again
				check(t, p)
				if idle++; len(taken) > 0 || len(late) > 0 || len(todo) > 0 {
					idle = 0
				}
				if now > 20_000 {
					t.Fatalf("no end: %d held, %d to do", p.Len(), len(todo))
				}
			}
			if p.Len() != 0 {
				t.Errorf("%d left over", p.Len())
			}
			for tx := range in {
				if out[tx] == "" {
					t.Errorf("nonce %d got lost", tx.Nonce())
				}
			}
			for a := range accounts {
				if n := included[b.pub(a)]; n != nonces {
					t.Errorf("account %d at %d", a, n)
				}
			}
		})
	}
}

// TestAheadIsNotTriedInABusyLoop counts tries of what cannot be included.
func TestAheadIsNotTriedInABusyLoop(t *testing.T) {
	b := newBench(t, 3)
	p := New(DefaultLimits())
	add(t, p, 0, b.pay(0, 3), b.pay(0, 4), b.pay(0, 9), b.pay(1, 1), b.pay(2, 0))
	tries := 0
	for range 100 {
		select {
		case <-p.Ready():
			taken, _, _ := b.build(p, 1)
			tries += len(taken)
		default:
		}
	}
	if tries != 5 {
		t.Errorf("%d tries", tries)
	}
}

// TestConcurrentSenders has senders, a builder that only listens to Ready, and an observer, all at once.
func TestConcurrentSenders(t *testing.T) {
	const accounts, nonces = 6, 60
	b := newBench(t, accounts)
	p := New(DefaultLimits())
	var senders, observer sync.WaitGroup
	for a := range accounts {
		var txs []*chain.Tx
		for n := range uint64(nonces) {
			txs = append(txs, b.pay(a, n))
		}
		r := rand.New(rand.NewPCG(1, uint64(a)))
		for i := range txs {
			j := min(len(txs)-1, i+r.IntN(5))
			txs[i], txs[j] = txs[j], txs[i]
		}
		senders.Go(func() {
			for _, tx := range txs {
				if err := p.Add(tx, 0); err != nil {
					t.Error(err)
				}
			}
		})
	}
	stop := make(chan struct{})
	observer.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				check(t, p)
				p.Expire(time.Second)
				_, _ = p.Len(), p.Bytes()
			}
		}
	})
	deadline := time.After(30 * time.Second)
	for included := 0; included < accounts*nonces; {
		select {
		case <-p.Ready():
		case <-deadline:
			t.Fatalf("only %d included, %d held", included, p.Len())
		}
		taken := p.Take(16, 1<<20)
		_, next, verdicts, err := b.exec.Build(b.state, chain.BuildSpec{MaxTxs: 7}, taken)
		if err != nil {
			t.Fatal(err)
		}
		b.state = next
		for _, v := range verdicts {
			if v.Kind == chain.VerdictIncluded {
				included++
			}
		}
		if over := p.Settle(taken, verdicts); len(over) > 0 {
			t.Fatalf("over %s", describe(over))
		}
	}
	close(stop)
	senders.Wait()
	observer.Wait()
	if p.Len() != 0 {
		t.Errorf("%d left", p.Len())
	}
}

func BenchmarkAddTakeSettle(b *testing.B) {
	const accounts, each = 64, 8
	bench := newBench(b, accounts)
	var txs []*chain.Tx
	for n := range uint64(each) {
		for a := range accounts {
			txs = append(txs, bench.pay(a, n))
		}
	}
	verdicts := make([]chain.Verdict, len(txs))
	for i := range verdicts {
		verdicts[i].Kind = chain.VerdictIncluded
	}
	p := New(DefaultLimits())
	b.ReportAllocs()
	for b.Loop() {
		for _, tx := range txs {
			if err := p.Add(tx, 0); err != nil {
				b.Fatal(err)
			}
		}
		if taken := p.Take(len(txs), 1<<30); len(taken) != len(txs) {
			b.Fatal(len(taken))
		}
		p.Settle(txs, verdicts)
	}
	b.ReportMetric(float64(b.N)*float64(len(txs))/b.Elapsed().Seconds(), "tx/s")
}
