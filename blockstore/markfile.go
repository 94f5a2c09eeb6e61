package blockstore

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"
)

// markName is the mark file's name in the data folder.
const markName = "mark"

// markFile is the second place that says how far the chain reaches: a file of two slots, written in turn, apart from
// Pebble's. Besides the mark a slot holds a copy of all groups that the log may lose at its end. One goroutine at a time.
type markFile struct {
	file   vfs.File
	folder folderID
	turn   uint64 // of the newest slot
	buf    []byte

	// What was written to the log since the last sync.
	pending      []change
	pendingBytes int
	tooMuch      bool // more than a slot takes: pending is incomplete
}

// slots is what the mark file was found to hold.
type slots struct {
	exists bool
	at     [2]*slot // nil where unreadable
	errs   [2]error
}

// readSlots reads the mark file of a folder. What a slot says is not judged; one that cannot be read is noted.
func readSlots(fs vfs.FS, dir string) (slots, error) {
	var s slots
	file, err := fs.Open(fs.PathJoin(dir, markName))
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("open mark: %w", err)
	}
	s.exists = true
	for i := range s.at {
		// A bad sector must not hide the other slot.
		buf := make([]byte, slotBytes)
		n, err := file.ReadAt(buf, int64(i)*slotBytes)
		if err != nil && !errors.Is(err, io.EOF) {
			s.errs[i] = err
			continue
		}
		s.at[i], s.errs[i] = decodeSlot(buf[:n])
		if s.at[i] != nil && s.at[i].turn%2 != uint64(i) {
			s.at[i], s.errs[i] = nil, fmt.Errorf("slot has turn %d: %w", s.at[i].turn, errSlot)
		}
	}
	if err := file.Close(); err != nil {
		return s, fmt.Errorf("close mark: %w", err)
	}
	return s, nil
}

// newest returns the slot that counts, nil when none can be read.
func (s *slots) newest() *slot {
	if s.at[0] == nil || (s.at[1] != nil && s.at[1].turn > s.at[0].turn) {
		return s.at[1]
	}
	return s.at[0]
}

// complete reports whether both slots can be read.
func (s *slots) complete() bool { return s.at[0] != nil && s.at[1] != nil }

// used reports whether a slot speaks of anything but a folder that was just made.
func (s *slots) used() bool {
	n := s.newest()
	return n != nil && n.seq > 0
}

// createMark makes the mark file of a new folder and syncs it with the folder. A file that an interrupted attempt left
// is replaced.
func createMark(fs vfs.FS, dir string) (*markFile, error) {
	m := &markFile{}
	if _, err := rand.Read(m.folder[:]); err != nil {
		return nil, fmt.Errorf("draw folder id: %w", err)
	}
	// Written whole, so that later writes only overwrite.
	all := make([]byte, 2*slotBytes)
	for turn := range uint64(2) {
		s := slot{folder: m.folder, turn: turn, first: 1, whole: true}
		copy(all[turn*slotBytes:], s.encode(nil))
	}
	m.turn = 1
	name := fs.PathJoin(dir, markName)
	file, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, fmt.Errorf("create mark: %w", err)
	}
	if _, err := file.Write(all); err != nil {
		return nil, errors.Join(fmt.Errorf("write mark: %w", err), file.Close())
	}
	if err := errors.Join(file.Sync(), file.Close(), syncFolder(fs, dir)); err != nil {
		return nil, fmt.Errorf("sync mark: %w", err)
	}
	return m, m.open(fs, dir)
}

// open opens the file for writing.
func (m *markFile) open(fs vfs.FS, dir string) error {
	file, err := fs.OpenReadWrite(fs.PathJoin(dir, markName), vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("open mark: %w", err)
	}
	m.file = file
	return nil
}

// hold remembers a group that goes to the log now. It keeps repr.
func (m *markFile) hold(seq uint64, repr []byte, electionBytes int) {
	if m.tooMuch || slotSize(electionBytes, m.pendingBytes+changeFixed+len(repr)) > slotBytes {
		m.tooMuch, m.pending = true, nil
		return
	}
	m.pending = append(m.pending, change{seq: seq, repr: repr})
	m.pendingBytes += changeFixed + len(repr)
}

// prepare makes the bytes of the next slot, which stands for all groups up to st.seq. Those from first on are pending. It
// reports whether the slot holds them all, so that it need not be written after the log.
func (m *markFile) prepare(st *state, first uint64) (whole bool) {
	m.turn++
	s := slot{
		folder: m.folder, turn: m.turn, seq: st.seq, first: first, mark: st.asserted(), nacked: st.nacked,
		election: st.election, whole: !m.tooMuch, changes: m.pending,
	}
	invariant(slotSize(len(s.election), 0) <= slotBytes, "hard state of %d bytes does not fit", len(s.election))
	m.buf = s.encode(m.buf[:0])
	return s.whole
}

// flush writes and syncs the slot that was prepared.
func (m *markFile) flush() error {
	if _, err := m.file.WriteAt(m.buf, int64(m.turn%2)*slotBytes); err != nil {
		return fmt.Errorf("write mark: %w", err)
	}
	if err := m.file.SyncData(); err != nil {
		return fmt.Errorf("sync mark: %w", err)
	}
	return nil
}

// synced forgets the pending groups: both log and mark are durable.
func (m *markFile) synced() {
	clear(m.pending)
	m.pending, m.pendingBytes, m.tooMuch = m.pending[:0], 0, false
}

// noteDamage tells a person which slots cannot be read.
func (s *slots) noteDamage(log zerolog.Logger) {
	for i, err := range s.errs {
		if err != nil {
			log.Warn().Err(err).Int("slot", i).Msg("store: a slot of the mark cannot be read, the other one counts; it is written anew")
		}
	}
}
