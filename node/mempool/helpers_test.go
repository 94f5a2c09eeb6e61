package mempool

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/chain"
)

// bench makes real transactions and builds real blocks of them.
type bench struct {
	tb    testing.TB
	exec  *chain.Executor
	state *chain.State
	keys  []ed25519.PrivateKey
}

func newBench(tb testing.TB, accounts int) *bench {
	tb.Helper()
	b := &bench{tb: tb}
	g := &chain.Genesis{
		ChainID: "test", ChainVersion: chain.LedgerVersion, Created: time.Unix(1_700_000_000, 0),
		Processor: chain.Processor{PublicKey: chain.PublicKey{1}}, Balances: map[chain.PublicKey]map[string]chain.Amount{},
	}
	for i := range accounts {
		seed := sha256.Sum256(fmt.Appendf(nil, "account %d", i))
		b.keys = append(b.keys, ed25519.NewKeyFromSeed(seed[:]))
		g.Balances[b.pub(i)] = map[string]chain.Amount{chain.NativeAsset: chain.NewAmount(1_000_000)}
	}
	var err error
	if b.exec, err = chain.New(g, chain.Ledger{}); err != nil {
		tb.Fatal(err)
	}
	if _, b.state, err = b.exec.Genesis(nil); err != nil {
		tb.Fatal(err)
	}
	return b
}

func (b *bench) pub(account int) chain.PublicKey {
	return chain.PublicKey(b.keys[account].Public().(ed25519.PublicKey))
}

// tx makes a payment; amount makes rivals for one nonce differ, pad makes it larger.
func (b *bench) tx(account int, nonce, amount uint64, pad int) *chain.Tx {
	b.tb.Helper()
	payload := fmt.Sprintf(`{"chain_id":"test","public_key":"%s","nonce":%d,"messages":[`+
		`{"type":"transfer","to":"%s","asset":"native","amount":"%d"}]%s}`,
		b.pub(account), nonce, b.pub(0), amount, strings.Repeat(" ", pad))
	tx, err := b.exec.Parse(block.SignTx(b.keys[account], []byte(payload)))
	if err != nil {
		b.tb.Fatal(err)
	}
	return tx
}

func (b *bench) pay(account int, nonce uint64) *chain.Tx {
	b.tb.Helper()
	return b.tx(account, nonce, 1, 0)
}

// build takes, builds on the state and settles, as a leader does.
func (b *bench) build(p *Pool, maxTxs int) (taken []*chain.Tx, verdicts []chain.Verdict, over []*chain.Tx) {
	b.tb.Helper()
	taken = p.Take(1<<20, 1<<30)
	_, next, verdicts, err := b.exec.Build(b.state, chain.BuildSpec{MaxTxs: maxTxs}, taken)
	if err != nil {
		b.tb.Fatal(err)
	}
	b.state = next
	over = p.Settle(taken, verdicts)
	check(b.tb, p)
	checkTold(b.tb, p)
	return taken, verdicts, over
}

func add(tb testing.TB, p *Pool, now time.Duration, txs ...*chain.Tx) {
	tb.Helper()
	for _, tx := range txs {
		if err := p.Add(tx, now); err != nil {
			tb.Fatalf("add nonce %d: %v", tx.Nonce(), err)
		}
	}
	check(tb, p)
	checkTold(tb, p)
}

func wantTxs(tb testing.TB, what string, got []*chain.Tx, want ...*chain.Tx) {
	tb.Helper()
	if !slices.Equal(got, want) {
		tb.Fatalf("%s: %s, want %s", what, describe(got), describe(want))
	}
}

func describe(txs []*chain.Tx) string {
	var s []string
	for _, tx := range txs {
		s = append(s, fmt.Sprintf("%.4s/%d", tx.Sender().String(), tx.Nonce()))
	}
	return "[" + strings.Join(s, " ") + "]"
}

// check looks at the whole pool.
func check(tb testing.TB, p *Pool) {
	tb.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	var size, taken, takenSize, placed, waiting, turns int
	for hash, e := range p.entries {
		if e.tx.Hash() != hash {
			tb.Fatal("entry under another hash")
		}
		size += e.tx.Size()
		if e.status == statusTaken {
			taken++
			takenSize += e.tx.Size()
		}
	}
	for k, a := range p.accounts {
		if a.sender != k || len(a.ready)+len(a.waiting) == 0 {
			tb.Fatal("account under another key, or empty")
		}
		if (a.turn != nil) != (len(a.ready) > 0) {
			tb.Fatal("turn without ready transactions, or the other way round")
		}
		if a.turn != nil {
			turns++
		}
		if n := len(a.ready); n > 0 && len(a.waiting) > 0 && a.ready[n-1].tx.Nonce() > a.waiting[0].tx.Nonce() {
			tb.Fatal("something waits below what is ready")
		}
		if len(a.waiting) > p.limits.MaxPerAccountAhead {
			tb.Fatalf("%d wait", len(a.waiting))
		}
		if !slices.IsSortedFunc(a.ready, compareEntries) || !slices.IsSortedFunc(a.waiting, compareEntries) {
			tb.Fatal("nonces out of order")
		}
		for _, e := range a.ready {
			if e.status != statusReady || p.entries[e.tx.Hash()] != e {
				tb.Fatal("stray ready entry")
			}
		}
		for _, e := range a.waiting {
			if e.status != statusWaiting || p.entries[e.tx.Hash()] != e || p.waits[e.wait] != e {
				tb.Fatal("stray waiting entry")
			}
		}
		placed += len(a.ready) + len(a.waiting)
		waiting += len(a.waiting)
	}
	if size != p.bytes || taken != p.taken || takenSize != p.takenB || placed+taken != len(p.entries) ||
		waiting != len(p.waits) || turns != p.turns.Len() {
		tb.Fatalf("counts: bytes %d/%d, taken %d/%d, %d/%d, placed %d of %d, waiting %d/%d, turns %d/%d", size, p.bytes,
			taken, p.taken, takenSize, p.takenB, placed, len(p.entries), waiting, len(p.waits), turns, p.turns.Len())
	}
	if len(p.entries) > p.limits.MaxTxs || size > p.limits.MaxBytes {
		tb.Fatal("over the limits")
	}
}

// checkTold is for moments when the taker has taken all that it was told of.
func checkTold(tb testing.TB, p *Pool) {
	tb.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.turns.Len() > 0 && len(p.signal) == 0 {
		tb.Fatal("something is ready and nobody was told")
	}
}
