package blockstore

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"
)

// finding is what the log and the mark file say of one another.
type finding struct {
	mark    *markRecord
	replay  []change // groups that the log lost and the mark file has
	missing bool     // the log lost a group that the mark file has not
}

// judge compares a folder's mark file with its log.
func judge(found *marks, folder folderID, pos position) (finding, error) {
	n := found.newest
	f := finding{mark: n}
	if n == nil {
		return f, corrupt("check mark", 0, "no record of the mark can be read (%w)", found.reason())
	}
	if n.folder != folder || found.stranger != nil {
		return f, corrupt("check mark", 0, "the mark belongs to another folder (%x, this one is %x)", n.folder, folder)
	}
	if found.bytes < 2*int(n.ring) { // that takes of both mirrors
		return f, corrupt("check mark", 0, "the mark was cut short: %d bytes instead of %d", found.bytes, 2*n.ring)
	}
	asserted := pos.mark
	if pos.claim != nil {
		asserted = *pos.claim
	}
	switch {
	case pos.seq == n.seq:
		if asserted != n.mark {
			return f, corrupt("check mark", n.mark.height, "after write %d the chain is at %d %s in term %d, the mark at %d %s in term %d",
				pos.seq, asserted.height, asserted.tip, asserted.synced, n.mark.height, n.mark.tip, n.mark.synced)
		}
	case pos.seq > n.seq:
		if n.seq+1 < pos.from {
			return f, corrupt("check mark", n.mark.height, "the mark stands at write %d, the chain at %d, and %d had been marked before it",
				n.seq, pos.seq, pos.from-1)
		}
	default:
		var all bool
		if f.replay, all = found.has(pos.seq); all {
			return f, nil
		}
		if pos.seq+1 < n.first {
			return f, corrupt("check mark", n.mark.height, "the chain ends after write %d, the mark vouches for %d: writes that had been synced in both are missing",
				pos.seq, n.seq)
		}
		f.missing = true
	}
	return f, nil
}

// reason says why no record could be read.
func (f *marks) reason() error {
	if !f.exists {
		return errors.New("the file is missing")
	}
	return errors.Join(append(f.damage, errMark)...)
}

// join brings Pebble and the mark file together when a folder is opened: a new folder gets both, in an old one each makes
// up for what the other one lost.
func join(db *pebble.DB, fs vfs.FS, dir string, found *marks, ring int, log zerolog.Logger) (*markFile, error) {
	empty, err := isEmpty(db)
	if err != nil {
		return nil, err
	}
	if empty {
		if found.used() {
			return nil, corrupt("check mark", 0, "the chain is gone, the mark is at %d", found.newest.mark.height)
		}
		return initialize(db, fs, dir, ring)
	}
	if err := checkFormat(db); err != nil {
		return nil, err
	}
	folder, err := read(db, "load folder id", []byte(metaFolder), decodeFolder)
	if errors.Is(err, ErrNotFound) {
		return nil, corrupt("load folder id", 0, "%w", err)
	}
	if err != nil {
		return nil, err
	}
	pos, _, err := optional(db, "load position", metaPosition, decodePosition)
	if err != nil {
		return nil, err
	}
	f, err := judge(found, folder, pos)
	if err != nil {
		return nil, err
	}
	found.noteDamage(log)
	m, err := openMark(fs, dir, found)
	if err != nil {
		return nil, err
	}
	if err := f.restore(db, log); err != nil {
		return nil, errors.Join(err, m.file.Close())
	}
	if err := f.checkPromises(db); err != nil {
		return nil, errors.Join(err, m.file.Close())
	}
	if err := m.renew(db); err != nil {
		return nil, errors.Join(err, m.file.Close())
	}
	return m, nil
}

