package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"testing"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/node/api/wire"
	"github.com/baton-ha/baton/node/chain"
	"github.com/baton-ha/baton/node/client"
)

// A running node keeps as many states as it was told to, answers with proofs all the while and across a restart, and
// leaves a folder in which nothing is missing and nothing left over.
func TestStateIsProvenAndPruned(t *testing.T) {
	c := newCluster(t, 1, func(cfg *Config) {
		cfg.Limits.CheckpointEvery, cfg.Retention.Checkpoints = 3, 2
	})
	c.startAll()
	c.leader()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	trusted := pubKey(c.proc)
	for i := range uint64(60) {
		if _, err := c.nodes[0].Submit(ctx, c.transfer(0, i, chain.PublicKey{byte(i), 1}, "1")); err != nil {
			t.Fatal(err)
		}
		if i == 30 {
			c.stop(0)
			c.start(0)
			c.leader()
		}
		if i%10 > 0 {
			continue
		}
		cl, err := client.New([]string{c.url(0)}, client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		user := pub(c.users[0])
		a, err := cl.ProvenAccount(ctx, user[:], trusted)
		if err != nil || a.Nonce != i+1 {
			t.Fatalf("account %+v, %v", a, err)
		}
		if a, err = cl.ProvenAccount(ctx, make([]byte, 32), trusted); i == 0 && (err != nil || a.Nonce != 0 || a.Proof.Present) {
			t.Fatalf("nobody's account %+v, %v", a, err)
		}
		e, err := cl.State(ctx, []byte("c/chain_id"), trusted)
		if err != nil || !e.Present || string(e.Value) != "test" {
			t.Fatalf("chain id %+v, %v", e, err)
		}
		if e, err = cl.State(ctx, []byte("nothing"), trusted); err != nil || e.Present {
			t.Fatalf("nothing %+v, %v", e, err)
		}
		if _, err := cl.State(ctx, []byte("nothing"), testKey(3).Public().(ed25519.PublicKey)); !errors.Is(err, wire.ErrBlockSignature) {
			t.Fatalf("under another key: %v", err)
		}
		cl.Close()
	}
	store := c.nodes[0].store
	nonce := uint64(60)
	c.until("old states are gone", func() bool {
		// A state that comes while another one is being written is passed over: on a slow machine most are.
		if _, err := c.nodes[0].Submit(ctx, c.transfer(0, nonce, chain.PublicKey{1, 1}, "1")); err != nil {
			t.Fatal(err)
		}
		nonce++
		all, err := store.Checkpoints()
		if err != nil {
			t.Fatal(err)
		}
		newest := all[len(all)-1]
		return newest.Seq > 10 && newest.Height > 50 && len(all) <= 4 // the last few blocks' states are in memory and keep theirs
	})
	c.stop(0)
	rep, err := blockstore.VerifyDir(nil, c.cfgs[0].DataDir, trusted, c.genesisHash())
	if err != nil || !rep.OK() || rep.StaleNodes == 0 {
		t.Fatalf("%+v %v", rep, err)
	}
}
