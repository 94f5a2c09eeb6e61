package blockstore

import (
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/blockstore/merkle"
)

// Batch is a set of changes that become durable together or not at all. Zero fields are absent. The parts apply in the
// order of the fields. What a batch refers to must not be changed once it is enqueued.
//
// A batch that breaks a rule written at a field is a mistake of our own code and panics in the writer.
type Batch struct {
	// Election is the opaque hard state of the election layer.
	Election []byte
	// Cut drops the own blocks above this height, which is not below the committed one (R7, I12).
	Cut *block.Height
	// Append extends the chain: heights without a gap from the tip (after Cut), each with its parent's hash. The very
	// first block of an empty store is genesis: height 0, zero parent. Genesis is committed by being there.
	Append []*block.Block
	// Jump replaces the chain above genesis by one committed block whose state was transferred (R7, R11). It is above all
	// that was committed here, and with Synced it makes the mark no smaller than it was asserted to be.
	Jump *Jump
	// Synced is the term whose leader's chain ours is a prefix of; it never falls.
	Synced *uint64
	// Nacked is the term in which this node nacked (R13).
	Nacked *uint64
	// Commit moves the commit height, never down.
	Commit *Commit
	// Signed stores signatures of committed blocks. The highest height ever stored, with its hash, is the signer's
	// record of R12.
	Signed []Signed
	// NoSync lets the batch ride on the next fsync: done follows when it is applied, and a crash may lose it together
	// with everything after it, never alone. One of commits and signatures alone is applied together with the next batch
	// that comes, after 20 ms at the latest; reads do not see it before.
	NoSync bool

	// side is what checkpoints and pruning write; it applies last.
	side *sideWrite
}

// Commit is a commit height with its certificate.
type Commit struct {
	// Height and Hash name the highest committed block of the own chain.
	Height block.Height
	Hash   block.Hash
	// CTerm is the term whose leader counted the commit (R11); 0 means that there is no certificate to record.
	CTerm uint64
	// From is the lowest height that the certificate holds for; it is recorded for From..Height. Genesis never has one,
	// so 0 is the same as 1.
	From block.Height
}

// Signed is a block's signature by the processor key.
type Signed struct {
	Height    block.Height
	Hash      block.Hash
	Signature block.Signature
}

// Checkpoint names a state that is stored completely.
type Checkpoint struct {
	// Seq numbers the checkpoints of a store from 1 on.
	Seq    uint64
	Height block.Height
	Hash   block.Hash // the block's
	Root   block.Hash // of the state after that block
	// RootNode is where that state's topmost node is stored, 0 for the empty state.
	RootNode merkle.NodeID
	// NextNode is the lowest node id that was free then: nodes from there on belong to later checkpoints.
	NextNode merkle.NodeID
}

// canWait reports whether the batch is only about blocks that are stored already, so that nobody waits for it and it can
// be written together with the next one.
func (b *Batch) canWait() bool {
	return b.NoSync && b.Election == nil && b.Cut == nil && len(b.Append) == 0 && b.Jump == nil && b.Synced == nil && b.Nacked == nil &&
		b.side == nil
}

// clone returns a shallow copy of a batch's pointers' targets, so that a caller may reuse its variables.
func (b Batch) clone() Batch {
	b.Cut = cloned(b.Cut)
	b.Synced = cloned(b.Synced)
	b.Nacked = cloned(b.Nacked)
	b.Commit = cloned(b.Commit)
	return b
}

func cloned[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}
