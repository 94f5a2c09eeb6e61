package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/chain"
	"github.com/baton-ha/baton/node/mempool"
	"github.com/baton-ha/baton/node/replication"
	"github.com/baton-ha/baton/raftify/core"
)

// engine executes: blocks of others for the replication core, and while this node leads, transactions into new blocks.
// One goroutine, so that blocks are executed in the order asked for.
type engine struct {
	n    *Node
	pool *mempool.Pool
	wake chan struct{}
	pace pace

	mu     sync.Mutex
	execs  []*block.Block
	target *target // build on this; nil: do not build
	done   []proposal
	flying flight
}

// target is a tip that may be built on.
type target struct {
	ref  replication.Ref
	term core.Term
}

// proposal is what became of a block that was built here.
type proposal struct {
	on       target
	blk      *block.Block
	txs      []*chain.Tx
	verdicts []chain.Verdict
	err      error
}

func newEngine(n *Node) *engine {
	return &engine{
		n: n, pool: mempool.New(n.cfg.Limits.Pool), wake: make(chan struct{}, 1), pace: pace{unfinalBehind, unfinalLive},
	}
}

func (e *engine) kick() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// exec queues a block for execution. Owner loop.
func (e *engine) exec(b *block.Block) {
	e.mu.Lock()
	e.execs = append(e.execs, b)
	e.mu.Unlock()
	e.kick()
}

// build sets the tip to build on. Owner loop.
func (e *engine) build(t *target) {
	e.mu.Lock()
	e.target = t
	e.mu.Unlock()
	if t != nil {
		e.kickForWork()
	}
}

// committed makes room for what was proposed up to h, and returns when that was. Owner loop.
func (e *engine) committed(h block.Height) []time.Time {
	e.mu.Lock()
	at := e.flying.land(h)
	e.mu.Unlock()
	e.kickForWork()
	return at
}

// kickForWork wakes the engine only if it finds something to do: on an idle node a wake-up costs more than the work. What
// comes into the pool later wakes it by itself.
func (e *engine) kickForWork() {
	e.mu.Lock()
	unsettled := len(e.done) > 0
	e.mu.Unlock()
	if unsettled || e.pool.Takeable() > 0 {
		e.kick()
	}
}

// begin is called before this node takes transactions as the leader: what came in at the end of an earlier leadership has
// been somebody else's to answer since. Owner loop.
func (e *engine) begin() { e.pool.Clear() }

// jumped forgets what it was to execute on the states of before. Owner loop.
func (e *engine) jumped() {
	e.mu.Lock()
	e.execs = nil
	e.mu.Unlock()
}

// stop ends building: this node no longer leads. Owner loop.
func (e *engine) stop() {
	e.mu.Lock()
	e.target, e.flying = nil, flight{}
	e.mu.Unlock()
	e.pool.Clear()
	e.kick()
}

func (e *engine) run(ctx context.Context) {
	late := time.NewTimer(0)
	defer late.Stop()
	for {
		if err := e.turn(); err != nil {
			if stateGone(err) {
				e.n.stateDamaged(err)
			} else {
				e.n.fail(err)
			}
			return
		}
		// Only the engine makes a transaction the first one that waits, by settling it.
		if at, waits := e.pool.NextExpiry(); waits {
			late.Reset(at - e.n.uptime())
		} else {
			late.Stop()
		}
		select {
		case <-e.wake:
		case <-e.pool.Ready():
		case <-late.C:
			e.expire()
		case <-ctx.Done():
			return
		}
	}
}

// turn executes and settles all that is queued, then builds at most one block; a follower's work comes first.
func (e *engine) turn() error {
	for {
		e.mu.Lock()
		execs, done := e.execs, e.done
		e.execs, e.done = nil, nil
		t := e.target
		e.mu.Unlock()
		for _, p := range done {
			e.settle(p)
		}
		for _, b := range execs {
			if !e.await(e.n.ctx, b.Header.Height) {
				return nil // the node ends
			}
			if err := e.execute(b); err != nil {
				return err
			}
		}
		if len(execs)+len(done) > 0 {
			continue
		}
		if t == nil {
			return nil
		}
		if !e.await(e.n.ctx, t.ref.Height+1) {
			return nil
		}
		built, err := e.buildOn(*t)
		if err != nil || !built {
			return err
		}
	}
}

// smallBlockTxs is up to how many transactions a proposed block has to be executed on the goroutine that received it.
const smallBlockTxs = 4

