package blockstore

import (
	"errors"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/baton-ha/baton/blockstore/block"
)

// repairAll mends a chain from its commit down, as the node does with what its peers have, and returns the heights.
func repairAll(t *testing.T, s *Store, blocks []*block.Block) (mended []block.Height) {
	t.Helper()
	c := s.Committed()
	want := c.Hash
	for h := c.Height; ; h-- {
		if _, err := s.CheckBlock(h, want, testPub()); err != nil {
			if !isDamage(err) {
				t.Fatal(err)
			}
			if err := s.RepairBlock(block.Final{Block: blocks[h], Signature: block.Sign(testKey, blocks[h].Hash())}, want); err != nil {
				t.Fatal(err)
			}
			if _, err := s.CheckBlock(h, want, testPub()); err != nil {
				t.Errorf("after the repair: %v", err)
			}
			mended = append(mended, h)
		}
		if h == 0 {
			return mended
		}
		want = blocks[h].Header.Parent
	}
}

// Every record of a block can be lost or wrong; it is found, and written again from the block alone.
func TestRepairBlock(t *testing.T) {
	_, blocks := goodFolder(t)
	other := child(blocks[2], "stranger", 1)
	for name, c := range map[string]struct {
		edit func(db *pebble.DB) error
		want int
	}{
		"nothing":     {func(*pebble.DB) error { return nil }, 0},
		"block":       {func(db *pebble.DB) error { return db.Set(heightKey(spaceBlock, 3), []byte("x"), pebble.Sync) }, 1},
		"block lost":  {func(db *pebble.DB) error { return db.Delete(heightKey(spaceBlock, 3), pebble.Sync) }, 1},
		"another":     {func(db *pebble.DB) error { return db.Set(heightKey(spaceBlock, 3), encodeBlock(other), pebble.Sync) }, 1},
		"genesis":     {func(db *pebble.DB) error { return db.Delete(heightKey(spaceBlock, 0), pebble.Sync) }, 1},
		"commit":      {func(db *pebble.DB) error { return db.Delete(heightKey(spaceBlock, 8), pebble.Sync) }, 1},
		"hash":        {func(db *pebble.DB) error { return db.Delete(heightKey(spaceHash, 3), pebble.Sync) }, 1},
		"height":      {func(db *pebble.DB) error { return db.Delete(hashKey(spaceHeight, blocks[3].Hash()), pebble.Sync) }, 1},
		"tx":          {func(db *pebble.DB) error { return db.Delete(hashKey(spaceTx, blocks[3].Txs[0].Hash()), pebble.Sync) }, 1},
		"signature":   {func(db *pebble.DB) error { return db.Set(heightKey(spaceSignature, 3), make([]byte, 64), pebble.Sync) }, 1},
		"certificate": {func(db *pebble.DB) error { return db.Set(heightKey(spaceCTerm, 3), []byte("x"), pebble.Sync) }, 1},
		"neighbours": {func(db *pebble.DB) error {
			return db.DeleteRange(heightKey(spaceBlock, 2), heightKey(spaceBlock, 6), pebble.Sync)
		}, 4},
	} {
		t.Run(name, func(t *testing.T) {
			fs, _ := goodFolder(t)
			damage(t, fs, c.edit)
			s := mustOpen(t, fs)
			if mended := repairAll(t, s, blocks); len(mended) != c.want {
				t.Errorf("mended %v", mended)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			rep, err := VerifyDir(fs, testDir, testPub(), blocks[0].Hash())
			if err != nil || !rep.OK() {
				t.Errorf("%v %v", err, rep.Problems)
			}
		})
	}
}

// Retention is seen in the database a moment before it is published. What it removes is not damage at that moment either.
func TestPruningIsNoDamage(t *testing.T) {
	fs, blocks := goodFolder(t)
	s := mustOpen(t, fs)
	b := s.db.NewBatch()
	for h := block.Height(1); h < 4; h++ {
		if err := errors.Join(b.Delete(heightKey(spaceBlock, h), nil), b.Delete(heightKey(spaceSignature, h), nil)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(b.Set([]byte(metaBase), bases{4, 1}.encode(), nil), s.db.Apply(b, pebble.NoSync)); err != nil {
		t.Fatal(err)
	}
	for h := block.Height(1); h < 6; h++ {
		if _, err := s.CheckBlock(h, blocks[h].Hash(), testPub()); errors.Is(err, ErrPruned) != (h < 4) || h >= 4 && err != nil {
			t.Errorf("block %d: %v", h, err)
		}
	}
}

// No other block gets in by a repair, and nothing that is not committed.
func TestRepairTrustsNobody(t *testing.T) {
	fs, blocks := goodFolder(t)
	s := mustOpen(t, fs)
	stranger := child(blocks[2], "stranger", 1)
	for _, c := range []struct {
		b    *block.Block
		want block.Hash
	}{{stranger, blocks[3].Hash()}, {blocks[9], blocks[9].Hash()}, {child(blocks[7], "x", 1), child(blocks[7], "x", 1).Hash()}} {
		if err := s.RepairBlock(block.Final{Block: c.b}, c.want); !errors.Is(err, ErrNotOurs) {
			t.Errorf("%d: %v", c.b.Header.Height, err)
		}
	}
	if _, err := s.TrustedHash(9); !errors.Is(err, ErrNotFinal) {
		t.Errorf("hash of what is not committed: %v", err)
	}
	for h := range block.Height(9) {
		if got, err := s.TrustedHash(h); err != nil || got != blocks[h].Hash() {
			t.Errorf("hash at %d: %v %v", h, got, err)
		}
	}
}

// A table that Pebble cannot read is damage like any other: what was in it is found and written anew, and reads, further
// writes and starts go on, although the table is still there.
func TestRepairOfRottenTables(t *testing.T) {
	blocks := chain(60)
	disk := killed(t, Batch{Append: blocks[:1]}, Batch{Append: blocks[1:], Commit: commitTo(blocks[58], 1, 1), Signed: signed(blocks[1:59]...)})
	if err := mustOpen(t, disk).Close(); err != nil { // into tables
		t.Fatal(err)
	}
	mended := 0
	for _, name := range files(t, disk) {
		if !strings.HasSuffix(name, ".sst") {
			continue
		}
		for at := 100; at < len(readFile(t, disk, name)); at += 1 + len(readFile(t, disk, name))/12 {
			rotten := disk.CrashClone(vfs.CrashCloneCfg{})
			flipByte(t, rotten, name, at)
			s, err := Open(testOptions(rotten))
			if err != nil {
				continue // refused, in TestRotOfAnyByte
			}
			n := len(repairAll(t, s, blocks))
			mended += n
			for h := range block.Height(59) {
				if b, err := s.Block(h); err != nil || b.Hash() != blocks[h].Hash() {
					t.Errorf("byte %d of %s: block %d: %v", at, name, h, err)
				}
			}
			tip, _ := s.Tip()
			write(t, s, Batch{Append: []*block.Block{child(blocks[tip], "main", int(tip)%3)}})
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			again := mustOpen(t, rotten)
			if left := repairAll(t, again, blocks); len(left) > 0 {
				t.Errorf("byte %d of %s: after a start %v are damaged again", at, name, left)
			}
			if err := again.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if mended == 0 {
		t.Error("nothing was mended")
	}
}

// A power cut at any moment of a repair leaves the damage or the whole block, never half of it.
func TestRepairSurvivesCrashes(t *testing.T) {
	fs, blocks := goodFolder(t)
	damage(t, fs, func(db *pebble.DB) error {
		return db.DeleteRange(heightKey(spaceBlock, 2), heightKey(spaceBlock, 6), pebble.Sync)
	})
	_ = fs
	crashable := vfs.NewCrashableMem()
	s := mustOpen(t, crashable)
	write(t, s, Batch{Append: blocks, Commit: commitTo(blocks[8], 1, 1), Signed: signed(blocks[1:8]...)})
	if err := s.db.DeleteRange(heightKey(spaceBlock, 2), heightKey(spaceBlock, 6), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	for h := block.Height(5); h >= 2; h-- {
		if err := s.RepairBlock(block.Final{Block: blocks[h], Signature: block.Sign(testKey, blocks[h].Hash())}, blocks[h].Hash()); err != nil {
			t.Fatal(err)
		}
		after := mustOpen(t, crashable.CrashClone(vfs.CrashCloneCfg{}))
		for at := block.Height(2); at <= 5; at++ {
			if _, err := after.CheckBlock(at, blocks[at].Hash(), testPub()); (err == nil) != (at >= h) {
				t.Errorf("after the repair of %d: %d: %v", h, at, err)
			}
		}
		if err := after.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
