package archive

import (
	"context"
	"errors"
	"fmt"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
)

// Reopen makes a folder whose import is complete one that takes more, as long as no node has run in it. It is for
// [NewImporter], which refuses such a folder otherwise.
func Reopen(store *blockstore.Store) error {
	if store.Import() != blockstore.ImportedJoins || store.Election() != nil {
		return nil
	}
	if err := store.SetImport(blockstore.Importing); err != nil {
		return fmt.Errorf("import: %w", err)
	}
	return nil
}

// Add takes the next final block from elsewhere than an archive. It is checked and executed like an archive's; Finish, or
// a later Add, writes it.
func (im *Importer) Add(ctx context.Context, f block.Final) error {
	if h := f.Block.Header.Height; h != im.st.Height()+1 {
		return fmt.Errorf("import: %w: block %d behind block %d", ErrRefused, h, im.st.Height())
	}
	if err := im.take(ctx, Entry{Block: f.Block, Signature: f.Signature}); err != nil {
		return fmt.Errorf("import: %w", errors.Join(err, im.flush(ctx)))
	}
	return nil
}

// Flush makes durable what Add took.
func (im *Importer) Flush(ctx context.Context) error {
	if err := im.flush(ctx); err != nil {
		return fmt.Errorf("import: %w", err)
	}
	return nil
}

// Jump goes on from a block whose state was transferred into the store. It blocks until that is durable.
func (im *Importer) Jump(j *blockstore.Jump) error {
	h := j.Final.Block.Header.Height
	if err := im.check(Entry{Block: j.Final.Block, Signature: j.Final.Signature}); err != nil {
		return fmt.Errorf("import: %w", err)
	}
	if h <= im.st.Height() {
		return fmt.Errorf("import: %w: the state of block %d, and the folder has blocks up to %d", ErrRefused, h, im.st.Height())
	}
	im.blocks, im.signed, im.bytes = nil, nil, 0
	if err := im.jump(j); err != nil {
		return fmt.Errorf("import: %w", err)
	}
	return nil
}

// jump writes a jump and loads the state that came with it.
func (im *Importer) jump(j *blockstore.Jump) error {
	if err := im.write(blockstore.Batch{Jump: j}); err != nil {
		return err
	}
	h := j.Final.Block.Header.Height
	im.sum.Blocks++
	im.sum.Transactions += uint64(len(j.Final.Block.Txs))
	cp, ok := im.store.Checkpoint()
	if !ok || cp.Height != h {
		return fmt.Errorf("the state of block %d was not stored", h)
	}
	return im.load(cp)
}
