package blockstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/blockstore/merkle"
)

// ledger is a history of states: what each block changes is a pure function of its height.
type ledger struct {
	blocks []*block.Block
	states []map[string]string // after each block
}

func changesAt(h int) []merkle.Change {
	rng := rand.New(rand.NewPCG(uint64(h), 3))
	var changes []merkle.Change
	seen := map[string]bool{}
	for range 40 {
		k := fmt.Sprintf("account%d", rng.IntN(150))
		if !seen[k] {
			seen[k] = true
			changes = append(changes, merkle.Change{Key: []byte(k), Value: fmt.Appendf(nil, "%0600d", h), Delete: rng.IntN(3) == 0})
		}
	}
	return changes
}

func newLedger(tb testing.TB, n int) *ledger {
	tb.Helper()
	l, m, state := &ledger{}, merkle.Empty(nil), map[string]string{}
	header := genesis().Header
	for h := range n + 1 {
		if h > 0 {
			b := child(l.blocks[h-1], "main", h%3)
			header = b.Header
		}
		changes := changesAt(h)
		next, err := m.Update(changes)
		if err != nil {
			tb.Fatal(err)
		}
		m, state = next, maps.Clone(state)
		for _, c := range changes {
			if c.Delete {
				delete(state, string(c.Key))
			} else {
				state[string(c.Key)] = string(c.Value)
			}
		}
		header.StateRoot = m.Root()
		var txs []*block.Tx
		if h > 0 {
			txs = child(l.blocks[h-1], "main", h%3).Txs
		}
		l.blocks = append(l.blocks, block.New(header, txs))
		l.states = append(l.states, state)
	}
	return l
}

// every is after how many blocks the tests make a checkpoint.
const every = 5

// run takes a store from where it is to the end of the ledger, with a checkpoint every few blocks, and after each all
// the pruning that there is to do. saved is called after each checkpoint. It returns the first error.
func (l *ledger) run(ctx context.Context, s *Store, saved func()) error {
	enqueue := func(b Batch) error {
		done := make(chan error, 1)
		s.Enqueue(b, func(err error) { done <- err })
		return <-done
	}
	s.pieceBytes = 10_000 // so that a checkpoint has some pieces
	m, h := merkle.Empty(s, merkle.WithCacheBytes(0)), 0
	if c, ok := s.Checkpoint(); ok {
		var err error
		if m, err = merkle.Load(s, c.Root, c.RootNode, merkle.WithCacheBytes(0)); err != nil {
			return err
		}
		h = int(c.Height) + 1
		if err := pruneAll(s, c.Height); err != nil { // what a crash has left to do
			return err
		}
	}
	for ; h < len(l.blocks); h++ {
		var err error
		if m, err = m.Update(changesAt(h)); err != nil {
			return err
		}
		b := l.blocks[h]
		if tip, hash := s.Tip(); hash.IsZero() || tip < b.Header.Height {
			if err := enqueue(Batch{Append: []*block.Block{b}}); err != nil {
				return err
			}
		}
		if h > 0 && s.Committed().Height < b.Header.Height {
			if err := enqueue(Batch{Commit: commitTo(b, 1, b.Header.Height), Signed: signed(b), NoSync: true}); err != nil {
				return err
			}
		}
		if h%every > 0 {
			continue
		}
		m = m.Seal()
		if _, err := s.SaveState(ctx, m, b.Header.Height, b.Hash()); err != nil {
			return err
		}
		saved()
		if err := pruneAll(s, b.Header.Height); err != nil {
			return err
		}
	}
	return nil
}

// pruneAll does all the pruning that there is after a checkpoint.
func pruneAll(s *Store, top block.Height) error {
	for more := true; more; {
		var err error
		if more, err = s.PruneState(2, top); err != nil {
			return err
		}
	}
	for more := true; more; {
		var err error
		if more, err = s.PruneBlocks(max(top, 8)-8, max(top, 14)-14); err != nil {
			return err
		}
	}
	return nil
}

