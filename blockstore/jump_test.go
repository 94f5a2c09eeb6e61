package blockstore

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/blockstore/merkle"
)

// stateAt is the ledger's state after block h, in memory.
func (l *ledger) stateAt(tb testing.TB, h int) *merkle.Map {
	tb.Helper()
	m := merkle.Empty(nil)
	for i := range h + 1 {
		var err error
		if m, err = m.Update(changesAt(i)); err != nil {
			tb.Fatal(err)
		}
	}
	if block.Hash(m.Root()) != l.blocks[h].Header.StateRoot {
		tb.Fatalf("state %d has root %x", h, m.Root())
	}
	return m
}

// copier transfers a state from memory, its first two levels as parts of their own.
type copier struct {
	t      *Transfer
	from   *merkle.Map
	copied int                   // nodes
	stop   func(pos []byte) bool // stop before this part, nil for never
}

var errStopped = errors.New("stopped")

func (c *copier) subtree(pos []byte, hash merkle.Hash) (merkle.NodeID, error) {
	if id, ok, err := c.t.Have(pos, hash); ok || err != nil {
		return id, err
	}
	if c.stop != nil && c.stop(pos) {
		return 0, errStopped
	}
	split := len(pos) < 17 // all keys begin with the same 15 nibbles
	p := c.t.Part(pos, hash, split)
	for {
		pos, hash, ok := p.Want()
		if !ok {
			return p.Commit()
		}
		if p.next > 0 || len(p.open) > 0 {
			id, have, err := c.t.Have(pos, hash)
			if split && !have && err == nil {
				id, err = c.subtree(pos, hash)
				have = true
			}
			if err != nil {
				return 0, errors.Join(err, p.Abort())
			}
			if have {
				if err := p.Link(id); err != nil {
					return 0, err
				}
				continue
			}
		}
		enc, err := c.from.NodeAt(pos)
		if err != nil {
			return 0, err
		}
		c.copied++
		if err := p.Add(enc); err != nil {
			return 0, err
		}
	}
}

// jumpTo transfers the ledger's state at h and jumps there.
func (l *ledger) jumpTo(tb testing.TB, s *Store, h int, synced uint64, stop func(pos []byte) bool) (copied int, err error) {
	tb.Helper()
	s.pieceBytes = 3000
	tr, err := s.BeginTransfer()
	if err != nil {
		return 0, err
	}
	defer tr.Close()
	c := copier{t: tr, from: l.stateAt(tb, h), stop: stop}
	if _, err := c.subtree(nil, c.from.Root()); err != nil {
		return c.copied, err
	}
	b := l.blocks[h]
	j, err := tr.Finish(block.Final{Block: b, Signature: block.Sign(testKey, b.Hash()), CTerm: synced})
	if err != nil {
		return c.copied, err
	}
	done := make(chan error, 1)
	s.Enqueue(Batch{Jump: j, Synced: &synced}, func(err error) { done <- err })
	return c.copied, <-done
}

// checkJumped holds a store against what a jump to h leaves.
func (l *ledger) checkJumped(tb testing.TB, s *Store, h int, synced uint64) {
	tb.Helper()
	b := l.blocks[h]
	if m, height, tip := s.Mark(); m != synced || height != b.Header.Height || tip != b.Hash() {
		tb.Fatalf("mark %d %d %s", m, height, tip)
	}
	if c := s.Committed(); c.Height != b.Header.Height || c.Hash != b.Hash() || c.CTerm != synced {
		tb.Fatalf("commit %+v", c)
	}
	if at, hash := s.SignerRecord(); at != b.Header.Height || hash != b.Hash() {
		tb.Fatalf("signer %d %s", at, hash)
	}
	if f, err := s.Final(b.Header.Height); err != nil || f.CTerm != synced || !block.VerifySignature(testPub(), b.Hash(), f.Signature) {
		tb.Fatalf("final %+v %v", f, err)
	}
	if s.Base() != b.Header.Height || s.ReceiptBase() != b.Header.Height {
		tb.Fatalf("base %d, %d", s.Base(), s.ReceiptBase())
	}
	if g, err := s.Block(0); err != nil || g.Hash() != l.blocks[0].Hash() {
		tb.Fatalf("genesis: %v", err)
	}
	if g, err := s.BlockByHash(l.blocks[0].Hash()); err != nil || g.Header.Height != 0 {
		tb.Fatalf("genesis by hash: %v", err)
	}
	l.check(tb, s)
}

