package archive

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/internal/storetest"
)

// bucket is objects in memory.
type bucket struct {
	objects map[string][]byte
	puts    int
	failPut int // the number of the Put that fails, after it has read all
	open    func(name string) error
}

func newBucket() *bucket { return &bucket{objects: map[string][]byte{}} }

func (b *bucket) List(_ context.Context, prefix string, each func(string) error) error {
	for name := range b.objects { // in any order
		if strings.HasPrefix(name, prefix) {
			if err := each(name); err != nil {
				return err
			}
		}
	}
	return nil
}

var errStore = errors.New("the store is away")

func (b *bucket) Put(_ context.Context, name string, r io.Reader) (int64, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return 0, err
	}
	if b.puts++; b.puts == b.failPut {
		return 0, errStore
	}
	b.objects[name] = data
	return int64(len(data)), nil
}

func (b *bucket) Open(_ context.Context, name string) (io.ReadCloser, error) {
	if b.open != nil {
		if err := b.open(name); err != nil {
			return nil, err
		}
	}
	data, ok := b.objects[name]
	if !ok {
		return nil, ErrChanged
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

// names are the names without the folder.
func (b *bucket) names() (out []string) {
	for _, name := range slices.Sorted(maps.Keys(b.objects)) {
		_, name, _ = strings.Cut(name, "/")
		name = strings.TrimSuffix(name, ".baton")
		parts := strings.Split(name, "-")
		for i := range parts[1:] {
			parts[i+1] = strings.TrimLeft(parts[i+1], "0")
		}
		out = append(out, strings.Join(parts, "-"))
	}
	return out
}

func (b *bucket) has(t *testing.T, want ...string) {
	t.Helper()
	slices.Sort(want)
	if got := b.names(); !slices.Equal(got, want) {
		t.Fatalf("the set has %q, want %q", got, want)
	}
}

var processorKey = processor.Public().(ed25519.PublicKey)

func setOf(tb testing.TB, src *blockstore.Store, b *bucket, objectBytes int) *Set {
	tb.Helper()
	zero, err := src.HashAt(0)
	if err != nil {
		tb.Fatal(err)
	}
	s := NewSet(b, zero, zerolog.Nop())
	s.objectBytes = objectBytes
	return s
}

func (s *Set) mustExport(t *testing.T, src Source, r Range) Summary {
	t.Helper()
	sum, err := s.Export(t.Context(), Pipe(src, processorKey), processorKey, r)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// importSet imports a set into a folder.
func importSet(tb testing.TB, s *Set, fs vfs.FS, state bool) (Summary, error) {
	tb.Helper()
	store := storetest.Open(tb, fs)
	defer closed(tb, store)
	im, err := NewImporter(tb.Context(), store, executor(tb, genesis()), limits())
	if err != nil {
		return Summary{}, err
	}
	if _, err := s.Import(tb.Context(), im, state); err != nil {
		return Summary{}, err
	}
	return im.Finish(false)
}

// Each export adds what is missing, and what was added makes a whole folder, from block 1 or from a state on.
func TestSetGrows(t *testing.T) {
	src, b := source(t, 47), newBucket()
	s := setOf(t, src, b, objectBytes)
	if sum := s.mustExport(t, src, Range{To: 12}); sum.From != 1 || sum.To != 12 || sum.Blocks != 12 || sum.Transactions != 12 {
		t.Errorf("%+v", sum)
	}
	b.has(t, "blocks-1-12")
	if sum := s.mustExport(t, src, Range{To: 9}); sum.Blocks != 0 {
		t.Errorf("there already: %+v", sum)
	}
	s.mustExport(t, src, Range{To: 20})
	b.has(t, "blocks-1-12", "blocks-13-20")
	if sum := s.mustExport(t, src, Range{State: true, To: 35}); sum.From != 21 || sum.To != 35 || sum.Nodes == 0 {
		t.Errorf("%+v", sum)
	}
	b.has(t, "blocks-1-12", "blocks-13-20", "blocks-21-35", "state-30")
	s.mustExport(t, src, Range{})
	b.has(t, "blocks-1-12", "blocks-13-20", "blocks-21-35", "blocks-36-45", "state-30")
	puts := b.puts
	for _, r := range []Range{{}, {State: true, To: 36}} {
		if sum := s.mustExport(t, src, r); sum.Blocks != 0 || b.puts != puts {
			t.Errorf("nothing is new: %+v", sum)
		}
	}
	if _, err := s.Export(t.Context(), Pipe(src, processorKey), processorKey, Range{To: 46}); !errors.Is(err, ErrNothing) {
		t.Errorf("a block of the future: %v", err)
	}
	for _, state := range []bool{false, true} {
		fs := vfs.NewMem()
		sum, err := importSet(t, s, fs, state)
		if err != nil {
			t.Fatal(err)
		}
		if from := block.Height(1); !state && sum.From != from || state && sum.From != 30 || sum.To != 45 {
			t.Errorf("state %v: %+v", state, sum)
		}
		verified(t, fs, src, 45)
	}
	// Every object is an archive of its own, as a file is.
	fs := vfs.NewMem()
	var files [][]byte
	for _, name := range slices.Sorted(maps.Keys(b.objects)) {
		files = append(files, b.objects[name])
	}
	if _, err := importAll(t, fs, files[:4]...); err != nil {
		t.Fatal(err)
	}
	verified(t, fs, src, 45)
}

// A long chain is several objects, and one store that fails leaves the beginning, from which the next export goes on.
func TestSetExportGoesOn(t *testing.T) {
	src, b := source(t, 42), newBucket()
	s := setOf(t, src, b, 0) // an object a block
	b.failPut = 8
	_, err := s.Export(t.Context(), Pipe(src, processorKey), processorKey, Range{})
	if !errors.Is(err, errStore) || len(b.objects) != 7 {
		t.Fatalf("%d objects: %v", len(b.objects), err)
	}
	if sum := s.mustExport(t, src, Range{}); sum.From != 8 || sum.To != 40 || len(b.objects) != 40 {
		t.Errorf("%+v, %d objects", sum, len(b.objects))
	}
	fs := vfs.NewMem()
	if _, err := importSet(t, s, fs, false); err != nil {
		t.Fatal(err)
	}
	verified(t, fs, src, 40)
}

// A node that has not the blocks any more cannot go on where the set ends, and says how to; with a state it can.
func TestSetOfAPrunedNode(t *testing.T) {
	full, b := source(t, 47), newBucket()
	s := setOf(t, full, b, objectBytes)
	s.mustExport(t, full, Range{To: 5})
	pruned := &prunedSource{Source: full, base: 25}
	_, err := s.Export(t.Context(), Pipe(pruned, processorKey), processorKey, Range{})
	if !errors.Is(err, blockstore.ErrPruned) || !strings.Contains(err.Error(), "--state") {
		t.Errorf("a gap: %v", err)
	}
	s.mustExport(t, pruned, Range{State: true})
	b.has(t, "blocks-1-5", "blocks-41-45", "state-40")
}

// prunedSource has no blocks below a height.
type prunedSource struct {
	Source
	base block.Height
}

func (p *prunedSource) Base() block.Height { return p.base }

// Exporters that stand at different heights, at the same time or one after the other, leave a set that is good.
func TestSetHasManyExporters(t *testing.T) {
	src := source(t, 62)
	for seed := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, 7))
		b := newBucket()
		s := setOf(t, src, b, rng.IntN(3000))
		last := block.Height(1)
		for range 1 + rng.IntN(6) {
			r := Range{To: 1 + block.Height(rng.IntN(60)), State: rng.IntN(4) == 0}
			// Another exporter saw the set as it was before, or a part of it.
			seen := newBucket()
			for _, name := range slices.Sorted(maps.Keys(b.objects)) {
				if rng.IntN(4) > 0 {
					seen.objects[name] = b.objects[name]
				}
			}
			seen.failPut = rng.IntN(12)
			_, err := setOf(t, src, seen, s.objectBytes).Export(t.Context(), Pipe(src, processorKey), processorKey, r)
			if err != nil && !errors.Is(err, errStore) && !errors.Is(err, ErrNoState) {
				t.Fatal(err)
			}
			maps.Copy(b.objects, seen.objects)
			last = max(last, r.To)
		}
		s.mustExport(t, src, Range{To: last})
		for _, state := range []bool{false, true} {
			fs := vfs.NewMem()
			sum, err := importSet(t, s, fs, state)
			if state && errors.Is(err, ErrNoState) {
				continue
			}
			if err != nil {
				t.Fatalf("seed %d, state %v: %v; %q", seed, state, err, b.names())
			}
			if !state {
				verified(t, fs, src, last)
			} else {
				verified(t, fs, src, sum.To)
			}
		}
	}
}

