package archive

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/chain"
	"github.com/baton-ha/baton/node/internal/storetest"
)

func pub(k ed25519.PrivateKey) (p chain.PublicKey) {
	copy(p[:], k.Public().(ed25519.PublicKey))
	return p
}

var processor, user = storetest.Key(1), storetest.Key(2)

func genesis() *chain.Genesis {
	return &chain.Genesis{
		ChainID: "test", ChainVersion: chain.LedgerVersion, Created: time.Unix(1_700_000_000, 0).UTC(),
		Processor: chain.Processor{PublicKey: pub(processor)},
		Balances:  map[chain.PublicKey]map[string]chain.Amount{pub(user): {chain.NativeAsset: chain.NewAmount(1_000_000)}},
	}
}

func executor(tb testing.TB, g *chain.Genesis) *chain.Executor {
	tb.Helper()
	ex, err := chain.New(g, chain.Ledger{})
	if err != nil {
		tb.Fatal(err)
	}
	return ex
}

func limits() Limits {
	return Limits{CheckpointEvery: 10, CheckpointBytes: 1 << 20, StateCacheBytes: 1 << 20}
}

// closed lets go of a store's memory before the test ends.
func closed(tb testing.TB, s *blockstore.Store) {
	tb.Helper()
	if err := s.Close(); err != nil {
		tb.Error(err)
	}
}

// tries is how often a test that opens stores over and over does so.
const tries = 20

// source is the store of a node with n blocks, all final but the last two, of which one is committed. Every tenth state
// is stored.
func source(tb testing.TB, n int) *blockstore.Store {
	tb.Helper()
	s, ex := storetest.Open(tb, vfs.NewMem()), executor(tb, genesis())
	zero, st, err := ex.Genesis(s)
	if err != nil {
		tb.Fatal(err)
	}
	storetest.Write(tb, s, blockstore.Batch{Append: []*block.Block{zero}})
	for i := range n {
		receiver := pub(storetest.Key(byte(i + 3)))
		payload, err := json.Marshal(map[string]any{
			"chain_id": "test", "public_key": pub(user).String(), "nonce": i, "max_height": 0,
			"messages": []any{map[string]any{"type": "transfer", "to": receiver.String(), "asset": "native", "amount": "5"}},
		})
		if err != nil {
			tb.Fatal(err)
		}
		tx, err := ex.Parse(block.SignTx(user, payload))
		if err != nil {
			tb.Fatal(err)
		}
		b, next, _, err := ex.Build(st, chain.BuildSpec{Proposer: "node1", Term: 1, NowMs: int64(i), MaxBytes: 1 << 20, MaxTxs: 10}, []*chain.Tx{tx})
		if err != nil || b == nil {
			tb.Fatal(b, err)
		}
		st = next
		batch := blockstore.Batch{Append: []*block.Block{b}}
		if i < n-1 {
			batch.Commit = &blockstore.Commit{Height: b.Header.Height, Hash: b.Hash(), CTerm: 1, From: b.Header.Height}
		}
		if i < n-2 {
			batch.Signed = []blockstore.Signed{{Height: b.Header.Height, Hash: b.Hash(), Signature: block.Sign(processor, b.Hash())}}
		}
		storetest.Write(tb, s, batch)
		if (i+1)%10 == 0 && i < n-1 {
			m := st.Map().Seal()
			if _, err := s.SaveState(tb.Context(), m, st.Height(), st.BlockHash()); err != nil {
				tb.Fatal(err)
			}
		}
	}
	return s
}

func export(tb testing.TB, s Source, r Range) []byte {
	tb.Helper()
	var buf bytes.Buffer
	if _, err := Export(tb.Context(), &buf, s, processor.Public().(ed25519.PublicKey), r); err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

// importAll imports archives into a folder and finishes.
func importAll(tb testing.TB, fs vfs.FS, archives ...[]byte) (Summary, error) {
	tb.Helper()
	s := storetest.Open(tb, fs)
	defer func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	}()
	im, err := NewImporter(tb.Context(), s, executor(tb, genesis()), limits())
	if err != nil {
		return Summary{}, err
	}
	for _, a := range archives {
		if err := im.Read(tb.Context(), bytes.NewReader(a)); err != nil {
			return Summary{}, err
		}
	}
	return im.Finish(false)
}

// verified checks that a folder is good in all that verify knows, and ends at a height with the hash that src has there.
func verified(t *testing.T, fs vfs.FS, src *blockstore.Store, h block.Height) {
	t.Helper()
	want, err := src.HashAt(h)
	if err != nil {
		t.Fatal(err)
	}
	zero, err := src.HashAt(0)
	if err != nil {
		t.Fatal(err)
	}
	rep, err := blockstore.VerifyDir(fs, storetest.Dir, processor.Public().(ed25519.PublicKey), zero)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range rep.Problems {
		t.Error(p)
	}
	if rep.Tip != h || rep.TipHash != want || rep.Committed != h || rep.Unsigned > 0 || rep.Checkpoint == nil || rep.Checkpoint.Height != h {
		t.Errorf("%+v", rep)
	}
}

