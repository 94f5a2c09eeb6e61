package node

import (
	"testing"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/chain"
)

func flownBlock(h block.Height, txs int) *block.Block {
	list := make([]*block.Tx, txs)
	for i := range list {
		list[i] = &block.Tx{Payload: []byte{byte(i)}}
	}
	return block.New(block.Header{ChainID: "test", Height: h}, list)
}

// A block waits until as much has gathered as is on its way, or until that is committed, or a block is full.
func TestWorthwhile(t *testing.T) {
	c := newCluster(t, 1, nil) // for its keys
	ex, err := chain.New(c.genesis, chain.Ledger{})
	if err != nil {
		t.Fatal(err)
	}
	e := newEngine(&Node{cfg: c.cfgs[0]})
	addNonce := func(user int, nonce uint64) {
		t.Helper()
		tx, err := ex.Parse(c.transfer(user, nonce, pub(c.users[0]), "1"))
		if err != nil {
			t.Fatal(err)
		}
		if err := e.pool.Add(tx, 0); err != nil {
			t.Fatal(err)
		}
	}
	add := func(user int) { addNonce(user, 0) }
	want := func(when string, ok bool) {
		t.Helper()
		if e.worthwhile() != ok {
			t.Errorf("%s: worthwhile is %v", when, !ok)
		}
	}
	add(0)
	want("nothing on its way", true)
	e.flying.add(flownBlock(7, 1))
	want("one gathered, one on its way", true)
	e.flying.add(flownBlock(8, 2))
	want("one gathered, three on their way", false)
	e.committed(7)
	want("one gathered, two on their way", false)
	add(1)
	want("two gathered, two on their way", true)
	e.flying.add(flownBlock(9, 10))
	want("two gathered, twelve on their way", false)
	e.n.cfg.Limits.MaxBlockTxs = 2
	want("a full block gathered", true)
	e.n.cfg.Limits.MaxBlockTxs = 100
	e.committed(8)
	want("two gathered, ten on their way", false)
	e.committed(9)
	want("all committed", true)
	e.flying.add(flownBlock(10, fewTxs))
	for user := range fewTxs {
		addNonce(user, 1)
	}
	want("as many gathered as the few on their way", true)
	for user := range fewTxs {
		addNonce(user, 2)
	}
	e.flying.add(flownBlock(11, 1))
	want("twice as many gathered as are on their way", true)
	e.flying.add(flownBlock(12, 1))
	want("less than twice as many gathered as are on their way", false)
	e.committed(12)
	e.flying.add(flownBlock(10, 10))
	e.stop()
	if e.flying.txs != 0 || len(e.flying.blocks) != 0 || e.target != nil {
		t.Errorf("after the end of leading: %+v", e.flying)
	}
}