// A damaged object is left out where another one has its blocks. Where none has, the import says which, keeps what it has,
// and goes on when the object is whole again.
func TestSetWithDamage(t *testing.T) {
	src := source(t, 42)
	full := newBucket()
	s := setOf(t, src, full, objectBytes)
	s.mustExport(t, src, Range{State: true, To: 32})
	s.mustExport(t, src, Range{From: 1, To: 20})
	s.mustExport(t, src, Range{From: 15, To: 36})
	s.mustExport(t, src, Range{})
	full.has(t, "blocks-1-20", "blocks-15-36", "blocks-31-32", "blocks-37-40", "state-30")
	names := map[string]string{}
	for i, short := range full.names() {
		names[short] = slices.Sorted(maps.Keys(full.objects))[i]
	}
	damage := map[string]func(data []byte) []byte{
		"cut off":     func(data []byte) []byte { return data[:len(data)/2] },
		"empty":       func([]byte) []byte { return nil },
		"wrong byte":  func(data []byte) []byte { data = bytes.Clone(data); data[len(data)/2] ^= 1; return data },
		"more":        func(data []byte) []byte { return append(bytes.Clone(data), 'x') },
		"another one": func([]byte) []byte { return full.objects[names["blocks-31-32"]] },
	}
	for how, f := range damage {
		for short, name := range names {
			if how == "another one" && short == "blocks-31-32" {
				continue
			}
			t.Run(how+" "+short, func(t *testing.T) {
				b := newBucket()
				maps.Copy(b.objects, full.objects)
				b.objects[name] = f(b.objects[name])
				s := setOf(t, src, b, objectBytes)
				fs := vfs.NewMem()
				_, err := importSet(t, s, fs, false)
				needed := short == "blocks-1-20" || short == "blocks-15-36" || short == "blocks-37-40"
				if how == "more" && err == nil {
					needed = false // all of it was taken before the end showed
				}
				if (err != nil) != needed {
					t.Fatal(err)
				}
				if err != nil {
					if !errors.Is(err, ErrFormat) && !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), name) {
						t.Errorf("it does not say what is wrong: %v", err)
					}
					if how == "cut off" || how == "empty" {
						if _, err := importSet(t, setOf(t, src, full, 0), fs, false); err != nil {
							t.Fatalf("mended: %v", err)
						}
						verified(t, fs, src, 40)
					}
					return
				}
				verified(t, fs, src, 40)
			})
		}
	}
}

