package node

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/node/chain"
)

// pending is a transaction that a client gave to this node and that is neither final nor impossible yet.
type pending struct {
	tx    *chain.Tx
	since time.Duration
	// proposed: some leader may have put it into a block.
	proposed bool
	// sent is when it was last handed to a leader, and to whom.
	sent   time.Duration
	sentTo string
	flying bool
	queued bool // to be handed to a leader
	// verdict is a leader's refusal, which counts once the block that it was decided on is final.
	verdict *verdict
	// answered when done is closed.
	done    chan struct{}
	receipt api.Receipt
	err     error
}

// resolve ends the wait. The caller holds the router's lock.
func (p *pending) resolve(r api.Receipt, err error) {
	p.receipt, p.err = r, err
	close(p.done)
}

// submit takes a transaction from a client and returns its record, or an error that is final already.
func (r *router) submit(raw *block.Tx) (*pending, error) {
	n := r.n
	tx, err := n.ex.Parse(raw)
	if err != nil {
		return nil, txError(err)
	}
	p := &pending{tx: tx, since: n.uptime(), done: make(chan struct{})}
	before := n.finals.state()
	if used, rec, err := r.usedNonce(tx, before); err != nil {
		return nil, n.unreadable(before, err)
	} else if used {
		p.resolve(rec, nil)
		return p, nil
	}
	known, now, err := r.enter(p)
	if err != nil || known != p {
		return known, err
	}
	// It may have become final between the look-up and now.
	if st := n.finals.state(); st != before {
		if used, rec, err := r.usedNonce(tx, st); used && err == nil {
			r.mu.Lock()
			r.finish(p, rec, nil)
			r.mu.Unlock()
		}
	}
	switch now {
	case "":
		r.kick()
	case n.cfg.ID:
		r.handLocal([]*pending{p})
	default:
		r.forward(now, []*pending{p})
	}
	return p, nil
}

// enter makes p pending, unless its transaction is already: then that record is returned. With a leader p is on its way
// to it, and the caller takes it there; otherwise it is queued.
func (r *router) enter(p *pending) (known *pending, leader string, err error) {
	v, size := r.n.view.Load(), int64(p.tx.Size())
	r.mu.Lock()
	defer r.mu.Unlock()
	if known := r.pending[p.tx.Hash()]; known != nil {
		return known, "", nil
	}
	if len(r.pending) >= r.n.cfg.Limits.MaxPending || r.bytes+size > r.n.cfg.Limits.MaxPendingBytes {
		return nil, "", api.Overloaded(0)
	}
	if r.stopped {
		return nil, "", api.NoLeader(0)
	}
	r.pending[p.tx.Hash()] = p
	r.bytes += size
	if !r.sweeping {
		r.kick()
	}
	if r.handAtOnce(p, v) {
		return p, v.leader, nil
	}
	r.enqueue(p)
	return p, "", nil
}

// enqueue has p handed to a leader. What stands in the queue is there once; and what was answered since goes when it is
// more than the rest, since without a leader nothing takes it out. The caller holds the lock.
func (r *router) enqueue(p *pending) {
	if p.queued {
		return
	}
	if len(r.queue) > 2*len(r.pending)+forwardBatch {
		r.queue = slices.DeleteFunc(r.queue, func(q *pending) bool {
			answered := r.pending[q.tx.Hash()] != q
			q.queued = !answered
			return answered
		})
	}
	p.queued = true
	r.queue = append(r.queue, p)
}

// usedNonce reports whether the state of a final block has used the transaction's nonce, in which case the transaction
// is final, with this receipt, or impossible. A nonce that is not used needs no look-up. Where this node lacks old
// receipts it asks others, and waits for them.
func (r *router) usedNonce(tx *chain.Tx, st *chain.State) (bool, api.Receipt, error) {
	acc, err := st.Account(tx.Sender())
	if err != nil {
		return false, api.Receipt{}, err //nolint:wrapcheck // it is wrapped below it already
	}
	if tx.Nonce() >= acc.Nonce {
		return false, api.Receipt{}, nil
	}
	rec, ok, err := r.n.receipt(r.n.ctx, tx.Hash())
	switch {
	case errors.Is(err, errElsewhere):
		err = api.UnknownOutcome() // it may have been answered once, by whoever has the receipt
	case err == nil && !ok:
		err = api.BadNonce(acc.Nonce)
	}
	return true, rec, err
}

// finish removes p and answers. The caller holds the lock.
func (r *router) finish(p *pending, rec api.Receipt, err error) {
	h := p.tx.Hash()
	if r.pending[h] != p {
		return
	}
	delete(r.pending, h)
	delete(r.judged, h)
	r.bytes -= int64(p.tx.Size())
	p.resolve(rec, err)
	if err != nil {
		r.n.hub.txFailed(h, err)
	}
}

// wait blocks until p is answered or ctx ends.
func (r *router) wait(ctx context.Context, p *pending) (api.Receipt, error) {
	select {
	case <-p.done:
		return p.receipt, p.err
	case <-ctx.Done():
		return api.Receipt{}, ctx.Err() //nolint:wrapcheck // the API says unknown_outcome
	}
}
