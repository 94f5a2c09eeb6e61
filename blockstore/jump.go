package blockstore

import (
	"fmt"

	"github.com/baton-ha/baton/blockstore/block"
)

// Jump makes a chain that came from elsewhere the own one: it starts anew at one committed and signed block whose state
// was transferred before. [Transfer.Finish] makes it.
type Jump struct {
	// Final is the block, its signature, and the term of its commit certificate, 0 for none. Whoever made it has checked
	// the signature.
	Final block.Final

	checkpoint Checkpoint
	state      *sideWrite
}

// Checkpoint returns the checkpoint of the transferred state. Its nodes can be read already, though the store speaks of it
// only from the jump on.
func (j *Jump) Checkpoint() Checkpoint { return j.checkpoint }

// jump replaces the chain above genesis, committed or not, by the block of j, above all that was committed (I12).
func (g *group) jump(j *Jump) error {
	b := j.Final.Block
	h, hash := b.Header.Height, b.Hash()
	invariant(g.st.started, "jump to %d in an empty store", h)
	invariant(h > g.st.commit.Height, "I12: jump to %d, the commit is at %d", h, g.st.commit.Height)
	genesis, err := g.hashAt(0)
	if err != nil {
		return fmt.Errorf("jump: %w", err)
	}
	// By height from 1 on, and by hash: the old chain goes, whatever of it is there.
	for _, r := range [][2][]byte{
		{heightKey(spaceBlock, 1), {spaceBlock + 1}},
		{heightKey(spaceHash, 1), {spaceHash + 1}},
		{{spaceHeight}, {spaceHeight + 1}},
		{{spaceSignature}, {spaceSignature + 1}},
		{{spaceCTerm}, {spaceCTerm + 1}},
		{{spaceTx}, {spaceTx + 1}},
		{{spaceTxs}, {spaceTxs + 1}},
	} {
		if err := g.pb.DeleteRange(r[0], r[1], nil); err != nil {
			return err
		}
	}
	if err := g.set(hashKey(spaceHeight, genesis), encodeUint64(0)); err != nil {
		return err
	}
	clear(g.appended)
	g.cut, g.jumped = nil, true
	g.st.mark.height, g.st.mark.tip = h-1, b.Header.Parent
	// Nothing is there between genesis and h: commit begins at h.
	g.st.commit = Commit{Height: h - 1, Hash: b.Header.Parent}
	if err := g.append(b); err != nil {
		return err
	}
	if err := g.commit(Commit{Height: h, Hash: hash, CTerm: j.Final.CTerm, From: h}); err != nil {
		return err
	}
	if err := g.sign([]Signed{{Height: h, Hash: hash, Signature: j.Final.Signature}}); err != nil {
		return err
	}
	if err := g.side(j.state); err != nil {
		return err
	}
	if err := g.checkpoint(j.checkpoint); err != nil {
		return err
	}
	return g.setBase(bases{blocks: h, receipts: h}, false)
}
