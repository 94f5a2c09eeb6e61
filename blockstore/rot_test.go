package blockstore

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/baton-ha/baton/blockstore/block"
)

func readFile(t *testing.T, fs vfs.FS, name string) []byte {
	t.Helper()
	f, err := fs.Open(fs.PathJoin(testDir, name))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t *testing.T, fs vfs.FS, name string, b []byte) {
	t.Helper()
	f, err := fs.Create(fs.PathJoin(testDir, name), vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(slices.Clone(b)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// flipByte damages one byte of a file.
func flipByte(t *testing.T, fs vfs.FS, name string, at int) {
	t.Helper()
	b := readFile(t, fs, name)
	b[at] ^= 0x10
	writeFile(t, fs, name, b)
}

// files lists a folder, name by name.
func files(t *testing.T, fs vfs.FS) []string {
	t.Helper()
	names, err := fs.List(testDir)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

// theLog returns the name of the only log file that has anything in it.
func theLog(t *testing.T, fs vfs.FS) string {
	t.Helper()
	for _, name := range files(t, fs) {
		if strings.HasSuffix(name, ".log") && len(readFile(t, fs, name)) > 0 {
			return name
		}
	}
	t.Fatal("no log")
	return ""
}

// killed is the folder of a process that was killed with kill -9 after it had written the batches: log and mark have all.
func killed(t *testing.T, batches ...Batch) *vfs.MemFS {
	t.Helper()
	mem := vfs.NewCrashableMem()
	s := mustOpen(t, mem)
	for _, b := range batches {
		write(t, s, b)
	}
	s.log.sync()
	return mem.CrashClone(vfs.CrashCloneCfg{})
}

// withoutLast is killed, but the log lost the last batch after all.
func withoutLast(t *testing.T, batches ...Batch) *vfs.MemFS {
	t.Helper()
	mem := vfs.NewCrashableMem()
	s := mustOpen(t, mem)
	last := len(batches) - 1
	for _, b := range batches[:last] {
		write(t, s, b)
	}
	s.log.sync()
	disk := mem.CrashClone(vfs.CrashCloneCfg{})
	write(t, s, batches[last])
	writeFile(t, disk, markName, readFile(t, mem.CrashClone(vfs.CrashCloneCfg{}), markName))
	return disk
}

// acked is a history whose every batch was acknowledged: blocks, terms, a commit, the election's hard state.
func acked(blocks []*block.Block) []Batch {
	return []Batch{
		{Append: blocks[:1]},
		{Election: []byte("term 4, vote a"), Synced: new(uint64(4)), Append: blocks[1:4]},
		{Append: blocks[4:5], Commit: commitTo(blocks[3], 4, 1), Signed: signed(blocks[1:4]...)},
		{Append: blocks[5:6], Nacked: new(uint64(3)), Election: []byte("term 5, vote b")},
	}
}

// Whatever single byte of a folder rots, after the process was killed or closed: nothing that was acknowledged is gone
// in silence. Open refuses, or it says what is lost, or all is there; the mark, which votes report, is never smaller;
// and no block is ever served that is not the one that was stored.
func TestRotOfAnyByte(t *testing.T) {
	blocks := chain(5)
	step := 131
	if testing.Short() || raceEnabled {
		step = 499
	}
	clean := killed(t, acked(blocks)...)
	reopened := clean.CrashClone(vfs.CrashCloneCfg{}) // its log is empty, all is in sstables
	s := mustOpen(t, reopened)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for name, disk := range map[string]*vfs.MemFS{"log": clean, "tables": reopened} {
		outcomes := map[string]int{}
		for _, file := range files(t, disk) {
			content := readFile(t, disk, file)
			size := len(content)
			for at := 0; at < size; at += step {
				if file == markName && content[at] == 0 && at%509 > 0 { // hardly used
					continue
				}
				rotten := disk.CrashClone(vfs.CrashCloneCfg{})
				flipByte(t, rotten, file, at)
				outcomes[rotOutcome(t, rotten, blocks, fmt.Sprintf("%s: byte %d of %s", name, at, file))]++
			}
		}
		t.Logf("%s: %v", name, outcomes)
		if outcomes["whole"] == 0 || outcomes["refused"] == 0 {
			t.Errorf("%s: %v", name, outcomes)
		}
	}
}

// rotOutcome opens a damaged folder and checks that it makes no false promise.
func rotOutcome(t *testing.T, disk *vfs.MemFS, blocks []*block.Block, what string) string {
	t.Helper()
	s, err := Open(testOptions(disk))
	if err != nil {
		return "refused"
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Errorf("%s: close: %v", what, err)
		}
	}()
	if synced, h, tip := s.Mark(); synced != 4 || h != 5 || tip != blocks[5].Hash() {
		t.Errorf("%s: mark %d %d %s", what, synced, h, tip)
	}
	if got := string(s.Election()); got != "term 5, vote b" || s.Nacked() != 3 {
		t.Errorf("%s: election %q, nacked %d", what, got, s.Nacked())
	}
	out := "whole"
	tip, _ := s.Tip()
	for h := range block.Height(6) {
		b, err := s.Block(h)
		var damage *CorruptionError
		switch {
		case err == nil && b.Hash() != blocks[h].Hash():
			t.Errorf("%s: another block at %d", what, h)
		case err == nil:
		case h > tip && s.Lost() != nil && errors.Is(err, ErrNotFound):
			out = "lost"
		case errors.As(err, &damage):
			out = "damage named"
		default:
			t.Errorf("%s: block %d: %v", what, h, err)
		}
	}
	if (out == "lost") != (s.Lost() != nil) {
		t.Errorf("%s: %s, lost %+v", what, out, s.Lost())
	}
	return out
}

// The end of the log is what Pebble takes for torn when it is damaged. Nothing is lost with it, whichever byte it is,
// and nothing that came after it in vain.
func TestRotOfTheLogsEnd(t *testing.T) {
	blocks := chain(8)
	batches := append(acked(blocks), Batch{Append: blocks[6:7], NoSync: true}, Batch{Commit: commitTo(blocks[4], 4, 4), Append: blocks[7:]})
	var sizes []int
	for i := range batches {
		disk := killed(t, batches[:i+1]...)
		sizes = append(sizes, len(readFile(t, disk, theLog(t, disk))))
	}
	disk := killed(t, batches...)
	want := fingerprint(t, mustOpen(t, disk.CrashClone(vfs.CrashCloneCfg{})))
	log := theLog(t, disk)
	put, step := 0, 17
	if testing.Short() || raceEnabled {
		step = 97
	}
	for at := sizes[3]; at < sizes[5]; at += step {
		rotten := disk.CrashClone(vfs.CrashCloneCfg{})
		flipByte(t, rotten, log, at)
		s := mustOpen(t, rotten)
		if got := fingerprint(t, s); got != want {
			t.Fatalf("byte %d:\n%swant\n%s", at, got, want)
		}
		if s.Lost() != nil {
			t.Errorf("byte %d: %+v", at, s.Lost())
		}
		put++
		// What was put back is in no log any more: the next damage hits something else.
		write(t, s, Batch{Election: []byte("term 6")})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		again := mustOpen(t, rotten)
		if got := fingerprint(t, again); got != strings.Replace(want, "term 5, vote b", "term 6", 1) {
			t.Fatalf("byte %d, later:\n%s", at, got)
		}
	}
	if put < 3 {
		t.Errorf("only %d bytes", put)
	}
}

// bigChild makes a block that no slot takes.
func bigChild(parent *block.Block) *block.Block {
	h := parent.Header
	h.Parent, h.Height = parent.Hash(), h.Height+1
	var txs []*block.Tx
	for i := range 2 {
		payload := make([]byte, block.MaxPayloadBytes)
		payload[0] = byte(i)
		txs = append(txs, block.SignTx(testKey, payload))
	}
	return block.New(h, txs)
}

// A write that no slot takes can be lost with the log's end. Then the node keeps its promises, reports what it asserted,
// and gets the blocks back; all that survives further starts in between.
func TestRotOfALargeWrite(t *testing.T) {
	blocks := chain(5)
	big := bigChild(blocks[5])
	bigger := bigChild(big)
	disk := withoutLast(t, append(acked(blocks), Batch{Append: []*block.Block{big, bigger}, Synced: new(uint64(6)), Election: []byte("term 6")})...)
	rep, err := VerifyDir(disk, testDir, testPub(), blocks[0].Hash())
	if err != nil || rep.OK() {
		t.Errorf("VerifyDir: %v, %v", rep, err)
	}
	for start := range 3 {
		s := mustOpen(t, disk)
		if h, tip := s.Tip(); h != 5 || tip != blocks[5].Hash() || s.Synced() != 4 {
			t.Fatalf("start %d: tip %d %s of %d", start, h, tip, s.Synced())
		}
		want := Lost{Synced: 6, Height: 7, Tip: bigger.Hash()}
		if l := s.Lost(); l == nil || l.Synced != want.Synced || l.Height != want.Height || l.Tip != want.Tip || len(l.Spare) > 0 {
			t.Fatalf("start %d: lost %+v", start, l)
		}
		if got := string(s.Election()); got != "term 6" && start == 0 {
			t.Errorf("election %q", got)
		}
		write(t, s, Batch{Election: fmt.Appendf(nil, "term %d", 7+start)}) // keeps the claim, in log and mark
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s := mustOpen(t, disk)
	write(t, s, Batch{Append: []*block.Block{big}})
	if s.Lost() == nil {
		t.Error("half of it is back, and the claim is gone")
	}
	write(t, s, Batch{Append: []*block.Block{bigger}, Synced: new(uint64(6))})
	if synced, h, tip := s.Mark(); s.Lost() != nil || synced != 6 || h != 7 || tip != bigger.Hash() {
		t.Errorf("lost %+v, mark %d %d %s", s.Lost(), synced, h, tip)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	checkVerifies(t, disk)
}

func checkVerifies(t *testing.T, disk vfs.FS) {
	t.Helper()
	rep, err := VerifyDir(disk, testDir, testPub(), genesis().Hash())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range rep.Problems {
		t.Error(p)
	}
}

// A block above the commit that cannot be read ends the chain below it, and nothing more: the mark stands, the good
// blocks above are still there for whoever repairs it, and come into the chain again or make room for a newer leader's.
func TestRotAboveTheCommit(t *testing.T) {
	blocks := chain(8)
	fork := child(blocks[5], "fork", 2)
	for name, repair := range map[string][]Batch{
		"repaired": {{Append: blocks[6:7]}, {Append: blocks[7:], Synced: new(uint64(4))}},
		"replaced": {{Append: []*block.Block{fork}, Synced: new(uint64(5))}},
		"cut":      {{Cut: new(block.Height(4)), Synced: new(uint64(5))}},
	} {
		disk := killed(t, append(acked(blocks), Batch{Append: blocks[6:]})...)
		damage(t, disk, func(db *pebble.DB) error {
			return db.Set(heightKey(spaceBlock, 6), []byte("nonsense"), pebble.Sync)
		})
		s := mustOpen(t, disk)
		if h, _ := s.Tip(); h != 5 || s.Synced() != 4 {
			t.Fatalf("%s: tip %d, synced %d", name, h, s.Synced())
		}
		l := s.Lost()
		if l == nil || l.Synced != 4 || l.Height != 8 || len(l.Spare) != 2 {
			t.Fatalf("%s: lost %+v", name, l)
		}
		for h := block.Height(6); h <= 8; h++ {
			if _, err := s.Block(h); !errors.Is(err, ErrNotFound) {
				t.Errorf("%s: block %d: %v", name, h, err)
			}
			if _, err := s.BlockByHash(blocks[h].Hash()); !errors.Is(err, ErrNotFound) {
				t.Errorf("%s: block of the hash at %d: %v", name, h, err)
			}
		}
		for i, b := range repair {
			write(t, s, b)
			if (s.Lost() == nil) != (i == len(repair)-1) {
				t.Errorf("%s: after step %d lost %+v", name, i, s.Lost())
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		checkVerifies(t, disk)
	}
}
