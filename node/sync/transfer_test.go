package sync

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/merkle"
	"github.com/baton-ha/baton/node/internal/storetest"
)

// A newcomer gets the newest state from several peers.
func TestTransfer(t *testing.T) {
	for name, n := range map[string]int{"one": 1, "few": 40, "many": 4000} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 2)
			w.add(accounts(n/2, 1, 0))
			b := w.add(accounts(n, 1, 0), 0, 1)
			asked := [2]atomic.Int64{}
			count := func(i int) http.Handler {
				s := w.smallServer(i)
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if strings.HasPrefix(r.URL.Path, pathState) {
						asked[i].Add(1)
					}
					s.ServeHTTP(w, r)
				})
			}
			var received atomic.Int64
			cfg := w.config(w.peer("a", count(0)), w.peer("b", count(1)))
			cfg.Received = func(n int) { received.Add(int64(n)) }
			c := w.smallClient(cfg)
			fs := vfs.NewMem()
			s := w.newcomer(fs)
			f := w.mustSync(c, s)
			p := c.Progress()
			if f.Block.Hash() != b.Hash() || p.Running || p.Done < 0.999 || p.Linked > 0 || p.Bytes == 0 || int(p.Nodes) < n || p.Height != 2 {
				t.Errorf("%+v", p)
			}
			if got := received.Load(); got <= int64(p.Bytes) || got > int64(p.Bytes)+2000 {
				t.Errorf("%d bytes received, of which %d of state", got, p.Bytes)
			}
			if n > 1000 && (asked[0].Load() == 0 || asked[1].Load() == 0) {
				t.Errorf("requests: %d, %d", asked[0].Load(), asked[1].Load())
			}
			w.holds(fs, s, b)
		})
	}
}

// The state of an empty map needs nobody.
func TestTransferNothing(t *testing.T) {
	w := newWorld(t, 1)
	b := w.add(nil, 0)
	fs := vfs.NewMem()
	s := w.newcomer(fs)
	w.mustSync(NewClient(w.config(w.peer("a", w.server(0)))), s)
	w.holds(fs, s, b)
}

// Keys that are anything but random make deep and lopsided trees.
func TestTransferOddKeys(t *testing.T) {
	var changes []merkle.Change
	rng := rand.New(rand.NewPCG(5, 5))
	long := []byte(strings.Repeat("very/long/", 40))
	for i := range 5000 {
		key := slices.Concat(long[:rng.IntN(len(long))+1], []byte{byte(i >> 8), byte(i)})
		changes = append(changes, merkle.Change{Key: key, Value: make([]byte, rng.IntN(2000))})
	}
	changes = append(changes, merkle.Change{Key: []byte("large"), Value: make([]byte, merkle.MaxValueBytes)},
		merkle.Change{Key: []byte("large2"), Value: make([]byte, merkle.MaxValueBytes-1)})
	slices.SortFunc(changes, func(a, b merkle.Change) int { return slices.Compare(a.Key, b.Key) })
	changes = slices.CompactFunc(changes, func(a, b merkle.Change) bool { return slices.Equal(a.Key, b.Key) })
	w := newWorld(t, 1)
	b := w.add(changes, 0)
	c := NewClient(w.config(w.peer("a", w.server(0))))
	fs := vfs.NewMem()
	s := w.newcomer(fs)
	w.mustSync(c, s)
	// And what of it changes later.
	for i := range changes {
		if i%50 == 0 {
			changes[i].Value = []byte{1, 2, byte(i)}
		}
	}
	w.holds(fs, s, b)
	b = w.add(changes, 0)
	s = w.newcomer(fs)
	w.mustSync(c, s)
	w.holds(fs, s, b)
}