// startOld makes a store that followed the ledger to height 15 and has uncommitted blocks of a fork above.
func (l *ledger) startOld(tb testing.TB, s *Store) error {
	tb.Helper()
	if err := (&ledger{blocks: l.blocks[:16], states: l.states[:16]}).run(tb.Context(), s, func() {}); err != nil {
		return err
	}
	if tip, _ := s.Tip(); tip > 15 {
		return nil
	}
	fork := child(l.blocks[15], "fork", 2)
	synced := uint64(2)
	done := make(chan error, 1)
	s.Enqueue(Batch{Append: []*block.Block{fork, child(fork, "fork", 1)}, Synced: &synced}, func(err error) { done <- err })
	return <-done
}

func TestJump(t *testing.T) {
	l := newLedger(t, 50)
	for _, old := range []bool{false, true} {
		fs := vfs.NewMem()
		s := mustOpen(t, fs)
		all := 0
		if err := l.stateAt(t, 40).Walk(nil, nil, func(_, _ []byte) bool { all++; return true }); err != nil {
			t.Fatal(err)
		}
		if old {
			if err := l.startOld(t, s); err != nil {
				t.Fatal(err)
			}
		} else {
			write(t, s, Batch{Append: l.blocks[:1]})
		}
		copied, err := l.jumpTo(t, s, 40, 7, nil)
		if err != nil {
			t.Fatal(err)
		}
		if copied > all || !old && copied != all {
			t.Errorf("old %t: %d nodes copied, there are %d", old, copied, all)
		}
		l.checkJumped(t, s, 40, 7)
		rep := audit(t, fs, s)
		if old != (rep.StaleNodes > 0) || rep.Base != 40 {
			t.Errorf("%+v", rep)
		}
		s = mustOpen(t, fs)
		l.checkJumped(t, s, 40, 7)
		if err := l.run(t.Context(), s, func() {}); err != nil { // goes on with blocks, checkpoints and pruning
			t.Fatal(err)
		}
		l.check(t, s)
		if rep := audit(t, fs, s); rep.Tip != 50 || rep.Base < 40 {
			t.Errorf("%+v", rep)
		}
	}
}

// A state of which a little changed is transferred by little.
func TestTransferSharesOldState(t *testing.T) {
	var changes []merkle.Change
	for i := range 4000 {
		changes = append(changes, merkle.Change{Key: []byte{byte(i * 7), byte(i >> 4), byte(i)}, Value: []byte("balance")})
	}
	m, err := merkle.Empty(nil).Update(changes)
	if err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, vfs.NewMem())
	blocks := []*block.Block{genesis()}
	write(t, s, Batch{Append: blocks})
	root := func(m *merkle.Map, parent *block.Block) *block.Block {
		h := child(parent, "main", 0).Header
		h.StateRoot = m.Root()
		return block.New(h, nil)
	}
	jump := func(m *merkle.Map) int {
		tr, err := s.BeginTransfer()
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		c := copier{t: tr, from: m}
		if _, err := c.subtree(nil, m.Root()); err != nil {
			t.Fatal(err)
		}
		b := root(m, blocks[len(blocks)-1])
		blocks = append(blocks, b)
		j, err := tr.Finish(block.Final{Block: b, Signature: block.Sign(testKey, b.Hash())})
		if err != nil {
			t.Fatal(err)
		}
		write(t, s, Batch{Jump: j})
		return c.copied
	}
	all := jump(m)
	if m, err = m.Update([]merkle.Change{
		{Key: changes[5].Key, Value: []byte("less")}, {Key: changes[900].Key, Delete: true}, {Key: []byte("new"), Value: []byte("x")},
	}); err != nil {
		t.Fatal(err)
	}
	if some := jump(m); all < 4000 || some > 30 || some < 5 {
		t.Errorf("%d nodes at first, then %d", all, some)
	}
	if same := jump(m); same != 0 {
		t.Errorf("%d nodes of a state that is here", same)
	}
	for more := true; more; {
		if more, err = s.PruneState(1, 3); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := countUpTo(s.db, []byte{spaceNode}, []byte{spaceNode + 1}, 1<<30); err != nil || int(n) > all+1 {
		t.Errorf("%d nodes are left, %v", n, err)
	}
	c := mustCheckpoint(t, s)
	if err := merkle.Check(s, merkle.Hash(c.Root), c.RootNode, 0); err != nil {
		t.Error(err)
	}
}

