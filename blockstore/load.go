package blockstore

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/baton-ha/baton/blockstore/block"
)

// initialize writes the format into a folder that has nothing yet.
func initialize(db *pebble.DB) error {
	fresh, err := isEmpty(db)
	if err != nil || !fresh {
		return err
	}
	if err := db.Set([]byte(metaFormat), encodeUint64(formatVersion), pebble.Sync); err != nil {
		return fmt.Errorf("write format: %w", err)
	}
	return nil
}

// load reads the state at Open and checks it against the end of the chain. It writes nothing.
func (s *Store) load() error {
	st, err := loadState(s.db)
	if err != nil {
		return err
	}
	tail, err := checkTail(s.db, st)
	if err != nil {
		return err
	}
	s.state.Store(st)
	s.recent.update(nil, 0, tail)
	return nil
}

func isEmpty(db pebble.Reader) (bool, error) {
	it, err := db.NewIter(nil)
	if err != nil {
		return false, fmt.Errorf("scan: %w", err)
	}
	some := it.First()
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return false, fmt.Errorf("scan: %w", err)
	}
	return !some, nil
}

// optional reads a record that need not be there.
func optional[T any](db database, op, key string, decode func([]byte) (T, error)) (v T, ok bool, err error) {
	v, err = read(db, op, []byte(key), decode)
	if errors.Is(err, ErrNotFound) {
		return v, false, nil
	}
	return v, err == nil, err
}

// loadState reads the small records.
func loadState(db database) (*state, error) {
	format, err := read(db, "load format", []byte(metaFormat), decodeUint64)
	if errors.Is(err, ErrNotFound) {
		return nil, corrupt("load format", 0, "not a block store: %w", err)
	}
	if err != nil {
		return nil, err
	}
	if format != formatVersion {
		return nil, fmt.Errorf("store has format %d, this program knows %d", format, formatVersion)
	}
	st := &state{}
	if st.election, _, err = optional(db, "load election", metaElection, func(b []byte) ([]byte, error) {
		return b, nil
	}); err != nil {
		return nil, err
	}
	if st.nacked, _, err = optional(db, "load nacked", metaNacked, decodeUint64); err != nil {
		return nil, err
	}
	if st.signer, _, err = optional(db, "load signer record", metaSigner, decodeRef); err != nil {
		return nil, err
	}
	if st.checkpoint, st.hasCheckpoint, err = optional(db, "load checkpoint", metaCheckpoint, decodeCheckpoint); err != nil {
		return nil, err
	}
	if st.commit, st.started, err = optional(db, "load commit", metaCommit, decodeCommit); err != nil {
		return nil, err
	}
	if st.mark, err = loadMark(db); err != nil {
		return nil, err
	}
	return st, nil
}

// loadMark returns the newer of the two slots, or the zero mark when none was ever written.
func loadMark(db database) (mark, error) {
	var newest mark
	for _, key := range []string{metaMark0, metaMark1} {
		m, ok, err := optional(db, "load mark", key, decodeMark)
		if err != nil {
			return mark{}, err
		}
		if ok && m.key() != key {
			return mark{}, corrupt("load mark", m.height, "mark %d is in the wrong slot", m.seq)
		}
		if ok && m.seq > newest.seq {
			newest = m
		}
	}
	return newest, nil
}

// checkTail checks that the chain ends where the mark says and that the blocks above the commit link. It returns the
// committed tip and all above it.
func checkTail(db pebble.Reader, st *state) ([]*block.Block, error) {
	first, last, some, err := bounds(db)
	if err != nil {
		return nil, err
	}
	m := st.mark
	switch {
	case !some && !st.started && m.tip.IsZero():
		return nil, nil // nothing but, perhaps, an election's hard state
	case !some || !st.started || m.tip.IsZero():
		return nil, corrupt("check tail", m.height, "blocks present %t, commit present %t, mark at %d", some, st.started, m.height)
	case first != 0:
		return nil, corrupt("check tail", 0, "chain begins at %d", first)
	case last != m.height:
		return nil, corrupt("check tail", m.height, "chain ends at %d, mark says %d", last, m.height)
	case st.commit.Height > m.height:
		return nil, corrupt("check tail", m.height, "commit is at %d, tip at %d", st.commit.Height, m.height)
	}
	var tail []*block.Block
	parent := block.Hash{}
	for h := st.commit.Height; h <= m.height; h++ {
		b, err := loadLinked(db, h)
		if err != nil {
			return nil, err
		}
		if h > st.commit.Height && b.Header.Parent != parent {
			return nil, corrupt("check tail", h, "parent is %s, block below is %s", b.Header.Parent, parent)
		}
		if h == st.commit.Height && b.Hash() != st.commit.Hash {
			return nil, corrupt("check tail", h, "committed %s, stored %s", st.commit.Hash, b.Hash())
		}
		parent = b.Hash()
		tail = append(tail, b)
	}
	if parent != m.tip {
		return nil, corrupt("check tail", m.height, "tip is %s, mark says %s", parent, m.tip)
	}
	return tail, nil
}

// loadLinked reads a block whose records must all be there and agree.
func loadLinked(db database, h block.Height) (*block.Block, error) {
	b, err := read(db, "check tail", heightKey(spaceBlock, h), func(rec []byte) (*block.Block, error) {
		return decodeBlock(h, rec)
	})
	if err != nil {
		return nil, missing(h, err)
	}
	hash, err := read(db, "check tail", heightKey(spaceHash, h), decodeHash)
	if err != nil {
		return nil, missing(h, err)
	}
	if hash != b.Hash() {
		return nil, corrupt("check tail", h, "hash index says %s, block is %s", hash, b.Hash())
	}
	at, err := read(db, "check tail", hashKey(spaceHeight, hash), decodeHeight)
	if err != nil {
		return nil, missing(h, err)
	}
	if at != h {
		return nil, corrupt("check tail", h, "height index says %d", at)
	}
	return b, nil
}

// missing makes a record that must be there and is not a corruption.
func missing(h block.Height, err error) error {
	if errors.Is(err, ErrNotFound) {
		return &CorruptionError{Op: "check tail", Height: h, Err: err}
	}
	return atHeight(h, err)
}

// bounds returns the lowest and highest height that has a hash record.
func bounds(db pebble.Reader) (first, last block.Height, some bool, err error) {
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte{spaceHash}, UpperBound: []byte{spaceHash + 1}})
	if err != nil {
		return 0, 0, false, fmt.Errorf("check tail: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	if !it.First() {
		return 0, 0, false, it.Error()
	}
	if first, err = keyHeight(it.Key()); err != nil {
		return 0, 0, false, corrupt("check tail", 0, "key %x: %w", it.Key(), err)
	}
	if !it.Last() {
		return 0, 0, false, it.Error()
	}
	if last, err = keyHeight(it.Key()); err != nil {
		return 0, 0, false, corrupt("check tail", 0, "key %x: %w", it.Key(), err)
	}
	return first, last, true, nil
}
