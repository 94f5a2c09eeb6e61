package blockstore

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/baton-ha/baton/blockstore/block"
)

func TestEmpty(t *testing.T) {
	s := mustOpen(t, vfs.NewMem())
	if h, hash := s.Tip(); h != 0 || !hash.IsZero() {
		t.Errorf("tip %d %s", h, hash)
	}
	if _, err := s.Block(0); !errors.Is(err, ErrNotFound) {
		t.Errorf("Block(0): %v", err)
	}
	if _, err := s.HashAt(0); !errors.Is(err, ErrNotFound) {
		t.Errorf("HashAt(0): %v", err)
	}
	if _, err := s.Final(0); !errors.Is(err, ErrNotFinal) {
		t.Errorf("Final(0): %v", err)
	}
	if _, err := s.Node(1); !errors.Is(err, ErrNotFound) {
		t.Errorf("Node: %v", err)
	}
	if e, n := s.Election(), s.Nacked(); e != nil || n != 0 {
		t.Errorf("election %q, nacked %d", e, n)
	}
	if _, ok := s.Checkpoint(); ok {
		t.Error("there is a checkpoint")
	}
	if u, err := s.DiskUsage(); err != nil && !errors.Is(err, vfs.ErrUnsupported) {
		t.Errorf("disk usage %+v: %v", u, err)
	}
}

func TestReads(t *testing.T) {
	s := mustOpen(t, vfs.NewMem())
	blocks := chain(5)
	write(t, s, Batch{Append: blocks, Commit: commitTo(blocks[3], 7, 2), Signed: signed(blocks[1], blocks[2])})

	f, err := s.Final(2)
	if err != nil || f.Block.Hash() != blocks[2].Hash() || f.CTerm != 7 || !block.VerifySignature(testPub(), blocks[2].Hash(), f.Signature) {
		t.Errorf("Final(2) = %+v, %v", f, err)
	}
	if f, err := s.Final(1); err != nil || f.CTerm != 0 {
		t.Errorf("Final(1) = %+v, %v: no certificate was recorded there", f, err)
	}
	for _, h := range []block.Height{0, 3, 4, 6} { // genesis, unsigned, not committed, not there
		if _, err := s.Final(h); !errors.Is(err, ErrNotFinal) {
			t.Errorf("Final(%d): %v", h, err)
		}
	}
	if _, err := s.Block(6); !errors.Is(err, ErrNotFound) {
		t.Errorf("Block(6): %v", err)
	}
	if _, err := s.BlockByHash(block.Hash{1}); !errors.Is(err, ErrNotFound) {
		t.Errorf("BlockByHash: %v", err)
	}
	if _, err := s.Signature(3); !errors.Is(err, ErrNotFound) {
		t.Errorf("Signature(3): %v", err)
	}
	if h, hash := s.SignerRecord(); h != 2 || hash != blocks[2].Hash() {
		t.Errorf("signer record %d %s", h, hash)
	}
	write(t, s, Batch{Signed: signed(blocks[1])}) // again and in any order: the record stays the highest
	if h, _ := s.SignerRecord(); h != 2 {
		t.Errorf("signer record fell to %d", h)
	}
	if _, _, ok, err := s.Lookup(blocks[5].Txs[0].Hash()); ok || err != nil {
		t.Errorf("uncommitted transaction: %t, %v", ok, err)
	}
	if h, i, ok, err := s.Lookup(blocks[3].Txs[1].Hash()); !ok || err != nil || h != 3 || i != 1 {
		t.Errorf("Lookup = %d/%d %t %v", h, i, ok, err)
	}
}

