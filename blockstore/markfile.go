package blockstore

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	// markName is the mark file's name in the data folder.
	markName = "mark"
	// ringBytes is the length of one of the mark file's two mirrors.
	ringBytes = 4 << 20
	// ringShare is the part of a mirror that one record takes at most: the newest one and the next then always find room.
	ringShare = 4
	// cacheUnit is how much of a new mark file is written at once. Linux keeps what was written at once in the page cache as
	// one piece, and goes over all of the piece for each page of it that is written later.
	cacheUnit = 16 * pageBytes
)

// markFile is what answers wait for: a ring of records, written twice, one mirror's length apart. A record has the mark,
// the hard state and a copy of the groups that nothing else has yet. It is overwritten when the log has them for good and
// a newer record is durable. One goroutine at a time.
type markFile struct {
	file   vfs.File
	folder folderID
	ring   int    // bytes of a mirror
	turn   uint64 // of the newest record
	since  uint64 // turn of the first record since the folder was opened
	live   []extent
	buf    []byte
	wrote  atomic.Uint64 // bytes, in both mirrors; for whoever asks

	// Groups that are written to the log and in no record.
	pending      []change
	pendingBytes int
	tooMuch      bool // more than a record takes: pending is incomplete
}

// extent is where a record stands that must not be overwritten: oldest first, the newest is always one of them.
type extent struct {
	seq      uint64
	at, size int
}

func (e extent) overlaps(o extent) bool { return e.at < o.at+o.size && o.at < e.at+e.size }

// createMark makes the mark file of a new folder and syncs it with the folder. A file that an interrupted attempt left
// is replaced.
func createMark(fs vfs.FS, dir string, ring int) (*markFile, error) {
	m := &markFile{ring: ring, turn: 1, since: 1}
	if _, err := rand.Read(m.folder[:]); err != nil {
		return nil, fmt.Errorf("draw folder id: %w", err)
	}
	first := (&markRecord{folder: m.folder, ring: uint32(ring), turn: 1, since: 1, first: 1}).encode(nil)
	m.live = []extent{{size: len(first)}}
	// Written whole, so that later writes only overwrite.
	all := make([]byte, 2*ring)
	copy(all, first)
	copy(all[ring:], first)
	name := fs.PathJoin(dir, markName)
	file, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, fmt.Errorf("create mark: %w", err)
	}
	for part := range slices.Chunk(all, cacheUnit) {
		if _, err := file.Write(part); err != nil {
			return nil, errors.Join(fmt.Errorf("write mark: %w", err), file.Close())
		}
	}
	if err := errors.Join(file.Sync(), file.Close(), syncFolder(fs, dir)); err != nil {
		return nil, fmt.Errorf("sync mark: %w", err)
	}
	return m, m.open(fs, dir)
}

// openMark opens the mark file that was found, to go on after its newest record.
func openMark(fs vfs.FS, dir string, found *marks) (*markFile, error) {
	n := found.newest
	m := &markFile{folder: n.folder, ring: int(n.ring), turn: found.top, since: found.top + 1}
	m.live = []extent{{seq: n.seq, at: int(n.at), size: n.size()}}
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
	if m.tooMuch || markRecordSize(electionBytes, m.pendingBytes+changeFixed+len(repr)) > m.ring/ringShare {
		m.drop()
		m.tooMuch = true
		return
	}
	m.pending = append(m.pending, change{seq: seq, repr: repr})
	m.pendingBytes += changeFixed + len(repr)
}

// drop forgets the pending groups: they are durable.
func (m *markFile) drop() {
	clear(m.pending)
	m.pending, m.pendingBytes, m.tooMuch = m.pending[:0], 0, false
}

// place finds room for the next record of that size. The log has all groups up to logged for good. False: there is none
// until it has more.
func (m *markFile) place(size int, logged uint64) (at int, ok bool) {
	for len(m.live) > 1 && m.live[0].seq <= logged {
		m.live = m.live[1:]
	}
	last := m.live[len(m.live)-1]
	next := extent{at: last.at + last.size, size: size}
	if next.at+size > m.ring {
		next.at = 0
	}
	for _, e := range m.live {
		if e.overlaps(next) {
			return 0, false
		}
	}
	return next.at, true
}

// crowded reports whether the log should be synced soon, so that place finds room.
func (m *markFile) crowded() bool {
	n := 0
	for _, e := range m.live {
		n += e.size
	}
	return n > m.ring/2
}

// nextSize is the size of the next record: of all that is pending.
func (m *markFile) nextSize(electionBytes int) int {
	return markRecordSize(electionBytes, m.pendingBytes)
}

// errMimic is returned by write, which then wrote nothing, for groups of which no record can have a copy.
var errMimic = errors.New("a page of a copy looks like a record")

// mimics reports whether a page of a record but the first begins as a record does. What clients send stands in the groups as
// they sent it: a start must not take it for a record.
func mimics(rec []byte) bool {
	for at := pageBytes; at < len(rec); at += pageBytes {
		if bytes.HasPrefix(rec[at:], []byte(recordMagic)) {
			return true
		}
	}
	return false
}

// write makes the next record, which stands for all groups up to st.seq, at a place that place gave, writes it to both
// mirrors and syncs them. The log has all groups before first for good.
func (m *markFile) write(st *state, first uint64, at int) error {
	r := markRecord{
		folder: m.folder, ring: uint32(m.ring), at: uint32(at), turn: m.turn + 1, since: m.since, seq: st.seq, first: first,
		mark: st.asserted(), nacked: st.nacked, election: st.election, changes: m.pending,
	}
	m.buf = r.encode(m.buf[:0])
	invariant(len(m.buf) <= m.ring/ringShare, "a record of %d bytes does not fit", len(m.buf))
	if len(m.pending) > 0 && mimics(m.buf) {
		return errMimic
	}
	m.turn++
	for mirror := range 2 {
		if _, err := m.file.WriteAt(m.buf, int64(mirror*m.ring+at)); err != nil {
			return fmt.Errorf("write mark: %w", err)
		}
	}
	if err := m.file.SyncData(); err != nil {
		return fmt.Errorf("sync mark: %w", err)
	}
	m.wrote.Add(2 * uint64(len(m.buf)))
	m.live = append(m.live, extent{seq: st.seq, at: at, size: len(m.buf)})
	m.drop()
	return nil
}
