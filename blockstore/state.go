package blockstore

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/baton-ha/baton/blockstore/block"
)

// state is all that is small and read often. A published state never changes; the writer works on a copy.
type state struct {
	started       bool // genesis is there
	mark          mark // up to where the chain can be shown
	lost          *lost
	seq           uint64 // of the newest group
	durable       uint64 // of the newest group with a sync
	nacked        uint64
	commit        Commit
	election      []byte
	signer        ref
	checkpoint    Checkpoint
	hasCheckpoint bool
	base          bases
	imported      ImportState
}

// group turns queued batches into one Pebble batch and the state after it.
type group struct {
	store    *Store
	pb       *pebble.Batch
	st       state
	oldTip   block.Height
	from     uint64                        // number of the first group that the log may lose together with this one
	cut      *block.Height                 // lowest cut, if any
	jumped   bool                          // no block of the old chain but genesis is left
	appended map[block.Height]*block.Block // not in the database yet
	sync     bool
	batches  int
	bytes    int           // in the log
	waited   time.Duration // for the fsync
}

func (s *Store) newGroup() *group {
	st := *s.state.Load()
	return &group{
		store: s, pb: s.db.NewBatch(), st: st, oldTip: st.mark.height, appended: make(map[block.Height]*block.Block),
	}
}

func (g *group) set(key, value []byte) error { return g.pb.Set(key, value, nil) }

// hashAt returns the hash at a height of the chain as it is with this group so far.
func (g *group) hashAt(h block.Height) (block.Hash, error) {
	invariant(g.st.started && h <= g.st.mark.height, "height %d is above the tip %d", h, g.st.mark.height)
	if h == g.st.mark.height {
		return g.st.mark.tip, nil
	}
	if b := g.appended[h]; b != nil {
		return b.Hash(), nil
	}
	return g.store.storedHash(h)
}

func (g *group) blockAt(h block.Height) (*block.Block, error) {
	if b := g.appended[h]; b != nil {
		return b, nil
	}
	return g.store.storedBlock(h)
}

// add applies one batch to the group.
func (g *group) add(b Batch) error {
	g.batches++
	g.sync = g.sync || !b.NoSync
	if err := g.addChain(b); err != nil {
		return err
	}
	return g.addState(b)
}

// seal ends the group: it gets its number, and says up to where the chain reaches with it.
func (g *group) seal() error {
	if err := g.redeem(); err != nil {
		return err
	}
	g.st.seq++
	g.from = g.st.durable + 1
	if g.sync {
		g.st.durable = g.st.seq
	}
	p := position{seq: g.st.seq, from: g.from, mark: g.st.mark}
	if g.st.lost != nil {
		p.claim = &g.st.lost.claim
	}
	return g.set([]byte(metaPosition), p.encode())
}

// addChain applies the parts up to Nacked.
func (g *group) addChain(b Batch) error {
	if b.Election != nil {
		if err := g.setElection(b.Election); err != nil {
			return err
		}
	}
	if b.Cut != nil {
		if err := g.cutAbove(*b.Cut); err != nil {
			return err
		}
	}
	for _, blk := range b.Append {
		if err := g.append(blk); err != nil {
			return err
		}
	}
	if b.Jump != nil {
		if err := g.jump(b.Jump); err != nil {
			return err
		}
	}
	if b.Synced != nil {
		g.setSynced(*b.Synced)
	}
	if b.Jump != nil {
		invariant(g.st.lost == nil || !g.st.mark.less(g.st.lost.claim), "R25: jump to %d, less than was asserted", g.st.mark.height)
	}
	if b.Nacked != nil {
		return g.setNacked(*b.Nacked)
	}
	return nil
}

// addState applies the parts from Commit on.
func (g *group) addState(b Batch) error {
	if b.Commit != nil {
		if err := g.commit(*b.Commit); err != nil {
			return err
		}
	}
	if len(b.Signed) > 0 {
		if err := g.sign(b.Signed); err != nil {
			return err
		}
	}
	if b.side != nil {
		return g.side(b.side)
	}
	return nil
}

func (g *group) setElection(hard []byte) error {
	g.st.election = bytes.Clone(hard)
	return g.set([]byte(metaElection), hard)
}

func (g *group) setSynced(term uint64) {
	invariant(term >= g.st.mark.synced, "synced would fall from %d to %d", g.st.mark.synced, term)
	g.st.mark.synced = term // written with the mark
}

func (g *group) setNacked(term uint64) error {
	g.st.nacked = term
	return g.set([]byte(metaNacked), encodeUint64(term))
}

