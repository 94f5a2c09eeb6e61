package blockstore

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/baton-ha/baton/blockstore/block"
)

// changesDisk says which operations count as steps of a crash or fault test.
func changesDisk(op errorfs.Op) bool {
	switch op.Kind {
	case errorfs.OpCreate, errorfs.OpLink, errorfs.OpRename, errorfs.OpReuseForWrite, errorfs.OpFileWrite,
		errorfs.OpFileWriteAt, errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo, errorfs.OpFileClose:
		return true
	default:
		return false
	}
}

// progress reads from the election state how many batches of the script a store holds.
func progress(t *testing.T, s *Store) int {
	t.Helper()
	if s.Election() == nil {
		return 0
	}
	n, err := strconv.Atoi(string(s.Election()))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// crashKind is what a crash leaves of what was not synced.
type crashKind struct {
	name string
	// mark is how many percent of the mark file's unsynced sectors survive, of 512 bytes; other, of all other files' pages and
	// folder entries.
	mark, other int
	// lag is the time in which the log follows the mark: an hour is never.
	lag time.Duration
	// ring is the length of a mirror of the mark file, 0 for the tests' own. A small one takes few groups and no large ones.
	ring int
}

const smallRing = ringShare * pageBytes

var crashKinds = []crashKind{
	{name: "nothing", lag: time.Hour},
	{name: "half", mark: 50, other: 50, lag: time.Hour},
	{name: "all", mark: 100, other: 100, lag: time.Hour},
	{name: "mark", mark: 100, lag: time.Hour},
	{name: "log", other: 100, lag: time.Hour},
	{name: "torn mark", mark: 50, lag: time.Hour},
	{name: "log, torn mark", mark: 50, other: 100, lag: time.Hour},
	{name: "nothing, log synced", lag: time.Microsecond},
	{name: "half, log synced", mark: 50, other: 50, lag: time.Microsecond},
	{name: "nothing, small ring", lag: time.Hour, ring: smallRing},
	{name: "torn mark, small ring", mark: 50, lag: time.Hour, ring: smallRing},
	{name: "half, small ring", mark: 50, other: 50, lag: time.Hour, ring: smallRing},
}

// The disk is cloned right before its k-th operation, with nothing, some or all of what is not synced, or with that of
// one file and not of the others. What the clone holds is a prefix of the script, at least what was acknowledged with a
// sync, and consistent. What the first start after the crash shows is still there when the machine crashes again at
// once. The rest of the script then runs on it.
func TestCrash(t *testing.T) {
	want, step := fingerprints(t), int64(1)
	if testing.Short() || raceEnabled {
		step = 7
	}
	for _, kind := range crashKinds {
		t.Run("unsynced="+kind.name, func(t *testing.T) {
			seen := map[int]bool{}
			for k := int64(1); ; k += step {
				crashed, acked := crashAt(t, k, kind)
				if crashed == nil {
					break
				}
				seen[checkCrashed(t, crashed, acked, want, k)] = true
			}
			if step == 1 && len(seen) < 5 { // the script waits for a sync six times
				t.Errorf("crashes left only these numbers of batches: %v", seen)
			}
		})
	}
}

// crash returns what a crash at this moment leaves.
func (c crashKind) crash(t *testing.T, mem *vfs.MemFS, seed int64) *vfs.MemFS {
	t.Helper()
	all := vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))}
	rng := rand.New(rand.NewPCG(uint64(seed), uint64(c.other)))
	for { // Pebble works on meanwhile: the clones must show one moment
		synced, written := mem.CrashClone(vfs.CrashCloneCfg{}), mem.CrashClone(all)
		left := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: c.other, RNG: rng})
		if !sameFiles(t, synced, mem.CrashClone(vfs.CrashCloneCfg{})) || !sameFiles(t, written, mem.CrashClone(all)) {
			continue
		}
		for _, disk := range []*vfs.MemFS{synced, written, left} {
			if _, err := disk.Stat(disk.PathJoin(testDir, markName)); err != nil {
				return left // it is being made
			}
		}
		writeFile(t, left, markName, torn(readFile(t, synced, markName), readFile(t, written, markName), c.mark, rng))
		return left
	}
}

// torn is a file of which so many percent of the sectors reached the disk.
func torn(before, after []byte, percent int, rng *rand.Rand) []byte {
	const sector = 512
	out := slices.Clone(after)
	for at := 0; at < len(out); at += sector {
		if rng.IntN(100) >= percent {
			clear(out[at:min(at+sector, len(out))])
			copy(out[at:min(at+sector, len(out))], before[min(at, len(before)):])
		}
	}
	return out
}

func sameFiles(t *testing.T, a, b *vfs.MemFS) bool {
	t.Helper()
	if _, err := a.Stat(testDir); err != nil {
		return true
	}
	names := files(t, a)
	if !slices.Equal(names, files(t, b)) {
		return false
	}
	for _, name := range names {
		if info, err := a.Stat(a.PathJoin(testDir, name)); err == nil && !info.IsDir() && !bytes.Equal(readFile(t, a, name), readFile(t, b, name)) {
			return false
		}
	}
	return true
}

