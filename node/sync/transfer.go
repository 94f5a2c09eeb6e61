package sync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/merkle"
)

// Transfer fetches the state of an offer into the store, beside what is there, from several peers at a time. Enqueue the
// Jump in a blockstore.Batch, then Close the transfer; on an error there is nothing to close. An interrupted transfer
// goes on where it stopped when the next one begins, also after a crash, and what the newest checkpoint of the store has in
// common with the state is not fetched at all.
//
// When the state of an offer of Newest is pruned by all peers meanwhile, the transfer goes on with a newer one: the Jump's
// Final says which. It returns ErrNoPeer, ErrGone, ErrPinned, ctx's error soon after ctx ends, or an error of the store.
func (c *Client) Transfer(ctx context.Context, store *blockstore.Store, o Offer) (*blockstore.Transfer, *blockstore.Jump, error) {
	if o.Final.Block == nil {
		return nil, nil, errors.New("transfer state: the offer is empty")
	}
	t, err := store.BeginTransfer()
	if err != nil {
		return nil, nil, err //nolint:wrapcheck // says all
	}
	jump, err := c.transfer(ctx, t, o)
	if err != nil {
		t.Close()
		return nil, nil, fmt.Errorf("transfer state: %w", err)
	}
	return t, jump, nil
}

func (c *Client) transfer(ctx context.Context, t *blockstore.Transfer, o Offer) (*blockstore.Jump, error) {
	for {
		err := c.fetch(ctx, t, o)
		if err == nil {
			return t.Finish(o.Final) //nolint:wrapcheck // says all
		}
		if !errors.Is(err, ErrGone) || o.exact {
			return nil, err
		}
		c.cfg.Logger.Info().Uint64("height", uint64(o.Final.Block.Header.Height)).
			Msg("sync: the state was pruned by all meanwhile; a newer one is fetched")
		gone := o.Final.Block.Header.Height
		if o, err = c.Newest(ctx); err != nil {
			return nil, err
		}
		if o.Final.Block.Header.Height <= gone {
			return nil, fmt.Errorf("%w, and none has a newer one", ErrGone)
		}
	}
}

// look is how often a transfer looks at who is there and whether anything moves.
const look = 250 * time.Millisecond

// fetch brings all of a state here.
func (c *Client) fetch(ctx context.Context, t *blockstore.Transfer, o Offer) error {
	header := &o.Final.Block.Header
	c.progress.begin(header.Height, time.Now())
	defer func() { c.progress.end(time.Now()) }()
	if merkle.Hash(header.StateRoot) == merkle.EmptyRoot() {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	r := newRun(c, t, header.StateRoot)
	defer r.close()
	defer cancel()
	timer := time.NewTicker(look)
	defer timer.Stop()
	workers := map[*source]context.CancelFunc{}
	for {
		all := c.current()
		for s, end := range workers {
			if !slices.Contains(all, s) {
				end()
				delete(workers, s)
			}
		}
		r.meet(all)
		for _, s := range all {
			if workers[s] == nil {
				var own context.Context
				own, workers[s] = context.WithCancel(ctx) //nolint:gosec // all end with ctx
				for range max(1, min(c.cfg.Streams, maxStreams/len(all))) {
					r.wg.Go(func() { r.work(own, s) })
				}
			}
		}
		if over, err := r.state(time.Now()); over {
			return err
		}
		select {
		case <-timer.C:
		case <-r.over:
		case <-ctx.Done():
			return ctx.Err() //nolint:wrapcheck // it is the caller's own
		}
	}
}

// work fetches one piece after the other from a source.
func (r *run) work(ctx context.Context, s *source) {
	for {
		a := r.next(ctx, s)
		if a == nil {
			return
		}
		r.ended(a, r.process(a))
	}
}

// errStore is wrapped where the own store failed, of which no peer is guilty.
var errStore = errors.New("store")

func stored(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", errStore, err)
}

// process brings a subtree here, or splits it.
func (r *run) process(a *attempt) error {
	it := a.it
	id, ok, err := r.have(it.pos, it.hash)
	if err != nil {
		return err
	}
	if ok {
		if r.claim(a) {
			return r.deliver(it, id, true)
		}
		return nil
	}
	local, recorded, err := r.t.Near(it.pos)
	if err != nil {
		return stored(err)
	}
	switch {
	case local:
		return r.compare(a)
	case recorded:
		return r.open(a)
	}
	return r.whole(a)
}

// deliver hands a stored subtree to the node above it, and stores that when it is the last.
func (r *run) deliver(it *item, id merkle.NodeID, linked bool) error {
	r.c.progress.change(func(p *Progress) {
		p.Pieces++
		p.Done += it.weight
		if linked {
			p.Linked += it.weight
		}
	})
	for up, i := it.parent, it.index; ; up, i = up.parent, up.index {
		if up == nil {
			r.finish(nil)
			return nil
		}
		if !r.give(up, i, id) {
			return nil
		}
		part := r.t.Part(up.pos, up.hash, true)
		if err := part.Add(up.enc); err != nil {
			return stored(err)
		}
		for _, id := range up.ids {
			if err := part.Link(id); err != nil {
				return stored(err)
			}
		}
		var err error
		if id, err = part.Commit(); err != nil {
			return stored(err)
		}
	}
}

// split makes items of the children of a node, whose bytes were compared with its hash.
func (r *run) split(it *item, enc []byte, node *merkle.Outline) []*item {
	up := &split{
		pos: it.pos, hash: it.hash, enc: enc, ids: make([]merkle.NodeID, len(node.Children)), missing: len(node.Children),
		parent: it.parent, index: it.index,
	}
	kids := make([]*item, len(node.Children))
	for i, k := range node.Children {
		kids[i] = &item{
			pos: node.Below(it.pos, k), hash: k.Hash, weight: it.weight / float64(len(kids)), parent: up, index: i,
		}
	}
	r.c.progress.change(func(p *Progress) { p.Known += uint64(len(kids)); p.Pieces++ })
	return kids
}

// readNode decodes the node that stands at a position under a hash.
func readNode(enc []byte, pos position, hash merkle.Hash) (merkle.Outline, error) {
	if merkle.HashNode(enc) != hash {
		return merkle.Outline{}, lie("node %v: %w", pos, blockstore.ErrWrongNode)
	}
	node, err := merkle.ReadNode(enc, len(pos))
	if err != nil {
		return merkle.Outline{}, lie("node %v: %w", pos, err)
	}
	return node, nil
}
