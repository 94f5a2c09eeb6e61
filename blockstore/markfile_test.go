package blockstore

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/baton-ha/baton/blockstore/block"
)

// One slot of the mark may be lost: the other one and the chain say all that it said, and it is written anew.
func TestSlotLost(t *testing.T) {
	blocks := chain(5)
	for slot := range 2 {
		disk := killed(t, acked(blocks)...)
		flipByte(t, disk, markName, slot*slotBytes+40)
		for start := range 2 {
			s := mustOpen(t, disk)
			if _, h, tip := s.Mark(); h != 5 || tip != blocks[5].Hash() || s.Lost() != nil {
				t.Errorf("slot %d, start %d: mark %d %s", slot, start, h, tip)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			found, err := readSlots(disk, testDir)
			if err != nil || !found.complete() {
				t.Errorf("slot %d was not written anew: %v %v", slot, err, found.errs)
			}
		}
	}
}

// What Open must refuse, saying what to do: a folder that can no longer vouch for what it promised.
func TestSeparated(t *testing.T) {
	blocks := chain(5)
	stranger := killed(t, acked(blocks)...)
	for name, c := range map[string]struct {
		harm func(disk *vfs.MemFS)
		want string
	}{
		"both slots unreadable": {func(disk *vfs.MemFS) {
			flipByte(t, disk, markName, 9)
			flipByte(t, disk, markName, slotBytes+90)
		}, "neither slot"},
		"mark missing":   {func(disk *vfs.MemFS) { remove(t, disk, markName) }, "the file is missing"},
		"mark cut short": {func(disk *vfs.MemFS) { writeFile(t, disk, markName, make([]byte, 100)) }, "neither slot"},
		"mark of another folder": {func(disk *vfs.MemFS) {
			writeFile(t, disk, markName, readFile(t, stranger, markName))
		}, "belongs to another folder"},
		"one slot of another folder": {func(disk *vfs.MemFS) {
			mine, other := readFile(t, disk, markName), readFile(t, stranger, markName)
			writeFile(t, disk, markName, append(mine[:slotBytes:slotBytes], other[slotBytes:]...))
		}, "belongs to another folder"},
		"blocks wiped": {func(disk *vfs.MemFS) {
			for _, name := range files(t, disk) {
				if name != markName {
					remove(t, disk, name)
				}
			}
		}, "the chain is gone"},
	} {
		t.Run(name, func(t *testing.T) {
			disk := stranger.CrashClone(vfs.CrashCloneCfg{})
			if strings.Contains(name, "another") {
				disk = killed(t, acked(blocks)...)
			}
			c.harm(disk)
			refused(t, disk, c.want)
		})
	}
}

// A mark, or a chain, that somebody put back from an older copy does not fit the other one any more.
func TestRestoredFromCopy(t *testing.T) {
	blocks := chain(8)
	mem := vfs.NewCrashableMem()
	s := mustOpen(t, mem)
	for _, b := range acked(blocks) {
		write(t, s, b)
	}
	old := mem.CrashClone(vfs.CrashCloneCfg{})
	for _, b := range blocks[6:] {
		write(t, s, Batch{Append: []*block.Block{b}})
	}
	disk := mem.CrashClone(vfs.CrashCloneCfg{})
	writeFile(t, disk, markName, readFile(t, old, markName))
	refused(t, disk, "had been synced in both")
	writeFile(t, old, markName, readFile(t, mem.CrashClone(vfs.CrashCloneCfg{}), markName))
	refused(t, old, "more than the last write is missing")
}

func refused(t *testing.T, disk *vfs.MemFS, want string) {
	t.Helper()
	_, err := Open(testOptions(disk))
	var corruption *CorruptionError
	if !errors.As(err, &corruption) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "empty it") {
		t.Errorf("Open: %v, want %q", err, want)
	}
	rep, err := VerifyDir(disk, testDir, nil, block.Hash{})
	if err == nil && rep.OK() {
		t.Error("VerifyDir finds nothing wrong")
	}
}

func remove(t *testing.T, disk *vfs.MemFS, name string) {
	t.Helper()
	if err := disk.RemoveAll(disk.PathJoin(testDir, name)); err != nil {
		t.Fatal(err)
	}
}

// Log and mark are synced at the same time when the mark's slot takes the whole group, and an answer waits for both. A
// group that no slot takes is in the log before the mark speaks of it.
func TestSyncOrder(t *testing.T) {
	for _, large := range []bool{false, true} {
		mem := vfs.NewMem()
		var armed atomic.Bool
		inLog, inMark := make(chan struct{}, 4), make(chan struct{}, 4)
		goLog, goMark := make(chan struct{}), make(chan struct{})
		fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if !armed.Load() || op.Kind != errorfs.OpFileSync && op.Kind != errorfs.OpFileSyncData {
				return nil
			}
			switch name := mem.PathBase(op.Path); {
			case name == markName:
				inMark <- struct{}{}
				<-goMark
			case strings.HasSuffix(name, ".log"):
				inLog <- struct{}{}
				<-goLog
			}
			return nil
		}))
		s := mustOpen(t, fs)
		write(t, s, Batch{Append: []*block.Block{genesis()}})
		b := child(genesis(), "b", 2)
		if large {
			b = bigChild(genesis())
		}
		armed.Store(true)
		answer := make(chan error, 1)
		s.Enqueue(Batch{Append: []*block.Block{b}}, func(err error) { answer <- err })
		await(t, inLog)
		if large {
			if len(inMark) > 0 {
				t.Error("the mark speaks of a large group before it is in the log")
			}
			close(goLog)
			await(t, inMark)
		} else {
			await(t, inMark)
			close(goLog)
		}
		if len(answer) > 0 {
			t.Error("answered before the mark was durable")
		}
		close(goMark)
		if err := <-answer; err != nil {
			t.Error(err)
		}
	}
}

func await(t *testing.T, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(time.Minute):
		t.Fatal("never came")
	}
}
