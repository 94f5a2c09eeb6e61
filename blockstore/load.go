package blockstore

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/baton-ha/baton/blockstore/block"
)

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
	if st.lost != nil {
		s.opts.Logger.Error().Err(st.lost.why).Uint64("height", uint64(st.mark.height)).Uint64("mark", uint64(st.lost.claim.height)).
			Msg("store: blocks that the mark vouches for are damaged or missing; they are to be fetched from other nodes")
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

// checkFormat tells a folder of this version from others.
func checkFormat(db database) error {
	format, err := read(db, "load format", []byte(metaFormat), decodeUint64)
	if errors.Is(err, ErrNotFound) {
		return corrupt("load format", 0, "not a block store: %w", err)
	}
	if err != nil {
		return err
	}
	if format != formatVersion {
		return fmt.Errorf("store has format %d, this program knows %d", format, formatVersion)
	}
	return nil
}

// loadState reads the small records of a folder whose format was checked.
func loadState(db database) (*state, error) {
	var err error
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
	if st.base, _, err = optional(db, "load base", metaBase, decodeBases); err != nil {
		return nil, err
	}
	if st.imported, _, err = optional(db, "load import", metaImport, decodeImport); err != nil {
		return nil, err
	}
	if st.commit, st.started, err = optional(db, "load commit", metaCommit, decodeCommit); err != nil {
		return nil, err
	}
	pos, _, err := optional(db, "load position", metaPosition, decodePosition)
	if err != nil {
		return nil, err
	}
	st.mark, st.seq, st.durable = pos.mark, pos.seq, pos.seq
	if pos.claim != nil {
		st.lost = &lost{claim: *pos.claim}
	}
	return st, nil
}

// checkTail checks that the chain ends where the position says and that the blocks above the commit link. Where one of
// these cannot be read, the chain ends below it from now on, and st.lost says what is to be brought back. It returns the
// readable ones of the committed tip and what is above it.
func checkTail(db pebble.Reader, st *state) ([]*block.Block, error) {
	m := st.mark
	switch {
	case !st.started && m.tip.IsZero():
		return nil, checkNothing(db) // nothing but, perhaps, an election's hard state
	case !st.started || m.tip.IsZero():
		return nil, corrupt("check tail", m.height, "commit present %t, chain ends at %d %s", st.started, m.height, m.tip)
	case st.commit.Height > m.height:
		return nil, corrupt("check tail", m.height, "commit is at %d, tip at %d", st.commit.Height, m.height)
	}
	if st.lost == nil {
		if err := checkEnd(db, m.height); err != nil {
			return nil, err
		}
	}
	var tail []*block.Block
	parent := st.commit.Hash
	for h := st.commit.Height; h <= m.height; h++ {
		b, err := loadLinked(db, h)
		if isDamage(err) && h > st.commit.Height {
			st.lose(h-1, parent, err)
			break
		}
		if isDamage(err) {
			continue // whoever reads it is told, and may have it repaired
		}
		if err != nil {
			return nil, err
		}
		switch {
		case h == st.commit.Height && b.Hash() != st.commit.Hash:
			return nil, corrupt("check tail", h, "committed %s, stored %s", st.commit.Hash, b.Hash())
		case h > st.commit.Height && b.Header.Parent != parent:
			return nil, corrupt("check tail", h, "parent is %s, block below is %s", b.Header.Parent, parent)
		}
		parent = b.Hash()
		tail = append(tail, b)
	}
	if parent != st.mark.tip {
		return nil, corrupt("check tail", m.height, "tip is %s, position says %s", parent, m.tip)
	}
	if st.lost != nil {
		return tail, st.lost.gather(db, st.mark.height)
	}
	return tail, nil
}

// checkNothing checks that a folder without a chain has no block.
func checkNothing(db pebble.Reader) error {
	n, err := count(db, []byte{spaceHash}, []byte{spaceHash + 1})
	if err == nil && n > 0 {
		err = corrupt("check tail", 0, "%d blocks are stored, but no position", n)
	}
	return err
}

// checkEnd checks that no block stands above the tip. What cannot be read there is no block.
func checkEnd(db pebble.Reader, tip block.Height) error {
	n, err := count(db, heightKey(spaceHash, tip+1), []byte{spaceHash + 1})
	if pebble.IsCorruptionError(err) {
		return nil
	}
	if err == nil && n > 0 {
		err = corrupt("check tail", tip, "%d blocks are stored above the tip", n)
	}
	return err
}

func isDamage(err error) bool {
	_, ok := errors.AsType[*CorruptionError](err)
	return ok
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