// ahead executes a small proposed block right where it arrives, without a change of goroutine there and back, and
// reports whether its root was reproduced. In doubt the engine finds out. Whether the block may be appended is judged in
// the owner loop all the same (PROTOCOL R1, R8). Any goroutine.
func (e *engine) ahead(b *block.Block) bool {
	n := e.n
	if len(b.Txs) > smallBlockTxs || n.finals.height() < e.next(b.Header.Height) {
		return false
	}
	line := n.states.current()
	if n.states.get(b.Hash()) != nil {
		return true
	}
	parent := n.states.get(b.Header.Parent)
	if parent == nil {
		return false
	}
	st, err := n.ex.Apply(parent, b)
	if err != nil {
		return false
	}
	return n.states.put(st, line) != nil
}

// execute gives the replication core its verdict on a block.
func (e *engine) execute(b *block.Block) error {
	n := e.n
	line := n.states.current()
	ok, err := e.reproduce(b, line)
	// Blocks are asked for ahead of the verdict on their parents: one whose parent was refused has none. And what is not of
	// this line of states any more may not be found while a jump takes the old chain away.
	none := errors.Is(err, errNoParent) || errors.Is(err, errDecided) || err != nil && line != n.states.current()
	if err != nil && !none {
		return fmt.Errorf("execute block %d: %w", b.Header.Height, err)
	}
	n.raft.Do(func(now core.Instant, c *core.Core) {
		if none || line != n.states.current() {
			n.ch.NotExecuted(now, b.Hash())
		} else {
			n.ch.Executed(now, b.Hash(), ok)
		}
		c.Poke(now)
	})
	return nil
}

// reproduce reports whether executing b gives its state root.
func (e *engine) reproduce(b *block.Block, line uint64) (bool, error) {
	n := e.n
	if n.states.get(b.Hash()) != nil {
		return true, nil
	}
	var st *chain.State
	parent, err := e.parentState(b, line)
	if err == nil {
		st, err = n.ex.Apply(parent, b)
	}
	switch {
	case refused(err): // the block, or one below it that a damaged executor left in the own chain, see restore
		n.log.Error().Err(err).Uint64("height", uint64(b.Header.Height)).Stringer("hash", b.Hash()).
			Str("proposer", b.Header.Proposer).Msg("this node cannot reproduce a block")
		return false, nil
	case n.outdated(parent, err):
		return false, errDecided
	case err != nil:
		return false, err //nolint:wrapcheck // execute says which block
	}
	if n.states.put(st, line) == nil {
		return false, errDecided
	}
	return true, nil
}

// outdated reports whether an error comes of reading a state that was pruned meanwhile (see checkpoints.prune): many
// blocks above it became final in some other way, and nobody waits any more for what is made of it.
func (n *Node) outdated(st *chain.State, err error) bool {
	return st != nil && !isDamage(err) && errors.Is(err, blockstore.ErrNotFound) && st.Height() < below(n.finals.height(), keepStates)
}

// refused reports whether an executor's error is a verdict on the block.
func refused(err error) bool {
	return errors.Is(err, chain.ErrRootMismatch) || errors.Is(err, chain.ErrInvalidBlock) || errors.Is(err, chain.ErrNoCode)
}

var (
	errNoParent = errors.New("the own chain does not hold block")
	errDecided  = errors.New("another way brought a block of this height to its end")
	errTooDeep  = errors.New("too many blocks since the newest state in memory")
)

// maxRebuild bounds how many stored blocks parentState executes again.
const maxRebuild = 64

// parentState returns the state that b is executed on, executing stored blocks again if it is not in memory. The request
// to execute b may have waited here for long: if meanwhile a block of its height became final, as one that was executed
// where it arrived (see ahead) may, then the states below are forgotten and nobody waits for the verdict: errDecided.
func (e *engine) parentState(b *block.Block, line uint64) (*chain.State, error) {
	var missing []*block.Block
	for hash := b.Header.Parent; ; {
		if st := e.n.states.get(hash); st != nil {
			for _, m := range slices.Backward(missing) {
				next, err := e.n.ex.Apply(st, m)
				if e.n.outdated(st, err) {
					return nil, errDecided
				}
				if err != nil {
					return nil, fmt.Errorf("execute stored block %d again: %w", m.Header.Height, err)
				}
				if st = e.n.states.put(next, line); st == nil {
					return nil, errDecided
				}
			}
			return st, nil
		}
		// A state is forgotten only after blocks above it are final, so this sees them.
		if e.n.finals.height() >= b.Header.Height {
			return nil, errDecided
		}
		m, err := e.n.store.BlockByHash(hash)
		if err != nil && e.n.mender.must(e.n.ctx, err) {
			m, err = e.n.store.BlockByHash(hash)
		}
		if damage := (*blockstore.CorruptionError)(nil); errors.Is(err, blockstore.ErrNotFound) && !errors.As(err, &damage) {
			return nil, fmt.Errorf("%w %v", errNoParent, hash)
		}
		if err == nil && len(missing) > maxRebuild {
			err = errTooDeep
		}
		if err != nil {
			return nil, fmt.Errorf("no state after block %v: %w", hash, err)
		}
		missing = append(missing, m)
		hash = m.Header.Parent
	}
}

