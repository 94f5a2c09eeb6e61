package blockstore

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"
)

// marks is what a mark file was found to hold.
type marks struct {
	exists bool
	bytes  int // of the file
	// newest is the record with the highest turn of which, in the two mirrors together, nothing is missing; nil for none.
	newest *markRecord
	// stranger is a record of another folder than newest's, nil for none.
	stranger *markRecord
	// changes are the copies of groups, by their number, that were written since the folder was opened last.
	changes map[uint64]change
	// top is the highest turn that was ever begun.
	top uint64
	// damage says what cannot be read that should be.
	damage []error
}

// readMarks reads the mark file of a folder. What a record says is not judged.
func readMarks(fs vfs.FS, dir string) (*marks, error) {
	f := &marks{changes: map[uint64]change{}}
	// Without reading ahead the page cache gets it page by page: see cacheUnit.
	file, err := fs.Open(fs.PathJoin(dir, markName), vfs.RandomReadsOption)
	if errors.Is(err, os.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open mark: %w", err)
	}
	f.exists = true
	all, err := f.readAll(file)
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("read mark: %w", err)
	}
	f.sort(all)
	return f, nil
}

// maxMarkBytes bounds how much of a mark file is looked at.
const maxMarkBytes = 64 << 20

// readAll returns what can be read of the file, with zeros for the rest: a bad sector must not hide the others.
func (f *marks) readAll(file vfs.File) ([]byte, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	f.bytes = int(min(info.Size(), maxMarkBytes))
	all := make([]byte, f.bytes)
	const chunk = 64 * pageBytes
	for at := 0; at < len(all); at += chunk {
		part := all[at:min(at+chunk, len(all))]
		if _, err := file.ReadAt(part, int64(at)); err == nil || errors.Is(err, io.EOF) {
			continue
		}
		for i := 0; i < len(part); i += pageBytes {
			page := part[i:min(i+pageBytes, len(part))]
			if _, err := file.ReadAt(page, int64(at+i)); err != nil && !errors.Is(err, io.EOF) {
				clear(page)
				f.damage = append(f.damage, fmt.Errorf("mark at %d: %w", at+i, err))
			}
		}
	}
	return all, nil
}

// twins is a record as its two mirrors have it, nil where it cannot be read.
type twins [2]*markRecord

// merged is the record with all groups that either of the two has.
func (t twins) merged() *markRecord {
	if t[0] == nil || t[1] == nil || t[0].complete() {
		if t[0] == nil {
			return t[1]
		}
		return t[0]
	}
	r := *t[0]
	r.changes = slices.Concat(r.changes, t[1].changes)
	slices.SortFunc(r.changes, func(a, b change) int { return cmp.Compare(a.seq, b.seq) })
	r.changes = slices.CompactFunc(r.changes, func(a, b change) bool { return a.seq == b.seq })
	return &r
}

// place is what tells records apart: a turn that a crash cut off may be written again, elsewhere.
type place struct {
	turn, since uint64
	at          uint32
}

// sort finds the records, in whatever page they begin, and what they are worth together.
func (f *marks) sort(all []byte) {
	found := map[place]*twins{}
	for at := 0; at < len(all); at += pageBytes {
		if !isMarkRecord(all[at:]) {
			continue
		}
		r, err := decodeMarkRecord(all[at:])
		if errors.Is(err, errVersion) {
			f.damage = append(f.damage, err)
		}
		mirror := 0
		if err == nil && uint64(at) >= uint64(r.ring) {
			mirror = 1
		}
		if err != nil || r.ring == 0 || uint64(at) != uint64(mirror)*uint64(r.ring)+uint64(r.at) {
			continue // what it is worth is what is missing without it
		}
		p := place{turn: r.turn, since: r.since, at: r.at}
		if found[p] == nil {
			found[p] = &twins{}
		}
		found[p][mirror] = r
		f.top = max(f.top, r.turn)
	}
	for _, t := range found {
		if r := t.merged(); r.complete() && (f.newest == nil || r.turn > f.newest.turn) {
			f.newest = r
		}
	}
	if f.newest == nil {
		return
	}
	for _, t := range found {
		for _, r := range t {
			if r != nil && r.folder != f.newest.folder {
				f.stranger = r
			}
		}
		r := t.merged()
		if r.turn > f.newest.turn || r.since != f.newest.since {
			continue // never acknowledged; or from before the folder was opened, and all in the database
		}
		for _, c := range r.changes {
			f.changes[c.seq] = c
		}
	}
	f.compare(found)
}

// compare notes which records stand in one mirror only, of those that nothing may have overwritten.
func (f *marks) compare(found map[place]*twins) {
	n := f.newest
	// A record after the newest one may have been begun and cut off by a crash, in one mirror more than in the other.
	share := int(n.ring) / ringShare
	next := []extent{{at: int(n.at) + n.size(), size: share}, {size: share}}
	for _, t := range found {
		r := t.merged()
		e := extent{at: int(r.at), size: r.size()}
		older := r.turn != n.turn
		if r.turn > n.turn || r.since != n.since || older && (r.seq < n.first || e.overlaps(next[0]) || e.overlaps(next[1])) {
			continue
		}
		for i := range t {
			if t[i] == nil || !t[i].complete() {
				f.damage = append(f.damage, fmt.Errorf("mirror %d of the mark cannot be read at %d: %w", i, r.at, errMark))
			}
		}
	}
}

// used reports whether the mark speaks of anything but a folder that was just made.
func (f *marks) used() bool { return f.newest != nil && f.newest.seq > 0 }

// has returns the copies of the groups after one, up to the newest as far as there is none missing, and whether there is
// none missing.
func (f *marks) has(after uint64) (out []change, all bool) {
	for seq := after + 1; seq <= f.newest.seq; seq++ {
		c, ok := f.changes[seq]
		if !ok {
			return out, false
		}
		out = append(out, c)
	}
	return out, true
}

// noteDamage tells a person what cannot be read.
func (f *marks) noteDamage(log zerolog.Logger) {
	for _, err := range f.damage {
		log.Warn().Err(err).Msg("store: a part of the mark cannot be read; what else is there makes up for it")
	}
}