// initialize makes a folder that has nothing yet. The mark comes first: without it a folder with anything in it is
// damaged.
func initialize(db *pebble.DB, fs vfs.FS, dir string, ring int) (*markFile, error) {
	m, err := createMark(fs, dir, ring)
	if err != nil {
		return nil, err
	}
	b := db.NewBatch()
	err = errors.Join(b.Set([]byte(metaFormat), encodeUint64(formatVersion), nil), b.Set([]byte(metaFolder), m.folder[:], nil))
	if err == nil {
		err = b.Commit(pebble.Sync)
	}
	if err = errors.Join(err, b.Close()); err != nil {
		return nil, errors.Join(fmt.Errorf("write format: %w", err), m.file.Close())
	}
	return m, nil
}

// restore puts back what the log lost: the groups themselves, and at least what must be known of those that are gone.
func (f *finding) restore(db *pebble.DB, log zerolog.Logger) error {
	if !f.missing && len(f.replay) == 0 {
		return nil
	}
	for _, c := range f.replay {
		b := db.NewBatch()
		err := b.SetRepr(bytes.Clone(c.repr))
		if err == nil {
			err = b.Commit(pebble.NoSync)
		}
		if err = errors.Join(err, b.Close()); err != nil {
			return fmt.Errorf("put write %d back: %w", c.seq, err)
		}
	}
	if f.missing {
		if err := f.remember(db); err != nil {
			return fmt.Errorf("note write %d: %w", f.mark.seq, err)
		}
	}
	log.Warn().Uint64("write", f.mark.seq).Int("put_back", len(f.replay)).Uint64("mark", uint64(f.mark.mark.height)).
		Msg("store: the end of the log had been lost, the mark made up for it")
	// Out of the log: its end may be lost again, and what makes up for it is about to be overwritten.
	if err := db.Flush(); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	return nil
}

// checkPromises compares the hard state with the mark's, if both stand at the same write. The log's end says nothing of what
// is below it: Pebble takes the first damaged record of its manifest for the end, and with the tables that later ones name
// what is in no log any more is gone from the middle.
func (f *finding) checkPromises(db database) error {
	pos, _, err := optional(db, "load position", metaPosition, decodePosition)
	if err != nil || pos.seq != f.mark.seq {
		return err
	}
	election, _, err := optional(db, "load election", metaElection, func(b []byte) ([]byte, error) { return b, nil })
	if err != nil {
		return err
	}
	nacked, _, err := optional(db, "load nacked", metaNacked, decodeUint64)
	if err != nil {
		return err
	}
	if !bytes.Equal(election, f.mark.election) || nacked != f.mark.nacked {
		return corrupt("check mark", f.mark.mark.height, "after write %d the promises in the chain are not those in the mark: what was written before is missing",
			pos.seq)
	}
	return nil
}

// remember writes what the mark says of a group whose blocks it has not: promises are kept, and the chain's claim stands.
func (f *finding) remember(db *pebble.DB) error {
	pos, _, err := optional(db, "load position", metaPosition, decodePosition)
	if err != nil {
		return err
	}
	b := db.NewBatch()
	p := position{seq: f.mark.seq, from: f.mark.seq + 1, mark: pos.mark}
	if pos.mark.less(f.mark.mark) {
		p.claim = &f.mark.mark
	}
	err = errors.Join(
		b.Set([]byte(metaPosition), p.encode(), nil), b.Set([]byte(metaNacked), encodeUint64(f.mark.nacked), nil),
	)
	if err == nil && f.mark.election != nil {
		err = b.Set([]byte(metaElection), f.mark.election, nil)
	}
	if err == nil {
		err = b.Commit(pebble.Sync)
	}
	return errors.Join(err, b.Close())
}

// renew writes a record for the state as it is in the database, all of which is durable. What the file has besides is
// history from then on.
func (m *markFile) renew(db *pebble.DB) error {
	st, err := loadState(db)
	if err != nil {
		return err
	}
	at, ok := m.place(m.nextSize(len(st.election)), st.seq)
	invariant(ok, "no room for a second record")
	return m.write(st, st.seq+1, at)
}
