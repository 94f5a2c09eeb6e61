package mempool

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
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

func TestTakeIsFairAndInNonceOrder(t *testing.T) {
	b := newBench(t, 3)
	p := New(DefaultLimits())
	a0, a1, a2, b0, b1, c0 := b.pay(0, 0), b.pay(0, 1), b.pay(0, 2), b.pay(1, 0), b.pay(1, 1), b.pay(2, 0)
	add(t, p, 0, a2, a0, a1, b1, b0, c0)
	if p.Len() != 6 || p.Bytes() != a0.Size()+a1.Size()+a2.Size()+b0.Size()+b1.Size()+c0.Size() {
		t.Errorf("%d transactions, %d bytes", p.Len(), p.Bytes())
	}
	wantTxs(t, "first", p.Take(4, 1<<20), a0, b0, c0, a1)
	wantTxs(t, "rest", p.Take(4, 1<<20), b1, a2)
	wantTxs(t, "nothing left", p.Take(4, 1<<20))
	if p.Len() != 0 || p.Bytes() != 0 {
		t.Errorf("%d transactions, %d bytes", p.Len(), p.Bytes())
	}
	check(t, p)
}

func TestTakeKeepsToBytes(t *testing.T) {
	b := newBench(t, 3)
	p := New(DefaultLimits())
	small, large, other := b.pay(0, 0), b.tx(1, 0, 1, 5000), b.pay(2, 0)
	add(t, p, 0, small, large, other)
	wantTxs(t, "up to the large one", p.Take(10, small.Size()+large.Size()-1), small)
	wantTxs(t, "the first whatever its size", p.Take(10, 10), large)
	wantTxs(t, "rest", p.Take(10, other.Size()), other)
}

func TestAddRefuses(t *testing.T) {
	b := newBench(t, 2)
	limits := DefaultLimits()
	limits.MaxTxs = 3
	p := New(limits)
	txs := []*chain.Tx{b.pay(0, 0), b.pay(0, 1), b.pay(0, 2), b.pay(1, 0)}
	add(t, p, 0, txs[:3]...)
	if err := p.Add(txs[1], 0); !errors.Is(err, ErrDuplicate) {
		t.Errorf("again: %v", err)
	}
	if err := p.Add(txs[3], 0); !errors.Is(err, ErrFull) {
		t.Errorf("one more: %v", err)
	}
	taken := p.Take(2, 1<<20)
	if err := p.Add(taken[0], 0); !errors.Is(err, ErrDuplicate) {
		t.Errorf("what is taken: %v", err)
	}
	if err := p.Add(txs[3], 0); !errors.Is(err, ErrFull) {
		t.Errorf("what is taken must count: %v", err)
	}
	if !p.Drop(taken[0].Hash()) || p.Drop(taken[0].Hash()) {
		t.Error("drop of what is taken")
	}
	add(t, p, 0, txs[3])

	limits = DefaultLimits()
	limits.MaxBytes = txs[0].Size() + txs[1].Size()
	p = New(limits)
	add(t, p, 0, txs[0], txs[1])
	if err := p.Add(txs[2], 0); !errors.Is(err, ErrFull) {
		t.Errorf("too many bytes: %v", err)
	}
}

