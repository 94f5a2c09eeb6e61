package node

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/chain"
	"github.com/baton-ha/baton/node/replication"
)

// While too much is committed and not final no block is executed: the engine waits, and where blocks arrive they are left to
// the engine. What the leader has not committed waits later.
func TestEngineWaitsForTheFinalizer(t *testing.T) {
	c := newCluster(t, 1, nil)
	ex, err := chain.New(c.genesis, chain.Ledger{})
	if err != nil {
		t.Fatal(err)
	}
	sts, blocks := chained(t, c, ex, 8)
	for _, tt := range []struct {
		newest, final, leader, h block.Height
		may                      bool
	}{
		{newest: 3, final: 0, leader: 100, h: 4, may: true},
		{newest: 4, final: 0, leader: 100, h: 5, may: false},
		{newest: 4, final: 1, leader: 100, h: 5, may: true},
		{newest: 4, final: 0, leader: 4, h: 5, may: true},
		{newest: 5, final: 0, leader: 5, h: 6, may: true},
		{newest: 6, final: 0, leader: 6, h: 7, may: false},
	} {
		synctest.Test(t, func(t *testing.T) {
			n := &Node{cfg: c.cfgs[0], ex: ex, states: newStates(), finals: newFinals(nil, blocks[0], sts[tt.final])}
			n.finalizer = &finalizer{n: n, wake: make(chan struct{}, 1)}
			n.finalizer.push(finalTask{ref: replication.Ref{Height: tt.newest}})
			n.view.Store(&view{leaderHeight: tt.leader})
			n.states.put(sts[tt.h-1], 0)
			e := newEngine(n)
			e.pace = pace{behind: 3, live: 5}
			if got := e.ahead(blocks[tt.h]); got != tt.may || (n.states.get(blocks[tt.h].Hash()) != nil) != tt.may {
				t.Errorf("%+v: executed where it arrived: %v", tt, got)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			began := make(chan bool, 2)
			wait := func() { began <- e.await(ctx, tt.h) }
			go wait()
			synctest.Wait()
			if got := len(began) == 1; got != tt.may {
				t.Errorf("%+v: the engine began: %v", tt, got)
			}
			n.finals.add(block.Final{Block: blocks[tt.final+1]}, sts[tt.final+1])
			synctest.Wait()
			if len(began) != 1 || !<-began {
				t.Errorf("%+v: the engine waits after one more became final", tt)
			}
			n.finalizer.push(finalTask{ref: replication.Ref{Height: 50}})
			go wait()
			synctest.Wait()
			cancel()
			if <-began {
				t.Errorf("%+v: the engine began at the end of the node", tt)
			}
		})
	}
}

// A cluster in which nobody may be more than one block ahead of its own finalizer, and each state has to be written before
// the next is final, goes on all the same, and so does a node that catches up by blocks.
func TestPaceBlocksNobody(t *testing.T) {
	const blocks = 30
	c := newCluster(t, 3, func(cfg *Config) {
		cfg.Limits.CheckpointEvery, cfg.Limits.CheckpointBytes = 1, 1<<20
		cfg.Sync.Mode = SyncBlock
	})
	strict := func(n *Node) {
		n.engine.pace = pace{behind: 1, live: 1}
		n.cfg.Limits.CheckpointBytes = 0 // the finalizer waits for each state
	}
	for i := range 3 {
		c.startWith(i, strict)
	}
	lead := c.leader()
	c.submit(lead, 0)
	late := (lead + 1) % 3
	c.stop(late)
	for nonce := range blocks {
		c.submit(c.leader(), uint64(nonce)+1)
	}
	c.startWith(late, strict)
	c.submit(c.leader(), blocks+1)
	c.settled()
	if h := c.nodes[late].finals.height(); h < blocks {
		t.Errorf("the node that was away is at %d", h)
	}
}