// A chain from genesis, one from a stored state on, and parts of one: each becomes a whole folder, with final blocks only.
func TestExportImport(t *testing.T) {
	src := source(t, 37)
	for name, ranges := range map[string][]Range{
		"all":                {{}},
		"up to 12":           {{To: 12}},
		"newest state":       {{State: true}},
		"state from 11":      {{From: 11, State: true}},
		"three parts":        {{To: 5}, {From: 6, To: 30}, {From: 31}},
		"parts that overlap": {{To: 20}, {From: 3, To: 30}, {}},
		"state and parts":    {{From: 10, To: 22, State: true}, {From: 20}},
		"blocks, then state": {{To: 25}, {From: 20, State: true}},
	} {
		t.Run(name, func(t *testing.T) {
			fs, want := vfs.NewMem(), block.Height(35)
			var archives [][]byte
			for _, r := range ranges {
				archives = append(archives, export(t, src, r))
				if r.To > 0 && len(ranges) == 1 {
					want = r.To
				}
			}
			sum, err := importAll(t, fs, archives...)
			if err != nil {
				t.Fatal(err)
			}
			if sum.To != want || sum.Blocks == 0 {
				t.Errorf("%+v", sum)
			}
			verified(t, fs, src, want)
			s := storetest.Open(t, fs)
			defer closed(t, s)
			if s.Import() != blockstore.ImportedJoins || s.Election() != nil {
				t.Errorf("import %d, election %x", s.Import(), s.Election())
			}
			if term, _, _ := s.Mark(); term != 0 {
				t.Errorf("it claims to be synced in term %d", term)
			}
		})
	}
}

// A range that is not there is an error that says so.
func TestExportRanges(t *testing.T) {
	src := source(t, 14)
	for _, c := range []struct {
		r    Range
		want error
	}{
		{Range{To: 14}, ErrNothing},
		{Range{From: 13}, ErrNothing},
		{Range{From: 9, To: 8}, ErrNothing},
		{Range{From: 11, State: true}, ErrNoState},
	} {
		if _, err := Export(t.Context(), io.Discard, src, processor.Public().(ed25519.PublicKey), c.r); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v", c.r, err)
		}
	}
	other := storetest.Key(9).Public().(ed25519.PublicKey)
	var damage *blockstore.CorruptionError
	if _, err := Export(t.Context(), io.Discard, src, other, Range{}); !errors.As(err, &damage) {
		t.Errorf("signatures of another key: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Export(ended, io.Discard, src, processor.Public().(ed25519.PublicKey), Range{}); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
}

// Whatever byte of an archive is changed, and wherever it is cut off, the import fails and the folder is no node's.
func TestDamagedArchive(t *testing.T) {
	src := source(t, 24)
	for name, r := range map[string]Range{"blocks": {}, "state": {State: true}} {
		good := export(t, src, r)
		try := func(what string, bad []byte) {
			t.Helper()
			fs := vfs.NewMem()
			_, err := importAll(t, fs, bad)
			if !errors.Is(err, ErrFormat) && !errors.Is(err, ErrRefused) {
				t.Fatalf("%s: %s: %v", name, what, err)
			}
			s := storetest.Open(t, fs)
			defer closed(t, s)
			if s.Import() != blockstore.Importing {
				t.Errorf("%s: %s: import %d", name, what, s.Import())
			}
		}
		for at := 0; at < len(good); at += 1 + len(good)/tries {
			bad := bytes.Clone(good)
			bad[at] ^= 4
			try(fmt.Sprintf("byte %d", at), bad)
			try(fmt.Sprintf("cut at %d", at), good[:at])
		}
		try("a byte more", append(bytes.Clone(good), 0))
	}
}

// Archives that are well formed and say something else than the processor signed.
func TestImportTrustsNobody(t *testing.T) {
	src := source(t, 24)
	// forge writes an archive of the blocks of a range, changed at will.
	forge := func(head Header, blocks func(h block.Height, b *block.Block, sig *block.Signature) *block.Block) []byte {
		var buf bytes.Buffer
		f, err := newFrames(&buf)
		if err != nil {
			t.Fatal(err)
		}
		e := exporter{frames: f}
		if err := f.write(kindHeader, head.encode()); err != nil {
			t.Fatal(err)
		}
		for h := head.From; h <= head.To; h++ {
			final, err := src.Final(h)
			if err != nil {
				t.Fatal(err)
			}
			b := blocks(h, final.Block, &final.Signature)
			if err := e.put(kindBlocks, b.Encode(), final.Signature[:]); err != nil {
				t.Fatal(err)
			}
			e.sum.Blocks++
		}
		if err := e.flush(); err != nil {
			t.Fatal(err)
		}
		end := make([]byte, 16)
		end[7] = byte(e.sum.Blocks)
		if err := f.write(kindEnd, end); err != nil {
			t.Fatal(err)
		}
		return buf.Bytes()
	}
	zero, err := src.HashAt(0)
	if err != nil {
		t.Fatal(err)
	}
	head := Header{ChainID: "test", Genesis: zero, From: 1, To: 9}
	same := func(_ block.Height, b *block.Block, _ *block.Signature) *block.Block { return b }
	at5 := func(change func(h *block.Header), sign ed25519.PrivateKey) func(block.Height, *block.Block, *block.Signature) *block.Block {
		return func(at block.Height, b *block.Block, sig *block.Signature) *block.Block {
			if at != 5 {
				return b
			}
			h := b.Header
			change(&h)
			b = block.New(h, b.Txs)
			*sig = block.Sign(sign, b.Hash())
			return b
		}
	}
	otherGenesis := head
	otherGenesis.Genesis[0] ^= 1
	later := head
	later.From = 3
	for name, bad := range map[string][]byte{
		"another chain":        forge(otherGenesis, same),
		"nothing to build on":  forge(later, same),
		"another's signature":  forge(head, at5(func(*block.Header) {}, user)),
		"another root":         forge(head, at5(func(h *block.Header) { h.StateRoot[3] ^= 1 }, processor)),
		"another parent":       forge(head, at5(func(h *block.Header) { h.Parent[3] ^= 1 }, processor)),
		"another chain's name": forge(head, at5(func(h *block.Header) { h.ChainID = "best" }, processor)),
	} {
		fs := vfs.NewMem()
		if _, err := importAll(t, fs, bad); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
		// What was good of it stays, and the good archive goes on from there.
		if _, err := importAll(t, fs, export(t, src, Range{})); err != nil {
			t.Errorf("%s, then the good one: %v", name, err)
		}
		verified(t, fs, src, 22)
	}
	if _, err := importAll(t, vfs.NewMem(), forge(head, same)); err != nil {
		t.Errorf("a forgery without a change is good: %v", err)
	}
}

// A folder in which a node was, or whose import is complete, takes nothing.
func TestImportWantsAnEmptyFolder(t *testing.T) {
	src := source(t, 14)
	good := export(t, src, Range{})
	fs := vfs.NewMem()
	s := storetest.Open(t, fs)
	storetest.Write(t, s, blockstore.Batch{Election: []byte("term 1")})
	if _, err := NewImporter(t.Context(), s, executor(t, genesis()), limits()); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("a voter's folder: %v", err)
	}
	fs = vfs.NewMem()
	for i, want := range []error{nil, ErrNotEmpty} {
		if _, err := importAll(t, fs, good); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("import %d: %v", i, err)
		}
	}
}