// check compares the states of all checkpoints of a store, and the blocks, with the ledger.
func (l *ledger) check(tb testing.TB, s *Store) {
	tb.Helper()
	all, err := s.Checkpoints()
	if err != nil {
		tb.Fatal(err)
	}
	for _, c := range all {
		m, err := merkle.Load(s, c.Root, c.RootNode, merkle.WithCacheBytes(0))
		if err != nil {
			tb.Fatal(err)
		}
		got := map[string]string{}
		if err := m.Range(nil, nil, func(k, v []byte) bool { got[string(k)] = string(v); return true }); err != nil {
			tb.Fatalf("checkpoint %d at %d: %v", c.Seq, c.Height, err)
		}
		if !maps.Equal(got, l.states[c.Height]) {
			tb.Fatalf("checkpoint %d at %d differs", c.Seq, c.Height)
		}
	}
	tip, _ := s.Tip()
	for h := block.Height(1); h <= tip; h++ {
		_, err := s.Block(h)
		if h < s.Base() != errors.Is(err, ErrPruned) || h >= s.Base() && err != nil {
			tb.Fatalf("block %d, base %d: %v", h, s.Base(), err)
		}
		for _, tx := range l.blocks[h].Txs {
			_, _, ok, err := s.Lookup(tx.Hash())
			if want := h >= s.ReceiptBase() && h <= s.Committed().Height; err != nil || ok != want {
				tb.Fatalf("receipt at %d, base %d: %t %v", h, s.ReceiptBase(), ok, err)
			}
		}
	}
}

// audit closes a store and verifies its folder.
func audit(tb testing.TB, fs vfs.FS, s *Store) Report {
	tb.Helper()
	if err := s.Close(); err != nil {
		tb.Fatal(err)
	}
	rep, err := VerifyDir(fs, testDir, testPub(), block.Hash{})
	if err != nil || !rep.OK() {
		tb.Fatalf("verify: %v %v", err, rep.Problems)
	}
	return rep
}

func TestCheckpointsAndPruning(t *testing.T) {
	l, fs := newLedger(t, 60), vfs.NewMem()
	s := mustOpen(t, fs)
	n := 0
	if err := l.run(t.Context(), s, func() { n++; l.check(t, s) }); err != nil {
		t.Fatal(err)
	}
	all, err := s.Checkpoints()
	if err != nil || len(all) != 2 || all[0].Height != 55 || all[1].Height != 60 || all[1].Seq != uint64(n) {
		t.Fatalf("%d made, left are %+v, %v", n, all, err)
	}
	if s.Base() != 52 || s.ReceiptBase() != 46 {
		t.Errorf("blocks from %d, receipts from %d", s.Base(), s.ReceiptBase())
	}
	l.check(t, s)
	rep := audit(t, fs, s)
	if rep.StaleNodes == 0 || rep.StateNodes == 0 || rep.Base != 52 {
		t.Errorf("%+v", rep)
	}
	s = mustOpen(t, fs)
	l.check(t, s)
	if s.Base() != 52 || s.ReceiptBase() != 46 {
		t.Errorf("after a restart: blocks from %d, receipts from %d", s.Base(), s.ReceiptBase())
	}
}

// An archive keeps every state; pruned later, it is what pruning from the start would have left.
func TestArchive(t *testing.T) {
	l, fs := newLedger(t, 20), vfs.NewMem()
	s := mustOpen(t, fs)
	m, err := merkle.Empty(s), error(nil)
	for h, b := range l.blocks {
		batch := Batch{Append: []*block.Block{b}}
		if h > 0 {
			batch.Commit = commitTo(b, 1, b.Header.Height)
		}
		write(t, s, batch)
		if m, err = m.Update(changesAt(h)); err != nil {
			t.Fatal(err)
		}
		m = m.Seal()
		if _, err := s.SaveState(t.Context(), m, b.Header.Height, b.Hash()); err != nil {
			t.Fatal(err)
		}
	}
	if all, err := s.Checkpoints(); err != nil || len(all) != 21 {
		t.Fatalf("%d checkpoints, %v", len(all), err)
	}
	l.check(t, s)
	all := audit(t, fs, s)
	s = mustOpen(t, fs)
	steps := 0
	for more := true; more; steps++ {
		if more, err = s.PruneState(1, 15); err != nil {
			t.Fatal(err)
		}
		if steps%10 == 0 {
			l.check(t, s)
		}
	}
	l.check(t, s)
	if left, err := s.Checkpoints(); err != nil || left[0].Height != 15 || steps < 15 {
		t.Fatalf("after %d steps: %+v, %v", steps, left, err)
	}
	if left := audit(t, fs, s); left.StateNodes != all.StateNodes || left.StaleNodes >= all.StaleNodes/2 {
		t.Errorf("left %+v, of %+v", left, all)
	}
}

