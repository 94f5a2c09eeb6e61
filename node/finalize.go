package node

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"sync"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/node/api/wire"
	"github.com/baton-ha/baton/node/replication"
	"github.com/baton-ha/baton/raftify/core"
)

// finalizer signs committed blocks, in order, and makes them visible (PROTOCOL R12). Every processor signs for itself:
// Ed25519 is deterministic, so that all of them make the same bytes.
type finalizer struct {
	n    *Node
	mu   sync.Mutex
	todo []finalTask
	top  block.Height // the newest that was to do
	// floor is the newest block that was jumped to: below it nothing is signed any more.
	floor block.Height
	wake  chan struct{}

	// Of the loop alone.
	record replication.Ref // newest block that this node signed
}

type finalTask struct {
	ref   replication.Ref
	cterm core.Term
	blk   *block.Block // nil: read it from the store
	leap  *leap        // the node goes over to this place, nothing is signed
}

func newFinalizer(n *Node) *finalizer {
	h, hash := n.store.SignerRecord()
	return &finalizer{n: n, wake: make(chan struct{}, 1), record: replication.Ref{Height: h, Hash: hash}}
}

// push is called in the owner loop.
func (f *finalizer) push(ts ...finalTask) {
	f.mu.Lock()
	f.todo = append(f.todo, ts...)
	for _, t := range ts {
		f.top = max(f.top, t.ref.Height)
	}
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *finalizer) run(ctx context.Context) {
	for {
		f.mu.Lock()
		todo := f.todo
		f.todo = nil
		f.mu.Unlock()
		for _, t := range todo {
			if ctx.Err() != nil {
				return
			}
			if err := f.finalize(t); err != nil {
				f.n.fail(fmt.Errorf("finalize block %v: %w", t.ref, err))
				return
			}
		}
		select {
		case <-f.wake:
		case <-ctx.Done():
			return
		}
	}
}

// below reports whether the node has jumped over a height, or to it.
func (f *finalizer) below(h block.Height) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return h <= f.floor
}

func (f *finalizer) finalize(t finalTask) error {
	if t.leap != nil {
		f.landed(f.n.ctx, t.leap)
		return nil
	}
	err := f.sign(t)
	if f.below(t.ref.Height) {
		return nil // it was taken away meanwhile
	}
	return err
}

func (f *finalizer) sign(t finalTask) error {
	n := f.n
	b := t.blk
	if b == nil {
		var err error
		if b, err = n.store.Block(t.ref.Height); err != nil && n.mender.must(n.ctx, err) {
			b, err = n.store.Block(t.ref.Height)
		}
		if err != nil {
			return fmt.Errorf("read it: %w", err)
		}
	}
	if t.ref.Hash.IsZero() {
		t.ref.Hash = b.Hash()
	}
	if b.Hash() != t.ref.Hash {
		return fmt.Errorf("own chain has %v there", b.Hash())
	}
	st := n.states.get(t.ref.Hash)
	if st == nil {
		return fmt.Errorf("state of a committed block is not in memory")
	}
	if err := f.guard(b); err != nil {
		return err
	}
	if err := n.cfg.Sync.Pin.check(t.ref.Height, t.ref.Hash); err != nil {
		return err
	}
	sig := block.Sign(n.cfg.ProcessorKey, t.ref.Hash)
	if !f.store(t.ref, sig) {
		return nil
	}
	if t.ref.Height > f.record.Height {
		f.record = t.ref
	}
	n.finals.add(block.Final{Block: b, Signature: sig, CTerm: uint64(t.cterm)}, st)
	n.states.forget(t.ref.Height)
	n.metrics.finalized(b)
	n.router.finalized(b)
	n.hub.publish(api.Event{Block: wire.NewBlockEvent(b)})
	n.checkpoints.offer(n.ctx, st)
	return nil
}

// store queues a signature for writing; false when the node has jumped over the block: a jump takes it away, and no
// signature of it may be queued behind.
func (f *finalizer) store(ref replication.Ref, sig block.Signature) bool {
	n := f.n
	f.mu.Lock()
	defer f.mu.Unlock()
	if ref.Height <= f.floor {
		return false
	}
	n.cfg.Trace.Signed(ref.Height, ref.Hash)
	n.store.Enqueue(blockstore.Batch{
		Signed: []blockstore.Signed{{Height: ref.Height, Hash: ref.Hash, Signature: sig}}, NoSync: true,
	}, func(err error) {
		if err == nil {
			n.finals.stored(ref.Height)
		}
	})
	return true
}

// guard is the second guard of R12: the own chain must still hold what this node signed last.
func (f *finalizer) guard(b *block.Block) error {
	h := b.Header.Height
	switch {
	case f.record.Height == 0 || h == f.record.Height && b.Hash() == f.record.Hash:
		return nil
	case h == f.record.Height+1 && b.Header.Parent == f.record.Hash:
		return nil
	case h <= f.record.Height || h > f.record.Height+1:
		have, err := f.n.store.HashAt(f.record.Height)
		if err == nil && have == f.record.Hash {
			return nil
		}
	}
	return fmt.Errorf("%w (signed %v)", ErrRolledBack, f.record)
}

// verifyOwnKey reports whether key is the processor key that the state knows.
func verifyOwnKey(key ed25519.PrivateKey, want ed25519.PublicKey) error {
	have, ok := key.Public().(ed25519.PublicKey)
	if !ok || !have.Equal(want) {
		return fmt.Errorf("%w: it is %x, the chain's is %x", ErrWrongKey, have, want)
	}
	return nil
}
