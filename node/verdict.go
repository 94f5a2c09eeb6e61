package node

import (
	"time"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/node/chain"
	"github.com/baton-ha/baton/node/replication"
)

// verdict is a leader's refusal of a transaction, decided on the state after the block at.
type verdict struct {
	hash block.Hash
	err  chain.TxError
	at   replication.Ref
}

// refuse tells whoever sent a transaction that it cannot be included on the state after at. A new leader waits with that
// until a majority has acknowledged its takeover: before, a block of an older leader may still come behind at, and hold
// the transaction.
func (r *router) refuse(h block.Hash, te *chain.TxError, at replication.Ref) {
	v := verdict{hash: h, err: *te, at: at}
	r.mu.Lock()
	if view := r.n.view.Load(); !view.counted {
		if view.leading && len(r.early) < maxOrigins {
			r.early = append(r.early, v)
		}
		r.mu.Unlock()
		return
	}
	r.mu.Unlock()
	r.deliver(v)
}

// releaseVerdicts sends what waited for the takeover to be acknowledged. Owner loop.
func (r *router) releaseVerdicts() {
	r.mu.Lock()
	early := r.early
	r.early = nil
	r.mu.Unlock()
	if len(early) > 0 {
		r.n.wg.Go(func() {
			for _, v := range early {
				r.deliver(v)
			}
		})
	}
}

// deliver sends a verdict to whoever wants to know.
func (r *router) deliver(v verdict) {
	r.mu.Lock()
	to := r.origins[v.hash]
	delete(r.origins, v.hash)
	r.mu.Unlock()
	for _, id := range to {
		if id == r.n.cfg.ID {
			r.judge(v)
			continue
		}
		if err := r.n.link.Send(id, msgVerdict, encodeVerdict(v)); err != nil {
			r.n.log.Debug().Err(err).Str("peer", id).Msg("verdict not sent, it will ask again")
		}
	}
}

// judge notes a refusal; it is answered once the state that it was decided on is final.
func (r *router) judge(v verdict) {
	r.mu.Lock()
	p := r.pending[v.hash]
	if p != nil {
		p.verdict = &v
		r.judged[v.hash] = p
	}
	r.mu.Unlock()
	if p != nil {
		r.decide(&v)
	}
}

// decide answers the transaction of a verdict if the block that it was decided on is final. It reads from the store, and
// so never under the lock, which the owner loop takes as well.
func (r *router) decide(v *verdict) {
	finals := r.n.finals
	if v.at.Height > finals.height() {
		return
	}
	hash, err := finals.hashAt(v.at.Height)
	if gone(err) {
		r.mu.Lock()
		if p := r.pending[v.hash]; p != nil && p.verdict == v {
			r.askAgain(p)
			r.kick()
		}
		r.mu.Unlock()
		return
	}
	if err != nil {
		r.n.log.Error().Err(err).Msg("cannot compare a verdict with the chain")
		return
	}
	rec, included, err := finals.receipt(v.hash)
	if err != nil {
		r.n.log.Error().Err(err).Msg("cannot look up a refused transaction")
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.pending[v.hash]
	switch {
	case p == nil || p.verdict != v: // answered meanwhile, or judged anew
	case included:
		r.finish(p, rec, nil)
	case hash == v.at.Hash && v.err.Kind == chain.BadNonce && r.n.store.ReceiptBase() > 1:
		// It may be in a block that is not here: others are asked before it is refused.
		r.n.wg.Go(func() { r.look(p, v) })
	case hash != v.at.Hash:
		// Decided on a block that lost: ask the leader again.
		r.askAgain(p)
		r.kick()
	default:
		r.finish(p, api.Receipt{}, txError(&v.err))
	}
}

// look answers a transaction whose nonce was used, maybe by itself, in a part of the chain that only others have.
func (r *router) look(p *pending, v *verdict) {
	for {
		rec, included, err := r.n.receipt(r.n.ctx, v.hash)
		r.mu.Lock()
		waiting := r.pending[v.hash] == p && p.verdict == v
		switch {
		case !waiting || err != nil:
		case included:
			r.finish(p, rec, nil)
		default:
			r.finish(p, api.Receipt{}, txError(&v.err))
		}
		r.mu.Unlock()
		if !waiting || err == nil {
			return
		}
		select {
		case <-time.After(lookAgain):
		case <-r.n.ctx.Done():
			return
		}
	}
}

// lookAgain is how long look waits when nobody could be asked.
const lookAgain = 300 * time.Millisecond

// finalized answers everything that a new final block decides.
func (r *router) finalized(b *block.Block) {
	for _, v := range r.answer(b) {
		r.decide(v)
	}
}

// answer answers the transactions of a block and returns the verdicts that await a decision.
func (r *router) answer(b *block.Block) []*verdict {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.pending) == 0 {
		return nil
	}
	for i, tx := range b.Txs {
		if p := r.pending[tx.Hash()]; p != nil {
			r.finish(p, api.Receipt{Hash: tx.Hash(), Height: b.Header.Height, Index: uint32(i), BlockHash: b.Hash()}, nil)
		}
	}
	var open []*verdict
	for _, p := range r.judged {
		if p.verdict != nil && p.verdict.at.Height <= b.Header.Height {
			open = append(open, p.verdict)
		}
	}
	return open
}