// Where an older state is there, what is moved is proportional to what has changed.
func TestTransferDifference(t *testing.T) {
	const n = 10_000
	w := newWorld(t, 2)
	w.add(accounts(n, 1, 0), 0, 1)
	fs := vfs.NewMem()
	s := w.newcomer(fs)
	c := w.smallClient(w.config(w.peer("a", w.smallServer(0)), w.peer("b", w.smallServer(1))))
	w.mustSync(c, s)
	all := c.Progress()
	last := uint64(0)
	for round, part := range []int{1, n / 1000, n / 100, n / 10} {
		changes := accounts(part, 1, uint64(round)+1)
		changes = append(changes, accounts(part/2, uint64(round)+50, 0)...) // new ones
		b := w.add(changes, 0, 1)
		w.mustSync(c, s)
		p := c.Progress()
		if p.Bytes <= last {
			t.Errorf("%d of %d changed: %d bytes, with fewer changes %d", part, n, p.Bytes, last)
		}
		last = p.Bytes
		// A change moves a leaf and the branches above it, of which lower ones are shared with few others.
		if most := uint64(len(changes)*1700 + 5000); p.Bytes > most || p.Bytes > all.Bytes {
			t.Errorf("%d of %d changed: %d bytes of %d, at most %d should be", part, n, p.Bytes, all.Bytes, most)
		}
		if p.Linked == 0 {
			t.Errorf("%+v", p)
		}
		t.Logf("%d changed: %d nodes, %d of %d bytes", len(changes), p.Nodes, p.Bytes, all.Bytes)
		if cp, ok := s.Checkpoint(); !ok || cp.Root != b.Header.StateRoot {
			t.Fatal(cp)
		}
	}
	w.holds(fs, s, w.tip())
}

// When first a key of another kind appears, the tree changes at its top, and what is below is still not moved again.
func TestTransferDifferenceAtTheTop(t *testing.T) {
	w := newWorld(t, 1)
	w.add(accounts(5000, 1, 0), 0)
	fs := vfs.NewMem()
	s := w.newcomer(fs)
	c := w.smallClient(w.config(w.peer("a", w.smallServer(0))))
	w.mustSync(c, s)
	all := c.Progress().Bytes
	w.add([]merkle.Change{{Key: []byte("another"), Value: []byte("1")}, {Key: []byte{'a' ^ 0x80}, Value: []byte("1")}}, 0)
	w.mustSync(c, s)
	if p := c.Progress(); p.Bytes > all/100 {
		t.Errorf("%+v, all is %d", p, all)
	}
	w.holds(fs, s, w.tip())
}

// changesDisk reports whether an operation does what a crash may undo.
func changesDisk(op errorfs.Op) bool {
	switch op.Kind {
	case errorfs.OpCreate, errorfs.OpLink, errorfs.OpRename, errorfs.OpReuseForWrite, errorfs.OpFileWrite,
		errorfs.OpFileWriteAt, errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo, errorfs.OpFileClose:
		return true
	default:
		return false
	}
}

// Power is cut at any moment of a transfer: the next one goes on from there, and the store was never anything else than
// the old chain or the new one.
func TestTransferSurvivesCrashes(t *testing.T) {
	const n = 5000
	w := newWorld(t, 1)
	b := w.add(accounts(n, 1, 0), 0)
	server := w.smallServer(0)
	clean := func() (*Client, *atomic.Int64) {
		var got atomic.Int64
		cfg := w.config(w.peer("a", server))
		cfg.Received = func(n int) { got.Add(int64(n)) }
		return w.smallClient(cfg), &got
	}
	c, got := clean()
	var total atomic.Int64
	count := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if changesDisk(op) {
			total.Add(1)
		}
		return nil
	})
	w.mustSync(c, w.newcomer(errorfs.Wrap(vfs.NewMem(), count)))
	all := got.Load()
	const tries = 7
	for try := range tries {
		at := 1 + total.Load()*int64(try)/(tries-1)
		mem := vfs.NewCrashableMem()
		var ops atomic.Int64
		var crashed *vfs.MemFS
		fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if changesDisk(op) && ops.Add(1) == at {
				crashed = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100 - try%3*50, RNG: rand.New(rand.NewPCG(uint64(try), 1))})
			}
			return nil
		}))
		c, _ := clean()
		s := w.newcomer(fs)
		w.mustSync(c, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if crashed == nil {
			continue // this run needed fewer writes
		}
		s = w.newcomer(crashed)
		if s.Committed().Height == 1 {
			w.holds(crashed, s, b)
			continue
		}
		c, got := clean()
		w.mustSync(c, s)
		if got.Load() > all*11/10 {
			t.Errorf("crash at write %d: %d bytes fetched again, of %d", at, got.Load(), all)
		}
		w.holds(crashed, s, b)
	}
}

