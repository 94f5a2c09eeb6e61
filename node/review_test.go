package node

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/blockstore/merkle"
	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/node/api/wire"
	"github.com/baton-ha/baton/node/chain"
	"github.com/baton-ha/baton/node/replication"
	"github.com/baton-ha/baton/raftify/core"
)

// folder opens the first node's data folder, until the test ends, without a node.
func (c *cluster) folder() (*blockstore.Store, *chain.Executor) {
	c.t.Helper()
	store, err := blockstore.Open(blockstore.Options{Dir: c.cfgs[0].DataDir})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = store.Close() })
	ex, err := chain.New(c.genesis, chain.Ledger{})
	if err != nil {
		c.t.Fatal(err)
	}
	return store, ex
}

func child(of *block.Block, root byte) *block.Block {
	h := of.Header
	h.Height, h.Parent, h.StateRoot[0], h.Proposer = h.Height+1, of.Hash(), h.StateRoot[0]^root, "test"
	return block.New(h, nil)
}

// A block is executed ahead of the verdict on its parent. When the parent is refused, the node goes on: it has to say
// so to the leader (R13).
func TestChildOfARefusedBlock(t *testing.T) {
	c := newCluster(t, 1, nil)
	c.start(0)
	c.leader()
	n := c.nodes[0]
	bad := child(n.finals.genesis, 1)
	for _, b := range []*block.Block{bad, child(bad, 0), child(child(bad, 0), 0)} {
		if err := n.engine.execute(b); err != nil {
			t.Errorf("block %d: %v", b.Header.Height, err)
		}
	}
}

// replacing is a store whose uncommitted block is replaced by another one, which is committed at once, while it is read.
type replacing struct {
	old, other *block.Block
	reads      int
	at         int // before which read it is replaced
}

func (r *replacing) now() (*block.Block, block.Height) {
	r.reads++
	if r.reads > r.at {
		return r.other, 1
	}
	return r.old, 0
}

func (r *replacing) Tip() (block.Height, block.Hash) { b, _ := r.now(); return 1, b.Hash() }
func (r *replacing) Base() block.Height              { return 0 }
func (r *replacing) Committed() blockstore.Commit {
	_, h := r.now()
	return blockstore.Commit{Height: h}
}

func (r *replacing) HashAt(block.Height) (block.Hash, error)  { b, _ := r.now(); return b.Hash(), nil }
func (r *replacing) Block(block.Height) (*block.Block, error) { b, _ := r.now(); return b, nil }
func (r *replacing) CTermAt(block.Height) (uint64, error) {
	_, c := r.now()
	return 7 * uint64(c), nil
}