// crashAt runs the script, some batches at a time, and returns the disk as before its k-th operation with the number of
// batches that were acknowledged by then; nil when the run takes fewer.
func crashAt(t *testing.T, k int64, kind crashKind) (*vfs.MemFS, int) {
	t.Helper()
	mem := vfs.NewCrashableMem()
	var ops atomic.Int64
	var acked, ackedAtCrash atomic.Int64
	var crashed *vfs.MemFS
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if changesDisk(op) && ops.Add(1) == k {
			ackedAtCrash.Store(acked.Load())
			crashed = kind.crash(t, mem, k)
		}
		return nil
	}))
	o := testOptions(fs)
	o.logLag = kind.lag
	if kind.ring != 0 {
		o.ringBytes = kind.ring
	}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	batches := script()
	for i := 0; i < len(batches); {
		var wg sync.WaitGroup
		for range 1 + i%4 {
			if i == len(batches) {
				break
			}
			b, number := batches[i], i+1
			wg.Add(1)
			s.Enqueue(b, func(err error) {
				defer wg.Done()
				if err != nil {
					t.Errorf("batch %d: %v", number, err)
				}
				if !b.NoSync {
					acked.Store(int64(number))
				}
			})
			i++
		}
		wg.Wait()
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return crashed, int(ackedAtCrash.Load())
}

func checkCrashed(t *testing.T, disk *vfs.MemFS, acked int, want []string, k int64) int {
	t.Helper()
	s, err := Open(testOptions(disk))
	if err != nil {
		t.Fatalf("crash before operation %d: %v", k, err)
	}
	n := progress(t, s)
	if n < acked {
		t.Errorf("crash before operation %d: %d batches acknowledged, %d there", k, acked, n)
	}
	if got := fingerprint(t, s); got != want[n] {
		t.Fatalf("crash before operation %d: not a prefix:\n%swant\n%s", k, got, want[n])
	}
	again := disk.CrashClone(vfs.CrashCloneCfg{}) // whatever was not synced by Open is gone now
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err = Open(testOptions(again))
	if err != nil {
		t.Fatalf("second crash after operation %d: %v", k, err)
	}
	if got := fingerprint(t, s); got != want[n] {
		t.Fatalf("second crash after operation %d: what Open had shown is gone:\n%swant\n%s", k, got, want[n])
	}
	write(t, s, script()[n:]...)
	if got := fingerprint(t, s); got != want[len(want)-1] {
		t.Fatalf("crash before operation %d: cannot go on:\n%s", k, got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n == 0 {
		return n
	}
	rep, err := VerifyDir(again, testDir, testPub(), genesis().Hash())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range rep.Problems {
		if rep.Checkpoint == nil || !isStateProblem(p) { // the script's state nodes are made up
			t.Errorf("crash before operation %d: %v", k, p)
		}
	}
	return n
}

// A crash while the folder is being made, whatever directory entries it keeps, leaves a folder that opens. Without the
// extra sync in failstop.Create it does not.
func TestCrashWhileCreating(t *testing.T) {
	for seed := range uint64(6) { // 5 is the one that found it
		var clones []*vfs.MemFS
		mem := vfs.NewCrashableMem()
		rng := rand.New(rand.NewPCG(seed, 1))
		var mu sync.Mutex
		fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			mu.Lock()
			defer mu.Unlock()
			if changesDisk(op) {
				clones = append(clones, mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rng}))
			}
			return nil
		}))
		s, err := Open(testOptions(fs))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		for k, disk := range clones {
			s, err := Open(testOptions(disk))
			if err != nil {
				t.Fatalf("seed %d, crash before operation %d: %v", seed, k+1, err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A group of large blocks goes around Pebble's memory table; a crash treats it like any other.
func TestCrashAfterLargeGroup(t *testing.T) {
	mem := vfs.NewCrashableMem()
	s := mustOpen(t, mem)
	parent := genesis()
	write(t, s, Batch{Append: []*block.Block{parent}})
	var batch Batch
	for i := range 3 {
		h := parent.Header
		h.Parent, h.Height = parent.Hash(), h.Height+1
		var txs []*block.Tx
		for j := range 6 {
			payload := make([]byte, block.MaxPayloadBytes)
			payload[0], payload[1] = byte(i), byte(j)
			txs = append(txs, block.SignTx(testKey, payload))
		}
		parent = block.New(h, txs)
		batch.Append = append(batch.Append, parent)
	}
	write(t, s, batch)
	crashed := mustOpen(t, mem.CrashClone(vfs.CrashCloneCfg{}))
	if h, hash := crashed.Tip(); h != 3 || hash != parent.Hash() {
		t.Fatalf("tip %d %s", h, hash)
	}
	for h := range block.Height(4) {
		if _, err := crashed.Block(h); err != nil {
			t.Error(err)
		}
	}
}

// A batch with nothing in it is a barrier: it syncs what was written before without a sync.
func TestBarrier(t *testing.T) {
	mem := vfs.NewCrashableMem()
	s := mustOpen(t, mem)
	write(t, s, Batch{Append: chain(1), NoSync: true})
	lost := mustOpen(t, mem.CrashClone(vfs.CrashCloneCfg{}))
	if _, tip := lost.Tip(); !tip.IsZero() {
		t.Error("a batch without sync was synced")
	}
	write(t, s, Batch{})
	kept := mustOpen(t, mem.CrashClone(vfs.CrashCloneCfg{}))
	if h, _ := kept.Tip(); h != 1 {
		t.Errorf("tip %d after a barrier and a crash", h)
	}
}
