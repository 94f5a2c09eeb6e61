package archive

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/blockstore/merkle"
	"github.com/baton-ha/baton/node/chain"
)

var (
	// ErrRefused is returned when an archive is whole but not of this chain: another genesis, a block that the processor
	// did not sign, that does not link or whose state root is wrong, or another chain than the folder has.
	ErrRefused = errors.New("refused")
	// ErrNotEmpty is returned by [NewImporter] for a folder in which a node has run.
	ErrNotEmpty = errors.New("the folder is not empty, and was not left by an import: empty it, or name another one")
)

const (
	batchBytes = 4 << 20
	batchCount = 256
)

// Limits bound an import's memory.
type Limits struct {
	// CheckpointEvery is after how many blocks the state is written out, CheckpointBytes after how much of it is new.
	CheckpointEvery int
	CheckpointBytes int64
	// StateCacheBytes is for nodes of the state that are on the disk.
	StateCacheBytes int64
}

// Importer brings archives into a store that has no chain yet, or whose import was interrupted. Make it with NewImporter,
// give it one archive or several with Read, and end it with Finish. It is not safe for concurrent use. The store is the
// importer's alone meanwhile.
type Importer struct {
	store  *blockstore.Store
	ex     *chain.Executor
	key    ed25519.PublicKey
	limits Limits
	opts   []merkle.Option

	genesis *block.Block
	st      *chain.State // after the last block that was taken
	saved   block.Height // of the newest checkpoint
	blocks  []*block.Block
	signed  []blockstore.Signed
	bytes   int
	sum     Summary
}

// NewImporter prepares the store and notes in it that an import has begun. Blocks that an earlier one left are executed
// from its last checkpoint on; ctx stops that.
func NewImporter(ctx context.Context, store *blockstore.Store, ex *chain.Executor, l Limits) (*Importer, error) {
	im := &Importer{store: store, ex: ex, limits: l, opts: []merkle.Option{
		merkle.WithCacheBytes(l.StateCacheBytes), merkle.WithSeal(l.CheckpointEvery, l.CheckpointBytes),
	}}
	if err := im.begin(ctx); err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	return im, nil
}

func (im *Importer) begin(ctx context.Context) error {
	zero, st, err := im.ex.Genesis(im.store, im.opts...)
	if err != nil {
		return err
	}
	im.genesis, im.st, im.key = zero, st, st.ProcessorKey()
	tip, hash := im.store.Tip()
	if im.store.Import() != blockstore.Importing {
		if tip > 0 || im.store.Election() != nil || im.store.Import() != blockstore.ImportNone {
			return ErrNotEmpty
		}
		if err := im.store.SetImport(blockstore.Importing); err != nil {
			return err
		}
	}
	if tip == 0 && hash.IsZero() {
		return im.write(blockstore.Batch{Append: []*block.Block{zero}})
	}
	have, err := im.store.HashAt(0)
	if err != nil {
		return err
	}
	if have != zero.Hash() {
		return fmt.Errorf("%w: the folder's genesis is %v, the genesis file's is %v", ErrRefused, have, zero.Hash())
	}
	return im.resume(ctx, tip)
}

// resume brings back the state of the stored tip.
func (im *Importer) resume(ctx context.Context, tip block.Height) error {
	if cp, ok := im.store.Checkpoint(); ok {
		if err := im.load(cp); err != nil {
			return err
		}
	}
	for h := im.st.Height() + 1; h <= tip; h++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := im.store.Block(h)
		if err != nil {
			return err
		}
		if im.st, err = im.ex.Reapply(im.st, b); err != nil {
			return err
		}
	}
	return nil
}

// load makes a checkpoint's state the one to go on from.
func (im *Importer) load(cp blockstore.Checkpoint) (err error) {
	b, err := im.store.Block(cp.Height)
	if err != nil {
		return err
	}
	im.st, err = chain.LoadState(im.store, cp.Root, cp.RootNode, cp.Height, cp.Hash, b.Header.TimeMs, im.opts...)
	im.saved = cp.Height
	return err
}