// The disk is cloned right before its k-th operation. What the clone holds is consistent: every listed checkpoint can be
// read, at least the newest that was acknowledged, and nothing is lost or left over. The run goes on from there to the
// same end as an undisturbed one.
func TestCrashInCheckpoint(t *testing.T) {
	l, step := newLedger(t, 15), crashStep(t)
	clean := vfs.NewMem()
	s := mustOpen(t, clean)
	if err := l.run(t.Context(), s, func() {}); err != nil {
		t.Fatal(err)
	}
	want := audit(t, clean, s)
	for _, percent := range []int{0, 50, 100} {
		leftovers := 0
		for k := 1 + int64(percent)/25%step; ; k += step {
			rng := rand.New(rand.NewPCG(uint64(k), uint64(percent)))
			disk, acked := l.crashAt(t, k, vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng})
			if disk == nil {
				break
			}
			s := mustOpen(t, disk)
			c, _ := s.Checkpoint()
			if c.Seq < acked {
				t.Fatalf("operation %d: checkpoint %d acknowledged, %d there", k, acked, c.Seq)
			}
			if n, err := countUpTo(s.db, seqKey(spaceNode, uint64(c.NextNode)), []byte{spaceNode + 1}, 1); err != nil {
				t.Fatal(err)
			} else if n > 0 {
				leftovers++
			}
			l.check(t, s)
			audit(t, disk, s)
			s = mustOpen(t, disk)
			if err := l.run(t.Context(), s, func() {}); err != nil {
				t.Fatalf("operation %d: cannot go on: %v", k, err)
			}
			l.check(t, s)
			got := audit(t, disk, s)
			got.Checkpoint, got.Signed, got.Unsigned = want.Checkpoint, want.Signed, want.Unsigned
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("operation %d: ends as\n%+v, want\n%+v", k, got, want)
			}
			s = mustOpen(t, disk)
			if n, err := countUpTo(s.db, seqKey(spaceNode, uint64(mustCheckpoint(t, s).NextNode)), []byte{spaceNode + 1}, 1); err != nil || n > 0 {
				t.Fatalf("operation %d: %d nodes of no checkpoint, %v", k, n, err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if step == 1 && percent == 100 && leftovers == 0 {
			t.Error("no crash left part of a checkpoint: the test tests nothing")
		}
	}
}

// crashStep is every how many operations the tests here crash, or fail. All of them are tried with BATON_CRASH_STEP=1,
// which takes minutes.
func crashStep(tb testing.TB) int64 {
	tb.Helper()
	text := os.Getenv("BATON_CRASH_STEP")
	if text == "" {
		return 23
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 {
		tb.Fatalf("BATON_CRASH_STEP=%s", text)
	}
	return n
}

func mustCheckpoint(tb testing.TB, s *Store) Checkpoint {
	tb.Helper()
	c, ok := s.Checkpoint()
	if !ok {
		tb.Fatal("no checkpoint")
	}
	return c
}

// crashAt runs the ledger and returns the disk as before its k-th operation with the newest checkpoint acknowledged by
// then; nil when the run takes fewer.
func (l *ledger) crashAt(tb testing.TB, k int64, cfg vfs.CrashCloneCfg) (*vfs.MemFS, uint64) {
	tb.Helper()
	mem := vfs.NewCrashableMem()
	var ops atomic.Int64
	var acked, ackedAtCrash atomic.Uint64
	var crashed *vfs.MemFS
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if changesDisk(op) && ops.Add(1) == k {
			ackedAtCrash.Store(acked.Load())
			crashed = mem.CrashClone(cfg)
		}
		return nil
	}))
	s, err := Open(testOptions(fs))
	if err != nil {
		tb.Fatal(err)
	}
	if err := l.run(tb.Context(), s, func() { acked.Add(1) }); err != nil {
		tb.Fatal(err)
	}
	if err := s.Close(); err != nil {
		tb.Fatal(err)
	}
	return crashed, ackedAtCrash.Load()
}

