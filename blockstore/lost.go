package blockstore

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/baton-ha/baton/blockstore/block"
)

// lost is what a store knows of blocks that it once asserted to hold and cannot show: the chain ends below the first of
// them, and what stands above stays where it is until the chain has caught up with the claim or was replaced by a newer
// leader's.
type lost struct {
	claim mark
	// why is what was wrong with the first of them, nil when the log lost them or it was an earlier start that found it.
	why error
	// spare are the blocks above the tip that can be read.
	spare []*block.Block
	// stale are the records above the tip.
	stale []ref
}

// asserted is what votes report and the mark file says.
func (st *state) asserted() mark {
	if st.lost != nil {
		return st.lost.claim
	}
	return st.mark
}

// lose ends the chain at a height below its tip, because the block above it cannot be read. What is left is still a
// prefix of the chain of the term's leader, but may end below its takeover.
func (st *state) lose(height block.Height, tip block.Hash, why error) {
	if st.lost == nil {
		st.lost = &lost{claim: st.mark}
	}
	st.lost.why = why
	st.mark.height, st.mark.tip = height, tip
}

// gather reads what stands above the tip.
func (l *lost) gather(db pebble.Reader, tip block.Height) error {
	hashes := map[block.Height]block.Hash{}
	for _, space := range []byte{spaceHash, spaceBlock} { // the second one knows better
		err := scan(db, heightKey(space, tip+1), []byte{space + 1}, func(key, value []byte) {
			h, err := keyHeight(key)
			if err != nil || len(value) < block.HashBytes {
				return
			}
			hash := block.Hash(value[:block.HashBytes])
			if _, ok := hashes[h]; !ok || space == spaceBlock {
				hashes[h] = hash
			}
			if space != spaceBlock {
				return
			}
			if b, err := decodeBlock(h, value); err == nil {
				l.spare = append(l.spare, b)
			}
		})
		if err != nil && !pebble.IsCorruptionError(err) {
			return fmt.Errorf("look for blocks above %d: %w", tip, err)
		}
	}
	for h, hash := range hashes {
		l.stale = append(l.stale, ref{h, hash})
	}
	slices.SortFunc(l.stale, func(a, b ref) int { return cmp.Compare(a.height, b.height) })
	return nil
}

func scan(db pebble.Reader, from, to []byte, each func(key, value []byte)) error {
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return err
	}
	for more := it.First(); more; more = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return errors.Join(err, it.Close())
		}
		each(it.Key(), value)
	}
	return errors.Join(it.Error(), it.Close())
}

// replaceLost takes a record out of the index whose height gets another block.
func (g *group) replaceLost(h block.Height, hash block.Hash) error {
	if g.st.lost == nil {
		return nil
	}
	for _, r := range g.st.lost.stale {
		if r.height == h && r.hash != hash {
			if err := g.pb.Delete(hashKey(spaceHeight, r.hash), nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// redeem forgets the claim once the chain is as good as it: the blocks are back, or a later leader's chain took their
// place. Then what is left above the tip goes.
func (g *group) redeem() error {
	l := g.st.lost
	if l == nil || g.st.mark.less(l.claim) {
		return nil
	}
	invariant(g.st.mark.synced != l.claim.synced || g.st.mark.height != l.claim.height || g.st.mark.tip == l.claim.tip,
		"I6: %s stands at %d in term %d, where %s was", g.st.mark.tip, l.claim.height, l.claim.synced, l.claim.tip)
	for _, r := range l.stale {
		if r.height <= g.st.mark.height {
			continue
		}
		for _, key := range [][]byte{heightKey(spaceBlock, r.height), heightKey(spaceHash, r.height), hashKey(spaceHeight, r.hash)} {
			if err := g.pb.Delete(key, nil); err != nil {
				return err
			}
		}
	}
	g.st.lost = nil
	return nil
}

// Lost says what the store once asserted to hold and cannot show.
type Lost struct {
	// Synced, Height and Tip are the mark: what votes must go on to report.
	Synced uint64
	Height block.Height
	Tip    block.Hash
	// Spare are blocks above the tip that are stored all the same, in no promised order.
	Spare []*block.Block
}

// Lost returns what is lost at the chain's end, nil when nothing is. It is over when a batch makes the chain, as
// (synced, height), as great as the mark.
func (s *Store) Lost() *Lost {
	l := s.state.Load().lost
	if l == nil {
		return nil
	}
	return &Lost{Synced: l.claim.synced, Height: l.claim.height, Tip: l.claim.tip, Spare: slices.Clone(l.spare)}
}