func (im *Importer) write(b blockstore.Batch) error {
	done := make(chan error, 1)
	im.store.Enqueue(b, func(err error) { done <- err })
	return <-done
}

// Height returns the height up to which the chain is imported.
func (im *Importer) Height() block.Height { return im.st.Height() }

// Read imports an archive. What the store has already is compared and not written again; the archive must begin no higher
// than right above that, unless it has its own state. An error is [ErrFormat], [ErrRefused] or of the store or r; what was
// imported before it stays, and another importer may go on from there.
func (im *Importer) Read(ctx context.Context, r io.Reader) error {
	a, err := NewReader(r)
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	defer a.Close()
	if err := im.read(ctx, a); err != nil {
		return fmt.Errorf("import: %w", err)
	}
	return nil
}

func (im *Importer) read(ctx context.Context, a *Reader) error {
	head := a.Header()
	switch {
	case head.Genesis != im.genesis.Hash():
		return fmt.Errorf("%w: it is of chain %q with genesis %v, the genesis file's is %v", ErrRefused, head.ChainID, head.Genesis, im.genesis.Hash())
	case head.From > im.st.Height()+1 && !head.State:
		return fmt.Errorf("%w: it begins with block %d, and the folder ends with %d", ErrRefused, head.From, im.st.Height())
	}
	e, err := a.Next()
	if head.State && err == nil {
		have := im.st.Height() >= head.From
		if err = im.first(ctx, a, e); err == nil {
			e, err = a.Next()
			for have && err == nil && e.Block == nil { // the state of what is there already
				if err = ctx.Err(); err == nil {
					e, err = a.Next()
				}
			}
		}
	}
	for ; err == nil; e, err = a.Next() {
		if err := ctx.Err(); err != nil {
			return errors.Join(err, im.flush(ctx))
		}
		if err := im.take(ctx, e); err != nil {
			return errors.Join(err, im.flush(ctx))
		}
	}
	if !errors.Is(err, io.EOF) {
		return errors.Join(err, im.flush(ctx))
	}
	return im.flush(ctx)
}

// check reports a block that the processor did not sign.
func (im *Importer) check(e Entry) error {
	b := e.Block
	if b.Header.ChainID != im.genesis.Header.ChainID || !block.VerifySignature(im.key, b.Hash(), e.Signature) {
		return fmt.Errorf("%w: block %d is not signed by the processor of this chain", ErrRefused, b.Header.Height)
	}
	return nil
}

// first takes the first block of an archive with state, and its state, unless the store is as far already.
func (im *Importer) first(ctx context.Context, a *Reader, e Entry) error {
	if err := im.check(e); err != nil {
		return err
	}
	h := e.Block.Header.Height
	if h <= im.st.Height() {
		return im.compare(e.Block)
	}
	if im.st.Height() > 0 {
		return fmt.Errorf("%w: it begins with the state of block %d, and the folder has blocks up to %d", ErrRefused, h, im.st.Height())
	}
	t, err := im.store.BeginTransfer()
	if err != nil {
		return err
	}
	defer t.Close()
	part := t.Part(nil, merkle.Hash(e.Block.Header.StateRoot), false)
	if err := im.state(ctx, a, part); err != nil {
		return errors.Join(err, part.Abort())
	}
	if _, err := part.Commit(); err != nil {
		return err
	}
	jump, err := t.Finish(block.Final{Block: e.Block, Signature: e.Signature})
	if err != nil {
		return err
	}
	return im.jump(jump)
}

