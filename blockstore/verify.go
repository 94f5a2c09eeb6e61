package blockstore

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"math"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/blockstore/merkle"
)

// maxProblems bounds Report.Problems.
const maxProblems = 100

// Report is what VerifyDir found.
type Report struct {
	// Tip is the highest block, Committed the highest committed one.
	Tip       block.Height
	TipHash   block.Hash
	Committed block.Height
	// Signed blocks have a valid signature. Unsigned ones are committed but have none stored, which is no fault: a
	// follower need not have heard every one.
	Signed, Unsigned uint64
	// Transactions in committed blocks.
	Transactions uint64
	// Base is the lowest height from which on all blocks are there, 0 when none was pruned. Transactions counts from it.
	Base block.Height
	// Checkpoint is the newest stored state, StateEntries how many entries it has; nil when there is none.
	Checkpoint   *Checkpoint
	StateEntries uint64
	// StateNodes are its nodes; StaleNodes are those that only older checkpoints have.
	StateNodes, StaleNodes uint64
	// Problems are what is wrong, the first 100; more than that leaves MoreProblems set.
	Problems     []error
	MoreProblems bool
}

// OK reports whether nothing is wrong.
func (r *Report) OK() bool { return len(r.Problems) == 0 }

func (r *Report) problem(err error) {
	if len(r.Problems) == maxProblems {
		r.MoreProblems = true
		return
	}
	r.Problems = append(r.Problems, err)
}

// VerifyDir checks a data folder that no node has open, without changing it: every block's bytes and hash, its link to
// its parent, the signatures, the indexes, the mark and the newest stored state. A nil pub skips the signatures, a zero
// genesisHash the comparison of genesis. The error is about not being able to look at all, such as [ErrInUse]; what is
// wrong with the content is in the report.
func VerifyDir(fs vfs.FS, dir string, pub ed25519.PublicKey, genesisHash block.Hash) (rep Report, err error) {
	if fs == nil {
		fs = vfs.Default
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("verify %s: %w", dir, err)
		}
	}()
	r, err := openReader(fs, dir)
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	found, err := readMarks(fs, dir)
	if err != nil {
		return rep, err
	}
	v := verifier{db: r.db, pub: pub, genesis: genesisHash, rep: &rep}
	return rep, v.run(r.state, found)
}

// verifier is one VerifyDir under way.
type verifier struct {
	db      *pebble.DB
	pub     ed25519.PublicKey
	genesis block.Hash
	rep     *Report
	pruned  uint64 // transactions of blocks that are pruned, with receipts
}

func (v *verifier) run(st *state, found *marks) error {
	if err := v.mark(found); err != nil {
		return err
	}
	if _, err := checkTail(v.db, st); err != nil {
		v.rep.problem(err)
	}
	if l := st.lost; l != nil {
		if l.why != nil {
			v.rep.problem(l.why)
		}
		v.rep.problem(corrupt("verify tail", st.mark.height+1, "blocks up to %d of term %d are damaged or missing", l.claim.height, l.claim.synced))
	}
	if !st.started {
		return nil
	}
	v.rep.Tip, v.rep.TipHash, v.rep.Committed = st.mark.height, st.mark.tip, st.commit.Height
	v.rep.Base = st.base.blocks
	var below *block.Block
	for h := block.Height(0); h <= st.mark.height; h++ {
		if h > 0 && h < st.base.blocks {
			if h >= st.base.receipts {
				v.receipts(h)
			}
			below = nil
			continue
		}
		b, err := loadLinked(v.db, h)
		if err != nil {
			v.rep.problem(err)
			below = nil
			continue
		}
		v.block(h, b, below)
		if h <= st.commit.Height {
			v.committed(h, b)
		}
		below = b
	}
	if err := v.counts(st); err != nil {
		return err
	}
	if st.signer.height > 0 {
		v.chainHas(st.signer.height, st.signer.hash, "signer record")
	}
	if st.hasCheckpoint {
		return v.state(st.checkpoint)
	}
	return nil
}

// mark compares the mark file with the chain. That the last write is only in one of the two is no fault.
func (v *verifier) mark(found *marks) error {
	folder, err := read(v.db, "load folder id", []byte(metaFolder), decodeFolder)
	if err != nil {
		return err
	}
	pos, _, err := optional(v.db, "load position", metaPosition, decodePosition)
	if err != nil {
		return err
	}
	f, err := judge(found, folder, pos)
	if err != nil {
		v.rep.problem(err)
		return nil
	}
	if err := f.checkPromises(v.db); err != nil {
		v.rep.problem(err)
	}
	for _, err := range found.damage {
		v.rep.problem(&CorruptionError{Op: "verify mark", Err: err})
	}
	if f.missing {
		v.rep.problem(corrupt("verify mark", f.mark.mark.height, "the log's last write is lost"))
	}
	return nil
}

