package blockstore

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/blockstore/block"
)

const testDir = "node1/data"

// testRing is small, so that tests get around it, and quick to copy.
const testRing = 64 << 10

var testKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{3}, ed25519.SeedSize))

func testPub() ed25519.PublicKey { return testKey.Public().(ed25519.PublicKey) }

func testOptions(fs vfs.FS) Options {
	return Options{Dir: testDir, FS: fs, Logger: zerolog.Nop(), CacheBytes: 4 << 20, ringBytes: testRing}
}

// mustOpen opens a store that is closed at the end of the test, unless the test did.
func mustOpen(tb testing.TB, fs vfs.FS) *Store {
	tb.Helper()
	return mustOpenWith(tb, testOptions(fs))
}

func mustOpenWith(tb testing.TB, o Options) *Store {
	tb.Helper()
	o.Fatal = func(err error) { tb.Errorf("Fatal was called: %v", err) }
	s, err := Open(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, ErrClosed) {
			tb.Error(err)
		}
	})
	return s
}

// write enqueues batches and waits for the last answer.
func write(tb testing.TB, s *Store, batches ...Batch) {
	tb.Helper()
	var wg sync.WaitGroup
	for _, b := range batches {
		wg.Add(1)
		s.Enqueue(b, func(err error) {
			defer wg.Done()
			if err != nil {
				tb.Errorf("write: %v", err)
			}
		})
	}
	wg.Wait()
}

// genesis is the block at height 0 of all tests.
func genesis() *block.Block {
	return block.New(block.Header{ChainID: "test", ChainVersion: "1", TimeMs: 1000}, nil)
}

// child makes a block on parent. The label makes it and its transactions unlike its siblings.
func child(parent *block.Block, label string, txs int) *block.Block {
	h := parent.Header
	h.Parent = parent.Hash()
	h.Height++
	h.TimeMs++
	h.Proposer = label
	h.Term = 1
	list := make([]*block.Tx, txs)
	for i := range list {
		list[i] = block.SignTx(testKey, fmt.Appendf(nil, "%s/%d/%d", label, h.Height, i))
	}
	return block.New(h, list)
}

// chain makes genesis and n blocks on it.
func chain(n int) []*block.Block {
	blocks := []*block.Block{genesis()}
	for i := range n {
		blocks = append(blocks, child(blocks[i], "main", i%3))
	}
	return blocks
}

func signed(blocks ...*block.Block) []Signed {
	var out []Signed
	for _, b := range blocks {
		out = append(out, Signed{Height: b.Header.Height, Hash: b.Hash(), Signature: block.Sign(testKey, b.Hash())})
	}
	return out
}

func commitTo(b *block.Block, cterm uint64, from block.Height) *Commit {
	return &Commit{Height: b.Header.Height, Hash: b.Hash(), CTerm: cterm, From: from}
}

// fingerprint says all that a store holds of the chain and the hard state.
func fingerprint(tb testing.TB, s *Store) string {
	tb.Helper()
	var out bytes.Buffer
	synced, height, tip := s.Mark()
	signHeight, signHash := s.SignerRecord()
	cp, hasCP := s.Checkpoint()
	fmt.Fprintf(&out, "election %q synced %d nacked %d tip %d %s commit %+v signer %d %s checkpoint %v %v\n",
		s.Election(), synced, s.Nacked(), height, tip, s.Committed(), signHeight, signHash, cp, hasCP)
	if tip.IsZero() {
		return out.String()
	}
	for h := block.Height(0); h <= height; h++ {
		b, err := s.Block(h)
		if err != nil {
			tb.Fatal(err)
		}
		hash, err := s.HashAt(h)
		if err != nil || hash != b.Hash() {
			tb.Fatalf("HashAt(%d) = %s, %v; the block is %s", h, hash, err, b.Hash())
		}
		byHash, err := s.BlockByHash(hash)
		if err != nil || byHash.Header.Height != h {
			tb.Fatalf("BlockByHash of height %d: %v", h, err)
		}
		cterm, err := s.CTermAt(h)
		if err != nil {
			tb.Fatal(err)
		}
		_, sigErr := s.Signature(h)
		_, finalErr := s.Final(h)
		if (finalErr == nil) != (sigErr == nil && h <= s.Committed().Height) {
			tb.Fatalf("Final(%d): %v, signature: %v", h, finalErr, sigErr)
		}
		fmt.Fprintf(&out, "%d %s cterm %d signed %t txs", h, hash, cterm, sigErr == nil)
		for i, tx := range b.Txs {
			at, index, ok, err := s.Lookup(tx.Hash())
			if err != nil || ok != (h <= s.Committed().Height) || (ok && (at != h || int(index) != i)) {
				tb.Fatalf("Lookup of %d/%d = %d/%d %t %v", h, i, at, index, ok, err)
			}
			fmt.Fprintf(&out, " %t", ok)
		}
		fmt.Fprintln(&out)
	}
	return out.String()
}

// script is a history with everything in it: a genesis, appends, cuts at a fork, commits, signatures, a checkpoint,
// batches without sync. Its i-th batch has i as election state, so that a store says how far it got.
func script() []Batch {
	main := chain(12)
	fork := []*block.Block{child(main[6], "fork", 40)} // more than a small ring takes
	for i := range 4 {
		fork = append(fork, child(fork[i], "fork", 1))
	}
	node := pair{seqKey(spaceNode, 1), []byte("not looked at by the store")}
	checkpoint := &Checkpoint{Seq: 1, Height: 3, Hash: main[3].Hash(), Root: block.Hash{9}, NextNode: 1}
	batches := []Batch{
		{Append: main[:1]},
		{Synced: new(uint64(1))},
		{Append: main[1:2]},
		{Append: main[2:4], NoSync: true},
		{Commit: commitTo(main[2], 1, 1)},
		{Signed: signed(main[1], main[2]), NoSync: true},
		{Append: main[4:8]},
		{Commit: commitTo(main[4], 1, 3), Signed: signed(main[3])},
		{side: &sideWrite{set: []pair{node}}, NoSync: true},
		{side: &sideWrite{set: []pair{node}, checkpoint: checkpoint}},
		{Append: main[8:13], NoSync: true},
		{Nacked: new(uint64(1))},
		{Cut: new(block.Height(6)), Append: fork[:3], Synced: new(uint64(2))},
		{Commit: commitTo(fork[1], 2, 8), NoSync: true},
		{Signed: signed(main[4], main[5], main[6], fork[0], fork[1])},
		{Cut: new(block.Height(8))},
		{Append: fork[2:], NoSync: true},
		{},
		{Commit: commitTo(fork[4], 2, 9), Signed: signed(fork[4], fork[2])},
	}
	for i := range batches {
		batches[i].Election = fmt.Appendf(nil, "%d", i+1)
	}
	return batches
}

// fingerprints returns what a store holds after each batch of the script; index 0 is before the first.
func fingerprints(tb testing.TB) []string {
	tb.Helper()
	s := mustOpen(tb, vfs.NewMem())
	out := []string{fingerprint(tb, s)}
	for _, b := range script() {
		write(tb, s, b)
		out = append(out, fingerprint(tb, s))
	}
	return out
}
