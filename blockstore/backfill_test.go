package blockstore

import (
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/baton-ha/baton/blockstore/block"
)

// finals are the ledger's blocks from one height to another, as FillBelow takes them.
func (l *ledger) finals(from, to int) []block.Final {
	var out []block.Final
	for _, b := range l.blocks[from : to+1] {
		out = append(out, block.Final{Block: b, Signature: block.Sign(testKey, b.Hash()), CTerm: 3})
	}
	return out
}

// fill fills a store in, three blocks at a time.
func (l *ledger) fill(s *Store) error {
	for base := int(s.Base()); base > 1; base = int(s.Base()) {
		if err := s.FillBelow(l.finals(max(base-3, 1), base-1)); err != nil {
			return err
		}
	}
	return nil
}

// checkFilled demands that a store has all from its base on, whole, and nothing below.
func (l *ledger) checkFilled(tb testing.TB, s *Store, base int) {
	tb.Helper()
	if int(s.Base()) != base || s.ReceiptBase() != s.Base() {
		tb.Fatalf("base %d, receipts %d, want %d", s.Base(), s.ReceiptBase(), base)
	}
	for h, b := range l.blocks[:int(s.Committed().Height)+1] {
		f, err := s.Final(b.Header.Height)
		if h > 0 && (h >= base) != (err == nil) {
			tb.Fatalf("block %d, base %d: %v", h, base, err)
		}
		if err == nil && h > 0 && (f.Block.Hash() != b.Hash() || !block.VerifySignature(testPub(), b.Hash(), f.Signature)) {
			tb.Fatalf("block %d is another one", h)
		}
		for i, tx := range b.Txs {
			at, index, ok, err := s.Lookup(tx.Hash())
			if err != nil || ok != (h >= base) || ok && (at != b.Header.Height || int(index) != i) {
				tb.Fatalf("transaction of block %d, base %d: %d %d %v %v", h, base, at, index, ok, err)
			}
		}
	}
}

func TestFillBelow(t *testing.T) {
	l := newLedger(t, 50)
	fs := vfs.NewMem()
	s := mustOpen(t, fs)
	write(t, s, Batch{Append: l.blocks[:1]})
	if err := s.FillBelow(l.finals(1, 2)); !errors.Is(err, ErrNotBelow) {
		t.Errorf("nothing to fill in: %v", err)
	}
	if _, err := l.jumpTo(t, s, 40, 7, nil); err != nil {
		t.Fatal(err)
	}
	other := chain(45) // another chain's
	strange := []block.Final{{Block: other[39]}}
	swapped := l.finals(37, 39)
	swapped[0], swapped[1] = swapped[1], swapped[0]
	for name, bad := range map[string][]block.Final{
		"none": nil, "a gap at the top": l.finals(36, 38), "too high": l.finals(38, 40), "another chain": strange, "out of order": swapped,
		"from genesis on": l.finals(0, 39), "a gap": append(l.finals(36, 37), l.finals(39, 39)...),
	} {
		if err := s.FillBelow(bad); !errors.Is(err, ErrNotBelow) {
			t.Errorf("%s: %v", name, err)
		}
	}
	l.checkFilled(t, s, 40)
	if err := s.FillBelow(l.finals(30, 39)); err != nil {
		t.Fatal(err)
	}
	l.checkFilled(t, s, 30)
	if n, err := s.CTermAt(30); err != nil || n != 3 {
		t.Errorf("certificate %d %v", n, err)
	}
	audit(t, fs, s)
	s = mustOpen(t, fs)
	l.checkFilled(t, s, 30)
	// Retention goes up again, and what it leaves of receipts cannot be filled in below.
	if err := l.run(t.Context(), s, func() {}); err != nil {
		t.Fatal(err)
	}
	for more := true; more; {
		var err error
		if more, err = s.PruneBlocks(35, 32); err != nil {
			t.Fatal(err)
		}
	}
	if s.Base() != s.ReceiptBase() {
		if err := s.FillBelow(l.finals(int(s.Base())-1, int(s.Base())-1)); !errors.Is(err, ErrNotBelow) {
			t.Errorf("with receipts below: %v", err)
		}
	}
	audit(t, fs, s)
}

func TestFillBelowToGenesis(t *testing.T) {
	l := newLedger(t, 50)
	fs := vfs.NewMem()
	s := mustOpen(t, fs)
	write(t, s, Batch{Append: l.blocks[:1]})
	if _, err := l.jumpTo(t, s, 40, 7, nil); err != nil {
		t.Fatal(err)
	}
	if err := l.fill(s); err != nil {
		t.Fatal(err)
	}
	l.checkFilled(t, s, 1)
	if rep := audit(t, fs, s); rep.Tip != 40 || rep.Base > 1 {
		t.Errorf("%+v", rep)
	}
}

// A crash while a chain is filled in keeps a whole, linked part of it, and it goes on.
func TestCrashInFillBelow(t *testing.T) {
	l, step := newLedger(t, 25), crashStep(t)
	for _, percent := range []int{0, 50, 100} {
		between := 0
		for k := 1 + int64(percent)/25%step; ; k += step {
			mem := vfs.NewCrashableMem()
			var ops atomic.Int64
			var begun atomic.Bool
			var crashed *vfs.MemFS
			cfg := vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(uint64(k), uint64(percent)))}
			s, err := Open(testOptions(errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if begun.Load() && changesDisk(op) && ops.Add(1) == k {
					crashed = mem.CrashClone(cfg)
				}
				return nil
			}))))
			if err != nil {
				t.Fatal(err)
			}
			write(t, s, Batch{Append: l.blocks[:1]})
			if _, err := l.jumpTo(t, s, 20, 7, nil); err != nil {
				t.Fatal(err)
			}
			begun.Store(true)
			if err := l.fill(s); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if crashed == nil {
				break
			}
			s = mustOpen(t, crashed)
			base := int(s.Base())
			l.checkFilled(t, s, base)
			if base > 1 && base < 20 {
				between++
			}
			audit(t, crashed, s)
			s = mustOpen(t, crashed)
			if err := l.fill(s); err != nil {
				t.Fatalf("operation %d: cannot go on from %d: %v", k, base, err)
			}
			l.checkFilled(t, s, 1)
			audit(t, crashed, s)
		}
		if step == 1 && percent > 0 && between == 0 {
			t.Errorf("%d%%: no crash in between", percent)
		}
	}
}