// What was transferred before a stop is not transferred again, also for a newer state; a checkpoint instead drops it.
func TestTransferGoesOn(t *testing.T) {
	l := newLedger(t, 45)
	for _, end := range []string{"same", "newer", "checkpoint", "rot"} {
		fs := vfs.NewMem()
		s := mustOpen(t, fs)
		write(t, s, Batch{Append: l.blocks[:1]})
		parts := 0
		first, err := l.jumpTo(t, s, 40, 7, func([]byte) bool { parts++; return parts > 20 })
		if !errors.Is(err, errStopped) || first < 20 {
			t.Fatal(first, err)
		}
		audit(t, fs, s)
		s = mustOpen(t, fs)
		switch end {
		case "same":
			copied, err := l.jumpTo(t, s, 40, 7, nil)
			if err != nil {
				t.Fatal(err)
			}
			all := 0
			if err := l.stateAt(t, 40).Walk(nil, nil, func(_, _ []byte) bool { all++; return true }); err != nil || copied > all-first+5 {
				t.Errorf("%d of %d copied, then %d, %v", first, all, copied, err)
			}
			l.checkJumped(t, s, 40, 7)
		case "newer":
			if _, err := l.jumpTo(t, s, 45, 8, nil); err != nil {
				t.Fatal(err)
			}
			l.checkJumped(t, s, 45, 8)
		case "rot":
			it, err := s.db.NewIter(nil)
			if err != nil {
				t.Fatal(err)
			}
			rotten := 0
			for more := it.SeekGE([]byte{spaceNode}); more && it.Key()[0] == spaceNode; more = it.Next() {
				v := bytes.Clone(it.Value())
				v[len(v)/2] ^= 1
				if err := s.db.Set(bytes.Clone(it.Key()), v, nil); err != nil {
					t.Fatal(err)
				}
				rotten++
			}
			if err := it.Close(); err != nil || rotten == 0 {
				t.Fatal(rotten, err)
			}
			if _, err := l.jumpTo(t, s, 40, 7, nil); err != nil {
				t.Fatal(err)
			}
			l.checkJumped(t, s, 40, 7)
		case "checkpoint":
			if err := (&ledger{blocks: l.blocks[:11], states: l.states[:11]}).run(t.Context(), s, func() {}); err != nil {
				t.Fatal(err)
			}
			if n, err := countUpTo(s.db, []byte{spacePart}, []byte{spacePart + 1}, 1); err != nil || n > 0 {
				t.Errorf("%d parts are left, %v", n, err)
			}
			l.check(t, s)
		}
		audit(t, fs, s)
	}
}

