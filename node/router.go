package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/node/api/wire"
	"github.com/baton-ha/baton/node/chain"
	"github.com/baton-ha/baton/node/mempool"
	"github.com/baton-ha/baton/node/replication"
)

// router brings transactions to whoever leads, and their end back to whoever sent them. Each node looks after what its
// own clients gave it until that is final or impossible, across failovers: it hands it to every new leader anew. That
// does no harm, because a nonce is used once.
type router struct {
	n    *Node
	wake chan struct{}

	mu      sync.Mutex
	pending map[block.Hash]*pending
	bytes   int64
	queue   []*pending              // to be handed to a leader
	judged  map[block.Hash]*pending // refused, on a state that is not final yet
	origins map[block.Hash][]string // while this node leads: who wants to know
	early   []verdict               // of a new leader, before a majority has acknowledged its takeover
}

const (
	forwardBatch   = 512
	forwardBytes   = 4 << 20
	forwardTimeout = 2 * time.Second
	forwardWorkers = 4
	resendAfter    = time.Second
	noLeaderAfter  = 5 * time.Second
	maxOrigins     = 65536
)

func newRouter(n *Node) *router {
	return &router{
		n: n, wake: make(chan struct{}, 1), pending: map[block.Hash]*pending{}, judged: map[block.Hash]*pending{},
		origins: map[block.Hash][]string{},
	}
}

func (r *router) kick() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// txError is the answer to a client for what the executor found.
func txError(err error) error {
	var te *chain.TxError
	if !errors.As(err, &te) {
		return err
	}
	switch te.Kind {
	case chain.Malformed:
		return api.Malformed(te.Message)
	case chain.WrongChain:
		return &api.Error{Status: 400, Code: wire.CodeWrongChain, Message: te.Message}
	case chain.BadSignature:
		return api.BadSignature()
	case chain.BadNonce:
		return api.BadNonce(te.ExpectedNonce)
	case chain.Rejected:
		return api.Rejected(te.Message)
	case chain.TooLarge:
		return api.TooLarge(block.MaxPayloadBytes)
	}
	return err
}

// run hands queued transactions to the leader.
func (r *router) run(ctx context.Context) {
	slots := make(chan struct{}, forwardWorkers)
	var wg sync.WaitGroup
	defer wg.Wait()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		for {
			v := r.n.view.Load()
			if v.leader == "" || v.leader == r.n.cfg.ID && !v.leading {
				break
			}
			batch := r.take(v.leader)
			if len(batch) == 0 {
				break
			}
			if v.leader == r.n.cfg.ID {
				r.handLocal(batch)
				continue
			}
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			wg.Add(1)
			go func() {
				defer func() { <-slots; wg.Done() }()
				r.handTo(ctx, v.leader, batch)
			}()
		}
		select {
		case <-r.wake:
		case <-tick.C:
			r.sweep()
		case <-ctx.Done():
			return
		}
	}
}

// take removes a batch from the queue and marks it as on its way to a leader.
func (r *router) take(leader string) []*pending {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []*pending
	size, i := 0, 0
	for ; i < len(r.queue) && len(out) < forwardBatch && size < forwardBytes; i++ {
		p := r.queue[i]
		if r.pending[p.tx.Hash()] != p || p.flying || p.verdict != nil {
			continue
		}
		p.flying, p.sentTo = true, leader
		size += p.tx.Size()
		out = append(out, p)
	}
	if r.queue = r.queue[i:]; len(r.queue) == 0 {
		r.queue = nil
	}
	return out
}

func (r *router) handLocal(batch []*pending) {
	codes := make([]byte, len(batch))
	for i, p := range batch {
		codes[i] = r.intake(p.tx, r.n.cfg.ID)
	}
	r.handed(batch, codes)
}

func (r *router) handTo(ctx context.Context, leader string, batch []*pending) {
	raw := make([]*block.Tx, len(batch))
	for i, p := range batch {
		raw[i] = p.tx.Raw()
	}
	ctx, cancel := context.WithTimeout(ctx, forwardTimeout)
	defer cancel()
	codes, err := r.n.link.Request(ctx, leader, reqForward, encodeTxs(raw))
	if err != nil || len(codes) != len(batch) {
		code := byte(handedUnknown)
		if notSent(err) {
			code = handedNotLeader
		}
		codes = slices.Repeat([]byte{code}, len(batch))
	}
	r.handed(batch, codes)
}

// What a leader answers for each transaction handed to it.
const (
	handedOK        = 1
	handedNotLeader = 2
	handedFull      = 3
	handedUnknown   = 4 // no answer came: it may be in a block
)

// handed notes what the leader said.
func (r *router) handed(batch []*pending, codes []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.n.uptime()
	for i, p := range batch {
		p.flying, p.sent = false, now
		switch codes[i] {
		case handedOK, handedUnknown:
			p.proposed = true
		case handedNotLeader:
			p.sentTo = "" // the next sweep tries again
		case handedFull:
			if !p.proposed {
				r.finish(p, api.Receipt{}, api.Overloaded(0))
			}
		}
	}
}

