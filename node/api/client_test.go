package api_test

import (
	"context"
	"crypto/ed25519"
	"testing"
	"time"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/node/api/wire"
	"github.com/baton-ha/baton/node/client"
)

// The server and the Go client understand each other, also across the end of a server.
func TestWithClient(t *testing.T) {
	b := newBackend(3)
	b.submit = func(_ context.Context, _ *block.Tx) (api.Receipt, error) {
		return api.Receipt{}, api.BadNonce(4)
	}
	first, firstURL := start(t, b, nil)
	secondURL := serve(t, b, nil)
	c, err := client.New([]string{firstURL, secondURL}, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()

	tx, err := client.BuildTransfer("test", userKey, 0, client.Transfer{To: userKey.Public().(ed25519.PublicKey), Amount: "1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Submit(ctx, tx); !client.IsCode(err, wire.CodeBadNonce) {
		t.Errorf("submit: %v", err)
	}
	b.submit = nil
	if receipt, err := c.Submit(ctx, tx); err != nil || receipt.Hash != tx.Hash() {
		t.Errorf("submit: %+v %v", receipt, err)
	}
	blocks, err := c.Blocks(ctx, 1, 10)
	if err != nil || len(blocks) != 3 {
		t.Fatalf("%d blocks, %v", len(blocks), err)
	}
	for _, got := range blocks {
		if err := client.VerifyBlock(got, processorKey.Public().(ed25519.PublicKey)); err != nil {
			t.Error(err)
		}
	}
	if status, err := c.Status(ctx); err != nil || status.ID != "node1" {
		t.Errorf("status: %+v %v", status, err)
	}

	next := client.Height(2)
	for e, err := range c.Events(ctx, next) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Block == nil || e.Block.Height != next || e.Block.Hash != b.chain[next].Block.Hash() {
			t.Fatalf("got %+v, want block %d", e.Block, next)
		}
		if next == 3 { // the first server goes, the chain goes on
			b.grow()
			b.grow()
			if err := first.Shutdown(ctx); err != nil {
				t.Error(err)
			}
		}
		if next == 5 {
			break
		}
		next++
	}
	if next != 5 {
		t.Errorf("the events ended at block %d", next)
	}
}