// Whichever operation fails, the run ends with the store's failure, nothing that was acknowledged is missing on the disk,
// and a start on a disk that works again goes on.
func TestFaultInCheckpoint(t *testing.T) {
	l, step := newLedger(t, 15), crashStep(t)
	failed := 0
	for k := int64(1); ; k += step {
		d := newFaultyDisk(k, k%2 == 0)
		o := testOptions(d.fs)
		o.Fatal = func(error) {}
		s, err := Open(o)
		if err != nil {
			continue // TestFault is about that
		}
		acked := uint64(0)
		err = l.run(t.Context(), s, func() { acked++ })
		closed := s.Close()
		if err == nil && closed == nil && d.ops.Load() < k {
			break
		}
		if err != nil && !errors.Is(err, ErrFailed) || !errors.Is(closed, ErrFailed) {
			t.Fatalf("operation %d: run: %v, close: %v", k, err, closed)
		}
		if err != nil {
			failed++
		}
		disk := d.mem.CrashClone(vfs.CrashCloneCfg{})
		s = mustOpen(t, disk)
		if c, _ := s.Checkpoint(); c.Seq < acked {
			t.Fatalf("operation %d: checkpoint %d acknowledged, %d there", k, acked, c.Seq)
		}
		l.check(t, s)
		if err := l.run(t.Context(), s, func() {}); err != nil {
			t.Fatalf("operation %d: cannot go on: %v", k, err)
		}
		l.check(t, s)
		audit(t, disk, s)
	}
	if failed < 2 {
		t.Errorf("only %d runs failed", failed)
	}
}

// A checkpoint that is told to stop between two pieces leaves the last one as it was; the next one takes its place.
func TestCheckpointIsStopped(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, fs)
	blocks := chain(2)
	write(t, s, Batch{Append: blocks, Commit: commitTo(blocks[2], 1, 1)})
	var changes []merkle.Change
	for i := range 3000 {
		changes = append(changes, merkle.Change{Key: fmt.Appendf(nil, "%d", i), Value: make([]byte, 300)})
	}
	m, err := merkle.Empty(s).Update(changes)
	if err != nil {
		t.Fatal(err)
	}
	m = m.Seal()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.SaveState(ctx, m, 1, blocks[1].Hash()); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, ok := s.Checkpoint(); ok {
		t.Fatal("there is a checkpoint")
	}
	n, err := countUpTo(s.db, []byte{spaceNode}, []byte{spaceNode + 1}, 1)
	if err != nil || n == 0 {
		t.Fatalf("%d nodes were written, %v", n, err)
	}
	c, err := s.SaveState(t.Context(), m, 2, blocks[2].Hash())
	if err != nil || c.Seq != 1 {
		t.Fatal(c, err)
	}
	if n, err := countUpTo(s.db, seqKey(spaceNode, uint64(c.NextNode)), []byte{spaceNode + 1}, 1); err != nil || n > 0 {
		t.Fatalf("%d nodes of no checkpoint, %v", n, err)
	}
	if v, ok, err := m.Get([]byte("77")); err != nil || !ok || len(v) != 300 {
		t.Fatal(len(v), ok, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	rep, err := VerifyDir(fs, testDir, nil, block.Hash{})
	if err != nil || rep.StaleNodes != 0 || rep.StateEntries != 3000 {
		t.Fatalf("%+v %v", rep, err)
	}
}
