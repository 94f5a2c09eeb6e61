package blockstore

import (
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/baton-ha/baton/blockstore/block"
)

// What was noted of genesis is told for the same source only, and for the block that it was noted of; a record that is not
// one is damage.
func TestNotedGenesis(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, fs)
	source, other := [32]byte{1}, [32]byte{2}
	none := func(why string, source [32]byte) {
		t.Helper()
		if b, err := s.GenesisFrom(source); b != nil || err != nil {
			t.Errorf("%s: %v %v", why, b, err)
		}
	}
	if err := s.NoteGenesis(source); err == nil {
		t.Error("an empty store noted its genesis")
	}
	none("an empty store", source)
	zero := genesis()
	write(t, s, Batch{Append: []*block.Block{zero}})
	none("before it was noted", source)
	if err := s.NoteGenesis(source); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if b, err := s.GenesisFrom(source); err != nil || b == nil || b.Hash() != zero.Hash() {
			t.Fatalf("noted %v, it is %v: %v", zero.Hash(), b, err)
		}
		none("another source", other)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = mustOpen(t, fs)
	}
	raw := func(rec []byte) {
		t.Helper()
		if err := s.writeSide(&sideWrite{set: []pair{{[]byte(metaGenesis), rec}}}, true); err != nil {
			t.Fatal(err)
		}
	}
	raw(append(source[:], other[:]...))
	none("noted of another block", source)
	raw(source[:])
	if b, err := s.GenesisFrom(source); b != nil || !errors.As(err, new(*CorruptionError)) {
		t.Errorf("half a record: %v %v", b, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