// The certificate of a height never goes out with a block that stood there before (R11).
func TestServedCertificateBelongsToItsBlock(t *testing.T) {
	zero := block.New(block.Header{ChainID: "test"}, nil)
	old, other := child(zero, 0), child(zero, 1)
	certified := 0
	for at := range 8 {
		s := &replacing{old: old, other: other, at: at}
		out, err := serveFetch(s, replication.Fetch{From: 1, To: replication.Ref{Height: 1, Hash: old.Hash()}}, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range out {
			if b.CTerm != 0 && b.Block != other {
				t.Errorf("replaced before read %d: certificate of term %d for another block", at, b.CTerm)
			}
			if b.CTerm != 0 {
				certified++
			}
		}
	}
	if certified == 0 {
		t.Error("no certificate was served at all")
	}
}

// A block that a damaged executor left above the commit does not keep a node from starting; a committed one does.
func TestStartOnABlockThatCannotBeReproduced(t *testing.T) {
	c := newCluster(t, 1, nil)
	store, ex := c.folder()
	if _, _, err := restore(store, ex, DefaultLimits(), zerolog.Nop()); err != nil {
		t.Fatal(err)
	}
	write := func(b blockstore.Batch) {
		done := make(chan error, 1)
		store.Enqueue(b, func(err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	zero, err := store.Block(0)
	if err != nil {
		t.Fatal(err)
	}
	bad := child(zero, 1)
	write(blockstore.Batch{Append: []*block.Block{bad, child(bad, 0)}})
	all, _, err := restore(store, ex, DefaultLimits(), zerolog.Nop())
	if err != nil {
		t.Fatalf("uncommitted: %v", err)
	}
	if all.get(zero.Hash()) == nil || all.get(bad.Hash()) != nil {
		t.Error("there must be a state of genesis and none of the block")
	}
	write(blockstore.Batch{Commit: &blockstore.Commit{Height: 1, Hash: bad.Hash(), CTerm: 1, From: 1}})
	if _, _, err := restore(store, ex, DefaultLimits(), zerolog.Nop()); !refused(err) {
		t.Errorf("committed: %v", err)
	}
}

// A node of another cluster gets no certificates of this one, even if it has the same keys and genesis (R3).
func TestFetchOfAnotherClusterIsRefused(t *testing.T) {
	c := newCluster(t, 1, nil)
	c.start(0)
	c.leader()
	n := c.nodes[0]
	l := &linkHandler{n.Node}
	own := n.raft.Status().ClusterID
	other := own
	other[0] ^= 1
	q := replication.Fetch{From: 1}
	for id, want := range map[core.ClusterID]bool{own: true, other: false, {}: false} {
		if _, err := l.HandleRequest(t.Context(), "node2", reqFetch, encodeFetch(q, id)); (err == nil) != want {
			t.Errorf("cluster %v: %v", id, err)
		}
	}
}

// A block on one that a damaged executor left in the own chain cannot be reproduced either. That is a verdict like any
// other, and no reason to stop: the leader hears of it (R13).
func TestBlockOnOneThatCannotBeReproduced(t *testing.T) {
	c := newCluster(t, 1, nil)
	store, ex := c.folder()
	all, zero, err := restore(store, ex, DefaultLimits(), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	bad := child(zero, 1)
	done := make(chan error, 1)
	store.Enqueue(blockstore.Batch{Append: []*block.Block{bad, child(bad, 0)}}, func(err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	n := &Node{cfg: c.cfgs[0], ex: ex, store: store, states: all, finals: newFinals(store, zero, all.get(zero.Hash()))}
	for _, b := range []*block.Block{bad, child(bad, 0), child(child(bad, 0), 0)} {
		if ok, err := newEngine(n).reproduce(b, 0); ok || err != nil {
			t.Errorf("block %d: %v, %v", b.Header.Height, ok, err)
		}
	}
}

// leaving is a store of state nodes that are pruned at some moment.
type leaving struct {
	*blockstore.Store
	gone bool
}

func (l *leaving) Node(id merkle.NodeID) ([]byte, error) {
	if l.gone {
		return nil, blockstore.ErrNotFound
	}
	return l.Store.Node(id)
}

// Whoever works on a state for so long that many blocks above it become final in some other way, and it is pruned, has
// nothing more to do there. The stored state is not damaged by that, and the node goes on; where a newer state lacks
// nodes, it is damaged.
func TestWorkOnAStateThatWasPruned(t *testing.T) {
	c := newCluster(t, 1, nil)
	store, ex := c.folder()
	limits := DefaultLimits()
	limits.CheckpointEvery = 1
	all, zero, err := restore(store, ex, limits, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	build := func(on *chain.State, user int) (*block.Block, *chain.State) {
		t.Helper()
		tx, err := ex.Parse(c.transfer(user, 0, pub(c.users[7]), "1"))
		if err != nil {
			t.Fatal(err)
		}
		b, next, _, err := ex.Build(on, chain.BuildSpec{Proposer: "node1", Term: 1}, []*chain.Tx{tx})
		if err != nil || b == nil {
			t.Fatal(b, err)
		}
		return b, next
	}
	first, after := build(all.get(zero.Hash()), 0)
	done := make(chan error, 1)
	store.Enqueue(blockstore.Batch{
		Append: []*block.Block{first}, Commit: &blockstore.Commit{Height: 1, Hash: first.Hash(), CTerm: 1, From: 1},
	}, func(err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	cp, err := store.SaveState(t.Context(), after.Map(), 1, first.Hash())
	if err != nil {
		t.Fatal(err)
	}
	second, _ := build(after, 1)
	later, _ := chained(t, c, ex, keepStates+2)
	waiting, err := ex.Parse(c.transfer(2, 7, pub(c.users[7]), "1"))
	if err != nil {
		t.Fatal(err)
	}
	for final, outdated := range map[int]bool{1: false, keepStates + 1: false, keepStates + 2: true} {
		nodes := &leaving{Store: store}
		old, err := chain.LoadState(nodes, cp.Root, cp.RootNode, cp.Height, cp.Hash, first.Header.TimeMs, merkle.WithCacheBytes(0))
		if err != nil {
			t.Fatal(err)
		}
		n := &Node{cfg: c.cfgs[0], ex: ex, store: store, states: newStates(), fatal: make(chan error, 1), stateLost: make(chan error, 1)}
		n.ctx, n.cancel = context.WithCancel(t.Context())
		n.finals = newFinals(store, zero, later[final])
		n.mender, n.router = newMender(n), newRouter(n)
		n.states.put(old, 0)
		on := replication.Ref{Height: 1, Hash: first.Hash()}
		n.view.Store(&view{leading: true, counted: true, tip: on})
		e := newEngine(n)
		n.engine = e
		nodes.gone = true

		if ok, err := e.reproduce(second, 0); ok || errors.Is(err, errDecided) != outdated || stateGone(err) == outdated {
			t.Errorf("final %d: a block to execute: %v, %v", final, ok, err)
		}
		if err := e.pool.Add(waiting, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := e.buildOn(target{ref: on}); (err == nil) != outdated || err != nil && !stateGone(err) || e.pool.Len() != 1 {
			t.Errorf("final %d: a block to build: %v, %d transactions are left", final, err, e.pool.Len())
		}
		_, err = account(old, pub(c.users[2]))
		var refusal *api.Error
		if told := n.unreadable(old, err); errors.As(told, &refusal) != outdated || told == nil {
			t.Errorf("final %d: a client that reads is told %v", final, told)
		} else if outdated {
			wantAPIError(t, told, 503, wire.CodeUnavailable)
		}
		wantAPIError(t, n.unreadable(old, fmt.Errorf("proof: %w", blockstore.ErrPruned)), 503, wire.CodeUnavailable)
		n.router.origins[waiting.Hash()] = []string{"node1"}
		e.refuseNonce(waiting)
		n.cancel()
		n.wg.Wait()
		if lost := len(n.stateLost) > 0; lost == outdated || len(n.fatal) > 0 {
			t.Errorf("final %d: a nonce to read: state given up: %v, failed: %v", final, lost, len(n.fatal) > 0)
		}
		if left := len(n.router.origins); outdated && left != 0 {
			t.Errorf("final %d: its sender is not let go", final)
		}
	}
}
