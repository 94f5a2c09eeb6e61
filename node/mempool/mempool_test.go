package mempool

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/baton-ha/baton/node/chain"
)

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

func TestTakeable(t *testing.T) {
	b := newBench(t, 2)
	p := New(DefaultLimits())
	want := func(n int) {
		t.Helper()
		if got := p.Takeable(); got != n {
			t.Errorf("%d can be taken, want %d", got, n)
		}
	}
	want(0)
	for _, tx := range []*chain.Tx{b.pay(0, 0), b.pay(0, 1), b.pay(1, 5)} {
		if err := p.Add(tx, 0); err != nil {
			t.Fatal(err)
		}
	}
	want(3) // that the last is ahead is not known yet
	b.build(p, 0)
	want(0)
	if p.Len() != 1 {
		t.Errorf("%d are held, want the one that waits", p.Len())
	}
	if err := p.Add(b.pay(0, 2), 0); err != nil {
		t.Fatal(err)
	}
	want(1)
	taken := p.Take(1, 1<<20)
	want(0)
	p.Return(taken)
	want(1)
}
