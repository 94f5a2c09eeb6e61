package blockstore

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/baton-ha/baton/blockstore/block"
)

// ErrNotOurs is returned by [Store.RepairBlock] for a block that is not the one which the own chain has there.
var ErrNotOurs = errors.New("not the block that the own chain has there")

// TrustedHash returns the hash that the own chain has at a committed height, by what stands above it: the commit, or the
// block above, which names its parent; only where that cannot be read, the index of hashes. It reads the disk.
func (s *Store) TrustedHash(h block.Height) (block.Hash, error) {
	st := s.state.Load()
	switch {
	case !st.started || h > st.commit.Height:
		return block.Hash{}, fmt.Errorf("hash at %d: %w", h, ErrNotFinal)
	case h == st.commit.Height:
		return st.commit.Hash, nil
	case h > 0 && h < st.base.blocks:
		return block.Hash{}, fmt.Errorf("hash at %d: %w", h, ErrPruned)
	}
	if above, err := loadLinked(s.db, h+1); err == nil {
		return above.Header.Parent, nil
	}
	if hash, err := s.storedHash(h); err == nil {
		return hash, nil
	}
	return block.Hash{}, corrupt("find hash", h, "neither the block above nor the index can be read: mend that block first")
}

// CheckBlock reads from the disk all that the store has of a committed block whose hash is want: the block, its entries in
// the indexes, its signature under key if it has one, its certificate, and its transactions' entries. It returns nil when all is well,
// [ErrPruned] when it was removed meanwhile, and a [*CorruptionError] with what is wrong first. The block is returned if
// it can be read itself.
func (s *Store) CheckBlock(h block.Height, want block.Hash, key ed25519.PublicKey) (*block.Block, error) {
	b, err := s.checkBlock(h, want, key)
	if err != nil {
		if base, pruned := s.prunedTo(h); pruned {
			return nil, fmt.Errorf("block %d, lowest kept is %d: %w", h, base, ErrPruned)
		}
	}
	return b, err
}

func (s *Store) checkBlock(h block.Height, want block.Hash, key ed25519.PublicKey) (*block.Block, error) {
	b, err := read(s.db, "check block", heightKey(spaceBlock, h), func(rec []byte) (*block.Block, error) {
		return decodeBlock(h, rec)
	})
	if err != nil {
		return nil, missing(h, err)
	}
	if b.Hash() != want {
		return nil, corrupt("check block", h, "it is %s, the chain has %s", b.Hash(), want)
	}
	if _, err := loadLinked(s.db, h); err != nil {
		return b, err
	}
	for i, tx := range b.Txs {
		r, err := read(s.db, "check index", hashKey(spaceTx, tx.Hash()), decodeTxRef)
		if err != nil {
			return b, missing(h, err)
		}
		if r != (txRef{height: h, index: uint32(i)}) {
			return b, corrupt("check index", h, "transaction %s is indexed at %d/%d", tx.Hash(), r.height, r.index)
		}
	}
	if _, err := s.CTermAt(h); err != nil {
		return b, err
	}
	sig, err := s.Signature(h)
	if errors.Is(err, ErrNotFound) && !isDamage(err) {
		return b, nil // it need not have been heard
	}
	if err == nil && !block.VerifySignature(key, want, sig) {
		err = corrupt("check signature", h, "it is not by the processor key over this block")
	}
	return b, err
}

// RepairBlock writes all that the store has of a committed block anew, in one batch: the block, the indexes, the signature,
// which the caller has verified (none for genesis), and the transactions' entries. A certificate that cannot be read goes.
// It returns [ErrNotOurs] when want, from [Store.TrustedHash] or a chain of parents from there, is not b's hash, and
// [ErrPruned] when the height was removed. It blocks until the repair is durable; nothing else of the chain changes.
func (s *Store) RepairBlock(f block.Final, want block.Hash) error {
	s.sideMu.Lock()
	defer s.sideMu.Unlock()
	b := f.Block
	h, hash := b.Header.Height, b.Hash()
	st := s.state.Load()
	switch {
	case hash != want:
		return fmt.Errorf("repair block %d with %s, the chain has %s: %w", h, hash, want, ErrNotOurs)
	case h > st.commit.Height || h == st.commit.Height && hash != st.commit.Hash:
		return fmt.Errorf("repair block %d: %w", h, ErrNotOurs)
	case h > 0 && h < st.base.blocks:
		return fmt.Errorf("repair block %d: %w", h, ErrPruned)
	}
	w := &sideWrite{set: []pair{
		{heightKey(spaceBlock, h), encodeBlock(b)},
		{heightKey(spaceHash, h), hash[:]},
		{hashKey(spaceHeight, hash), encodeUint64(uint64(h))},
	}}
	if h > 0 {
		w.set = append(w.set, pair{heightKey(spaceSignature, h), f.Signature[:]})
	}
	for i, tx := range b.Txs {
		w.set = append(w.set, pair{hashKey(spaceTx, tx.Hash()), txRef{height: h, index: uint32(i)}.encode()})
	}
	if _, err := s.CTermAt(h); isDamage(err) {
		// Not deleted: to find that it is deleted, Pebble would read on to where it cannot.
		w.set = append(w.set, pair{heightKey(spaceCTerm, h), encodeUint64(0)})
	}
	if err := s.writeSide(w, true); err != nil {
		return fmt.Errorf("repair block %d: %w", h, err)
	}
	return nil
}
