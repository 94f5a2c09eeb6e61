package blockstore

import (
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/baton-ha/baton/blockstore/block"
)

// A start reads what is at the end of the chain and nothing that grows with it: on sixteen times as many blocks it makes
// no more reads but for a few to find something in larger tables.
func TestStartDoesNotReadTheChain(t *testing.T) {
	reads := func(blocks int) int64 {
		mem := vfs.NewMem()
		s := mustOpen(t, mem)
		all := chain(blocks)
		for from := 0; from < len(all); from += 100 {
			part := all[from:min(from+100, len(all))]
			last := part[len(part)-1]
			b := Batch{Append: part, Commit: commitTo(last, 1, part[0].Header.Height)}
			if from > 0 { // genesis is not signed
				b.Signed = signed(part[len(part)-1])
			}
			write(t, s, b)
			if from%500 == 0 { // tables on the disk, not only memory
				if err := s.db.Flush(); err != nil {
					t.Fatal(err)
				}
			}
		}
		// A compaction that happens to run beside the start would be counted too.
		if err := s.db.Compact(t.Context(), []byte{0}, []byte{0xff}, false); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		var n atomic.Int64
		counting := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == errorfs.OpFileRead || op.Kind == errorfs.OpFileReadAt {
				n.Add(1)
			}
			return nil
		}))
		s = mustOpen(t, counting)
		if h, _ := s.Tip(); h != block.Height(blocks) || s.Committed().Height != h {
			t.Fatalf("opened at %d of %d", h, blocks)
		}
		if _, err := s.Signature(block.Height(blocks)); err != nil {
			t.Fatal(err)
		}
		return n.Load()
	}
	few, many := reads(250), reads(4000)
	t.Logf("%d reads with 250 blocks, %d with 4000", few, many)
	if few == 0 || many > few+30 {
		t.Errorf("a start makes %d reads with 250 blocks and %d with 4000", few, many)
	}
}
