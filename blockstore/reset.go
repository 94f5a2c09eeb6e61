package blockstore

import (
	"fmt"

	"github.com/baton-ha/baton/blockstore/merkle"
)

// MarkStateDamaged notes that stored state cannot be read, so that a start does not go on from it; see
// [Store.ResetState]. It blocks until that is durable.
func (s *Store) MarkStateDamaged() error {
	if err := s.writeSide(&sideWrite{set: []pair{{[]byte(metaDamage), []byte{1}}}}, true); err != nil {
		return fmt.Errorf("note damage: %w", err)
	}
	return nil
}

// StateDamaged reports whether MarkStateDamaged was called since the last ResetState. It reads the disk.
func (s *Store) StateDamaged() (bool, error) {
	_, marked, err := optional(s.db, "load damage", metaDamage, func(b []byte) ([]byte, error) { return b, nil })
	return marked, err
}

// CheckState reads all of a stored state, and returns a [*merkle.CorruptionError], or another one, for the first node that
// is missing or not what its hash says.
func (s *Store) CheckState(c Checkpoint) error {
	return merkle.Walk(s, c.Root, c.RootNode, func(merkle.NodeID, merkle.Hash) (bool, error) { return true, nil })
}

// ResetState drops the stored states that are newer than the checkpoint, all of them for nil, in one batch: what came after
// it is to be executed again. Nobody may use them any more. With nil the chain must have all of its blocks. It blocks until
// it is durable.
func (s *Store) ResetState(c *Checkpoint) error {
	s.sideMu.Lock()
	defer s.sideMu.Unlock()
	w := &sideWrite{reset: true, resetTo: c, del: [][]byte{[]byte(metaDamage)}}
	var to Checkpoint
	if c != nil {
		to = *c
		w.set = []pair{{[]byte(metaCheckpoint), c.encode()}}
	} else {
		w.del = append(w.del, []byte(metaCheckpoint))
	}
	w.clear = [][2][]byte{
		{seqKey(spaceNode, uint64(to.NextNode)), {spaceNode + 1}},
		{seqKey(spaceStale, to.Seq+1), {spaceStale + 1}},
		{seqKey(spaceCheckpoint, to.Seq+1), {spaceCheckpoint + 1}},
		{{spacePart}, {spacePart + 1}},
	}
	if err := s.writeSide(w, true); err != nil {
		return fmt.Errorf("drop stored state: %w", err)
	}
	return nil
}

func (g *group) resetState(c *Checkpoint) {
	if c == nil {
		invariant(g.st.base.blocks <= 1, "all state dropped, blocks begin at %d", g.st.base.blocks)
		g.st.checkpoint, g.st.hasCheckpoint = Checkpoint{}, false
		return
	}
	invariant(g.st.base.blocks <= c.Height && c.Seq <= g.st.checkpoint.Seq, "state reset to %+v, blocks begin at %d", *c, g.st.base.blocks)
	g.st.checkpoint, g.st.hasCheckpoint = *c, true
}
