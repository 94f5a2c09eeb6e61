package node

import (
	"context"
	"testing"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/node/chain"
	"github.com/baton-ha/baton/node/replication"
)

// What came into the pool at the end of an earlier leadership was somebody else's to answer since.
func TestLeaderBeginsWithAnEmptyPool(t *testing.T) {
	c := newCluster(t, 1, nil)
	n, err := New(c.cfgs[0])
	if err != nil {
		t.Fatal(err)
	}
	tx, err := n.ex.Parse(c.transfer(1, 0, pub(c.users[2]), "1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.engine.pool.Add(tx, 0); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	tn := &testNode{Node: n, cancel: cancel, done: make(chan error, 1)}
	go func() { tn.done <- n.Run(ctx) }()
	c.nodes[0] = tn
	c.leader()
	c.submit(0, 0)
	c.submit(0, 1)
	if _, included, err := n.finals.receipt(tx.Hash()); included || err != nil || n.engine.pool.Len() != 0 {
		t.Errorf("included: %v, %v, %d left in the pool", included, err, n.engine.pool.Len())
	}
}

// What waits for a leader stands in the queue once, and what was answered meanwhile does not stay there for as long as
// there is no leader.
func TestQueueForALeaderIsBounded(t *testing.T) {
	c := newCluster(t, 1, nil)
	n, _ := c.idle()
	r := n.router
	add := func(nonce uint64) *pending {
		t.Helper()
		tx, err := n.ex.Parse(c.transfer(0, nonce, pub(c.users[1]), "1"))
		if err != nil {
			t.Fatal(err)
		}
		p := &pending{tx: tx, done: make(chan struct{})}
		if known, leader, err := r.enter(p); known != p || leader != "" || err != nil {
			t.Fatal(known, leader, err)
		}
		return p
	}
	for nonce := range uint64(3 * forwardBatch) {
		p := add(nonce)
		r.mu.Lock()
		r.finish(p, api.Receipt{}, api.NoLeader(0))
		r.mu.Unlock()
	}
	if len(r.queue) > forwardBatch+1 {
		t.Errorf("%d answered transactions wait for a leader", len(r.queue))
	}
	const live = 20
	for nonce := range uint64(live) {
		add(nonce)
	}
	n.view.Store(&view{leader: "node2"})
	r.requests = forwardRequests // they hang
	for range 2 * forwardBatch {
		r.sweep()
	}
	r.leaderChanged(&view{leader: "node2"})
	if len(r.queue) > forwardBatch+1+live {
		t.Errorf("%d transactions stand in the queue %d times", live, len(r.queue))
	}
	r.requests = 0
	if out := r.take(n.view.Load()); len(out) != live {
		t.Errorf("%d of %d are handed to the leader", len(out), live)
	}
	n.wg.Done() // of the request that take begins
	if r.take(n.view.Load()) != nil || len(r.queue) != 0 {
		t.Errorf("%d are left", len(r.queue))
	}
}

// A leader refuses a transaction on a block of its own, dies, and the block is lost. On an idle chain nothing comes to its
// height: the next leader is asked.
func TestRefusalOnALostBlockIsAskedAgain(t *testing.T) {
	c := newCluster(t, 1, nil)
	n, tx := c.idle()
	r := n.router
	p := &pending{tx: tx, sentTo: "node2", proposed: true, done: make(chan struct{})}
	r.pending[tx.Hash()] = p
	v := verdict{hash: tx.Hash(), err: chain.TxError{Kind: chain.Rejected, Message: "no"}, at: replication.Ref{Height: 1, Hash: block.Hash{1}}}
	r.judge(v)
	r.leaderChanged(&view{})
	if p.verdict == nil || len(r.queue) != 0 {
		t.Error("without a leader there is nobody to ask")
	}
	r.leaderChanged(&view{leader: "node3"})
	if p.verdict != nil || len(r.judged) != 0 || len(r.queue) != 1 {
		t.Errorf("verdict %v, judged %d, queue %d", p.verdict, len(r.judged), len(r.queue))
	}
	// The same one again, elected anew.
	r.queue, p.queued, p.sentTo = nil, false, "node3"
	r.judge(v)
	r.leaderChanged(&view{leader: "node3"})
	if p.verdict != nil || len(r.queue) != 1 {
		t.Errorf("elected anew: verdict %v, queue %d", p.verdict, len(r.queue))
	}
	r.stop()
}