func (g *group) cutAbove(h block.Height) error {
	invariant(g.st.started, "cut at %d in an empty store", h)
	invariant(h >= g.st.commit.Height, "I12: cut at %d, below the commit at %d", h, g.st.commit.Height)
	for top := g.st.mark.height; top > h; top-- {
		hash, err := g.hashAt(top)
		if err != nil {
			return err
		}
		for _, key := range [][]byte{heightKey(spaceBlock, top), heightKey(spaceHash, top), hashKey(spaceHeight, hash)} {
			if err := g.pb.Delete(key, nil); err != nil {
				return err
			}
		}
		below, err := g.hashAt(top - 1)
		if err != nil {
			return err
		}
		delete(g.appended, top)
		g.st.mark.height, g.st.mark.tip = top-1, below
	}
	if g.cut == nil || h < *g.cut {
		g.cut = &h
	}
	return nil
}

func (g *group) append(b *block.Block) error {
	h, hash := b.Header.Height, b.Hash()
	if g.st.started {
		invariant(h == g.st.mark.height+1, "append of %d on the tip %d", h, g.st.mark.height)
		invariant(b.Header.Parent == g.st.mark.tip, "append of %d on parent %s, tip is %s", h, b.Header.Parent, g.st.mark.tip)
	} else {
		invariant(h == 0 && b.Header.Parent.IsZero(), "an empty store takes genesis first, not height %d", h)
		g.st.started = true
		if err := g.setCommit(Commit{Height: 0, Hash: hash}); err != nil {
			return err
		}
	}
	g.st.mark.height, g.st.mark.tip = h, hash
	g.appended[h] = b
	if err := g.replaceLost(h, hash); err != nil {
		return err
	}
	if err := g.set(heightKey(spaceBlock, h), encodeBlock(b)); err != nil {
		return err
	}
	if err := g.set(heightKey(spaceHash, h), hash[:]); err != nil {
		return err
	}
	return g.set(hashKey(spaceHeight, hash), encodeUint64(uint64(h)))
}

func (g *group) setCommit(c Commit) error {
	g.st.commit = c
	return g.set([]byte(metaCommit), c.encode())
}

func (g *group) commit(c Commit) error {
	old := g.st.commit.Height
	invariant(c.Height >= old, "I12: commit would fall from %d to %d", old, c.Height)
	hash, err := g.hashAt(c.Height)
	if err != nil {
		return err
	}
	invariant(hash == c.Hash, "R11: commit of %s at %d, own chain has %s", c.Hash, c.Height, hash)
	if c.CTerm != 0 {
		c.From = max(c.From, 1)
		invariant(c.From <= c.Height || c.Height == 0, "certificate from %d to %d", c.From, c.Height)
		for h := c.From; h <= c.Height; h++ {
			if err := g.set(heightKey(spaceCTerm, h), encodeUint64(c.CTerm)); err != nil {
				return err
			}
		}
	}
	for h := old + 1; h <= c.Height; h++ {
		b, err := g.blockAt(h)
		if err != nil {
			return err
		}
		for i, tx := range b.Txs {
			if err := g.set(hashKey(spaceTx, tx.Hash()), txRef{height: h, index: uint32(i)}.encode()); err != nil {
				return err
			}
		}
	}
	return g.setCommit(c)
}

func (g *group) sign(signed []Signed) error {
	record := g.st.signer
	for _, sig := range signed {
		invariant(sig.Height > 0 && sig.Height <= g.st.commit.Height,
			"I10: signature at %d, commit is %d", sig.Height, g.st.commit.Height)
		hash, err := g.hashAt(sig.Height)
		if err != nil {
			return err
		}
		invariant(hash == sig.Hash, "I10: signature of %s at %d, own chain has %s", sig.Hash, sig.Height, hash)
		if err := g.set(heightKey(spaceSignature, sig.Height), sig.Signature[:]); err != nil {
			return err
		}
		if sig.Height >= record.height {
			record = ref{height: sig.Height, hash: sig.Hash}
		}
	}
	g.st.signer = record
	return g.set([]byte(metaSigner), record.encode())
}

func (g *group) checkpoint(c Checkpoint) error {
	invariant(g.st.started && c.Height <= g.st.commit.Height,
		"checkpoint at %d, commit is %d", c.Height, g.st.commit.Height)
	hash, err := g.hashAt(c.Height)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	invariant(hash == c.Hash, "checkpoint of %s at %d, own chain has %s", c.Hash, c.Height, hash)
	old := g.st.checkpoint
	invariant(c.Seq == old.Seq+1 && c.Height >= old.Height && c.NextNode >= old.NextNode && c.RootNode < c.NextNode,
		"checkpoint %+v after %+v", c, old)
	g.st.checkpoint, g.st.hasCheckpoint = c, true
	if err := g.set(seqKey(spaceCheckpoint, c.Seq), c.encode()); err != nil {
		return err
	}
	return g.set([]byte(metaCheckpoint), c.encode())
}

// blocks returns the appended blocks that are still in the chain, lowest first.
func (g *group) blocks() []*block.Block {
	out := make([]*block.Block, 0, len(g.appended))
	for h := g.st.mark.height; ; h-- {
		b := g.appended[h]
		if b == nil {
			break
		}
		out = append(out, b)
		if h == 0 {
			break
		}
	}
	slices.Reverse(out)
	return out
}