func TestAheadWaitsForTheGap(t *testing.T) {
	b := newBench(t, 2)
	p := New(DefaultLimits())
	n := make([]*chain.Tx, 8)
	for i := range n {
		n[i] = b.pay(0, uint64(i))
	}
	add(t, p, 0, n[2], n[3], n[6])
	taken, verdicts, over := b.build(p, 0)
	if len(taken) != 3 || len(over) != 0 || p.Len() != 3 {
		t.Fatalf("taken %s, over %s", describe(taken), describe(over))
	}
	for _, v := range verdicts {
		if v.Kind != chain.VerdictAhead {
			t.Fatalf("%+v", verdicts)
		}
	}
	wantTxs(t, "nothing that can help has happened", p.Take(10, 1<<20))
	add(t, p, 0, n[7]) // behind one that waits: not even tried
	wantTxs(t, "one behind a gap", p.Take(10, 1<<20))

	add(t, p, 0, n[0]) // not the gap's end, but included, and so no help yet
	taken, _, _ = b.build(p, 0)
	wantTxs(t, "the first", taken, n[0])
	wantTxs(t, "2 waits for 1", p.Take(10, 1<<20))

	add(t, p, 0, n[1])
	taken, verdicts, _ = b.build(p, 0)
	wantTxs(t, "the run behind the gap goes along", taken, n[1], n[2], n[3])
	for i, v := range verdicts {
		if v.Kind != chain.VerdictIncluded || v.Index != i {
			t.Errorf("%+v", verdicts)
		}
	}
	if p.Len() != 2 {
		t.Errorf("%d left", p.Len())
	}
	p.Advance(b.pub(0), 6) // 4 and 5 came by another way
	wantTxs(t, "advanced", p.Take(10, 1<<20), n[6], n[7])
}

func TestIncludedWakesWhatWaits(t *testing.T) {
	b := newBench(t, 1)
	p := New(DefaultLimits())
	n0, n1, n2 := b.pay(0, 0), b.pay(0, 1), b.pay(0, 2)
	add(t, p, 0, n1)
	b.build(p, 0)
	add(t, p, 0, n0)
	first := p.Take(1, 1<<20)
	wantTxs(t, "first", first, n0)
	p.Return(first)
	wantTxs(t, "both", p.Take(9, 1<<20), n0, n1)
	p.Return([]*chain.Tx{n0, n1})

	// 1 is found to be ahead while 0 is taken on its own.
	p = New(DefaultLimits())
	add(t, p, 0, n1)
	early := p.Take(9, 1<<20)
	add(t, p, 0, n2)
	p.Settle(early, []chain.Verdict{{Kind: chain.VerdictAhead}})
	check(t, p)
	wantTxs(t, "2 waits behind 1", p.Take(9, 1<<20))
	add(t, p, 0, n0)
	wantTxs(t, "only the first", p.Take(1, 1<<20), n0)
	p.Settle([]*chain.Tx{n0}, []chain.Verdict{{Kind: chain.VerdictIncluded}})
	check(t, p)
	wantTxs(t, "the rest", p.Take(9, 1<<20), n1, n2)
}

// A transaction judged to be ahead while the one before it came in must be tried again, with it.
func TestGapFilledBetweenTakeAndSettle(t *testing.T) {
	b := newBench(t, 1)
	p := New(DefaultLimits())
	n0, n1, n2 := b.pay(0, 0), b.pay(0, 1), b.pay(0, 2)
	add(t, p, 0, n1, n2)
	taken := p.Take(9, 1<<20)
	_, _, verdicts, err := b.exec.Build(b.state, chain.BuildSpec{}, taken)
	if err != nil {
		t.Fatal(err)
	}
	add(t, p, 0, n0)
	p.Settle(taken, verdicts)
	check(t, p)
	again, verdicts, _ := b.build(p, 0)
	wantTxs(t, "all", again, n0, n1, n2)
	for _, v := range verdicts {
		if v.Kind != chain.VerdictIncluded {
			t.Errorf("%+v", v)
		}
	}
}

// With blocks built one on another before the first is settled, the later nonce may be judged first.
func TestOverlappingTakes(t *testing.T) {
	b := newBench(t, 1)
	p := New(DefaultLimits())
	n0, n1, n2 := b.pay(0, 0), b.pay(0, 1), b.pay(0, 2)
	add(t, p, 0, n0, n1)
	first, second := p.Take(1, 1<<20), p.Take(1, 1<<20)
	p.Settle(second, []chain.Verdict{{Kind: chain.VerdictAhead}})
	add(t, p, 0, n2)
	wantTxs(t, "1 waits for 0, and 2 behind it", p.Take(9, 1<<20))
	p.Settle(first, []chain.Verdict{{Kind: chain.VerdictIncluded}})
	check(t, p)
	wantTxs(t, "0 is included", p.Take(9, 1<<20), n1, n2)
}

