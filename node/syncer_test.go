package node

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

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
			return c.nodes[i].store.Base() >= h && c.nodes[i].store.ReceiptBase() >= h
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

// caughtUp waits until a node follows at that height, and demands that it got there by a state if its mode is that.
func (c *cluster) caughtUp(i int, h block.Height) {
	c.t.Helper()
	c.follows(i, h)
	if _, _, jumps := c.nodes[i].syncer.progress(); (jumps > 0) != (c.cfgs[i].Sync.Mode == SyncState) {
		c.t.Fatalf("%s, in mode %v, took %d states over", c.cfgs[i].ID, c.cfgs[i].Sync.Mode, jumps)
	}
}

// follows waits until a node follows at that height.
func (c *cluster) follows(i int, h block.Height) {
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
	for nonce, r := range receipts {
		if nonce%7 > 0 {
			continue
		}
		if there, ok, err := n.elsewhere.receipt(ctx, r.Hash, 60); err != nil || !ok || there != r {
			t.Errorf("nonce %d, from another node: %+v %v %v, was %+v", nonce, there, ok, err, r)
		}
		if f, err := n.elsewhere.final(ctx, r.Height); err != nil || f.Block.Hash() != r.BlockHash {
			t.Errorf("block %d, from another node: %v", r.Height, err)
		}
	}
	if _, ok, err := n.elsewhere.receipt(ctx, block.Hash{7}, 60); ok || err != nil {
		t.Errorf("unknown transaction, from another node: %v %v", ok, err)
	}
	if _, _, err := n.elsewhere.receipt(ctx, block.Hash{7}, 1<<40); !errors.Is(err, errElsewhere) {
		t.Errorf("nobody is as far as that: %v", err)
	}
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

// A node that comes back with its folder, after long, goes over what it missed by a state, with what it took from clients.
func TestStateSyncOfOldFolder(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.startAll()
	lead := c.leader()
	away, other := (lead+1)%3, (lead+2)%3
	for nonce := range uint64(25) {
		c.submit(away, nonce)
	}
	c.stop(away)
	for nonce := range uint64(50) {
		c.submit(lead, nonce+25)
	}
	c.until("a state is stored", func() bool {
		a, _ := c.nodes[lead].store.Checkpoint()
		b, _ := c.nodes[other].store.Checkpoint()
		return a.Height >= 60 && b.Height >= 60
	})
	for _, i := range []int{other, lead} { // nor has anybody what it lacks in memory
		c.stop(i)
		c.start(i)
		c.leader()
	}
	c.pruneBelow(50, lead, other)
	c.start(away)
	c.submit(away, 75) // whether it is in what is jumped over or above
	c.caughtUp(away, 76)
	c.submit(away, 76)
	n := c.nodes[away]
	c.until("all that others have is filled in", func() bool { return n.store.Base() == 50 })
	// The receipts that nobody has any more are gone for good, as retention says.
	var bad *api.Error
	if _, err := n.Submit(within(t), c.transfer(0, 3, pub(c.users[1]), "1")); !errors.As(err, &bad) || bad.Status != 409 {
		t.Errorf("a transaction of which nobody has the receipt: %v", err)
	}
	c.stop(away)
	c.start(away)
	c.follows(away, 77)
}

// Who takes over the state of a given height, also from a reader's listener, has all blocks from there on.
func TestSyncFrom(t *testing.T) {
	c := newCluster(t, 3, nil)
	host, _, _ := net.SplitHostPort(c.cfgs[0].API.Listen)
	for i := range 2 {
		c.cfgs[i].Sync.Listen = host + ":0"
	}
	c.startAll()
	c.leader()
	for nonce := range uint64(30) {
		c.submit(0, nonce)
	}
	c.stop(2)
	c.until("a node leads", func() bool { return c.nodes[0].Leading() || c.nodes[1].Leading() })
	for nonce := range uint64(20) {
		c.submit(0, nonce+30)
	}
	var from block.Height
	c.until("both have a state of one height", func() bool {
		a, err := c.nodes[0].store.Checkpoints()
		b, err2 := c.nodes[1].store.Checkpoints()
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		for _, x := range a {
			for _, y := range b {
				if x.Height == y.Height && x.Height > 10 {
					from = x.Height
					return true
				}
			}
		}
		return false
	})
	c.fresh(2)
	c.cfgs[2].Sync.Mode, c.cfgs[2].Sync.From = SyncFrom, from
	c.cfgs[2].Sync.Sources = []string{"http://" + c.nodes[0].ReadersAddr().String(), "http://" + c.nodes[1].ReadersAddr().String()}
	c.start(2)
	c.follows(2, 50)
	n := c.nodes[2]
	if _, _, jumps := n.syncer.progress(); jumps != 1 {
		t.Errorf("%d states were taken over", jumps)
	}
	for h := from; h <= 50; h++ {
		if _, err := n.finals.final(h); err != nil {
			t.Errorf("block %d of a chain from %d on, wanted %d: %v", h, n.store.Base(), from, err)
		}
	}
}

// What a client waits for while the node goes over the blocks in which it may be.
func TestJumpedClients(t *testing.T) {
	c := newCluster(t, 1, nil)
	c.start(0)
	c.leader()
	ctx := within(t)
	n := c.nodes[0]
	want, err := n.Submit(ctx, c.transfer(0, 0, pub(c.users[1]), "1"))
	if err != nil {
		t.Fatal(err)
	}
	wait := func(tx *block.Tx) *pending {
		parsed, err := n.ex.Parse(tx)
		if err != nil {
			t.Fatal(err)
		}
		p := &pending{tx: parsed, since: n.uptime(), done: make(chan struct{}), verdict: &verdict{hash: tx.Hash()}}
		n.router.mu.Lock()
		n.router.pending[tx.Hash()] = p
		n.router.judged[tx.Hash()] = p
		n.router.mu.Unlock()
		return p
	}
	in := wait(c.transfer(0, 0, pub(c.users[1]), "1"))
	lost := wait(c.transfer(0, 0, pub(c.users[2]), "1"))
	open := wait(c.transfer(0, 1, pub(c.users[1]), "1"))
	n.router.jumped(n.finals.state())
	if r, err := n.router.wait(ctx, in); err != nil || r != want {
		t.Errorf("in what was jumped over: %+v %v", r, err)
	}
	var bad *api.Error
	if _, err := n.router.wait(ctx, lost); !errors.As(err, &bad) || bad.Status != 409 {
		t.Errorf("another one's nonce: %v", err)
	}
	if r, err := n.router.wait(ctx, open); err != nil || r.Height != 2 { // the leader was asked anew
		t.Errorf("still open: %+v %v", r, err)
	}
}

// has reports whether something was written.
func (s *sink) has(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.buf.String(), text)
}

