package node

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/node/api/wire"
	"github.com/baton-ha/baton/node/chain"
	"github.com/baton-ha/baton/node/mempool"
)

// router brings transactions to whoever leads, and their end back to whoever sent them. Each node looks after what its
// own clients gave it until that is final or impossible, across failovers: it hands it to every new leader anew. That
// does no harm, because a nonce is used once.
type router struct {
	n    *Node
	wake chan struct{}

	mu       sync.Mutex
	pending  map[block.Hash]*pending
	sweeping bool // the timer of the sweeps runs, or is about to
	requests int  // on their way to the leader
	stopped  bool // takes nothing more
	bytes    int64
	queue    []*pending              // to be handed to a leader
	judged   map[block.Hash]*pending // refused, on a state that is not final yet
	origins  map[block.Hash][]string // while this node leads: who wants to know
	early    []verdict               // of a new leader, before a majority has acknowledged its takeover
	soon     bool                    // the next sweep is not to wait for sweepEvery, but for retry
	retry    time.Duration           // doubles until another leader is known
	way      way                     // to the leader that was last known
}

// way is for how long it makes sense to wait for a leader's answers: until another one is known.
type way struct {
	leader string
	ctx    context.Context
	end    context.CancelFunc
}

const (
	resendAfter   = time.Second
	noLeaderAfter = 5 * time.Second
	maxOrigins    = 65536
)

func newRouter(n *Node) *router {
	return &router{
		n: n, wake: make(chan struct{}, 1), pending: map[block.Hash]*pending{}, judged: map[block.Hash]*pending{},
		origins: map[block.Hash][]string{}, retry: sweepSoon,
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

// sweep sends again what a leader may have forgotten, and gives up what took too long. False: there was nothing to look
// after, and nothing will be until somebody wakes the router.
func (r *router) sweep() bool {
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
			r.enqueue(p)
		}
	}
	r.sweeping = len(r.pending) > 0
	return r.sweeping
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
	if r.way.leader != v.leader {
		if r.way.end != nil {
			r.way.end() // what was asked of the one before comes back, and goes to this one
		}
		r.way, r.retry = way{leader: v.leader}, sweepSoon
		r.way.ctx, r.way.end = context.WithCancel(r.n.ctx)
	}
	var anew []*pending
	for h, p := range r.pending {
		if p.verdict != nil {
			// The block that it was decided on may be lost, and on an idle chain nothing would ever come to its height.
			p.verdict, p.sentTo = nil, ""
			delete(r.judged, h)
		}
		if !p.flying && p.sentTo != v.leader {
			anew = append(anew, p)
		}
	}
	// In the order in which clients sent them, so that nonces of an account arrive in order.
	slices.SortStableFunc(anew, func(a, b *pending) int { return cmp.Compare(a.since, b.since) })
	for _, p := range anew {
		r.enqueue(p)
	}
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

// stop answers all that is left when the node stops.
func (r *router) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
	for _, p := range r.pending {
		if p.proposed || p.flying {
			r.finish(p, api.Receipt{}, api.UnknownOutcome())
		} else {
			r.finish(p, api.Receipt{}, api.NoLeader(0))
		}
	}
}
