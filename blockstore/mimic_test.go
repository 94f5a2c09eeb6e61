package blockstore

import (
	"bytes"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/baton-ha/baton/blockstore/block"
)

// What clients send stands in the mark file as they sent it. However it looks, a start takes nothing of it for a record: not
// for one of another folder, which it would refuse, and not for the newest one.
func TestPayloadLooksLikeRecord(t *testing.T) {
	crashed := func(payload []byte) (*vfs.MemFS, *block.Block) {
		mem := vfs.NewCrashableMem()
		s := mustOpen(t, mem)
		h := genesis().Header
		h.Parent, h.Height = genesis().Hash(), 1
		b := block.New(h, []*block.Tx{block.SignTx(testKey, payload)})
		write(t, s, Batch{Append: []*block.Block{genesis()}})
		write(t, s, Batch{Append: []*block.Block{b}, Synced: new(uint64(1))})
		return mem.CrashClone(vfs.CrashCloneCfg{}), b // the log was synced only if the store did so
	}
	// Whoever knows the program can work out where in the file a payload begins; here, another one shows it.
	payload := bytes.Repeat([]byte{7}, 3*pageBytes)
	disk, _ := crashed(payload)
	begin := bytes.Index(readFile(t, disk, markName), payload)
	if begin < 0 {
		t.Fatal("no copy of a payload")
	}
	forged := 0
	for at := (begin/pageBytes + 1) * pageBytes; at+pageBytes <= begin+len(payload); at += pageBytes {
		r := markRecord{folder: folderID{1, 2, 3}, ring: testRing, at: uint32(at), turn: 1 << 62, since: 1}
		copy(payload[at-begin:], r.encode(nil))
		forged++
	}
	if forged == 0 {
		t.Fatal("no page begins in the payload")
	}
	disk, b := crashed(payload)
	for start := range 2 {
		s, err := Open(testOptions(disk))
		if err != nil {
			t.Fatalf("start %d: %v", start, err)
		}
		if h, tip := s.Tip(); h != 1 || tip != b.Hash() || s.Lost() != nil {
			t.Errorf("start %d: tip %d %s, %+v", start, h, tip, s.Lost())
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