func TestNoRoomComesFirstNextTime(t *testing.T) {
	b := newBench(t, 4)
	p := New(DefaultLimits())
	a0, a1, b0, c0, d0 := b.pay(0, 0), b.pay(0, 1), b.pay(1, 0), b.pay(2, 0), b.pay(3, 0)
	add(t, p, 0, a0, b0, c0, a1)
	taken := p.Take(9, 1<<20)
	wantTxs(t, "taken", taken, a0, b0, c0, a1)
	add(t, p, 0, d0)
	_, _, verdicts, err := b.exec.Build(b.state, chain.BuildSpec{MaxTxs: 1}, taken)
	if err != nil {
		t.Fatal(err)
	}
	if over := p.Settle(taken, verdicts); len(over) != 0 {
		t.Errorf("over %s", describe(over))
	}
	check(t, p)
	select {
	case <-p.Ready():
	default:
		t.Error("nobody was told of what had no room")
	}
	wantTxs(t, "again", p.Take(9, 1<<20), b0, c0, a1, d0)
}

func TestReturnKeepsOrder(t *testing.T) {
	b := newBench(t, 3)
	p := New(DefaultLimits())
	a0, a1, b0, c0 := b.pay(0, 0), b.pay(0, 1), b.pay(1, 0), b.pay(2, 0)
	add(t, p, 0, a0, b0, a1)
	taken := p.Take(2, 1<<20)
	add(t, p, 0, c0)
	p.Return(taken)
	p.Return(taken) // a second time has no effect
	check(t, p)
	wantTxs(t, "all", p.Take(9, 1<<20), a0, b0, c0, a1)
}

func TestTooManyAhead(t *testing.T) {
	b := newBench(t, 1)
	limits := DefaultLimits()
	limits.MaxPerAccountAhead = 3
	p := New(limits)
	n := make([]*chain.Tx, 12)
	for i := range n {
		n[i] = b.pay(0, uint64(i))
	}
	add(t, p, 0, n[1], n[2], n[3], n[5], n[6]) // nobody knows yet that they are ahead
	_, _, over := b.build(p, 0)
	if len(over) != 2 || !slices.Contains(over, n[5]) || !slices.Contains(over, n[6]) {
		t.Fatalf("over %s", describe(over))
	}
	if err := p.Add(n[7], 0); !errors.Is(err, ErrTooManyAhead) {
		t.Errorf("a fourth: %v", err)
	}
	add(t, p, 0, n[0])
	taken, _, _ := b.build(p, 0)
	wantTxs(t, "the gap is filled", taken, n[0], n[1], n[2], n[3])
	add(t, p, 0, n[4:]...) // any number, as long as no nonce is missing
	if taken, _, _ := b.build(p, 0); len(taken) != 8 {
		t.Errorf("taken %s", describe(taken))
	}
	if p.Len() != 0 {
		t.Errorf("%d left", p.Len())
	}
}

func TestExpire(t *testing.T) {
	b := newBench(t, 3)
	p := New(DefaultLimits())
	const s = time.Second
	if _, ok := p.NextExpiry(); ok {
		t.Error("an empty pool expires")
	}
	a5, a6, b5, c0 := b.pay(0, 5), b.pay(0, 6), b.pay(1, 5), b.pay(2, 0)
	add(t, p, 1*s, a5)
	add(t, p, 2*s, b5)
	b.build(p, 0)
	add(t, p, 3*s, a6)
	add(t, p, 0, c0) // old, but not ahead: never expires
	if at, ok := p.NextExpiry(); !ok || at != 3*s {
		t.Errorf("next expiry %v", at)
	}
	wantTxs(t, "too early", p.Expire(3*s-1))
	wantTxs(t, "first", p.Expire(3*s), a5)
	check(t, p)
	wantTxs(t, "rest", p.Expire(60*s), b5, a6)
	check(t, p)
	if p.Len() != 1 {
		t.Errorf("%d left", p.Len())
	}
	add(t, p, 60*s, a5) // may be sent again
}

