package blockstore

import (
	"errors"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/baton-ha/baton/blockstore/block"
)

// One mirror of the mark may be lost: the other one says all that it said, both are written anew, and a person is told.
func TestMirrorLost(t *testing.T) {
	blocks := chain(5)
	for mirror := range 2 {
		disk := killed(t, acked(blocks)...)
		all := readFile(t, disk, markName)
		clear(all[mirror*testRing : (mirror+1)*testRing])
		writeFile(t, disk, markName, all)
		if found, err := readMarks(disk, testDir); err != nil || len(found.damage) == 0 {
			t.Errorf("mirror %d: nobody is told: %v", mirror, err)
		}
		for start := range 2 {
			s := mustOpen(t, disk)
			if _, h, tip := s.Mark(); h != 5 || tip != blocks[5].Hash() || s.Lost() != nil {
				t.Errorf("mirror %d, start %d: mark %d %s", mirror, start, h, tip)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			found, err := readMarks(disk, testDir)
			if err != nil || len(found.damage) > 0 {
				t.Errorf("mirror %d was not written anew: %v %v", mirror, err, found.damage)
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
		"both mirrors unreadable": {func(disk *vfs.MemFS) {
			writeFile(t, disk, markName, make([]byte, 2*testRing))
		}, "no record"},
		"mark missing":   {func(disk *vfs.MemFS) { remove(t, disk, markName) }, "the file is missing"},
		"mark cut short": {func(disk *vfs.MemFS) { writeFile(t, disk, markName, make([]byte, 100)) }, "no record"},
		"mark of another folder": {func(disk *vfs.MemFS) {
			writeFile(t, disk, markName, readFile(t, stranger, markName))
		}, "belongs to another folder"},
		"one mirror of another folder": {func(disk *vfs.MemFS) {
			mine, other := readFile(t, disk, markName), readFile(t, stranger, markName)
			writeFile(t, disk, markName, append(mine[:testRing:testRing], other[testRing:]...))
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

// A mark, or a chain, that somebody put back from an older copy does not fit the other one any more, unless the mark still
// has all that is missing.
func TestRestoredFromCopy(t *testing.T) {
	blocks := chain(2*testRing/pageBytes + 8)
	mem := vfs.NewCrashableMem()
	s := mustOpen(t, mem)
	for _, b := range acked(blocks) {
		write(t, s, b)
	}
	s.log.sync()
	old := mem.CrashClone(vfs.CrashCloneCfg{})
	now := func() *vfs.MemFS {
		s.log.sync()
		return mem.CrashClone(vfs.CrashCloneCfg{})
	}
	for i, b := range blocks[6:] {
		write(t, s, Batch{Append: []*block.Block{b}})
		if i == 2 {
			disk := old.CrashClone(vfs.CrashCloneCfg{})
			writeFile(t, disk, markName, readFile(t, now(), markName))
			if h, _ := mustOpen(t, disk).Tip(); h != b.Header.Height {
				t.Errorf("a chain of before some writes that the mark has: tip %d", h)
			}
		}
	}
	disk := now()
	writeFile(t, disk, markName, readFile(t, old, markName))
	refused(t, disk, "had been marked before it")
	writeFile(t, old, markName, readFile(t, now(), markName))
	refused(t, old, "had been synced in both")
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

// gates hold the syncs of the log and of the mark back, each until its gate is closed.
type gates struct {
	armed         atomic.Bool
	inLog, inMark chan struct{}
	log, mark     chan struct{}
}

func (g *gates) fs(mem *vfs.MemFS) vfs.FS {
	return errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if !g.armed.Load() || op.Kind != errorfs.OpFileSync && op.Kind != errorfs.OpFileSyncData {
			return nil
		}
		switch name := mem.PathBase(op.Path); {
		case name == markName:
			token(g.inMark)
			<-g.mark
		case strings.HasSuffix(name, ".log"):
			token(g.inLog)
			<-g.log
		}
		return nil
	}))
}

func newGates() *gates {
	return &gates{inLog: make(chan struct{}, 1), inMark: make(chan struct{}, 1), log: make(chan struct{}), mark: make(chan struct{})}
}

// An answer waits for the mark and not for the log, when a record takes the whole group. A group that no record takes is
// in the log before the mark speaks of it.
func TestSyncOrder(t *testing.T) {
	for _, large := range []bool{false, true} {
		mem, g := vfs.NewMem(), newGates()
		o := testOptions(g.fs(mem))
		o.logLag = time.Millisecond
		s := mustOpenWith(t, o)
		write(t, s, Batch{Append: []*block.Block{genesis()}})
		b := child(genesis(), "b", 2)
		if large {
			b = bigChild(genesis())
		}
		g.armed.Store(true)
		answer := make(chan error, 1)
		s.Enqueue(Batch{Append: []*block.Block{b}}, func(err error) { answer <- err })
		if large {
			await(t, g.inLog)
			if len(g.inMark) > 0 {
				t.Error("the mark speaks of a large group before it is in the log")
			}
			close(g.log)
			await(t, g.inMark)
		} else {
			await(t, g.inMark)
			await(t, g.inLog) // begins behind the mark's back
		}
		if len(answer) > 0 {
			t.Error("answered before the mark was durable")
		}
		close(g.mark)
		if err := <-answer; err != nil {
			t.Error(err)
		}
		if !large {
			close(g.log)
		}
	}
}

// A log that hangs holds answers back when the ring is full, or after a while; all that was answered is in the mark.
func TestLogHangs(t *testing.T) {
	mem, g := vfs.NewCrashableMem(), newGates()
	close(g.mark)
	o := testOptions(g.fs(mem))
	o.logLag = time.Millisecond
	s := mustOpenWith(t, o)
	tip := genesis()
	write(t, s, Batch{Append: []*block.Block{tip}})
	g.armed.Store(true)
	answers := make(chan error, 1)
	enqueue := func() {
		tip = child(tip, "hang", 2)
		s.Enqueue(Batch{Append: []*block.Block{tip}}, func(err error) { answers <- err })
	}
	enqueue()
	answered := block.Height(0)
	for {
		select {
		case err := <-answers:
			if err != nil {
				t.Fatal(err)
			}
			if answered++; answered > 2*testRing/pageBytes {
				t.Fatal("answers though the log hangs and the ring was filled twice")
			}
			enqueue()
			continue
		case <-time.After(2 * logPatience):
		}
		break
	}
	if answered == 0 {
		t.Error("no answer while there was room")
	}
	crashed := mustOpen(t, mem.CrashClone(vfs.CrashCloneCfg{}))
	if h, _ := crashed.Tip(); h != answered {
		t.Errorf("%d blocks were acknowledged, a crash left %d", answered, h)
	}
	close(g.log)
	if err := <-answers; err != nil {
		t.Error(err)
	}
}

// However long it runs and whatever it writes, the ring gives each record a place that nothing needs.
func TestRing(t *testing.T) {
	mem := vfs.NewCrashableMem()
	o := testOptions(mem)
	o.logLag = time.Hour // only when it gets crowded
	s := mustOpenWith(t, o)
	tip := genesis()
	write(t, s, Batch{Append: []*block.Block{tip}})
	rng := rand.New(rand.NewPCG(7, 7))
	for i := range 150 {
		txs := rng.IntN(40)
		if i%50 == 49 {
			txs = 200 // more than a record takes
		}
		tip = child(tip, "ring", txs)
		write(t, s, Batch{Append: []*block.Block{tip}, NoSync: i%7 == 3})
		if i%7 == 3 || i%10 != 0 {
			continue
		}
		crashed := mustOpen(t, mem.CrashClone(vfs.CrashCloneCfg{}))
		if h, hash := crashed.Tip(); h != tip.Header.Height || hash != tip.Hash() || crashed.Lost() != nil {
			t.Fatalf("block %d: a crash left tip %d %s, %+v", i+1, h, hash, crashed.Lost())
		}
		if err := crashed.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.Stats().LogSyncs; n == 0 || n > 100 {
		t.Errorf("the log was synced %d times", n)
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