// A process that is killed leaves what it has written: the next transfer fetches only what is missing.
func TestTransferGoesOn(t *testing.T) {
	w := newWorld(t, 1)
	b := w.add(accounts(5000, 1, 0), 0)
	server := w.smallServer(0)
	mem := vfs.NewCrashableMem()
	var crashed *vfs.MemFS
	var asked, at atomic.Int64
	client := func() (*Client, *atomic.Int64) {
		var got atomic.Int64
		cfg := w.config(w.peer("a", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, pathState) && asked.Add(1) == at.Load() {
				crashed = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
			}
			server.ServeHTTP(rw, r)
		})))
		cfg.Received, cfg.Streams = func(n int) { got.Add(int64(n)) }, 1
		return w.smallClient(cfg), &got
	}
	c, got := client()
	w.mustSync(c, w.newcomer(vfs.NewMem()))
	all := got.Load()
	at.Store(asked.Load() * 3 / 4)
	asked.Store(0)
	c, _ = client()
	w.mustSync(c, w.newcomer(mem))
	if crashed == nil {
		t.Fatal("no crash")
	}
	c, got = client()
	s := w.newcomer(crashed)
	w.mustSync(c, s)
	if got.Load() > all/2 {
		t.Errorf("%d of %d bytes were fetched again", got.Load(), all)
	}
	w.holds(crashed, s, b)
}

// An error of the own disk ends the transfer, and no peer is blamed.
func TestTransferOnABadDisk(t *testing.T) {
	w := newWorld(t, 1)
	w.add(accounts(2000, 1, 0), 0)
	var bad atomic.Bool
	broken := errors.New("broken disk")
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if bad.Load() && changesDisk(op) {
			return broken
		}
		return nil
	}))
	log := &wordy{}
	s, err := blockstore.Open(blockstore.Options{Dir: storetest.Dir, FS: fs, Logger: zerolog.Nop(), CacheBytes: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	storetest.Write(t, s, blockstore.Batch{Append: w.blocks[:1]})
	cfg := w.config(w.peer("a", w.server(0)))
	cfg.Logger = zerolog.New(log)
	c := NewClient(cfg)
	o, err := c.Newest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	bad.Store(true)
	if _, err := bring(t.Context(), c, s, o); !errors.Is(err, blockstore.ErrFailed) {
		t.Error(err)
	}
	if log.String() != "" {
		t.Error(log)
	}
}

// The stack of what is to be done does not grow with the state.
func TestTransferIsBounded(t *testing.T) {
	peak := map[int]int{}
	for _, n := range []int{2000, 30_000} {
		w := newWorld(t, 1)
		w.add(accounts(n, 1, 0), 0)
		c := w.smallClient(w.config(w.peer("a", w.smallServer(0))))
		fs := vfs.NewMem()
		s := w.newcomer(fs)
		w.mustSync(c, s)
		peak[n] = c.peak
		w.holds(fs, s, w.tip())
	}
	t.Log(peak)
	if most := 16 * maxStreams; peak[30_000] > most || peak[30_000] == 0 {
		t.Errorf("%v pieces were known at a time, want at most %d", peak, most)
	}
}