// state takes the state's nodes.
func (im *Importer) state(ctx context.Context, a *Reader, part *blockstore.Part) error {
	for {
		if _, _, more := part.Want(); !more {
			return nil
		}
		e, err := a.Next()
		if errors.Is(err, io.EOF) || err == nil && e.Block != nil {
			return fmt.Errorf("%w: some of the state is missing", ErrRefused)
		}
		if err != nil {
			return err
		}
		if err := part.Add(e.Node); err != nil {
			return fmt.Errorf("%w: %w", ErrRefused, err)
		}
		if im.sum.Nodes++; im.sum.Nodes%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// compare holds a block against the one that is stored.
func (im *Importer) compare(b *block.Block) error {
	h := b.Header.Height
	if h < im.store.Base() {
		return nil
	}
	if have, err := im.store.HashAt(h); err != nil {
		return err
	} else if have != b.Hash() {
		return fmt.Errorf("%w: block %d is %v, the folder has %v", ErrRefused, h, b.Hash(), have)
	}
	return nil
}

// take executes a block and adds it to what is to be written.
func (im *Importer) take(ctx context.Context, e Entry) error {
	if e.Block == nil {
		return fmt.Errorf("%w: state in the wrong place", ErrRefused)
	}
	b := e.Block
	if err := im.check(e); err != nil {
		return err
	}
	if h := b.Header.Height; h <= im.st.Height() {
		if i := slices.IndexFunc(im.blocks, func(b *block.Block) bool { return b.Header.Height == h }); i >= 0 {
			if im.blocks[i].Hash() != b.Hash() {
				return fmt.Errorf("%w: block %d comes twice, and differs", ErrRefused, h)
			}
			return nil
		}
		return im.compare(b)
	}
	st, err := im.ex.Apply(im.st, b)
	if errors.Is(err, chain.ErrRootMismatch) || errors.Is(err, chain.ErrInvalidBlock) {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if err != nil {
		return err
	}
	im.st = st
	im.blocks = append(im.blocks, b)
	im.signed = append(im.signed, blockstore.Signed{Height: b.Header.Height, Hash: b.Hash(), Signature: e.Signature})
	im.bytes += b.Size()
	im.sum.Blocks++
	im.sum.Transactions += uint64(len(b.Txs))
	if im.bytes < batchBytes && len(im.blocks) < batchCount && !st.Map().Sealed() {
		return nil
	}
	return im.flush(ctx)
}

// flush makes what was taken durable: blocks, their commit without a certificate, and signatures, in one batch. Then a
// state that is to be stored is.
func (im *Importer) flush(ctx context.Context) error {
	if len(im.blocks) > 0 {
		last := im.signed[len(im.signed)-1]
		if err := im.write(blockstore.Batch{
			Append: im.blocks, Commit: &blockstore.Commit{Height: last.Height, Hash: last.Hash}, Signed: im.signed,
		}); err != nil {
			return err
		}
		im.blocks, im.signed, im.bytes = nil, nil, 0
	}
	if im.st.Map().Sealed() && im.st.Height() > im.saved {
		return im.save(ctx, im.st.Map())
	}
	return nil
}

// save writes a state down, also when the import was called off: what is there need not be read again.
func (im *Importer) save(ctx context.Context, m *merkle.Map) error {
	cp, err := im.store.SaveState(context.WithoutCancel(ctx), m, im.st.Height(), im.st.BlockHash())
	im.saved = cp.Height
	return err
}

// Finish stores the state of the last block and notes that the import is complete. With founds the folder may be used to
// found a cluster: all its founders must then have imported the same chain, or those that did not would begin another one.
func (im *Importer) Finish(founds bool) (Summary, error) {
	if im.st.Height() == 0 {
		return im.sum, fmt.Errorf("import: %w", ErrNothing)
	}
	if err := im.flush(context.Background()); err != nil {
		return im.sum, fmt.Errorf("import: %w", err)
	}
	if im.st.Height() > im.saved {
		if err := im.save(context.Background(), im.st.Map().Seal()); err != nil {
			return im.sum, fmt.Errorf("import: %w", err)
		}
	}
	as := blockstore.ImportedJoins
	if founds {
		as = blockstore.ImportedFounds
	}
	if err := im.store.SetImport(as); err != nil {
		return im.sum, fmt.Errorf("import: %w", err)
	}
	im.sum.Header = Header{
		ChainID: im.genesis.Header.ChainID, Genesis: im.genesis.Hash(), From: max(im.store.Base(), 1), To: im.st.Height(),
	}
	return im.sum, nil
}
