package node

import (
	"context"
	"errors"
	"time"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/node/api/wire"
)

// elsewhere answers, with the help of the other members, for what is below this node's part of the chain: a node that
// jumped lacks it until it is filled in, and one that prunes for good.
type elsewhere struct {
	n     *Node
	slots chan struct{} // bounds what is asked of others at a time
}

const (
	elsewhereSlots    = 32
	elsewherePatience = 2 * time.Second
)

func newElsewhere(n *Node) *elsewhere {
	return &elsewhere{n: n, slots: make(chan struct{}, elsewhereSlots)}
}

// enter waits for a slot.
func (e *elsewhere) enter(ctx context.Context) (leave func(), err error) {
	select {
	case e.slots <- struct{}{}:
		return func() { <-e.slots }, nil
	case <-ctx.Done():
		return nil, errElsewhere
	}
}

// errElsewhere is returned for what only others know, while they cannot be asked.
var errElsewhere = errors.New("an old part of the chain is not on this node, and those that have it do not answer")

// elsewhereAnswer replaces errElsewhere by what a client is told that only asked.
func elsewhereAnswer(err error) error {
	if !errors.Is(err, errElsewhere) {
		return err
	}
	return &api.Error{
		Status: 503, Code: wire.CodeUnavailable, RetryAfter: time.Second,
		Message: "this needs an old part of the chain that is not on this node yet, and the nodes that have it do not answer: " +
			"try again, or ask another node",
	}
}

// receipt finds a final transaction, here or with another member; false when none of those that could know has it. When
// that cannot be found out, it is an error: what was once answered is answered the same for ever.
func (n *Node) receipt(ctx context.Context, tx block.Hash) (api.Receipt, bool, error) {
	base, own := n.store.ReceiptBase(), n.finals.height()
	rec, ok, err := n.finals.receipt(tx)
	if ok || err != nil || base <= 1 {
		return rec, ok, err
	}
	return n.elsewhere.receipt(ctx, tx, own)
}

// told is what a member says of a transaction: where it is, or that it is nowhere from base up to height.
type told struct {
	rec          api.Receipt
	found        bool
	base, height block.Height
	err          error
}

func (e *elsewhere) receipt(ctx context.Context, tx block.Hash, own block.Height) (api.Receipt, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, elsewherePatience)
	defer cancel()
	leave, err := e.enter(ctx)
	if err != nil {
		return api.Receipt{}, false, err
	}
	defer leave()
	n := e.n
	answers, asked := make(chan told, 64), 0
	for _, m := range n.raft.Status().Cfg.Members {
		if id := string(m.ID); id != n.cfg.ID && asked < cap(answers) {
			asked++
			n.wg.Go(func() { answers <- e.ask(ctx, id, tx) })
		}
	}
	silent := false
	for range asked {
		switch a := <-answers; {
		case a.err != nil:
			n.log.Debug().Err(a.err).Stringer("tx", tx).Msg("ask another node for a receipt")
			silent = true
		case a.found:
			return a.rec, true, nil
		case a.base <= 1 && a.height >= own:
			return api.Receipt{}, false, nil // it has all that this node stands on
		case a.height < own:
			silent = true
		}
	}
	if silent {
		return api.Receipt{}, false, errElsewhere
	}
	return api.Receipt{}, false, nil // the receipts that are missing are missing everywhere: retention
}

func (e *elsewhere) ask(ctx context.Context, id string, tx block.Hash) (a told) {
	answer, err := e.n.link.Request(ctx, id, reqReceipt, encode(tx[:]))
	if err != nil {
		return told{err: err}
	}
	d := newReader(answer, 6)
	found := d.uint()
	a.base, a.height = block.Height(d.uint()), block.Height(d.uint())
	a.rec = api.Receipt{Hash: tx, Height: block.Height(d.uint()), Index: uint32(min(d.uint(), 1<<32-1))}
	d.fixed(a.rec.BlockHash[:])
	a.found, a.err = found == 1, d.end()
	if a.err == nil && (found > 1 || a.rec.Height > a.height) {
		a.err = errMalformed
	}
	return a
}

// serveReceipt answers another member from what this node itself has.
func (n *Node) serveReceipt(payload []byte) ([]byte, error) {
	d := newReader(payload, 1)
	var tx block.Hash
	d.fixed(tx[:])
	if err := d.end(); err != nil {
		return nil, err
	}
	// Read before the look-up: what becomes final meanwhile is not claimed not to be there.
	base, height := n.store.ReceiptBase(), n.finals.height()
	rec, ok, err := n.finals.receipt(tx)
	if err != nil {
		return nil, n.mender.readable(err)
	}
	found := uint64(0)
	if ok {
		found, height = 1, max(height, rec.Height)
	}
	return encode(found, uint64(base), uint64(height), uint64(rec.Height), uint64(rec.Index), rec.BlockHash[:]), nil
}

// final returns a final block from another node, verified: only what the processor signed is one.
func (e *elsewhere) final(ctx context.Context, h block.Height) (block.Final, error) {
	ctx, cancel := context.WithTimeout(ctx, elsewherePatience)
	defer cancel()
	leave, err := e.enter(ctx)
	if err != nil {
		return block.Final{}, err
	}
	defer leave()
	for f, err := range e.n.syncer.client.Blocks(ctx, h, h) {
		if err != nil {
			e.n.log.Debug().Err(err).Uint64("height", uint64(h)).Msg("ask another node for a block")
			break
		}
		return f, nil
	}
	return block.Final{}, errElsewhere
}

// final reads a final block for a client: what is below this node's part of the chain comes from another one.
func (n *Node) final(ctx context.Context, h block.Height) (block.Final, error) {
	f, err := n.mender.final(ctx, h)
	if errors.Is(err, blockstore.ErrPruned) && n.view.Load().members > 1 {
		return n.elsewhere.final(ctx, h)
	}
	return f, err
}