// sweep sends again what a leader may have forgotten, and gives up what took too long.
func (r *router) sweep() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.n.uptime()
	v := r.n.view.Load()
	for _, p := range r.pending {
		age := now - p.since
		switch {
		case !p.proposed && !p.flying && age > noLeaderAfter && v.leader == "":
			r.finish(p, api.Receipt{}, api.NoLeader(0))
		case age > r.n.cfg.Limits.PendingFor:
			if p.proposed || p.flying {
				r.finish(p, api.Receipt{}, api.UnknownOutcome())
			} else {
				r.finish(p, api.Receipt{}, api.NoLeader(0))
			}
		case p.flying || p.verdict != nil || v.leader == "":
		case p.sentTo != v.leader || now-p.sent > resendAfter:
			r.queue = append(r.queue, p)
		}
	}
	if len(r.queue) > 0 {
		r.kick()
	}
}

// leaderChanged is called in the owner loop: what the old leader had is handed to the new one.
func (r *router) leaderChanged(v *view) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !v.leading {
		clear(r.origins)
		r.early = nil
	}
	if v.leader == "" {
		return
	}
	start := len(r.queue)
	for _, p := range r.pending {
		if !p.flying && p.verdict == nil && p.sentTo != v.leader {
			r.queue = append(r.queue, p)
		}
	}
	// In the order in which clients sent them, so that nonces of an account arrive in order.
	slices.SortStableFunc(r.queue[start:], func(a, b *pending) int { return int(a.since - b.since) })
	r.kick()
}

// intake takes a transaction into the leader's pool.
func (r *router) intake(tx *chain.Tx, origin string) byte {
	if !r.n.view.Load().leading {
		return handedNotLeader
	}
	h := tx.Hash()
	r.mu.Lock()
	if len(r.origins) >= maxOrigins {
		r.mu.Unlock()
		return handedFull
	}
	if !slices.Contains(r.origins[h], origin) {
		r.origins[h] = append(r.origins[h], origin)
	}
	r.mu.Unlock()
	err := r.n.engine.pool.Add(tx, r.n.uptime())
	switch {
	case err == nil, errors.Is(err, mempool.ErrDuplicate):
		return handedOK
	case errors.Is(err, mempool.ErrTooManyAhead):
		r.n.engine.refuseNonce(tx)
		return handedOK
	default:
		r.included(h)
		return handedFull
	}
}

// included forgets who wanted to know about a transaction: they learn it from the block.
func (r *router) included(h block.Hash) {
	r.mu.Lock()
	delete(r.origins, h)
	r.mu.Unlock()
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
	defer r.mu.Unlock()
	p := r.pending[v.hash]
	if p == nil {
		return
	}
	p.verdict = &v
	r.judged[v.hash] = p
	r.decide(p)
}

// decide answers p if the block of its verdict is final. The caller holds the lock.
func (r *router) decide(p *pending) {
	v := p.verdict
	if v.at.Height > r.n.finals.height() {
		return
	}
	hash, err := r.n.finals.hashAt(v.at.Height)
	if err != nil {
		r.n.log.Error().Err(err).Msg("cannot compare a verdict with the chain")
		return
	}
	if hash != v.at.Hash {
		// Decided on a block that lost: ask the leader again.
		p.verdict, p.sentTo = nil, ""
		delete(r.judged, v.hash)
		r.queue = append(r.queue, p)
		r.kick()
		return
	}
	rec, ok, err := r.n.finals.receipt(v.hash)
	switch {
	case err != nil:
		r.n.log.Error().Err(err).Msg("cannot look up a refused transaction")
	case ok:
		r.finish(p, rec, nil)
	default:
		r.finish(p, api.Receipt{}, txError(&v.err))
	}
}

// finalized answers everything that a new final block decides.
func (r *router) finalized(b *block.Block) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.pending) == 0 {
		return
	}
	for i, tx := range b.Txs {
		if p := r.pending[tx.Hash()]; p != nil {
			r.finish(p, api.Receipt{Hash: tx.Hash(), Height: b.Header.Height, Index: uint32(i), BlockHash: b.Hash()}, nil)
		}
	}
	for _, p := range r.judged {
		if p.verdict != nil {
			r.decide(p)
		}
	}
}

// stop answers all that is left when the node stops.
func (r *router) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.pending {
		if p.proposed || p.flying {
			r.finish(p, api.Receipt{}, api.UnknownOutcome())
		} else {
			r.finish(p, api.Receipt{}, api.NoLeader(0))
		}
	}
}

// takeForwarded is the leader's answer to another node's batch.
func (r *router) takeForwarded(from string, payload []byte) ([]byte, error) {
	raw, err := decodeTxs(payload)
	if err != nil {
		return nil, fmt.Errorf("forwarded transactions: %w", err)
	}
	codes := make([]byte, len(raw))
	for i, t := range raw {
		tx, err := r.n.ex.Parse(t)
		if err != nil {
			codes[i] = handedFull // its own node would not have sent it: have it back off
			r.n.log.Warn().Err(err).Str("peer", from).Msg("a peer forwarded a transaction that does not parse")
			continue
		}
		codes[i] = r.intake(tx, from)
	}
	return codes, nil
}