// The wait counts from arrival, however often a transaction was tried.
func TestRetryKeepsFirstArrival(t *testing.T) {
	b := newBench(t, 1)
	p := New(DefaultLimits())
	n2, n3 := b.pay(0, 2), b.pay(0, 3)
	add(t, p, time.Second, n3)
	b.build(p, 0)
	add(t, p, 2*time.Second, n2) // makes 3 ready: it is tried again, and again ahead
	if taken, _, _ := b.build(p, 0); len(taken) != 2 {
		t.Fatalf("taken %s", describe(taken))
	}
	wantTxs(t, "3 came first", p.Expire(3*time.Second), n3)
	wantTxs(t, "then 2", p.Expire(4*time.Second), n2)
}

func TestRivalsForOneNonce(t *testing.T) {
	b := newBench(t, 1)
	p := New(DefaultLimits())
	first, second, next := b.tx(0, 1, 1, 0), b.tx(0, 1, 2, 0), b.pay(0, 2)
	add(t, p, 0, first, second, next)
	b.build(p, 0)
	add(t, p, 0, b.pay(0, 0))
	taken, verdicts, _ := b.build(p, 0)
	if len(taken) != 4 || taken[1] != first || taken[2] != second {
		t.Fatalf("taken %s", describe(taken))
	}
	var kinds []chain.VerdictKind
	for _, v := range verdicts {
		kinds = append(kinds, v.Kind)
	}
	in := chain.VerdictIncluded
	if !slices.Equal(kinds, []chain.VerdictKind{in, in, chain.VerdictBehind, in}) || p.Len() != 0 {
		t.Errorf("verdicts %v, %d left", kinds, p.Len())
	}
}

func TestClear(t *testing.T) {
	b := newBench(t, 3)
	p := New(DefaultLimits())
	ahead, a0, b0, c0 := b.pay(1, 7), b.pay(0, 0), b.pay(1, 0), b.pay(2, 0)
	add(t, p, 0, ahead)
	b.build(p, 0)
	add(t, p, 0, a0, b0, c0)
	taken := p.Take(1, 1<<20)
	wantTxs(t, "held", p.Clear(), ahead, b0, c0)
	check(t, p)
	if p.Len() != 0 || p.Bytes() != 0 {
		t.Errorf("%d, %d bytes left", p.Len(), p.Bytes())
	}
	if _, ok := p.NextExpiry(); ok {
		t.Error("something still waits")
	}
	p.Return(taken)
	wantTxs(t, "not kept", p.Settle(taken, []chain.Verdict{{Kind: chain.VerdictNoRoom}}), taken...)
	check(t, p)
	add(t, p, 0, a0, ahead) // as on a node that leads again
	wantTxs(t, "after", p.Take(9, 1<<20), a0, ahead)
}

func TestDrop(t *testing.T) {
	b := newBench(t, 1)
	p := New(DefaultLimits())
	n0, n1, n5 := b.pay(0, 0), b.pay(0, 1), b.pay(0, 5)
	add(t, p, 0, n5)
	b.build(p, 0)
	add(t, p, 0, n0, n1)
	if !p.Drop(n5.Hash()) || !p.Drop(n0.Hash()) || p.Drop(b.pay(0, 9).Hash()) {
		t.Error("drop")
	}
	check(t, p)
	wantTxs(t, "left", p.Take(9, 1<<20), n1)
}

func TestLimitsValidate(t *testing.T) {
	if err := DefaultLimits().Validate(); err != nil {
		t.Error(err)
	}
	err := Limits{MaxBytes: 1}.Validate()
	for _, name := range []string{"MaxTxs", "MaxPerAccountAhead", "AheadWait"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRandom plays a leader with senders that send out of order, twice, and with gaps. Nothing may get lost: each
// transaction ends included, refused, expired, or thrown out as one too many.
func TestRandom(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { randomRun(t, seed) })
	}
}

func randomRun(t *testing.T, seed uint64) {
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
