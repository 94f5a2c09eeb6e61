package node

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api"
)

const (
	forwardBatch   = 512
	forwardBytes   = 4 << 20
	forwardTimeout = 2 * time.Second
	// forwardRequests is how many may be on their way to the leader at once. What comes meanwhile goes together in the next
	// one: the busier a node, the fewer requests a transaction costs.
	forwardRequests = 2
	// sweepEvery is how often pending transactions are looked after, sweepSoon at first when the leader did not take one.
	sweepEvery = 100 * time.Millisecond
	sweepSoon  = 5 * time.Millisecond
)

// run hands queued transactions to the leader, and looks after pending ones while there are any.
func (r *router) run(ctx context.Context) {
	sweep := time.NewTimer(sweepEvery)
	defer sweep.Stop()
	for {
		r.hand() //nolint:contextcheck // requests end with the node or with the way to the leader
		select {
		case <-r.wake:
			if wait := r.startSweeps(); wait > 0 {
				sweep.Reset(wait)
			}
		case <-sweep.C:
			if r.sweep() {
				sweep.Reset(sweepEvery)
			}
		case <-ctx.Done():
			return
		}
	}
}

// startSweeps returns after which time the next sweep is to come if it is not to come when it would: the sweeps had ended,
// or one is wanted soon. 0: nothing is to change.
func (r *router) startSweeps() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	soon := r.soon
	r.soon = false
	switch {
	case len(r.pending) == 0 || r.sweeping && !soon:
		return 0
	case soon:
		r.sweeping = true
		wait := r.retry
		r.retry = min(2*r.retry, sweepEvery)
		return wait
	}
	r.sweeping = true
	return sweepEvery
}

// hand hands out what is queued, as far as there is a leader and room on the way to it.
func (r *router) hand() {
	for {
		v := r.n.view.Load()
		batch := r.take(v)
		switch {
		case len(batch) == 0:
			return
		case v.leader == r.n.cfg.ID:
			r.handLocal(batch)
		default:
			r.forward(v.leader, batch)
		}
	}
}

// handAtOnce marks p, which is new, as on its way to the leader if nothing stands in front of it: the caller then hands
// it over itself, without a change of goroutine. The caller holds the lock.
func (r *router) handAtOnce(p *pending, v *view) bool {
	local := v.leader == r.n.cfg.ID
	if v.leader == "" || local && !v.leading || !local && r.requests > 0 || len(r.queue) > 0 {
		return false
	}
	p.flying, p.sentTo = true, v.leader
	if !local {
		r.beginRequest()
	}
	return true
}

// take removes a batch from the queue and marks it as on its way to the leader; nil if there is none, or no room.
func (r *router) take(v *view) []*pending {
	local := v.leader == r.n.cfg.ID
	if v.leader == "" || local && !v.leading {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped || !local && r.requests >= forwardRequests {
		return nil
	}
	var out []*pending
	size, i := 0, 0
	for ; i < len(r.queue) && len(out) < forwardBatch && size < forwardBytes; i++ {
		p := r.queue[i]
		p.queued = false
		if r.pending[p.tx.Hash()] != p || p.flying || p.verdict != nil {
			continue
		}
		p.flying, p.sentTo = true, v.leader
		size += p.tx.Size()
		out = append(out, p)
	}
	if r.queue = r.queue[i:]; len(r.queue) == 0 {
		r.queue = nil
	}
	if !local && len(out) > 0 {
		r.beginRequest()
	}
	return out
}

// beginRequest counts a request that forward is then called for. The caller holds the lock, under which the router was
// not stopped yet, so that the node still waits for it.
func (r *router) beginRequest() {
	r.requests++
	r.n.wg.Add(1)
}

func (r *router) handLocal(batch []*pending) {
	codes := make([]byte, len(batch))
	for i, p := range batch {
		codes[i] = r.intake(p.tx, r.n.cfg.ID)
	}
	r.handed(batch, codes)
}

// forward has a batch sent to the leader, after beginRequest.
func (r *router) forward(leader string, batch []*pending) {
	go func() {
		defer r.n.wg.Done()
		codes := r.request(leader, batch)
		r.handed(batch, codes)
		r.mu.Lock()
		r.requests--
		more := len(r.queue) > 0
		r.mu.Unlock()
		if more {
			r.kick()
		}
	}()
}

func (r *router) request(leader string, batch []*pending) []byte {
	raw := make([]*block.Tx, len(batch))
	for i, p := range batch {
		raw[i] = p.tx.Raw()
	}
	until := r.n.ctx
	r.mu.Lock()
	if r.way.leader == leader {
		until = r.way.ctx
	}
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(until, forwardTimeout)
	defer cancel()
	codes, err := r.n.link.Request(ctx, leader, reqForward, encodeTxs(raw))
	if err == nil && len(codes) == len(batch) {
		return codes
	}
	code := byte(handedUnknown)
	if notSent(err) {
		code = handedNotLeader
	}
	return slices.Repeat([]byte{code}, len(batch))
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
	leader := r.n.view.Load().leader
	for i, p := range batch {
		p.flying, p.sent = false, now
		if leader != "" && leader != p.sentTo && codes[i] != handedFull && r.pending[p.tx.Hash()] == p {
			r.enqueue(p) // the leader changed meanwhile, and whoever noticed left out what was on its way
			r.kick()
		}
		switch codes[i] {
		case handedOK:
			p.proposed = true
		case handedUnknown:
			p.proposed = true
			p.sentTo, r.soon = "", true // the connection was lost; twice does no harm
			r.kick()
		case handedNotLeader:
			p.sentTo, r.soon = "", true // most likely it is about to lead: the next sweep tries again
			r.kick()
		case handedFull:
			if !p.proposed {
				r.finish(p, api.Receipt{}, api.Overloaded(0))
			}
		}
	}
}

// takeForwarded is the leader's answer to another node's batch.
func (r *router) takeForwarded(ctx context.Context, from string, payload []byte) ([]byte, error) {
	raw, err := decodeTxs(payload)
	if err != nil {
		return nil, fmt.Errorf("forwarded transactions: %w", err)
	}
	r.n.takenOver(ctx)
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
