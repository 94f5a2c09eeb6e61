package nodetest

import (
	"fmt"
	"slices"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/replication"
	"github.com/baton-ha/baton/raftify/core"
)

// stored is one block of a durable chain. cterm is the certificate of its height, 0 for none.
type stored struct {
	blk   *block.Block
	hash  block.Hash
	cterm core.Term
}

// image is what a disk holds.
type image struct {
	hs     core.HardState
	blocks []stored // by height, genesis at 0; without a block where it was pruned or jumped over
	synced core.Term
	nacked core.Term
	commit replication.CommitRecord
	signer replication.Ref
	// claim is what was durable before some of it rotted, nil when nothing did. spare are blocks above the gap.
	claim *replication.Report
	spare []*block.Block
}

// HashAt implements replication.Reader.
func (im *image) HashAt(h block.Height) (block.Hash, bool) {
	if int(h) >= len(im.blocks) || im.blocks[h].blk == nil {
		return block.Hash{}, false
	}
	return im.blocks[h].hash, true
}

func (im *image) tip() replication.Ref {
	top := len(im.blocks) - 1
	return replication.Ref{Height: block.Height(top), Hash: im.blocks[top].hash}
}

func (im *image) holds(r replication.Ref) bool {
	h, ok := im.HashAt(r.Height)
	return ok && h == r.Hash
}

// record is one entry of a node's one queue of writes: a hard state of the election layer or a change of the chain.
type record struct {
	hs     *core.HardState
	seq    uint64
	w      *replication.Write
	signer replication.Ref // rides on whatever is written next
}

func (r *record) noSync() bool { return r.hs == nil && r.w.NoSync }

// apply changes the image; it returns how to undo that when r needs no fsync and may thus be lost once applied.
func (im *image) apply(r *record) (undo func(), err error) {
	if r.hs != nil {
		im.hs = *r.hs
		return nil, nil
	}
	w, signer := r.w, im.signer
	if r.signer != (replication.Ref{}) {
		im.signer = r.signer
	}
	if w.Cut != nil {
		if *w.Cut < im.commit.Ref.Height {
			return nil, fmt.Errorf("I12: cut to %d below the commit %v", *w.Cut, im.commit.Ref)
		}
		if int(*w.Cut) >= len(im.blocks) {
			return nil, fmt.Errorf("R7: cut to %d of %d blocks", *w.Cut, len(im.blocks))
		}
		im.blocks = im.blocks[:*w.Cut+1]
	}
	if w.Jump != nil {
		if w.Jump.Header.Height <= im.commit.Ref.Height {
			return nil, fmt.Errorf("I12: jump to %d, the commit is %v", w.Jump.Header.Height, im.commit.Ref)
		}
		im.jump(w.Jump)
	}
	for _, b := range w.Append {
		tip := im.tip()
		if b.Header.Height != tip.Height+1 || b.Header.Parent != tip.Hash {
			return nil, fmt.Errorf("R8: block %d/%x written on %v", b.Header.Height, hash4(b), tip)
		}
		im.blocks = append(im.blocks, stored{blk: b, hash: b.Hash()})
	}
	if w.Synced != nil {
		im.synced = *w.Synced
	}
	if w.Nacked != nil {
		im.nacked = *w.Nacked
	}
	im.redeem()
	if w.Commit == nil {
		return nil, nil
	}
	c := *w.Commit
	if !im.holds(c.Ref) {
		return nil, fmt.Errorf("I8: commit %v written where the chain has %v", c.Ref, im.tip())
	}
	if c.Ref.Height < im.commit.Ref.Height {
		return nil, fmt.Errorf("I12: commit written as %v after %v", c.Ref, im.commit.Ref)
	}
	old, from := im.commit, max(c.From, 1)
	var before []core.Term
	for h := from; h <= c.Ref.Height; h++ {
		before = append(before, im.blocks[h].cterm)
		im.blocks[h].cterm = c.CTerm
	}
	im.commit = c
	return func() {
		im.commit, im.signer = old, signer
		for i, t := range before {
			im.blocks[from+block.Height(i)].cterm = t
		}
	}, nil
}

// diskFault is how a disk treats fsync.
type diskFault struct {
	latency int64 // of one fsync, mean
	hung    bool  // fsyncs do not return
	fail    bool  // the next fsync fails
}

// disk is a node's one ordered queue of writes: one fsync serves all that was queued before it began.
type disk struct {
	im      image
	queue   []*record
	loose   []loose // applied without an fsync, lost by a crash
	busy    bool
	flushes int    // numbers fsyncs
	finish  func() // ends the fsync under way; nil: none
	fault   diskFault
	// ghost: an fsync failed and was tried again, which "worked". Nothing written since survives a crash (schedule 16).
	ghost *image
}

type loose struct {
	r    *record
	undo func()
}

// enqueue adds a record; start is called by the node after each step.
func (d *disk) enqueue(r *record) { d.queue = append(d.queue, r) }

// haunt makes everything from now on look durable without being so.
func (d *disk) haunt() {
	im := d.im
	im.blocks = slices.Clone(im.blocks)
	d.ghost = &im
}

// crash loses all of what no fsync covered but the first keep records; it returns how many were lost.
func (d *disk) crash(keep int) (lost int, err error) {
	n := len(d.loose)
	for i := len(d.loose) - 1; i >= 0 && i >= keep; i-- {
		if u := d.loose[i].undo; u != nil {
			u()
		}
		lost++
	}
	for i, r := range d.queue {
		if d.ghost != nil || n+i >= keep {
			lost++
			continue
		}
		if _, err := d.im.apply(r); err != nil {
			return lost, err
		}
	}
	if d.ghost != nil {
		d.im = *d.ghost
	}
	d.queue, d.loose, d.busy, d.finish, d.ghost = nil, nil, false, nil, nil
	return lost, nil
}

func hash4(b *block.Block) []byte {
	h := b.Hash()
	return h[:4]
}