// A power cut at any moment of an import leaves a folder into which the same import goes.
func TestImportSurvivesCrashes(t *testing.T) {
	src := source(t, 34)
	for name, r := range map[string]Range{"blocks": {}, "state": {From: 10, State: true}} {
		good := export(t, src, r)
		whole := 0
		for cut := range tries {
			mem := vfs.NewCrashableMem()
			s := storetest.Open(t, mem)
			im, err := NewImporter(t.Context(), s, executor(t, genesis()), limits())
			if err != nil {
				t.Fatal(err)
			}
			var disk *vfs.MemFS
			crash := &crashingReader{r: bytes.NewReader(good), left: len(good) * cut / (tries - 1), at: func() {
				disk = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: (cut * 37) % 101, RNG: rand.New(rand.NewPCG(uint64(cut), 1))})
			}}
			if err = im.Read(t.Context(), crash); err == nil {
				_, err = im.Finish(false)
			}
			if err != nil {
				t.Fatal(err)
			}
			closed(t, s)
			if _, err := importAll(t, disk, good); err != nil && !errors.Is(err, ErrNotEmpty) {
				t.Fatalf("%s: cut %d: %v", name, cut, err)
			} else if err == nil {
				whole++
			}
			verified(t, disk, src, 32)
		}
		if whole == 0 {
			t.Errorf("%s: nothing was imported twice", name)
		}
	}
}

// crashingReader calls at once when so many bytes were read.
type crashingReader struct {
	r    io.Reader
	left int
	at   func()
}

func (c *crashingReader) Read(b []byte) (int, error) {
	if c.at != nil && c.left <= 0 {
		c.at()
		c.at = nil
	}
	if c.at != nil {
		b = b[:min(len(b), max(c.left, 1))]
	}
	n, err := c.r.Read(b)
	c.left -= n
	return n, err
}

// Whatever bytes there are, the reader ends, bounded, and what it accepts is what was announced.
func FuzzReader(f *testing.F) {
	src := source(f, 14)
	f.Add(export(f, src, Range{To: 3}))
	f.Add(export(f, src, Range{State: true}))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := NewReader(bytes.NewReader(data))
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatal(err)
			}
			return
		}
		defer a.Close()
		want := a.Header().From
		for {
			e, err := a.Next()
			if errors.Is(err, io.EOF) {
				if want != a.Header().To+1 {
					t.Fatalf("it ended before block %d of %+v", want, a.Header())
				}
				return
			}
			if err != nil {
				if !errors.Is(err, ErrFormat) {
					t.Fatal(err)
				}
				return
			}
			if e.Block != nil {
				if e.Block.Header.Height != want {
					t.Fatalf("block %d where %d should be", e.Block.Header.Height, want)
				}
				want++
			}
		}
	})
}
