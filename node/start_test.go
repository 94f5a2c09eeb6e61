package node

import (
	"errors"
	"maps"
	"sync/atomic"
	"testing"

	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/chain"
)

// countingApp counts how many messages are executed, and how often genesis is made.
type countingApp struct {
	chain.Ledger
	executed, made *atomic.Int64
}

func (a countingApp) Genesis(ctx *chain.Context, g *chain.Genesis) error {
	a.made.Add(1)
	return a.Ledger.Genesis(ctx, g)
}

func (a countingApp) Execute(ctx *chain.Context, m chain.Message) error {
	a.executed.Add(1)
	return a.Ledger.Execute(ctx, m)
}

// A start executes the blocks since the newest checkpoint, each once, and nothing that is older.
func TestStartExecutesOnlyWhatCameAfterTheCheckpoint(t *testing.T) {
	c := newCluster(t, 1, nil)
	dir := c.cfgs[0].DataDir
	app := countingApp{executed: &atomic.Int64{}, made: &atomic.Int64{}}
	ex, err := chain.New(c.genesis, app)
	if err != nil {
		t.Fatal(err)
	}
	limits := DefaultLimits()
	limits.CheckpointEvery = 7
	open := func() (*blockstore.Store, *chain.State) {
		store, err := blockstore.Open(blockstore.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		all, zero, err := restore(store, ex, limits, zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}
		st := all.get(zero.Hash())
		if tip, hash := store.Tip(); tip > 0 {
			st = all.get(hash)
		}
		return store, st
	}
	const blocks = 40
	store, st := open()
	nonce, checkpoints := uint64(0), 0
	for h := block.Height(1); h <= blocks; h++ {
		tx, err := ex.Parse(c.transfer(0, nonce, pub(c.users[1]), "1"))
		if err != nil {
			t.Fatal(err)
		}
		nonce++
		b, next, _, err := ex.Build(st, chain.BuildSpec{Proposer: "node1", Term: 1, NowMs: int64(h)}, []*chain.Tx{tx})
		if err != nil || b == nil {
			t.Fatal(b, err)
		}
		done := make(chan error, 1)
		store.Enqueue(blockstore.Batch{
			Append: []*block.Block{b}, Commit: &blockstore.Commit{Height: h, Hash: b.Hash(), CTerm: 1, From: h},
		}, func(err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		st = next
		if st.Map().Sealed() {
			checkpoints++
			if _, err := store.SaveState(t.Context(), st.Map(), h, b.Hash()); err != nil {
				t.Fatal(err)
			}
		}
		if h%3 > 0 {
			continue
		}
		// A restart, here and there.
		cp, _ := store.Checkpoint()
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		app.executed.Store(0)
		app.made.Store(0)
		root := st.Root()
		if store, st = open(); st.Root() != root {
			t.Fatalf("restart at %d: another state", h)
		}
		if got, want := app.executed.Load(), int64(h-cp.Height); got != want || want >= 7 {
			t.Fatalf("restart at %d, checkpoint at %d: %d blocks were executed", h, cp.Height, got)
		}
	}
	if app.made.Load() != 0 {
		t.Errorf("a start with a checkpoint made genesis %d times", app.made.Load())
	}
	if checkpoints != blocks/7 {
		t.Errorf("%d checkpoints", checkpoints)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}

// A folder knows its own genesis without making it, and no other one: not one that differs in one balance, and not one that
// another App adds to.
func TestStartKnowsItsGenesis(t *testing.T) {
	c := newCluster(t, 1, nil)
	dir := c.cfgs[0].DataDir
	limits := DefaultLimits()
	limits.CheckpointBytes = 1 // even a small genesis is a checkpoint
	start := func(g *chain.Genesis, app chain.App) error {
		t.Helper()
		ex, err := chain.New(g, app)
		if err != nil {
			t.Fatal(err)
		}
		store, err := blockstore.Open(blockstore.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		all, zero, err := restore(store, ex, limits, zerolog.Nop())
		if err == nil {
			want, st, madeErr := ex.Genesis(nil)
			if cp, ok := store.Checkpoint(); madeErr != nil || !ok || cp.Height != 0 {
				t.Fatalf("checkpoint %+v %t, genesis %v", cp, ok, madeErr)
			}
			if got := all.get(zero.Hash()); zero.Hash() != want.Hash() || got == nil || got.Root() != st.Root() {
				t.Fatalf("genesis is %v with %v, want %v", zero.Hash(), got, want.Hash())
			}
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		return err
	}
	app := countingApp{executed: &atomic.Int64{}, made: &atomic.Int64{}}
	for i, want := range []int64{2, 1, 1} { // the test makes it once
		app.made.Store(0)
		if err := start(c.genesis, app); err != nil || app.made.Load() != want {
			t.Fatalf("start %d: genesis was made %d times, %v", i, app.made.Load(), err)
		}
	}
	other := *c.genesis
	other.Balances = maps.Clone(other.Balances)
	other.Balances[pub(c.users[0])] = map[string]chain.Amount{chain.NativeAsset: chain.NewAmount(1)}
	if err := start(&other, app); !errors.Is(err, ErrWrongChain) {
		t.Errorf("another balance: %v", err)
	}
	if err := start(c.genesis, donor{app}); !errors.Is(err, ErrWrongChain) {
		t.Errorf("another app: %v", err)
	}
	if err := start(c.genesis, app); err != nil {
		t.Errorf("its own: %v", err)
	}
}

// donor is an App that adds to genesis.
type donor struct{ countingApp }

func (donor) Name() string { return "donor" }

func (donor) Genesis(ctx *chain.Context, _ *chain.Genesis) error {
	return ctx.Set([]byte("given"), []byte("more"))
}

// genesisHash is the hash of block 0.
func (c *cluster) genesisHash() block.Hash {
	c.t.Helper()
	ex, err := chain.New(c.genesis, chain.Ledger{})
	if err != nil {
		c.t.Fatal(err)
	}
	b, _, err := ex.Genesis(nil)
	if err != nil {
		c.t.Fatal(err)
	}
	return b.Hash()
}