// A node that may not jump, and of which nobody has the blocks that it lacks, says so, and does not loop in silence; with
// another mode the same folder comes back.
func TestBlockModeWithoutBlocks(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.startAll()
	c.lead(0)
	for nonce := range uint64(5) {
		c.submit(0, nonce)
	}
	c.stop(2)
	for nonce := range uint64(40) {
		c.submit(0, nonce+5)
	}
	for _, i := range []int{0, 1} {
		c.stop(i)
		c.start(i)
		c.leader()
	}
	for _, i := range []int{0, 1} {
		c.until("a state is stored", func() bool { cp, _ := c.nodes[i].store.Checkpoint(); return cp.Height >= 20 })
	}
	c.pruneBelow(20, 0, 1)
	log := &sink{}
	c.cfgs[2].Sync.Mode, c.cfgs[2].Logger = SyncBlock, zerolog.New(log)
	c.start(2)
	c.until("it says what is wrong", func() bool { return log.has("only sync.mode state can bring this node back") })
	if h := c.nodes[2].finals.height(); h >= 20 {
		t.Errorf("it is at height %d", h)
	}
	c.stop(2)
	c.cfgs[2].Sync.Mode = SyncState
	c.start(2)
	c.caughtUp(2, 45)
}

func TestArchiveKeepsAll(t *testing.T) {
	c := newCluster(t, 1, func(cfg *Config) { cfg.Sync.Mode = SyncArchive })
	c.start(0)
	if keep := c.nodes[0].cfg.Retention; keep != (Retention{}) {
		t.Errorf("an archive keeps %+v", keep)
	}
	c.stop(0)
	c.cfgs[0].Retention.Blocks = 2000
	if n, err := New(c.cfgs[0]); err == nil {
		t.Errorf("an archive that prunes: %v", errors.Join(errors.New("started"), n.Close()))
	}
}