// A restart finds what was there, from an empty cache too.
func TestRestart(t *testing.T) {
	fs := vfs.NewMem()
	want := fingerprints(t)
	for i, b := range script() {
		s := mustOpen(t, fs)
		if got := fingerprint(t, s); got != want[i] {
			t.Fatalf("before batch %d:\n%swant\n%s", i, got, want[i])
		}
		write(t, s, b)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s := mustOpen(t, fs)
	if got := fingerprint(t, s); got != want[len(want)-1] {
		t.Fatalf("at the end:\n%s", got)
	}
}

func TestDoneOrder(t *testing.T) {
	s := mustOpen(t, vfs.NewMem())
	blocks := chain(200)
	var mu sync.Mutex
	var order []int
	var wg sync.WaitGroup
	for i, b := range blocks {
		wg.Add(1)
		s.Enqueue(Batch{Append: []*block.Block{b}, NoSync: i%3 == 0}, func(err error) {
			defer wg.Done()
			if h, _ := s.Tip(); err != nil || int(h) < i {
				t.Errorf("answer %d: %v, tip at %d", i, err, h)
			}
			mu.Lock()
			order = append(order, i)
			mu.Unlock()
		})
	}
	wg.Wait()
	if !slices.IsSorted(order) || len(order) != len(blocks) {
		t.Errorf("answers came as %v", order)
	}
}

// A done callback may enqueue.
func TestEnqueueFromDone(t *testing.T) {
	s := mustOpen(t, vfs.NewMem())
	blocks := chain(20)
	finished := make(chan error)
	var next func(i int)
	next = func(i int) {
		s.Enqueue(Batch{Append: blocks[i : i+1]}, func(err error) {
			if err != nil || i == 20 {
				finished <- err
				return
			}
			next(i + 1)
		})
	}
	next(0)
	if err := <-finished; err != nil {
		t.Fatal(err)
	}
	if h, _ := s.Tip(); h != 20 {
		t.Errorf("tip %d", h)
	}
}

func TestInUse(t *testing.T) {
	for name, o := range map[string]Options{
		"memory": testOptions(vfs.NewMem()),
		"disk":   {Dir: t.TempDir() + "/a/b", FS: vfs.Default},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Open(o)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Open(o); !errors.Is(err, ErrInUse) {
				t.Errorf("second Open: %v", err)
			}
			if _, err := VerifyDir(o.FS, o.Dir, nil, block.Hash{}); !errors.Is(err, ErrInUse) {
				t.Errorf("VerifyDir: %v", err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); !errors.Is(err, ErrClosed) {
				t.Errorf("second Close: %v", err)
			}
			if s, err = Open(o); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Close writes what is queued; what comes later is refused.
func TestClose(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, fs)
	blocks := chain(50)
	answers := make(chan error, len(blocks)+1)
	for _, b := range blocks {
		s.Enqueue(Batch{Append: []*block.Block{b}}, func(err error) { answers <- err })
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range blocks {
		if err := <-answers; err != nil {
			t.Fatal(err)
		}
	}
	s.Enqueue(Batch{Election: []byte("late")}, func(err error) { answers <- err })
	if err := <-answers; !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if h, _ := mustOpen(t, fs).Tip(); h != 50 {
		t.Errorf("tip %d", h)
	}
}

// Readers see each cut and append as one step, and never a block of a chain that is not the one of its height's hash.
func TestConcurrentReaders(t *testing.T) {
	s := mustOpen(t, vfs.NewMem())
	base := chain(10)
	write(t, s, Batch{Append: base, Commit: commitTo(base[8], 1, 1), Synced: new(uint64(1))})
	// Two branches of different lengths on height 8; each batch swaps one for the other.
	branches := [2][]*block.Block{{child(base[8], "a", 1)}, {child(base[8], "b", 2)}}
	branches[1] = append(branches[1], child(branches[1][0], "b", 1))
	tips := map[block.Hash]block.Height{base[10].Hash(): 10, branches[0][0].Hash(): 9, branches[1][1].Hash(): 10}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				h, hash := s.Tip()
				if tips[hash] != h {
					t.Errorf("tip %d %s was never written", h, hash)
					return
				}
				if b, err := s.Block(9); err != nil || b.Header.Parent != base[8].Hash() {
					t.Errorf("block 9: %v", err)
					return
				}
				if b, err := s.BlockByHash(branches[1][1].Hash()); err == nil && b.Hash() != branches[1][1].Hash() {
					t.Error("another block came for a hash")
					return
				} else if err != nil && !errors.Is(err, ErrNotFound) {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 200 {
		write(t, s, Batch{Cut: new(block.Height(8)), Append: branches[i%2], Synced: new(uint64(i + 2))})
	}
	close(stop)
	wg.Wait()
}

// The cache is bounded, forgets what was cut, and reading without it gives the same.
func TestSmallCache(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.CacheBytes = 2000
	s := mustOpenWith(t, o)
	want := fingerprints(t)
	for i, b := range script() {
		write(t, s, b)
		if got := fingerprint(t, s); got != want[i+1] {
			t.Fatalf("after batch %d:\n%swant\n%s", i, got, want[i+1])
		}
		var bytes int64
		for _, b := range s.recent.blocks {
			bytes += int64(b.Size())
		}
		if bytes != s.recent.bytes || bytes > 1000 {
			t.Fatalf("cache holds %d bytes, counts %d", bytes, s.recent.bytes)
		}
	}
}

// Each breach of a rule by our own code is caught before anything is written.
func TestInvariants(t *testing.T) {
	blocks := chain(5)
	other := child(blocks[5], "x", 0)
	for name, c := range map[string]struct {
		batch Batch
		want  string
	}{
		"gap":                   {Batch{Append: blocks[5:]}, "append of 5"},
		"wrong parent":          {Batch{Append: []*block.Block{child(child(blocks[2], "z", 0), "y", 0)}}, "on parent"},
		"genesis twice":         {Batch{Append: blocks[:1]}, "append of 0"},
		"cut below commit":      {Batch{Cut: new(block.Height(1))}, "I12"},
		"commit falls":          {Batch{Commit: commitTo(blocks[1], 1, 1)}, "I12"},
		"commit of other hash":  {Batch{Commit: &Commit{Height: 3, Hash: other.Hash()}}, "R11"},
		"commit above tip":      {Batch{Commit: commitTo(blocks[4], 1, 1)}, "above the tip"},
		"sign uncommitted":      {Batch{Signed: signed(blocks[3])}, "I10"},
		"sign other hash":       {Batch{Signed: []Signed{{Height: 2, Hash: other.Hash()}}}, "I10"},
		"sign genesis":          {Batch{Signed: signed(blocks[0])}, "I10"},
		"synced falls":          {Batch{Synced: new(uint64(1))}, "synced would fall"},
		"certificate reversed":  {Batch{Commit: commitTo(blocks[3], 2, 4)}, "certificate"},
		"uncommitted state":     {checkpointed(Checkpoint{Seq: 1, Height: 3, Hash: blocks[3].Hash(), NextNode: 1}), "checkpoint at 3"},
		"checkpoint other hash": {checkpointed(Checkpoint{Seq: 1, Height: 2, Hash: other.Hash(), NextNode: 1}), "checkpoint of"},
		"checkpoint left out":   {checkpointed(Checkpoint{Seq: 2, Height: 2, Hash: blocks[2].Hash(), NextNode: 1}), "after"},
		"checkpoint not whole":  {checkpointed(Checkpoint{Seq: 1, Height: 2, Hash: blocks[2].Hash(), RootNode: 1, NextNode: 1}), "after"},
		"base above checkpoint": {Batch{side: &sideWrite{base: &bases{blocks: 1}}}, "base 1"},
	} {
		t.Run(name, func(t *testing.T) {
			s := mustOpen(t, vfs.NewMem())
			write(t, s, Batch{Append: blocks[:4], Commit: commitTo(blocks[2], 1, 1), Synced: new(uint64(2))})
			defer func() {
				if r := recover(); r == nil || !strings.Contains(fmt.Sprint(r), c.want) {
					t.Errorf("got %v, want %q", r, c.want)
				}
			}()
			g := s.newGroup()
			defer func() {
				if err := g.pb.Close(); err != nil {
					t.Error(err)
				}
			}()
			_ = g.add(c.batch) // in the writer's place: a panic there would end the test
		})
	}
}

func checkpointed(c Checkpoint) Batch { return Batch{side: &sideWrite{checkpoint: &c}} }

func TestStats(t *testing.T) {
	s := mustOpen(t, vfs.NewMem())
	write(t, s, Batch{Append: chain(0)})
	write(t, s, Batch{Election: []byte("x"), NoSync: true})
	st := s.Stats()
	if st.Batches != 2 || st.Groups != 2 || st.Syncs != 1 || st.Bytes == 0 || st.Queued != 0 ||
		st.SyncBuckets[len(st.SyncBuckets)-1] != 1 || len(st.SyncBuckets) != len(SyncBounds()) {
		t.Errorf("%+v", st)
	}
}
