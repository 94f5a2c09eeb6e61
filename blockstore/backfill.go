package blockstore

import (
	"errors"
	"fmt"

	"github.com/baton-ha/baton/blockstore/block"
)

// ErrNotBelow is returned by [Store.FillBelow] for blocks that do not lead up to the lowest one that the store has, or when
// nothing is to be filled in.
var ErrNotBelow = errors.New("not the blocks below the lowest one here")

// FillBelow puts older blocks, with their signatures, certificates and transactions' entries, below the lowest one that the
// store has: after a [Jump] the chain may be filled in downwards. The blocks ascend without a gap, each with its parent's
// hash, and the one above is the lowest that is there, which names the last of them as its parent: so there is no other
// chain that they could be of. A signature must be the processor's, which the caller has verified. What goes down to height
// 1 must stand on genesis.
//
// It is one batch, without an fsync of its own, that may crash anywhere: what is written is found by [Store.Base]. It blocks
// until it is applied. A store that has receipts below its blocks takes none: retention removed these.
func (s *Store) FillBelow(finals []block.Final) error {
	s.sideMu.Lock()
	defer s.sideMu.Unlock()
	if err := s.fillBelow(finals); err != nil {
		return fmt.Errorf("fill in older blocks: %w", err)
	}
	return nil
}

func (s *Store) fillBelow(finals []block.Final) error {
	st := s.state.Load()
	base := st.base.blocks
	if len(finals) == 0 || base <= 1 || st.base.receipts != base || base > st.commit.Height {
		return ErrNotBelow
	}
	lowest, err := s.storedBlock(base)
	if err != nil {
		return err
	}
	want, h := lowest.Header.Parent, base
	w := &sideWrite{}
	for i := len(finals) - 1; i >= 0; i-- {
		f := &finals[i]
		b := f.Block
		hash := b.Hash()
		if h--; h == 0 || b.Header.Height != h || hash != want {
			return fmt.Errorf("block %d/%s, want %d/%s: %w", b.Header.Height, hash, h, want, ErrNotBelow)
		}
		w.set = append(w.set,
			pair{heightKey(spaceBlock, h), encodeBlock(b)},
			pair{heightKey(spaceHash, h), hash[:]},
			pair{hashKey(spaceHeight, hash), encodeUint64(uint64(h))},
			pair{heightKey(spaceSignature, h), f.Signature[:]},
		)
		if f.CTerm != 0 {
			w.set = append(w.set, pair{heightKey(spaceCTerm, h), encodeUint64(f.CTerm)})
		}
		for j, tx := range b.Txs {
			w.set = append(w.set, pair{hashKey(spaceTx, tx.Hash()), txRef{height: h, index: uint32(j)}.encode()})
		}
		want = b.Header.Parent
	}
	if h == 1 {
		genesis, err := s.storedHash(0)
		if err != nil {
			return err
		}
		if genesis != want {
			return fmt.Errorf("block 1 stands on %s, genesis is %s: %w", want, genesis, ErrNotBelow)
		}
	}
	w.base, w.lower = &bases{blocks: h, receipts: h}, true
	return s.writeSide(w, false)
}