// Add takes nothing but the wanted node.
func TestPartRefusesWrongNodes(t *testing.T) {
	l := newLedger(t, 10)
	s := mustOpen(t, vfs.NewMem())
	write(t, s, Batch{Append: l.blocks[:1]})
	tr, err := s.BeginTransfer()
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	m := l.stateAt(t, 10)
	p := tr.Part(nil, m.Root(), false)
	rng := rand.New(rand.NewPCG(1, 1))
	for {
		pos, _, ok := p.Want()
		if !ok {
			break
		}
		enc, err := m.NodeAt(pos)
		if err != nil {
			t.Fatal(err)
		}
		bad := bytes.Clone(enc)
		bad[rng.IntN(len(bad))] ^= 1 << rng.IntN(8)
		for _, wrong := range [][]byte{bad, enc[:len(enc)-1], append(bytes.Clone(enc), 0), nil} {
			if err := p.Add(wrong); !errors.Is(err, ErrWrongNode) {
				t.Fatalf("%x at %x: %v", wrong, pos, err)
			}
		}
		if err := p.Add(enc); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := tr.Finish(block.Final{Block: l.blocks[10]}); !errors.Is(err, ErrIncomplete) {
		t.Error(err)
	}
	if _, err := p.Commit(); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Finish(block.Final{Block: l.blocks[10]}); err != nil {
		t.Error(err)
	}
	if err := p.Add(nil); !errors.Is(err, ErrWrongNode) {
		t.Error(err)
	}
}

// The disk is cloned right before its k-th operation: the clone has the old chain or the new one, whole, and a transfer
// goes on from there.
func TestCrashInJump(t *testing.T) {
	l, step := newLedger(t, 45), crashStep(t)
	if step > 1 {
		step *= 3
	}
	for _, percent := range []int{0, 50, 100} {
		before, after, early := 0, 0, false
		for k := 1 + int64(percent)/25%step; ; k += step {
			mem := vfs.NewCrashableMem()
			var ops atomic.Int64
			var acked, ackedAtCrash atomic.Bool
			var crashed *vfs.MemFS
			cfg := vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(uint64(k), uint64(percent)))}
			s, err := Open(testOptions(errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if changesDisk(op) && ops.Add(1) == k {
					ackedAtCrash.Store(acked.Load())
					crashed = mem.CrashClone(cfg)
				}
				return nil
			}))))
			if err != nil {
				t.Fatal(err)
			}
			if err := l.startOld(t, s); err != nil {
				t.Fatal(err)
			}
			if _, err := l.jumpTo(t, s, 40, 7, nil); err != nil {
				t.Fatal(err)
			}
			acked.Store(true)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if crashed == nil {
				break
			}
			s = mustOpen(t, crashed)
			switch synced := s.Synced(); {
			case synced == 7:
				after++
				l.checkJumped(t, s, 40, 7)
			case ackedAtCrash.Load():
				t.Fatalf("operation %d: the jump was acknowledged and is gone", k)
			case synced == 2:
				before++
				if tip, _ := s.Tip(); tip != 17 || s.Committed().Height != 15 {
					t.Fatalf("operation %d: tip %d, commit %+v", k, tip, s.Committed())
				}
			default:
				early = true
			}
			audit(t, crashed, s)
			s = mustOpen(t, crashed)
			if s.Synced() != 7 {
				if err := l.startOld(t, s); err != nil {
					t.Fatal(err)
				}
				if _, err := l.jumpTo(t, s, 40, 7, nil); err != nil {
					t.Fatalf("operation %d: cannot go on: %v", k, err)
				}
			}
			l.checkJumped(t, s, 40, 7)
			if err := l.run(t.Context(), s, func() {}); err != nil {
				t.Fatalf("operation %d: cannot go on: %v", k, err)
			}
			l.check(t, s)
			audit(t, crashed, s)
		}
		if step == 1 && (before == 0 || after == 0 || !early) {
			t.Errorf("%d%%: %d crashes in the transfer, %d after the jump", percent, before, after)
		}
	}
}
