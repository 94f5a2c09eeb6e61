package node

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api"
)

// fresh gives a stopped node an empty data folder.
func (c *cluster) fresh(i int) {
	c.t.Helper()
	dir, err := os.MkdirTemp(filepath.Dir(c.cfgs[i].DataDir), "fresh")
	if err != nil {
		c.t.Fatal(err)
	}
	c.cfgs[i].DataDir = dir
}

// pruneBelow has running nodes forget the blocks below a height, or below their newest stored state.
func (c *cluster) pruneBelow(h block.Height, is ...int) {
	c.t.Helper()
	for _, i := range is {
		c.until("the blocks are gone", func() bool {
			_, err := c.nodes[i].store.PruneBlocks(h, h)
			if err != nil {
				c.t.Fatal(err)
			}
			return c.nodes[i].store.Base() >= h
		})
	}
}

// within ends with the test's patience.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// caughtUp waits until a node follows at that height, by a state if its mode is that.
func (c *cluster) caughtUp(i int, h block.Height) {
	c.t.Helper()
	n := c.nodes[i]
	c.until("the node has caught up", func() bool {
		select {
		case err := <-n.done:
			c.t.Fatalf("%s stopped with %v", c.cfgs[i].ID, err)
		default:
		}
		return n.finals.height() >= h && n.Ready() == nil
	})
	if _, _, jumps := n.syncer.progress(); (jumps > 0) != (c.cfgs[i].Sync.Mode == SyncState) {
		c.t.Fatalf("%s, in mode %v, took %d states over", c.cfgs[i].ID, c.cfgs[i].Sync.Mode, jumps)
	}
}

// A node whose folder was emptied, in a cluster that has pruned the blocks which it lacks, comes back by a state. What was
// answered before is answered the same by it, and it votes.
func TestStateSync(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.startAll()
	lead := c.leader()
	away, other := (lead+1)%3, (lead+2)%3
	ctx := within(t)
	receipts := map[uint64]api.Receipt{}
	for nonce := range uint64(60) {
		if nonce == 20 {
			c.stop(away)
			c.fresh(away)
		}
		r, err := c.nodes[lead].Submit(ctx, c.transfer(0, nonce, pub(c.users[1]), "1"))
		if err != nil {
			t.Fatal(err)
		}
		receipts[nonce] = r
	}
	c.until("a state is stored", func() bool {
		a, _ := c.nodes[lead].store.Checkpoint()
		b, _ := c.nodes[other].store.Checkpoint()
		return a.Height >= 40 && b.Height >= 40
	})
	c.pruneBelow(30, lead)
	c.start(away)
	c.caughtUp(away, 60)
	n := c.nodes[away]
	for _, nonce := range []uint64{0, 25, 45, 59} {
		r, err := n.Submit(ctx, c.transfer(0, nonce, pub(c.users[1]), "1"))
		if err != nil || r != receipts[nonce] {
			t.Errorf("nonce %d, sent again: %+v %v, was %+v", nonce, r, err, receipts[nonce])
		}
		if r, ok, err := n.Receipt(ctx, receipts[nonce].Hash); err != nil || !ok || r != receipts[nonce] {
			t.Errorf("nonce %d, looked up: %+v %v %v", nonce, r, ok, err)
		}
		f, err := n.Final(ctx, receipts[nonce].Height)
		if err != nil || f.Block.Hash() != receipts[nonce].BlockHash {
			t.Errorf("block %d: %v", receipts[nonce].Height, err)
		}
	}
	var bad *api.Error
	if _, err := n.Submit(ctx, c.transfer(0, 7, pub(c.users[2]), "1")); !errors.As(err, &bad) || bad.Status != 409 {
		t.Errorf("another transaction with a used nonce: %v", err)
	}
	if _, ok, err := n.Receipt(ctx, block.Hash{7}); ok || err != nil {
		t.Errorf("unknown transaction: %v %v", ok, err)
	}
	c.until("the chain is filled in", func() bool { return n.store.Base() <= 1 })
	for nonce, r := range receipts {
		if have, ok, err := n.finals.receipt(r.Hash); err != nil || !ok || have != r {
			t.Errorf("nonce %d, filled in: %+v %v %v, was %+v", nonce, have, ok, err, r)
		}
	}
	c.untilVoters(0, 1, 2)
	c.submit(away, 60)
	c.stop(other)
	c.submit(away, 61)
	c.submit(lead, 62)
	c.stop(away) // its folder is as good as others
	c.start(away)
	c.start(other)
	c.submit(away, 63)
	c.settled()
}

// In mode block a node executes all there is, however far behind it is.
func TestBlockSyncExecutesAll(t *testing.T) {
	c := newCluster(t, 3, func(cfg *Config) {
		if cfg.ID == "node3" {
			cfg.Sync.Mode = SyncBlock
		}
	})
	c.start(0, 1)
	c.start(2)
	lead := c.leader()
	if lead == 2 {
		c.lead(0)
		lead = 0
	}
	c.submit(lead, 0)
	c.stop(2)
	c.fresh(2)
	for nonce := range uint64(40) {
		c.submit(lead, nonce+1)
	}
	c.start(2)
	c.caughtUp(2, 41)
	if base := c.nodes[2].store.Base(); base > 1 {
		t.Errorf("the chain begins at %d", base)
	}
}

// A pin that the chain contradicts stops the node, before and after it has the block.
func TestPin(t *testing.T) {
	c := newCluster(t, 1, nil)
	c.start(0)
	c.leader()
	for nonce := range uint64(3) {
		c.submit(0, nonce)
	}
	good, err := c.nodes[0].Final(within(t), 2)
	if err != nil {
		t.Fatal(err)
	}
	c.stop(0)
	c.cfgs[0].Sync.Pin = Pin{Height: 2, Hash: block.Hash{2}}
	if _, err := New(c.cfgs[0]); !errors.Is(err, ErrPinned) {
		t.Errorf("a stored block: %v", err)
	}
	c.cfgs[0].Sync.Pin = Pin{Height: 2, Hash: good.Block.Hash()}
	c.start(0)
	c.leader()
	c.submit(0, 3)
	c.stop(0)
	c.cfgs[0].Sync.Pin = Pin{Height: 5, Hash: block.Hash{2}}
	c.start(0)
	c.leader()
	n := c.nodes[0]
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_, _ = n.Submit(ctx, c.transfer(0, 4, pub(c.users[1]), "1"))
	select {
	case err := <-n.done:
		if !errors.Is(err, ErrPinned) {
			t.Errorf("a new block: %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the node goes on")
	}
	c.nodes[0] = nil
	if f, err := n.store.Final(5); err == nil && f.Block != nil {
		t.Error("a block that contradicts the pin was signed")
	} else if !errors.Is(err, blockstore.ErrNotFinal) && err == nil {
		t.Error(err)
	}
}
