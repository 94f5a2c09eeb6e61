package node

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/node/client"
)

// settled checks that all running nodes hold the same final chain, signed by the processor, and returns its blocks.
func (c *cluster) settled() []*block.Block {
	c.t.Helper()
	ctx := context.Background()
	var top block.Height
	c.until("all nodes have the same final height", func() bool {
		lo, hi := block.Height(1<<62), block.Height(0)
		for _, n := range c.nodes {
			if n != nil {
				lo, hi = min(lo, n.Latest(ctx)), max(hi, n.Latest(ctx))
			}
		}
		top = hi
		return lo == hi
	})
	var out []*block.Block
	parent := block.Hash{}
	for h := range top + 1 {
		var first *block.Block
		for i, n := range c.nodes {
			if n == nil {
				continue
			}
			var f block.Final
			c.until("the store serves the block", func() bool {
				var err error
				f, err = n.Final(ctx, h)
				return err == nil
			})
			if h > 0 && !block.VerifySignature(pubKey(c.proc), f.Block.Hash(), f.Signature) {
				c.t.Fatalf("node%d: block %d is not signed by the processor", i+1, h)
			}
			if first == nil {
				first = f.Block
			}
			if f.Block.Hash() != first.Hash() || f.Block.Header.Parent != parent {
				c.t.Fatalf("node%d: block %d is %v on %v, want %v on %v",
					i+1, h, f.Block.Hash(), f.Block.Header.Parent, first.Hash(), parent)
			}
		}
		parent = first.Hash()
		out = append(out, first)
	}
	return out
}

// finally sends a transaction until its answer is final: a machine that stands still may have no leader for a while, or leave
// it open what became of it.
func finally(ctx context.Context, n *testNode, tx *block.Tx) (api.Receipt, error) {
	for {
		r, err := n.Submit(ctx, tx)
		if busy, ok := errors.AsType[*api.Error](err); !ok || busy.Status != 503 && busy.Status != 504 {
			return r, err
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return r, err
		}
	}
}

func TestSingleNode(t *testing.T) {
	c := newCluster(t, 1, nil)
	c.startAll()
	c.leader()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tx := c.transfer(0, 0, pub(c.users[1]), "5")
	r, err := finally(ctx, c.nodes[0], tx)
	if err != nil || r.Height != 1 || r.Index != 0 {
		t.Fatalf("%+v %v", r, err)
	}
	c.stop(0)
	c.start(0)
	if again, err := finally(ctx, c.nodes[0], tx); err != nil || again != r {
		t.Fatalf("after a restart the same transaction answers %+v %v, first %+v", again, err, r)
	}
	c.settled()
}

// load sends transfers from users through nodes, in turn, until stop is closed; it returns the receipts.
func (c *cluster) load(ctx context.Context, users []int, each int) map[block.Hash]api.Receipt {
	c.t.Helper()
	var urls []string
	for i := range c.nodes {
		urls = append(urls, c.url(i))
	}
	got := map[block.Hash]api.Receipt{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for k, u := range users {
		wg.Go(func() {
			// Each user begins at another node.
			mine := append(append([]string{}, urls[k%len(urls):]...), urls[:k%len(urls)]...)
			cl, err := client.New(mine, client.Options{})
			if err != nil {
				c.t.Error(err)
				return
			}
			defer cl.Close()
			for nonce := range uint64(each) {
				tx := c.transfer(u, nonce, pub(c.users[(u+1)%len(c.users)]), "1")
				r, err := cl.Submit(ctx, tx)
				if err != nil {
					c.t.Errorf("user %d nonce %d: %v", u, nonce, err)
					return
				}
				mu.Lock()
				got[tx.Hash()] = r
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return got
}

// checkReceipts compares what clients were told with the chain: nothing lost, nothing twice.
func checkReceipts(t *testing.T, blocks []*block.Block, receipts map[block.Hash]api.Receipt) {
	t.Helper()
	where := map[block.Hash]api.Receipt{}
	for _, b := range blocks {
		for i, tx := range b.Txs {
			if old, dup := where[tx.Hash()]; dup {
				t.Fatalf("transaction %v stands in block %d and again in %d", tx.Hash(), old.Height, b.Header.Height)
			}
			where[tx.Hash()] = api.Receipt{Hash: tx.Hash(), Height: b.Header.Height, Index: uint32(i), BlockHash: b.Hash()}
		}
	}
	for h, r := range receipts {
		if where[h] != r {
			t.Fatalf("receipt %+v, the chain has %+v", r, where[h])
		}
	}
}

func TestMetrics(t *testing.T) {
	c := newCluster(t, 1, nil)
	c.startAll()
	c.leader()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := finally(ctx, c.nodes[0], c.transfer(0, 0, pub(c.users[1]), "5")); err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	c.until("it says that it leads", func() bool { // a machine that stood still lets the lease run out for a moment
		families, err := c.nodes[0].Gatherer().Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			m := f.Metric[0]
			switch {
			case m.Gauge != nil:
				got[f.GetName()] = m.Gauge.GetValue()
			case m.Counter != nil:
				got[f.GetName()] = m.Counter.GetValue()
			case m.Histogram != nil:
				got[f.GetName()] = float64(m.Histogram.GetSampleCount())
			}
		}
		return got["baton_leading"] == 1 && got["baton_lease_seconds"] > 0 && got["baton_ready"] == 1
	})
	// A disk that stood still for a second may have cost it the lead for a moment, and then a measure of the commit.
	terms := got["baton_term"]
	if won := got["baton_elections_won_total"]; won < 1 || won > terms {
		t.Errorf("%v elections won in %v terms", won, terms)
	}
	if commits := got["baton_commit_seconds"]; commits > 1 || commits < 1 && terms == 1 {
		t.Errorf("%v commits measured", commits)
	}
	for name, want := range map[string]float64{
		"baton_height": 1, "baton_leading": 1, "baton_blocks_final_total": 1, "baton_ready": 1,
		"baton_transactions_final_total": 1, "baton_submit_seconds": 1,
		"baton_mempool_transactions": 0, "baton_pending_transactions": 0,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %v (there: %v), want %v", name, v, ok, want)
		}
	}
	for _, name := range []string{"baton_fsync_seconds", "baton_store_bytes_total", "baton_disk_store_bytes", "baton_disk_mark_bytes_total", "baton_lease_seconds"} {
		if got[name] <= 0 {
			t.Errorf("%s is %v, want more than 0", name, got[name])
		}
	}
}

func TestThreeNodesServeTransactions(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.startAll()
	c.leader()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	receipts := c.load(ctx, []int{0, 1, 2, 3}, 20)
	if len(receipts) != 80 {
		t.Fatalf("%d receipts", len(receipts))
	}
	checkReceipts(t, c.settled(), receipts)
}
