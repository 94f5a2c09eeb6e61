package node

import (
	"errors"
	"slices"
	"testing"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/chain"
)

// chained returns the state after genesis and n blocks on it, each with one transfer, and the blocks.
func chained(t *testing.T, c *cluster, ex *chain.Executor, n uint64) ([]*chain.State, []*block.Block) {
	t.Helper()
	zero, st, err := ex.Genesis(nil)
	if err != nil {
		t.Fatal(err)
	}
	sts, blocks := []*chain.State{st}, []*block.Block{zero}
	for nonce := range n {
		tx, err := ex.Parse(c.transfer(0, nonce, pub(c.users[1]), "1"))
		if err != nil {
			t.Fatal(err)
		}
		b, next, _, err := ex.Build(st, chain.BuildSpec{Proposer: "other", Term: 1}, []*chain.Tx{tx})
		if err != nil {
			t.Fatal(err)
		}
		sts, blocks, st = append(sts, next), append(blocks, b), next
	}
	return sts, blocks
}

// States stay until they are keepStates below the commit, on whatever fork they are.
func TestStatesForget(t *testing.T) {
	c := newCluster(t, 1, nil)
	ex, err := chain.New(c.genesis, chain.Ledger{})
	if err != nil {
		t.Fatal(err)
	}
	sts, _ := chained(t, c, ex, 4)
	forkTx, err := ex.Parse(c.transfer(1, 0, pub(c.users[2]), "1"))
	if err != nil {
		t.Fatal(err)
	}
	_, fork, _, err := ex.Build(sts[1], chain.BuildSpec{Proposer: "other", Term: 2}, []*chain.Tx{forkTx})
	if err != nil {
		t.Fatal(err)
	}
	all := newStates()
	for _, st := range append(sts[2:], fork, sts[0], fork, sts[1]) { // in any order, also twice
		all.put(st, 0)
	}
	again, _ := chained(t, c, ex, 1)
	if kept := all.put(again[1], 0); kept != sts[1] || all.get(sts[1].BlockHash()) != sts[1] {
		t.Error("a second execution of a block took the place of the first")
	}
	check := func(committed block.Height) {
		t.Helper()
		all.forget(committed)
		for _, st := range append(sts, fork) {
			want := st.Height()+keepStates > committed
			if got := all.get(st.BlockHash()) == st; got != want {
				t.Errorf("committed %d: state %d is there: %v", committed, st.Height(), got)
			}
		}
	}
	for committed := range block.Height(keepStates + 6) {
		check(committed)
	}
	if len(all.byHeight) != 0 {
		t.Errorf("%d heights left of no states", len(all.byHeight))
	}
	all.put(sts[1], 0) // of a leader long gone: forgotten again
	check(keepStates + 6)
}

// A small block is executed where it arrives, if its parent was; a bad one, or one on an unknown parent, is left to the
// engine, whose verdict counts.
func TestAheadOfTheEngine(t *testing.T) {
	c := newCluster(t, 1, nil)
	ex, err := chain.New(c.genesis, chain.Ledger{})
	if err != nil {
		t.Fatal(err)
	}
	sts, blocks := chained(t, c, ex, 2)
	n := &Node{cfg: c.cfgs[0], ex: ex, states: newStates(), finals: newFinals(nil, blocks[0], sts[0]), finalizer: &finalizer{}}
	n.view.Store(&view{})
	e := newEngine(n)
	n.states.put(sts[0], 0)
	bad := blocks[1].Header
	bad.StateRoot[0] ^= 1
	badBlock := block.New(bad, blocks[1].Txs)
	large := block.New(blocks[1].Header, slices.Repeat(blocks[1].Txs, smallBlockTxs+1))
	for _, tt := range []struct {
		name string
		b    *block.Block
		want bool
	}{
		{"unknown parent", blocks[2], false},
		{"bad root", badBlock, false},
		{"too large", large, false},
		{"good", blocks[1], true},
		{"again", blocks[1], true},
		{"its child", blocks[2], true},
	} {
		if got := e.ahead(tt.b); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
		if got := n.states.get(tt.b.Hash()) != nil; got != tt.want {
			t.Errorf("%s: its state is kept: %v", tt.name, got)
		}
	}
}

// A request to execute a block may wait in the engine while the block, executed where it arrived, and others on it become
// final and their states are forgotten. Then there is nothing to say, and nothing is wrong with the node.
func TestLateRequestToExecute(t *testing.T) {
	c := newCluster(t, 1, nil)
	ex, err := chain.New(c.genesis, chain.Ledger{})
	if err != nil {
		t.Fatal(err)
	}
	sts, blocks := chained(t, c, ex, keepStates+4)
	n := &Node{cfg: c.cfgs[0], ex: ex, states: newStates(), finals: newFinals(nil, blocks[0], sts[0]), finalizer: &finalizer{}}
	n.view.Store(&view{})
	e := newEngine(n)
	n.states.put(sts[0], 0)
	final := func(h int) {
		n.finals.add(block.Final{Block: blocks[h]}, sts[h])
		n.states.forget(block.Height(h))
	}
	for h := 1; h < len(blocks); h++ {
		if !e.ahead(blocks[h]) {
			t.Fatalf("block %d was not executed where it arrived", h)
		}
		final(h)
	}
	for h := 1; h < len(blocks); h++ {
		ok, err := e.reproduce(blocks[h], 0)
		if kept := h+keepStates > len(blocks)-1; kept != (ok && err == nil) || !kept && !errors.Is(err, errDecided) {
			t.Errorf("block %d of %d: %v, %v", h, len(blocks)-1, ok, err)
		}
	}
	// A fork below what is final has no verdict either.
	fork := blocks[2].Header
	fork.Term++
	if ok, err := e.reproduce(block.New(fork, blocks[2].Txs), 0); ok || !errors.Is(err, errDecided) {
		t.Errorf("fork: %v, %v", ok, err)
	}
}

// TestStatesRestart: what was begun on a state of before a jump is of another line, and is not kept.
func TestStatesRestart(t *testing.T) {
	c := newCluster(t, 1, nil)
	ex, err := chain.New(c.genesis, chain.Ledger{})
	if err != nil {
		t.Fatal(err)
	}
	sts, blocks := chained(t, c, ex, 3)
	n := &Node{cfg: c.cfgs[0], ex: ex, states: newStates()}
	line := n.states.current()
	n.states.put(sts[0], line)
	n.states.put(sts[1], line)
	n.states.restart(sts[2])
	if n.states.put(sts[1], line) != nil || n.states.get(sts[1].BlockHash()) != nil || n.states.get(sts[2].BlockHash()) != sts[2] {
		t.Error("a state of before is kept")
	}
	e := newEngine(n)
	if ok, err := e.reproduce(blocks[3], line); ok || !errors.Is(err, errDecided) || n.states.get(blocks[3].Hash()) != nil {
		t.Errorf("a verdict on what was asked before: %v, %v", ok, err)
	}
	if ok, err := e.reproduce(blocks[3], n.states.current()); !ok || err != nil {
		t.Errorf("block on the new state: %v, %v", ok, err)
	}
	n.states.forget(blocks[3].Header.Height + keepStates)
	if n.states.get(blocks[3].Hash()) != nil {
		t.Error("old states are kept for ever")
	}
}