// buildOn makes one block on t; false when there was nothing to do.
func (e *engine) buildOn(t target) (bool, error) {
	n := e.n
	if !e.worthwhile() {
		return false, nil
	}
	txs := e.pool.Take(n.cfg.Limits.MaxBlockTxs, n.cfg.Limits.MaxBlockBytes)
	if len(txs) == 0 {
		return false, nil
	}
	line := n.states.current()
	parent := n.states.get(t.ref.Hash)
	if parent == nil {
		// A block that this node cannot reproduce, see restore: the other voters refuse it too, or it becomes committed and
		// the finalizer ends this process.
		e.pool.Return(txs)
		e.taken(t)
		n.log.Error().Stringer("tip", t.ref).Msg("no state of the tip to build on")
		return false, nil
	}
	blk, next, verdicts, err := n.ex.Build(parent, chain.BuildSpec{
		Proposer: n.cfg.ID, Term: uint64(t.term), NowMs: time.Now().UnixMilli(),
		MaxBytes: n.cfg.Limits.MaxBlockBytes, MaxTxs: n.cfg.Limits.MaxBlockTxs,
	}, txs)
	if err != nil {
		e.pool.Return(txs)
		if n.outdated(parent, err) { // others led meanwhile
			e.taken(t)
			return true, nil
		}
		return false, fmt.Errorf("build on %v: %w", t.ref, err)
	}
	p := proposal{on: t, blk: blk, txs: txs, verdicts: verdicts}
	if blk == nil {
		e.settle(p)
		return true, nil
	}
	n.states.put(next, line)
	e.taken(t)
	posted := n.raft.Do(func(now core.Instant, c *core.Core) {
		p.err = n.ch.Propose(now, blk)
		c.Poke(now)
		e.mu.Lock()
		if p.err == nil {
			e.flying.add(blk)
		}
		e.done = append(e.done, p)
		e.mu.Unlock()
		if p.err != nil || e.pool.Len() > 0 || !allIncluded(verdicts) {
			e.kick() // otherwise nobody waits for the settlement, and the commit wakes the engine
		}
	})
	if !posted {
		e.pool.Return(txs)
	}
	return true, nil
}

func allIncluded(vs []chain.Verdict) bool {
	return !slices.ContainsFunc(vs, func(v chain.Verdict) bool { return v.Kind != chain.VerdictIncluded })
}

// taken ends building on t; the owner sets the next target, or has set it already.
func (e *engine) taken(t target) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.target != nil && *e.target == t {
		e.target = nil
	}
}

// settle tells the pool and the senders what became of a proposal. A verdict holds on the state of the block that was
// built, or of the tip when none was.
func (e *engine) settle(p proposal) {
	if p.err != nil {
		e.n.log.Debug().Err(p.err).Msg("a block that was built here was not proposed")
		e.pool.Return(p.txs)
		return
	}
	at := p.on.ref
	if p.blk != nil {
		at = replication.Ref{Height: p.blk.Header.Height, Hash: p.blk.Hash()}
	}
	lost := e.pool.Settle(p.txs, p.verdicts)
	for i, v := range p.verdicts {
		switch v.Kind {
		case chain.VerdictRejected, chain.VerdictBehind:
			e.n.router.refuse(p.txs[i].Hash(), v.Err, at)
		case chain.VerdictIncluded:
			e.n.router.included(p.txs[i].Hash())
		case chain.VerdictAhead, chain.VerdictNoRoom:
		}
	}
	for _, tx := range lost {
		e.n.router.included(tx.Hash()) // no longer here: whoever sent it sends it again
	}
}

// expire refuses what has waited too long for an earlier nonce.
func (e *engine) expire() {
	for _, tx := range e.pool.Expire(e.n.uptime()) {
		e.refuseNonce(tx)
	}
}

// refuseNonce refuses a transaction whose nonce is ahead of what this node's tip wants.
func (e *engine) refuseNonce(tx *chain.Tx) {
	st := e.n.states.get(e.n.view.Load().tip.Hash)
	if st == nil {
		st = e.n.finals.state()
	}
	acc, err := st.Account(tx.Sender())
	switch {
	case e.n.outdated(st, err):
		e.n.router.included(tx.Hash()) // whoever sent it sends it again
		return
	case stateGone(err):
		e.n.stateDamaged(err)
		return
	case err != nil:
		e.n.fail(fmt.Errorf("read nonce: %w", err))
		return
	}
	e.n.router.refuse(tx.Hash(), &chain.TxError{
		Kind: chain.BadNonce, ExpectedNonce: acc.Nonce,
		Message: fmt.Sprintf("nonce is %d, expected %d", tx.Nonce(), acc.Nonce),
	}, replication.Ref{Height: st.Height(), Hash: st.BlockHash()})
}