// With several states the newest good one is taken.
func TestSetWithADamagedState(t *testing.T) {
	src, b := source(t, 42), newBucket()
	s := setOf(t, src, b, objectBytes)
	s.mustExport(t, src, Range{State: true, To: 25})
	s.mustExport(t, src, Range{State: true})
	b.has(t, "blocks-21-25", "blocks-26-40", "state-20", "state-40")
	newest := s.stateName(40)
	b.objects[newest] = b.objects[newest][:len(b.objects[newest])/2]
	for _, state := range []bool{false, true} {
		fs := vfs.NewMem()
		sum, err := importSet(t, s, fs, state)
		if err != nil || sum.From != 20 {
			t.Fatalf("%+v, %v", sum, err)
		}
		verified(t, fs, src, 40)
	}
}

// What is no archive of this chain is not looked at, and a set that has nothing to begin with says so.
func TestSetOfOthers(t *testing.T) {
	src, b := source(t, 22), newBucket()
	s := setOf(t, src, b, objectBytes)
	if _, err := importSet(t, s, vfs.NewMem(), false); !errors.Is(err, ErrNotInSet) {
		t.Errorf("empty: %v", err)
	}
	folder := s.genesis.String() + "/"
	for _, name := range []string{
		"notes.txt", "blocks-1-5.baton", fmt.Sprintf("blocks-%020d.baton", 3), fmt.Sprintf("state-%020d-%020d.baton", 3, 4),
		fmt.Sprintf("blocks-%020d-%020d.baton", 4, 3), fmt.Sprintf("blocks-%020d-%020d.baton", 0, 3), "blocks-99999999999999999999-99999999999999999999.baton",
	} {
		b.objects[folder+name] = []byte("nonsense")
	}
	b.objects[strings.Repeat("0", 64)+"/"+fmt.Sprintf("blocks-%020d-%020d.baton", 1, 3)] = []byte("another chain's")
	if _, err := importSet(t, s, vfs.NewMem(), false); !errors.Is(err, ErrNotInSet) {
		t.Errorf("others': %v", err)
	}
	s.mustExport(t, src, Range{From: 4, To: 9})
	if _, err := importSet(t, s, vfs.NewMem(), false); !errors.Is(err, ErrNoState) {
		t.Errorf("no beginning: %v", err)
	}
	if _, err := importSet(t, s, vfs.NewMem(), true); !errors.Is(err, ErrNoState) {
		t.Errorf("no state: %v", err)
	}
	s.mustExport(t, src, Range{From: 1})
	fs := vfs.NewMem()
	if _, err := importSet(t, s, fs, false); err != nil {
		t.Fatal(err)
	}
	verified(t, fs, src, 20)
}

