package blockstore

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

var errDisk = errors.New("disk says no")

// faultyDisk fails its k-th operation that changes it. A disk that stays broken fails the later ones too; one that does
// not would take a retry.
type faultyDisk struct {
	mem   *vfs.MemFS
	fs    vfs.FS
	ops   atomic.Int64
	after atomic.Int64 // operations since the failure
}

func newFaultyDisk(k int64, stays bool) *faultyDisk {
	d := &faultyDisk{mem: vfs.NewCrashableMem()}
	d.fs = errorfs.Wrap(d.mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if !changesDisk(op) {
			return nil
		}
		n := d.ops.Add(1)
		if n > k {
			d.after.Add(1)
		}
		if n == k || (n > k && stays) {
			return errDisk
		}
		return nil
	}))
	return d
}

// Whichever operation fails, Fatal is called once, nothing later is acknowledged, and what was acknowledged is on the
// disk. Nothing is retried: a disk that would work again does not turn a failure into a success.
func TestFault(t *testing.T) {
	want, step := fingerprints(t), int64(1)
	if testing.Short() || raceEnabled {
		step = 7
	}
	for _, stays := range []bool{false, true} {
		inOpen, inRun := 0, 0
		for k := int64(1); ; k += step {
			d := newFaultyDisk(k, stays)
			fatal := make(chan error, 10)
			o := testOptions(d.fs)
			o.Fatal = func(err error) { fatal <- err }
			s, err := Open(o)
			acked := 0
			if err != nil && strings.Contains(err.Error(), "make folder") {
				continue // nothing was there yet that could fail
			}
			if err != nil {
				inOpen++
				if !errors.Is(err, ErrFailed) || !errors.Is(err, errDisk) {
					t.Fatalf("operation %d: Open: %v", k, err)
				}
			} else {
				acked = runWithFault(t, s, k)
				err = s.Close()
				if err == nil && d.ops.Load() < k {
					break // the run is shorter
				}
				if !errors.Is(err, ErrFailed) || !errors.Is(err, errDisk) {
					t.Fatalf("operation %d: Close: %v", k, err)
				}
				inRun++
			}
			if err := <-fatal; !errors.Is(err, ErrFailed) || !errors.Is(err, errDisk) {
				t.Fatalf("operation %d: Fatal got %v", k, err)
			}
			select {
			case err := <-fatal:
				t.Fatalf("operation %d: Fatal twice, then with %v", k, err)
			default:
			}
			checkAfterFault(t, d, acked, want, k)
		}
		if inOpen == 0 || inRun == 0 {
			t.Errorf("faults while opening %d, while running %d", inOpen, inRun)
		}
	}
}

// runWithFault runs the script and returns how many batches were acknowledged with a sync.
func runWithFault(t *testing.T, s *Store, k int64) int {
	t.Helper()
	var wg sync.WaitGroup
	acked, failed := 0, false
	for i, b := range script() {
		wg.Add(1)
		s.Enqueue(b, func(err error) {
			defer wg.Done()
			switch {
			case err == nil && failed:
				t.Errorf("operation %d: batch %d acknowledged after the failure", k, i)
			case err == nil && !b.NoSync:
				acked = i + 1
			case err != nil && !errors.Is(err, ErrFailed):
				t.Errorf("operation %d: batch %d: %v", k, i, err)
			}
			failed = failed || err != nil
		})
		if i%3 == 0 {
			wg.Wait()
		}
	}
	wg.Wait()
	return acked
}

