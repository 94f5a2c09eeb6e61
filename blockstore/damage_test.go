package blockstore

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/blockstore/block"
)

// history is what the store says and has after each batch of the script; index 0 is before the first.
type history struct {
	marks  []mark
	chains [][]block.Hash
}

func newHistory(t *testing.T) *history {
	t.Helper()
	h := &history{}
	s := mustOpen(t, vfs.NewMem())
	note := func() {
		var m mark
		m.synced, m.height, m.tip = s.Mark()
		h.marks = append(h.marks, m)
		var chain []block.Hash
		for at := block.Height(0); at <= m.height && !m.tip.IsZero(); at++ {
			hash, err := s.HashAt(at)
			if err != nil {
				t.Fatal(err)
			}
			chain = append(chain, hash)
		}
		h.chains = append(h.chains, chain)
	}
	note()
	for _, b := range script() {
		write(t, s, b)
		note()
	}
	return h
}

// judge opens a folder that was damaged after so many batches had been acknowledged. The promise: it is refused as
// damaged; or the hard state is none that is older than what was acknowledged, the mark that votes report is that of one
// such moment, and each block of the chain is there, or named as damaged, or above a tip that the store knows to be too
// low. The error is a promise that was broken, the text what became of the folder.
func (h *history) judge(t *testing.T, disk vfs.FS, acked int) (outcome string, broken error) {
	t.Helper()
	s, err := Open(testOptions(disk))
	if err != nil {
		// Where Pebble itself cannot open a folder there is no telling what its errors are.
		return "refused", nil
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	n := progress(t, s)
	if n < acked {
		return "", fmt.Errorf("hard state of batch %d", n)
	}
	var m mark
	m.synced, m.height, m.tip = s.Mark()
	if m != h.marks[n] {
		return "", fmt.Errorf("hard state of batch %d, mark %+v", n, m)
	}
	outcome = "whole"
	tip, tipHash := s.Tip()
	if tipHash.IsZero() {
		return outcome, nil
	}
	l := s.Lost()
	if l == nil && (tip != m.height || tipHash != m.tip) {
		return "", fmt.Errorf("mark at %d %s, tip at %d %s", m.height, m.tip, tip, tipHash)
	}
	if l != nil {
		outcome = "lost"
	}
	for at, want := range h.chains[n] {
		b, err := s.Block(block.Height(at))
		var damage *CorruptionError
		switch {
		case err == nil && (b.Hash() == want || l != nil):
		case err == nil:
			return "", fmt.Errorf("block %d is %s", at, b.Hash())
		case errors.As(err, &damage):
			outcome = "named"
		case l != nil && block.Height(at) > tip:
		default:
			return "", fmt.Errorf("block %d: %w", at, err)
		}
	}
	return outcome, nil
}

// rot is one damage.
type rot struct {
	file     string
	at, size int
	cut      bool // the file ends there
}

func (r rot) String() string {
	return fmt.Sprintf("%s from %d, %d bytes, cut %t", r.file, r.at, r.size, r.cut)
}

func (r rot) harm(t *testing.T, disk *vfs.MemFS) {
	t.Helper()
	b := readFile(t, disk, r.file)
	end := min(r.at+r.size, len(b))
	if r.cut {
		b = b[:r.at]
	} else if r.size%2 == 0 {
		clear(b[r.at:end])
	} else {
		for i := r.at; i < end; i++ {
			b[i] ^= 0x41
		}
	}
	writeFile(t, disk, r.file, b)
}

// drawRot draws one damage: a byte, a sector, or a range of less than a mirror; a file's end; a whole file but the mark.
func drawRot(t *testing.T, disk *vfs.MemFS, ring int, rng *rand.Rand) rot {
	t.Helper()
	var names []string
	for _, name := range files(t, disk) {
		if info, err := disk.Stat(disk.PathJoin(testDir, name)); err == nil && info.Size() > 0 && !info.IsDir() {
			names = append(names, name)
		}
	}
	r := rot{file: names[rng.IntN(len(names))]}
	if rng.IntN(2) == 0 {
		r.file = markName
	}
	size := len(readFile(t, disk, r.file))
	switch rng.IntN(4) {
	case 0:
		r.at, r.size = rng.IntN(size), 1
	case 1:
		r.at, r.size = rng.IntN(size)/512*512, 512+rng.IntN(2)
	case 2:
		r.size = 1 + rng.IntN(ring-1)
		r.at = rng.IntN(max(1, size-r.size))
	default:
		r.at, r.cut = rng.IntN(size), true
	}
	return r
}

// Whatever single damage follows a crash, whenever it came and whatever it left: nothing that was acknowledged is gone in
// silence. The same judge finds broken promises when a second damage has taken the newest record of the other mirror as
// well, which is what a mark that is written once would come to: so it can tell.
func TestDamageAfterCrash(t *testing.T) {
	h, step, tries := newHistory(t), int64(1), 3
	if testing.Short() || raceEnabled {
		step, tries = 9, 2
	}
	outcomes := map[string]int{}
	broken := map[string]int{} // by twice damaged
	for i, kind := range crashKinds {
		ring := cmp.Or(kind.ring, testRing)
		for k := int64(1 + i); ; k += step {
			crashed, acked := crashAt(t, k, kind)
			if crashed == nil {
				break
			}
			if _, err := crashed.Stat(crashed.PathJoin(testDir, markName)); err != nil || acked == 0 {
				continue
			}
			rng := rand.New(rand.NewPCG(uint64(k), uint64(i)))
			for range tries {
				disk := crashed.CrashClone(vfs.CrashCloneCfg{})
				r := drawRot(t, disk, ring, rng)
				r.harm(t, disk)
				out, err := h.judge(t, disk, acked)
				if err != nil {
					t.Errorf("unsynced=%s, crash before operation %d, %v: %d batches were acknowledged: %v", kind.name, k, r, acked, err)
				}
				outcomes[out]++
			}
			for mirror := range 2 {
				disk := crashed.CrashClone(vfs.CrashCloneCfg{})
				rot{file: markName, at: mirror * ring, size: ring}.harm(t, disk)
				if _, err := h.judge(t, disk, acked); err != nil {
					t.Errorf("unsynced=%s, crash before operation %d, no mirror %d: %v", kind.name, k, mirror, err)
				}
				// As if records were written once.
				disk = crashed.CrashClone(vfs.CrashCloneCfg{})
				rot{file: markName, at: mirror * ring, size: ring}.harm(t, disk)
				newestPage(t, disk, 1-mirror).harm(t, disk)
				if _, err := h.judge(t, disk, acked); err != nil {
					broken[kind.name]++
				}
			}
		}
	}
	t.Logf("after one damage: %v; promises broken by two: %v", outcomes, broken)
	if outcomes["whole"] == 0 || outcomes["refused"] == 0 {
		t.Errorf("after one damage: %v", outcomes)
	}
	if len(broken) == 0 {
		t.Error("two damages broke no promise: the judge sees nothing")
	}
}

// newestPage is the page in which the newest record of a mirror begins.
func newestPage(t *testing.T, disk vfs.FS, mirror int) rot {
	t.Helper()
	found, err := readMarks(disk, testDir)
	if err != nil || found.newest == nil {
		t.Fatal(err)
	}
	return rot{file: markName, at: mirror*int(found.newest.ring) + int(found.newest.at), size: pageBytes}
}

// Each sector of each file, one at a time, after a crash in which the log lost what was not synced, and after one in
// which it did not.
func TestRotOfEachSector(t *testing.T) {
	h := newHistory(t)
	batches := script()
	mem := vfs.NewCrashableMem()
	s := mustOpen(t, mem)
	for i, b := range batches {
		b.NoSync = false
		write(t, s, b)
		if i == len(batches)/2 {
			s.log.sync()
		}
	}
	powerless := mem.CrashClone(vfs.CrashCloneCfg{})
	s.log.sync()
	killed := mem.CrashClone(vfs.CrashCloneCfg{})
	for name, crashed := range map[string]*vfs.MemFS{"power cut": powerless, "killed": killed} {
		outcomes := map[string]int{}
		for _, file := range files(t, crashed) {
			content := readFile(t, crashed, file)
			for at := 0; at < len(content); at += 512 {
				if strings.Trim(string(content[at:min(at+512, len(content))]), "\x00") == "" && at%(8*512) > 0 {
					continue // hardly used
				}
				if raceEnabled && file != markName && at/512%5 > 0 {
					continue
				}
				disk := crashed.CrashClone(vfs.CrashCloneCfg{})
				r := rot{file: file, at: at, size: 512}
				r.harm(t, disk)
				out, err := h.judge(t, disk, len(batches))
				if err != nil {
					t.Errorf("%s, %v: %v", name, r, err)
				}
				outcomes[out]++
			}
		}
		t.Logf("%s: %v", name, outcomes)
		if outcomes["whole"] == 0 || outcomes["refused"] == 0 {
			t.Errorf("%s: %v", name, outcomes)
		}
	}
}

// A sector that cannot be read hides nothing but itself.
func TestUnreadableSector(t *testing.T) {
	blocks := chain(5)
	disk := killed(t, acked(blocks)...)
	found, err := readMarks(disk, testDir)
	if err != nil {
		t.Fatal(err)
	}
	for mirror := range 2 {
		reads, bad := 0, int64(mirror*testRing)+int64(found.newest.at)
		fs := errorfs.Wrap(disk.CrashClone(vfs.CrashCloneCfg{}), errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind != errorfs.OpFileReadAt || disk.PathBase(op.Path) != markName {
				return nil
			}
			if first := reads == 0; !first && op.Offset != bad { // the first one is of all at once
				return nil
			}
			reads++
			return errDisk
		}))
		o := testOptions(fs)
		var told strings.Builder
		o.Logger = zerolog.New(&told)
		s := mustOpenWith(t, o)
		if _, h, tip := s.Mark(); h != 5 || tip != blocks[5].Hash() || s.Lost() != nil {
			t.Errorf("mirror %d: mark %d %s", mirror, h, tip)
		}
		if !strings.Contains(told.String(), errDisk.Error()) {
			t.Errorf("mirror %d: nobody was told: %s", mirror, told.String())
		}
		if reads != 2 {
			t.Errorf("mirror %d: %d reads failed", mirror, reads)
		}
	}
}