// An object that is replaced while it is read is read again; a store that is away is an error, and the next import goes on.
func TestSetImportGoesOn(t *testing.T) {
	src, b := source(t, 42), newBucket()
	s := setOf(t, src, b, 0)
	s.mustExport(t, src, Range{})
	fs, opened, changed := vfs.NewMem(), map[string]int{}, 0
	b.open = func(name string) error {
		opened[name]++
		switch {
		case len(opened) == 20:
			return errStore
		case len(opened)%5 == 0 && opened[name] < maxTries:
			changed++
			return ErrChanged
		}
		return nil
	}
	if _, err := importSet(t, s, fs, false); !errors.Is(err, errStore) || changed == 0 {
		t.Fatalf("%d changed: %v", changed, err)
	}
	before := len(opened)
	b.open = func(name string) error { opened[name]++; return nil }
	if _, err := importSet(t, s, fs, false); err != nil {
		t.Fatal(err)
	}
	verified(t, fs, src, 40)
	if again := len(opened) - before; again != 40-before {
		t.Errorf("%d objects were read before it was cut off, and %d other ones after", before, again)
	}
}

// The source's blocks are verified before anything is stored, and a state that ends early is never stored.
func TestSetExportTrustsNobody(t *testing.T) {
	src, b := source(t, 22), newBucket()
	s := setOf(t, src, b, objectBytes)
	other := storetest.Key(9).Public().(ed25519.PublicKey)
	if _, err := s.Export(t.Context(), Pipe(src, processorKey), other, Range{}); !errors.Is(err, ErrRefused) {
		t.Errorf("another key: %v", err)
	}
	whole := export(t, src, Range{State: true})
	for at := 0; at < len(whole); at += 1 + len(whole)/40 {
		cut := func(context.Context, Range) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(whole[:at])), nil
		}
		if _, err := s.Export(t.Context(), cut, processorKey, Range{State: true}); !errors.Is(err, ErrFormat) {
			t.Errorf("cut at %d: %v", at, err)
		}
		for name, data := range b.objects {
			if err := readAll(data); err != nil {
				t.Errorf("cut at %d: %s: %v", at, name, err)
			}
		}
		clear(b.objects)
	}
	s.genesis[0] ^= 1
	if _, err := s.Export(t.Context(), Pipe(src, processorKey), processorKey, Range{}); !errors.Is(err, ErrRefused) || len(b.objects) > 0 {
		t.Errorf("another chain: %v", err)
	}
}

func readAll(data []byte) error {
	a, err := NewReader(bytes.NewReader(data))
	if err != nil {
		return err
	}
	defer a.Close()
	for {
		if _, err = a.Next(); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}
