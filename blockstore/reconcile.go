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
	slot    *slot
	replay  []change // groups that the log lost and the slot has
	missing bool     // the log lost a group that the slot has not
	rewrite bool     // the mark file is to be written anew
}

// judge compares a folder's mark file with its log.
func judge(found *slots, folder folderID, pos position) (finding, error) {
	n := found.newest()
	f := finding{slot: n, rewrite: !found.complete()}
	if n == nil {
		return f, corrupt("check mark", 0, "neither slot of the mark can be read (%w)", found.reason())
	}
	for _, s := range found.at {
		if s != nil && s.folder != folder {
			return f, corrupt("check mark", 0, "the mark belongs to another folder (%x, this one is %x)", s.folder, folder)
		}
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
		if found.complete() && n.seq+1 < pos.from {
			return f, corrupt("check mark", n.mark.height, "the mark stands at write %d, the chain at %d, and %d had been synced in both",
				n.seq, pos.seq, pos.from-1)
		}
		f.rewrite = true
	case pos.seq+1 < n.first:
		return f, corrupt("check mark", n.mark.height, "the chain ends after write %d, the mark vouches for %d: more than the last write is missing",
			pos.seq, n.seq)
	default:
		f.rewrite = true
		if !n.whole {
			f.missing = true
			return f, nil
		}
		for _, c := range n.changes {
			if c.seq > pos.seq {
				f.replay = append(f.replay, c)
			}
		}
	}
	return f, nil
}

// reason says why no slot could be read.
func (s *slots) reason() error {
	if !s.exists {
		return errors.New("the file is missing")
	}
	return errors.Join(s.errs[0], s.errs[1])
}

// join brings Pebble and the mark file together when a folder is opened: a new folder gets both, in an old one each makes
// up for what the other one lost.
func join(db *pebble.DB, fs vfs.FS, dir string, found *slots, log zerolog.Logger) (*markFile, error) {
	empty, err := isEmpty(db)
	if err != nil {
		return nil, err
	}
	if empty {
		if found.used() {
			return nil, corrupt("check mark", 0, "the chain is gone, the mark is at %d", found.newest().mark.height)
		}
		return initialize(db, fs, dir)
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
	if found.exists {
		found.noteDamage(log)
	}
	m := &markFile{folder: folder, turn: f.slot.turn}
	if err := m.open(fs, dir); err != nil {
		return nil, err
	}
	if err := f.restore(db, pos, log); err != nil {
		return nil, errors.Join(err, m.file.Close())
	}
	if f.rewrite {
		if err := m.renew(db); err != nil {
			return nil, errors.Join(err, m.file.Close())
		}
	}
	return m, nil
}

// initialize makes a folder that has nothing yet. The mark comes first: without it a folder with anything in it is
// damaged.
func initialize(db *pebble.DB, fs vfs.FS, dir string) (*markFile, error) {
	m, err := createMark(fs, dir)
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

// restore puts back what the log lost: the groups themselves, or at least what must be known of them.
func (f *finding) restore(db *pebble.DB, pos position, log zerolog.Logger) error {
	if !f.missing && len(f.replay) == 0 {
		return nil
	}
	for _, c := range f.replay {
		b := db.NewBatch()
		err := b.SetRepr(bytes.Clone(c.repr))
		if err == nil {
			err = b.Commit(pebble.Sync)
		}
		if err = errors.Join(err, b.Close()); err != nil {
			return fmt.Errorf("put write %d back: %w", c.seq, err)
		}
	}
	if f.missing {
		if err := f.remember(db, pos); err != nil {
			return fmt.Errorf("note write %d: %w", f.slot.seq, err)
		}
	}
	log.Warn().Uint64("write", f.slot.seq).Int("put_back", len(f.replay)).Uint64("mark", uint64(f.slot.mark.height)).
		Msg("store: the end of the log was lost after it had been written")
	// Out of the log: its end may be lost again, and the slot that makes up for it is about to be replaced.
	if err := db.Flush(); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	return nil
}

// remember writes what the slot says of a group whose blocks it has not: promises are kept, and the chain's claim stands.
func (f *finding) remember(db *pebble.DB, pos position) error {
	b := db.NewBatch()
	p := position{seq: f.slot.seq, from: f.slot.seq + 1, mark: pos.mark}
	if pos.mark.less(f.slot.mark) {
		p.claim = &f.slot.mark
	}
	err := errors.Join(
		b.Set([]byte(metaPosition), p.encode(), nil), b.Set([]byte(metaNacked), encodeUint64(f.slot.nacked), nil),
	)
	if err == nil && f.slot.election != nil {
		err = b.Set([]byte(metaElection), f.slot.election, nil)
	}
	if err == nil {
		err = b.Commit(pebble.Sync)
	}
	return errors.Join(err, b.Close())
}

// renew writes a slot for the state as it is in the database, all of which is durable.
func (m *markFile) renew(db *pebble.DB) error {
	st, err := loadState(db)
	if err != nil {
		return err
	}
	m.prepare(st, st.seq+1)
	return m.flush()
}