// block checks a block against the one below it, nil when that is unreadable.
func (v *verifier) block(h block.Height, b, below *block.Block) {
	switch {
	case h == 0 && !v.genesis.IsZero() && b.Hash() != v.genesis:
		v.rep.problem(corrupt("verify genesis", h, "hash is %s, the genesis file gives %s", b.Hash(), v.genesis))
	case h == 0 && !b.Header.Parent.IsZero():
		v.rep.problem(corrupt("verify genesis", h, "it has a parent"))
	case h == 0 || below == nil:
	case b.Header.Parent != below.Hash():
		v.rep.problem(corrupt("verify block", h, "parent is %s, block below is %s", b.Header.Parent, below.Hash()))
	case b.Header.TimeMs < below.Header.TimeMs:
		v.rep.problem(corrupt("verify block", h, "time is before its parent's"))
	case b.Header.ChainID != below.Header.ChainID:
		v.rep.problem(corrupt("verify block", h, "chain id is %q, below %q", b.Header.ChainID, below.Header.ChainID))
	}
}

// committed checks what exists for committed blocks only: signature and transaction index.
func (v *verifier) committed(h block.Height, b *block.Block) {
	v.certificate(h, b)
	if h > 0 {
		sig, err := read(v.db, "verify signature", heightKey(spaceSignature, h), decodeSignature)
		switch {
		case errors.Is(err, ErrNotFound):
			v.rep.Unsigned++
		case err != nil:
			v.rep.problem(atHeight(h, err))
		case len(v.pub) > 0 && !block.VerifySignature(v.pub, b.Hash(), sig):
			v.rep.problem(corrupt("verify signature", h, "it is not by this processor key over this block"))
		default:
			v.rep.Signed++
		}
	}
	for i, tx := range b.Txs {
		v.rep.Transactions++
		r, err := read(v.db, "verify index", hashKey(spaceTx, tx.Hash()), decodeTxRef)
		if err != nil {
			v.rep.problem(missing(h, err))
		} else if r != (txRef{height: h, index: uint32(i)}) {
			v.rep.problem(corrupt("verify index", h, "transaction %s is indexed at %d/%d", tx.Hash(), r.height, r.index))
		}
	}
}

// certificate checks the term in which a block was counted as committed, where one is recorded: it cannot be older than the
// block.
func (v *verifier) certificate(h block.Height, b *block.Block) {
	term, err := read(v.db, "verify certificate", heightKey(spaceCTerm, h), decodeUint64)
	switch {
	case errors.Is(err, ErrNotFound):
	case err != nil:
		v.rep.problem(atHeight(h, err))
	case term == 0: // one that could not be read was replaced
	case term < b.Header.Term || h == 0:
		v.rep.problem(corrupt("verify certificate", h, "committed in term %d, proposed in term %d", term, b.Header.Term))
	}
}

// counts checks that no index has entries besides those that the chain accounts for.
func (v *verifier) counts(st *state) error {
	kept := func(base block.Height) uint64 { return uint64(st.mark.height) + 1 - uint64(max(base, 1)-1) }
	chain := kept(st.base.blocks)
	for _, c := range []struct {
		name  string
		space byte
		want  uint64
	}{
		{"blocks", spaceBlock, chain},
		{"hashes", spaceHash, kept(st.base.receipts)},
		{"heights", spaceHeight, chain},
		{"transactions", spaceTx, v.rep.Transactions + v.pruned},
		{"pruned blocks' transactions", spaceTxs, kept(st.base.receipts) - chain},
	} {
		got, err := count(v.db, []byte{c.space}, []byte{c.space + 1})
		if err != nil {
			if err := v.unreadable("verify index", err); err != nil {
				return err
			}
			continue
		}
		if got != c.want && st.lost == nil {
			v.rep.problem(corrupt("verify index", 0, "%d %s are stored, the chain has %d", got, c.name, c.want))
		}
	}
	for _, space := range []byte{spaceSignature, spaceCTerm} {
		got, err := count(v.db, heightKey(space, st.commit.Height+1), []byte{space + 1})
		if err != nil {
			if err := v.unreadable("verify index", err); err != nil {
				return err
			}
		}
		if got > 0 {
			v.rep.problem(corrupt("verify index", st.commit.Height, "%d records %q stand above the commit", got, space))
		}
	}
	return nil
}

// unreadable puts what Pebble cannot read into the report, and returns any other error.
func (v *verifier) unreadable(op string, err error) error {
	if !pebble.IsCorruptionError(err) {
		return err
	}
	v.rep.problem(&CorruptionError{Op: op, Err: err})
	return nil
}

func count(db pebble.Reader, from, to []byte) (n uint64, err error) {
	return countUpTo(db, from, to, math.MaxUint64)
}

// receipts checks what is left of a pruned block.
func (v *verifier) receipts(h block.Height) {
	hashes, err := read(v.db, "verify receipts", heightKey(spaceTxs, h), decodeHashes)
	if err != nil {
		v.rep.problem(missing(h, err))
		return
	}
	for i, hash := range hashes {
		v.pruned++
		r, err := read(v.db, "verify receipts", hashKey(spaceTx, hash), decodeTxRef)
		if err != nil {
			v.rep.problem(missing(h, err))
		} else if r != (txRef{height: h, index: uint32(i)}) {
			v.rep.problem(corrupt("verify receipts", h, "transaction %s is indexed at %d/%d", hash, r.height, r.index))
		}
	}
}