func checkAfterFault(t *testing.T, d *faultyDisk, acked int, want []string, k int64) {
	t.Helper()
	s, err := Open(testOptions(d.mem.CrashClone(vfs.CrashCloneCfg{})))
	if err != nil {
		t.Fatalf("operation %d: open afterwards: %v", k, err)
	}
	n := progress(t, s)
	if n < acked {
		t.Errorf("operation %d: %d batches acknowledged, %d there", k, acked, n)
	}
	if got := fingerprint(t, s); got != want[n] {
		t.Errorf("operation %d: not a prefix:\n%s", k, got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// A failed sync, of the log or of the mark, is final though the disk works again at once: that is R24's whole point.
func TestFailedSyncIsNotRetried(t *testing.T) {
	t.Run("log", func(t *testing.T) { testFailedSync(t, false) })
	t.Run("mark", func(t *testing.T) { testFailedSync(t, true) })
}

func testFailedSync(t *testing.T, ofMark bool) {
	t.Helper()
	mem := vfs.NewCrashableMem()
	var armed atomic.Bool
	var later atomic.Int64
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if (mem.PathBase(op.Path) == markName) != ofMark {
			return nil // the two are written at the same time: one may be at it while the other fails
		}
		isSync := op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData
		if isSync && armed.Swap(false) {
			later.Store(1)
			return errDisk
		}
		if changesDisk(op) && later.Load() > 0 {
			later.Add(1)
		}
		return nil
	}))
	fatal := make(chan error, 10)
	o := testOptions(fs)
	o.logLag = time.Hour
	o.Fatal = func(err error) { fatal <- err }
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	blocks := chain(3)
	write(t, s, Batch{Append: blocks[:2]})
	armed.Store(true)
	answers := make(chan error, 2)
	if ofMark {
		s.Enqueue(Batch{Append: blocks[2:3]}, func(err error) { answers <- err })
		if err := <-answers; !errors.Is(err, ErrFailed) {
			t.Fatalf("failed sync answered %v", err)
		}
	} else {
		s.log.hurry()
	}
	if err := <-fatal; !errors.Is(err, errDisk) {
		t.Fatalf("Fatal got %v", err)
	}
	s.Enqueue(Batch{Append: blocks[2:3]}, func(err error) { answers <- err })
	if err := <-answers; !errors.Is(err, ErrFailed) {
		t.Fatalf("later batch answered %v", err)
	}
	if n := later.Load(); n != 1 {
		t.Errorf("%d operations reached the disk after the failed sync", n-1)
	}
	// The published state has nothing of what failed, and can still be read.
	if h, _ := s.Tip(); h != 1 {
		t.Errorf("tip %d", h)
	}
	if _, err := s.Final(2); !errors.Is(err, ErrNotFinal) {
		t.Errorf("Final(2): %v", err)
	}
	if b, err := s.Block(1); err != nil || b.Hash() != blocks[1].Hash() {
		t.Errorf("Block(1): %v", err)
	}
	if err := s.Close(); !errors.Is(err, ErrFailed) {
		t.Errorf("Close: %v", err)
	}
	if _, err := Open(testOptions(fs)); !errors.Is(err, ErrInUse) {
		t.Errorf("a failed store let go of its folder: %v", err)
	}
	// What was acknowledged is there, though the log lost it.
	crashed := mustOpen(t, mem.CrashClone(vfs.CrashCloneCfg{}))
	if h, hash := crashed.Tip(); h != 1 || hash != blocks[1].Hash() {
		t.Errorf("after a crash: tip %d", h)
	}
}

// A folder that cannot be made or locked is an error, not a failure of a store.
func TestOpenRefused(t *testing.T) {
	for _, kind := range []errorfs.OpKind{errorfs.OpMkdirAll, errorfs.OpLock, errorfs.OpStat} {
		fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == kind {
				return errDisk
			}
			return nil
		}))
		o := testOptions(fs)
		o.Fatal = func(err error) { t.Errorf("Fatal: %v", err) }
		s, err := Open(o)
		if err == nil {
			if kind != errorfs.OpStat {
				t.Errorf("kind %v: no error", kind)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// While one group waits for a slow fsync, all that comes meanwhile shares the next one.
func TestGroupCommit(t *testing.T) {
	mem := vfs.NewMem()
	var slow atomic.Bool
	entered, release := make(chan struct{}), make(chan struct{})
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData) && slow.Swap(false) {
			close(entered)
			<-release
		}
		return nil
	}))
	s := mustOpen(t, fs)
	blocks := chain(100)
	write(t, s, Batch{Append: blocks[:1]})
	before := s.Stats()
	slow.Store(true)
	var wg sync.WaitGroup
	enqueue := func(i int) {
		wg.Add(1)
		s.Enqueue(Batch{Append: blocks[i : i+1]}, func(err error) {
			defer wg.Done()
			if err != nil {
				t.Error(err)
			}
		})
	}
	enqueue(1)
	select {
	case <-entered:
	case <-time.After(time.Minute):
		t.Fatal("no sync")
	}
	for i := 2; i <= 100; i++ {
		enqueue(i)
	}
	if h, _ := s.Tip(); h != 0 {
		t.Errorf("tip %d is shown before it is synced", h)
	}
	close(release)
	wg.Wait()
	after := s.Stats()
	if n := after.Syncs - before.Syncs; n != 2 {
		t.Errorf("%d syncs for 100 batches, want 2", n)
	}
	if n := after.Batches - before.Batches; n != 100 {
		t.Errorf("%d batches counted", n)
	}
}
