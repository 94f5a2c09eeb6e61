package blockstore

import (
	"errors"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/blockstore/merkle"
)

func isStateProblem(err error) bool {
	var damage *CorruptionError
	return errors.As(err, &damage) && damage.Op == "verify state"
}

// goodFolder writes a chain of 10 blocks, 8 of them committed, 7 signed, with a real state.
func goodFolder(t *testing.T) (*vfs.MemFS, []*block.Block) {
	t.Helper()
	fs := vfs.NewMem()
	s := mustOpen(t, fs)
	m, err := merkle.Empty(s).Update([]merkle.Change{{Key: []byte("a"), Value: []byte("1")}, {Key: []byte("b"), Value: []byte("2")}})
	if err != nil {
		t.Fatal(err)
	}
	g := genesis().Header
	g.StateRoot = m.Root()
	blocks := []*block.Block{block.New(g, nil)}
	for i := range 10 {
		blocks = append(blocks, child(blocks[i], "main", 1))
	}
	write(t, s, Batch{
		Append: blocks, Commit: commitTo(blocks[8], 1, 1), Signed: signed(blocks[1:8]...),
	})
	if _, err := s.SaveState(t.Context(), m.Seal(), 8, blocks[8].Hash()); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return fs, blocks
}

func TestVerifyGood(t *testing.T) {
	fs, blocks := goodFolder(t)
	before := fs.String()
	rep, err := VerifyDir(fs, testDir, testPub(), blocks[0].Hash())
	if err != nil || !rep.OK() {
		t.Fatalf("%v %v", err, rep.Problems)
	}
	if rep.Tip != 10 || rep.TipHash != blocks[10].Hash() || rep.Committed != 8 || rep.Signed != 7 || rep.Unsigned != 1 ||
		rep.Transactions != 8 || rep.StateEntries != 2 || rep.Checkpoint == nil {
		t.Errorf("%+v", rep)
	}
	if after := fs.String(); after != before {
		t.Errorf("the folder changed from\n%s to\n%s", before, after)
	}
	if _, err := VerifyDir(fs, "elsewhere", nil, block.Hash{}); err == nil {
		t.Error("a folder that is not there was verified")
	}
}