func (v *verifier) chainHas(h block.Height, hash block.Hash, what string) {
	got, err := read(v.db, "verify "+what, heightKey(spaceHash, h), decodeHash)
	if err != nil {
		v.rep.problem(missing(h, err))
	} else if got != hash {
		v.rep.problem(corrupt("verify "+what, h, "it names %s, the chain has %s", hash, got))
	}
}

// state reads every node of the newest checkpoint's state, and holds what else is stored against what pruning will find:
// every other node must be named, once, as one that only older checkpoints have.
func (v *verifier) state(c Checkpoint) error {
	v.rep.Checkpoint = &c
	v.chainHas(c.Height, c.Hash, "checkpoint")
	if b, err := loadLinked(v.db, c.Height); err == nil && b.Header.StateRoot != c.Root {
		v.rep.problem(corrupt("verify state", c.Height, "checkpoint has root %s, the block %s", c.Root, b.Header.StateRoot))
	}
	m, err := merkle.Load(nodes{v.db}, c.Root, c.RootNode)
	if err == nil {
		err = m.Range(nil, nil, func(_, _ []byte) bool { v.rep.StateEntries++; return true })
	}
	seen := idSet{}
	if err == nil {
		v.rep.StateNodes, err = v.walk(c, seen)
	}
	if err != nil {
		v.rep.problem(&CorruptionError{Op: "verify state", Height: c.Height, Err: err})
	}
	if !v.olderStates(c, seen) {
		return nil // nothing can be said of what pruning will find
	}
	return v.stale(c)
}

// olderStates reads what the states of the checkpoints before c have besides. False: they cannot be listed.
func (v *verifier) olderStates(c Checkpoint, seen idSet) bool {
	all, err := checkpoints(v.db, math.MaxInt)
	if err != nil {
		v.rep.problem(&CorruptionError{Op: "verify state", Height: c.Height, Err: err})
		return false
	}
	if len(all) == 0 || all[len(all)-1] != c || uint64(len(all)) != c.Seq-all[0].Seq+1 {
		v.rep.problem(corrupt("verify state", c.Height, "%d checkpoints are listed, the newest of them is another one", len(all)))
	}
	for _, old := range all[:max(len(all), 1)-1] { // they share most of their nodes
		if b, err := loadLinked(v.db, old.Height); err == nil && (b.Hash() != old.Hash || b.Header.StateRoot != old.Root) {
			v.rep.problem(corrupt("verify state", old.Height, "checkpoint has root %s, the block %s", old.Root, b.Header.StateRoot))
		}
		if _, err := v.walk(old, seen); err != nil {
			v.rep.problem(&CorruptionError{Op: "verify older state", Height: old.Height, Err: err})
		}
	}
	return true
}

// walk reads the nodes of a checkpoint's state that were not seen yet, and counts them.
func (v *verifier) walk(c Checkpoint, seen idSet) (n uint64, err error) {
	err = merkle.Walk(nodes{v.db}, c.Root, c.RootNode, func(id merkle.NodeID, _ merkle.Hash) (bool, error) {
		if !seen.add(id) {
			return false, nil
		}
		n++
		return true, nil
	})
	return n, err
}

// idSet is a set of node ids, most of which lie close together: a bit each.
type idSet map[merkle.NodeID]*[512]uint64

// add reports whether id was not there yet.
func (s idSet) add(id merkle.NodeID) bool {
	const page = 512 * 64
	p := s[id/page]
	if p == nil {
		p = new([512]uint64)
		s[id/page] = p
	}
	word, bit := &p[id%page/64], uint64(1)<<(id%64)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	return true
}

// stale counts the nodes that pruning will find.
func (v *verifier) stale(c Checkpoint) (err error) {
	it, err := v.db.NewIter(&pebble.IterOptions{LowerBound: []byte{spaceStale}, UpperBound: seqKey(spaceStale, c.Seq+1)})
	if err != nil {
		return fmt.Errorf("verify stale nodes: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for more := it.First(); more; more = it.Next() {
		ids, err := decodeIDs(it.Value())
		if err != nil {
			v.rep.problem(corrupt("verify stale nodes", c.Height, "key %x: %w", it.Key(), err))
		}
		v.rep.StaleNodes += uint64(len(ids))
	}
	stored, err := count(v.db, []byte{spaceNode}, seqKey(spaceNode, uint64(c.NextNode)))
	if err == nil && stored != v.rep.StateNodes+v.rep.StaleNodes {
		v.rep.problem(corrupt("verify stale nodes", c.Height, "%d state nodes are stored, %d are of use and %d are named as old",
			stored, v.rep.StateNodes, v.rep.StaleNodes))
	}
	if err := errors.Join(err, it.Error()); err != nil {
		return v.unreadable("verify stale nodes", err)
	}
	return nil
}

// nodes reads state nodes from a database that no Store has open.
type nodes struct{ db *pebble.DB }

func (n nodes) Node(id merkle.NodeID) ([]byte, error) {
	return get(n.db, OpReadNode, seqKey(spaceNode, uint64(id)))
}
