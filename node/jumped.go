package node

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/node/api/wire"
	"github.com/baton-ha/baton/node/chain"
	"github.com/baton-ha/baton/node/replication"
	"github.com/baton-ha/baton/raftify/core"
)

// leap is a jump of this node: what is written, and the state that it goes on from.
type leap struct {
	jump    *blockstore.Jump
	state   *chain.State
	queued  chan struct{} // closed when the jump is in the store's queue
	written chan struct{} // closed when it is durable

	mu   sync.Mutex
	step leapStep
}

// leapStep says who decides about a leap: once the owner loop has begun it, nobody else can take it back.
type leapStep uint8

const (
	leapAsked leapStep = iota
	leapBegun
	leapTakenBack
)

// move takes a leap that was asked for to its next step; false when the other side was first.
func (l *leap) move(to leapStep) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.step != leapAsked {
		return false
	}
	l.step = to
	return true
}

func (l *leap) ref() replication.Ref {
	b := l.jump.Final.Block
	return replication.Ref{Height: b.Header.Height, Hash: b.Hash()}
}

// newLeap opens the state of a jump and looks whether this node may go on from it.
func (n *Node) newLeap(j *blockstore.Jump) (*leap, error) {
	cp, b := j.Checkpoint(), j.Final.Block
	st, err := chain.LoadState(n.store, cp.Root, cp.RootNode, cp.Height, cp.Hash, b.Header.TimeMs, mapOptions(n.cfg.Limits)...)
	if err != nil {
		return nil, err //nolint:wrapcheck // says all
	}
	if err := verifyOwnKey(n.cfg.ProcessorKey, st.ProcessorKey()); err != nil {
		return nil, err
	}
	return &leap{jump: j, state: st, queued: make(chan struct{}), written: make(chan struct{})}, nil
}

// jump has the chain jump, if it may at this moment, and returns when that is durable. When it returns earlier, because ctx
// ended, the jump is in the store's queue or never will be: the transfer that it rests on may be closed.
func (n *Node) jump(ctx context.Context, l *leap) error {
	l.step = leapAsked // it may have been refused before
	asked := make(chan error, 1)
	posted := n.raft.Do(func(now core.Instant, c *core.Core) {
		if !l.move(leapBegun) {
			return
		}
		n.leap = l // write wants it in this same step
		err := n.ch.Jump(now, l.jump.Final.Block, core.Term(l.jump.Final.CTerm))
		if err != nil {
			n.leap = nil
		}
		c.Poke(now)
		asked <- err
	})
	if !posted {
		return context.Canceled
	}
	err := error(nil)
	select {
	case err = <-asked:
	case <-ctx.Done():
		if l.move(leapTakenBack) {
			return fmt.Errorf("jump: %w", ctx.Err())
		}
		err = <-asked
	}
	if err != nil {
		return err
	}
	<-l.queued // in the same step of the owner loop
	select {
	case <-l.written:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("jump: %w", ctx.Err())
	}
}

// writeJump moves all that goes along with the chain to the new place, in the order in which that is safe, and returns what
// is to be written. Owner loop. Execution of before ends without a verdict; the finalizer signs nothing more of before
// once this returns, and shows the new place when it is durable; clients that wait are answered then.
func (n *Node) writeJump() *blockstore.Jump {
	l := n.leap
	n.leap = nil
	ref := l.ref()
	n.states.restart(l.state)
	n.engine.jumped()
	n.queuedFinal = ref.Height
	n.finalizer.jump(l)
	return l.jump
}

// jump drops what was to be finalized below, and from now on nothing there is signed.
func (f *finalizer) jump(l *leap) {
	f.mu.Lock()
	f.floor, f.top = l.ref().Height, l.ref().Height
	f.todo = []finalTask{{ref: l.ref(), leap: l}}
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// landed shows the new place, once it is durable, to whoever reads or waits.
func (f *finalizer) landed(ctx context.Context, l *leap) {
	select {
	case <-l.written:
	case <-ctx.Done():
		return
	}
	n, final := f.n, l.jump.Final
	f.record = l.ref()
	n.syncer.landed()
	n.finals.jump(final, l.state)
	n.router.finalized(final.Block)
	n.router.jumped(l.state)
	n.hub.publish(api.Event{Block: wire.NewBlockEvent(final.Block)})
	n.log.Warn().Uint64("height", uint64(final.Block.Header.Height)).Stringer("hash", final.Block.Hash()).
		Msg("this node goes on from the state of this block: the blocks below it are not here, or not yet")
}

// jump makes a block whose state came from elsewhere the newest final one. The store can serve it.
func (f *finals) jump(b block.Final, st *chain.State) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := b.Block.Header.Height
	f.recent, f.index = map[block.Height]block.Final{h: b}, map[block.Hash]place{}
	for i, tx := range b.Block.Txs {
		f.index[tx.Hash()] = place{h, uint32(i)}
	}
	f.lowest, f.applied, f.tip = h, h, st
	close(f.changed)
	f.changed = make(chan struct{})
}

// jumped looks after the transactions that wait here while the node went over the blocks in which they may be: what the new
// state has used the nonce of is in one of these, or never will be, and another node knows which. The others go on
// waiting, and a leader is asked anew about what it refused on a block that is not here any more.
func (r *router) jumped(st *chain.State) {
	r.mu.Lock()
	waiting := make([]*pending, 0, len(r.pending))
	for _, p := range r.pending {
		waiting = append(waiting, p)
		if p.verdict != nil && p.verdict.at.Height <= st.Height() {
			r.askAgain(p)
		}
	}
	r.mu.Unlock()
	if len(waiting) == 0 {
		return
	}
	r.kick()
	r.n.wg.Go(func() {
		for _, p := range waiting {
			if used, rec, err := r.usedNonce(p.tx, st); used && r.n.ctx.Err() == nil {
				r.mu.Lock()
				r.finish(p, rec, err)
				r.mu.Unlock()
			}
		}
	})
}

// askAgain has the leader judge a transaction anew. The caller holds the lock.
func (r *router) askAgain(p *pending) {
	p.verdict, p.sentTo = nil, ""
	delete(r.judged, p.tx.Hash())
	r.enqueue(p)
}

// gone reports whether an error says that something is below what this node has of the chain.
func gone(err error) bool { return errors.Is(err, blockstore.ErrPruned) }