// damage edits the folder behind the store's back.
func damage(t *testing.T, fs vfs.FS, edit func(db *pebble.DB) error) {
	t.Helper()
	cache := pebble.NewCache(1 << 20)
	defer cache.Unref()
	db, err := pebble.Open(testDir, pebbleOptions(fs, cache, zerolog.Nop(), func(err error) { t.Error(err) }))
	if err != nil {
		t.Fatal(err)
	}
	if err := edit(db); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// What becomes of an Open of a damaged folder.
const (
	opens   = "opens"
	loses   = "opens and says what is lost"
	refuses = "refuses"
)

// Each kind of damage is in VerifyDir's report. Where it concerns the end of the chain, Open says so: blocks can be
// fetched from others, contradictions cannot be mended.
func TestDamage(t *testing.T) {
	_, blocks := goodFolder(t)
	flip := func(key []byte) func(db *pebble.DB) error {
		return func(db *pebble.DB) error {
			v, err := get(db, "flip", key)
			if err != nil {
				return err
			}
			v[len(v)-1] ^= 1
			return db.Set(key, v, pebble.Sync)
		}
	}
	drop := func(key []byte) func(db *pebble.DB) error {
		return func(db *pebble.DB) error { return db.Delete(key, pebble.Sync) }
	}
	put := func(key, value []byte) func(db *pebble.DB) error {
		return func(db *pebble.DB) error { return db.Set(key, value, pebble.Sync) }
	}
	stranger := child(blocks[8], "stranger", 1)
	for name, c := range map[string]struct {
		edit func(db *pebble.DB) error
		then string
		want string
	}{
		"old block":               {flip(heightKey(spaceBlock, 3)), opens, "height 3"},
		"old block lost":          {drop(heightKey(spaceBlock, 3)), opens, "height 3"},
		"old hash lost":           {drop(heightKey(spaceHash, 3)), opens, "height 3"},
		"old height lost":         {drop(hashKey(spaceHeight, blocks[3].Hash())), opens, "height 3"},
		"block above commit":      {flip(heightKey(spaceBlock, 9)), loses, "height 9"},
		"block above commit 2":    {drop(heightKey(spaceBlock, 9)), loses, "height 9"},
		"replaced above commit":   {put(heightKey(spaceBlock, 9), encodeBlock(stranger)), loses, "height 9"},
		"tip lost":                {drop(heightKey(spaceHash, 10)), loses, "height 10"},
		"beyond the mark":         {put(heightKey(spaceHash, 11), make([]byte, 32)), refuses, "stored above the tip"},
		"genesis lost":            {drop(heightKey(spaceHash, 0)), opens, "height 0"},
		"commit above tip":        {put([]byte(metaCommit), Commit{Height: 11}.encode()), refuses, "commit is at 11"},
		"commit of other hash":    {put([]byte(metaCommit), Commit{Height: 8}.encode()), refuses, "committed 0000"},
		"other tip than the mark": {put([]byte(metaPosition), position{seq: 2, from: 2, mark: mark{height: 10, tip: block.Hash{1}}}.encode()), refuses, "the mark at 10"},
		"signature":               {flip(heightKey(spaceSignature, 5)), opens, "not by this processor key"},
		"signature above":         {put(heightKey(spaceSignature, 9), make([]byte, 64)), opens, "above the commit"},
		"tx index":                {flip(hashKey(spaceTx, blocks[5].Txs[0].Hash())), opens, "is indexed at 5/1"},
		"tx index lost":           {drop(hashKey(spaceTx, blocks[5].Txs[0].Hash())), opens, "height 5"},
		"tx index stray":          {put(hashKey(spaceTx, [32]byte{1}), txRef{}.encode()), opens, "9 transactions are stored"},
		"state node":              {flip(seqKey(spaceNode, 1)), opens, "corrupt"},
		"state node lost":         {drop(seqKey(spaceNode, 1)), opens, "not in the store"},
		"state node stray":        {put(seqKey(spaceNode, 0), []byte("x")), opens, "4 state nodes are stored"},
		"checkpoint unlisted":     {drop(seqKey(spaceCheckpoint, 1)), opens, "0 checkpoints are listed"},
		"stale nodes":             {put(staleKey(1, 0), []byte{0}), opens, "stale nodes"},
		"signer record":           {put([]byte(metaSigner), ref{height: 7}.encode()), opens, "signer record"},
	} {
		t.Run(name, func(t *testing.T) {
			fs, _ := goodFolder(t)
			damage(t, fs, c.edit)
			rep, err := VerifyDir(fs, testDir, testPub(), blocks[0].Hash())
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, p := range rep.Problems {
				if _, ok := errors.AsType[*CorruptionError](p); !ok {
					t.Errorf("problem without a name: %v", p)
				}
				found = found || strings.Contains(p.Error(), c.want)
			}
			if !found {
				t.Errorf("report %v, want %q", rep.Problems, c.want)
			}
			s, err := Open(testOptions(fs))
			if c.then == refuses {
				if _, ok := errors.AsType[*CorruptionError](err); !ok {
					t.Fatalf("Open: %v, want a CorruptionError", err)
				}
				// The folder was let go of.
				if _, err := VerifyDir(fs, testDir, nil, block.Hash{}); err != nil {
					t.Fatal(err)
				}
				return
			}
			if err != nil {
				t.Fatalf("Open: %v", err)
			}
			if _, h, tip := s.Mark(); h != 10 || tip != blocks[10].Hash() {
				t.Errorf("mark %d %s", h, tip)
			}
			if lost := s.Lost(); (lost != nil) != (c.then == loses) {
				t.Errorf("lost: %+v", lost)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A damaged record of the hard state stops Open: no zero value may stand in for it.
func TestDamagedMeta(t *testing.T) {
	for _, key := range []string{metaFormat, metaFolder, metaPosition, metaCommit, metaSigner, metaCheckpoint, metaNacked, metaBase} {
		fs, _ := goodFolder(t)
		damage(t, fs, func(db *pebble.DB) error { return db.Set([]byte(key), []byte("short"), pebble.Sync) })
		var corruption *CorruptionError
		if _, err := Open(testOptions(fs)); !errors.As(err, &corruption) {
			t.Errorf("%s: %v", key, err)
		}
		if _, err := VerifyDir(fs, testDir, nil, block.Hash{}); !errors.As(err, &corruption) {
			t.Errorf("%s: VerifyDir: %v", key, err)
		}
	}
	fs, _ := goodFolder(t)
	damage(t, fs, func(db *pebble.DB) error { return db.Delete([]byte(metaFormat), pebble.Sync) })
	var corruption *CorruptionError
	if _, err := Open(testOptions(fs)); !errors.As(err, &corruption) {
		t.Errorf("format lost: %v", err)
	}
	damage(t, fs, func(db *pebble.DB) error {
		return db.Set([]byte(metaFormat), encodeUint64(formatVersion+1), pebble.Sync)
	})
	if _, err := Open(testOptions(fs)); err == nil || errors.As(err, &corruption) {
		t.Errorf("format of the future: %v", err)
	}
}

// Reading damage is an error that names the height, never another block and never "not found".
func TestReadDamage(t *testing.T) {
	fs, _ := goodFolder(t)
	damage(t, fs, func(db *pebble.DB) error {
		if err := db.Set(heightKey(spaceBlock, 2), []byte("nonsense"), pebble.Sync); err != nil {
			return err
		}
		return db.Delete(heightKey(spaceBlock, 4), pebble.Sync)
	})
	s := mustOpen(t, fs)
	for _, h := range []block.Height{2, 4} {
		_, blockErr := s.Block(h)
		_, finalErr := s.Final(h)
		for _, err := range []error{blockErr, finalErr} {
			var corruption *CorruptionError
			if !errors.As(err, &corruption) || corruption.Height != h {
				t.Errorf("height %d: %v", h, err)
			}
		}
	}
}

func TestVerifyOthersChain(t *testing.T) {
	fs, _ := goodFolder(t)
	rep, err := VerifyDir(fs, testDir, make([]byte, 32), block.Hash{1})
	if err != nil {
		t.Fatal(err)
	}
	if len(rep.Problems) != 8 { // genesis and seven signatures
		t.Errorf("%d problems: %v", len(rep.Problems), rep.Problems)
	}
}

// The states of all checkpoints that are kept are read, not only the newest's.
func TestVerifyOlderStates(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, fs)
	blocks := []*block.Block{genesis()}
	write(t, s, Batch{Append: blocks})
	m := merkle.Empty(s)
	for i := range 3 {
		var err error
		if m, err = m.Update([]merkle.Change{{Key: []byte{byte(i)}, Value: []byte("1")}, {Key: []byte("same"), Value: []byte{byte(i)}}}); err != nil {
			t.Fatal(err)
		}
		m = m.Seal()
		h := child(blocks[i], "main", 1).Header
		h.StateRoot = m.Root()
		b := block.New(h, child(blocks[i], "main", 1).Txs)
		blocks = append(blocks, b)
		write(t, s, Batch{Append: []*block.Block{b}, Commit: commitTo(b, 1, 1), Signed: signed(b)})
		if _, err := s.SaveState(t.Context(), m, b.Header.Height, b.Hash()); err != nil {
			t.Fatal(err)
		}
	}
	all, err := s.Checkpoints()
	if err != nil || len(all) != 3 {
		t.Fatal(all, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	checkVerifies(t, fs)
	damage(t, fs, func(db *pebble.DB) error {
		return db.Set(seqKey(spaceNode, uint64(all[0].RootNode)), []byte("nonsense"), pebble.Sync)
	})
	rep, err := VerifyDir(fs, testDir, testPub(), blocks[0].Hash())
	if err != nil || len(rep.Problems) != 1 || !strings.Contains(rep.Problems[0].Error(), "verify older state (height 1)") {
		t.Errorf("%v %v", err, rep.Problems)
	}
}

// A certificate older than its block proves nothing.
func TestVerifyCertificates(t *testing.T) {
	fs, blocks := goodFolder(t)
	damage(t, fs, func(db *pebble.DB) error {
		return errors.Join(db.Set(heightKey(spaceCTerm, 0), encodeUint64(7), pebble.Sync), db.Set(heightKey(spaceCTerm, 3), encodeUint64(0), pebble.Sync), db.Set(heightKey(spaceCTerm, 4), []byte("x"), pebble.Sync))
	})
	rep, err := VerifyDir(fs, testDir, testPub(), blocks[0].Hash())
	if err != nil || len(rep.Problems) != 2 {
		t.Errorf("%v %v", err, rep.Problems)
	}
}

// Rot that Pebble finds is reported like any other, wherever it is, and never looks like a good folder.
func TestVerifyRottenTables(t *testing.T) {
	fs, blocks := goodFolder(t)
	s := mustOpen(t, fs) // moves all into tables
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	tables := 0
	for _, name := range files(t, fs) {
		if !strings.HasSuffix(name, ".sst") {
			continue
		}
		tables++
		for at := 10; at < len(readFile(t, fs, name)); at += 97 {
			flipByte(t, fs, name, at)
			rep, err := VerifyDir(fs, testDir, testPub(), blocks[0].Hash())
			if err == nil && rep.OK() && at < len(readFile(t, fs, name))/2 {
				t.Errorf("byte %d of %s: nothing found", at, name)
			}
			flipByte(t, fs, name, at)
		}
	}
	if tables == 0 {
		t.Error("no tables")
	}
	if rep, err := VerifyDir(fs, testDir, testPub(), blocks[0].Hash()); err != nil || !rep.OK() {
		t.Errorf("undamaged again: %v %v", err, rep.Problems)
	}
}
