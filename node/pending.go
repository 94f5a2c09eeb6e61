package node

import (
	"context"
	"time"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/node/chain"
	"github.com/baton-ha/baton/node/replication"
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
	// verdict is a leader's refusal, which counts once the block that it was decided on is final.
	verdict *verdict
	// answered when done is closed.
	done    chan struct{}
	receipt api.Receipt
	err     error
}

type verdict struct {
	hash block.Hash
	err  chain.TxError
	at   replication.Ref
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
	if rec, ok, err := n.finals.receipt(tx.Hash()); err != nil {
		return nil, err
	} else if ok {
		p := &pending{done: make(chan struct{})}
		p.resolve(rec, nil)
		return p, nil
	}
	if err := r.usedNonce(tx); err != nil {
		return nil, err
	}
	r.mu.Lock()
	if p := r.pending[tx.Hash()]; p != nil {
		r.mu.Unlock()
		return p, nil
	}
	if len(r.pending) >= n.cfg.Limits.MaxPending || r.bytes+int64(tx.Size()) > n.cfg.Limits.MaxPendingBytes {
		r.mu.Unlock()
		return nil, api.Overloaded(0)
	}
	p := &pending{tx: tx, since: n.uptime(), done: make(chan struct{})}
	r.pending[tx.Hash()] = p
	r.bytes += int64(tx.Size())
	r.queue = append(r.queue, p)
	r.mu.Unlock()
	// It may have become final between the look-up and now.
	if rec, ok, err := n.finals.receipt(tx.Hash()); err == nil && ok {
		r.mu.Lock()
		r.finish(p, rec, nil)
		r.mu.Unlock()
	}
	r.kick()
	return p, nil
}

// usedNonce refuses at once what can never be: a nonce that a final transaction, another one, has used.
func (r *router) usedNonce(tx *chain.Tx) error {
	acc, err := r.n.finals.state().Account(tx.Sender())
	if err != nil {
		return err //nolint:wrapcheck // it is wrapped below it already
	}
	if tx.Nonce() >= acc.Nonce {
		return nil
	}
	if _, ok, err := r.n.finals.receipt(tx.Hash()); ok || err != nil {
		return err // final meanwhile: the caller finds it
	}
	return api.BadNonce(acc.Nonce)
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
