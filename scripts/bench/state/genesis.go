package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"time"

	"github.com/baton-ha/baton/node"
	"github.com/baton-ha/baton/node/chain"
)

// startGenesis measures starts with a genesis of many accounts: the first, which makes the folder, those of a folder that
// has its state, and one with another genesis, which must be refused.
func startGenesis(ctx context.Context, o options) (err error) {
	w, err := newWorld(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(w.dir)) }()
	if err := w.store.Close(); err != nil {
		return err
	}
	for i := range o.genesis - senders {
		w.gen.Balances[account(uint64(i))] = map[string]chain.Amount{chain.NativeAsset: chain.NewAmount(1 << 40)}
	}
	file, err := json.Marshal(w.gen)
	if err != nil {
		return err
	}
	runtime.GC()
	fmt.Printf("genesis of %d accounts, %d MB\n", len(w.gen.Balances), len(file)>>20)
	once := func(what string, change func(*chain.Genesis), want error) error {
		cpu, t := cpuSeconds(), time.Now()
		if w.gen, err = chain.ParseGenesis(file); err != nil {
			return err
		}
		parsed, parsedCPU := since(t), cpuSeconds()-cpu
		change(w.gen)
		cpu, t = cpuSeconds(), time.Now()
		n, err := node.New(w.nodeConfig())
		if !errors.Is(err, want) {
			return fmt.Errorf("%s: %w", what, err)
		}
		fmt.Printf("%-16s parsed in %.0f ms (CPU %.0f), ready after %.0f ms (CPU %.0f)\n",
			what, 1000*parsed, 1000*parsedCPU, 1000*since(t), 1000*(cpuSeconds()-cpu))
		if err != nil {
			return nil //nolint:nilerr // it was wanted
		}
		return n.Close()
	}
	same := func(*chain.Genesis) {}
	for i, what := range []string{"first start", "start", "start"} {
		if err := once(what, same, nil); err != nil {
			return err
		}
		if i == 0 {
			if err := w.checkpoint(ctx); err != nil {
				return err
			}
		}
	}
	return once("another genesis", func(g *chain.Genesis) {
		g.Balances = maps.Clone(g.Balances)
		g.Balances[account(0)] = map[string]chain.Amount{chain.NativeAsset: chain.NewAmount(1)}
	}, node.ErrWrongChain)
}

// checkpoint stores the state of genesis, as that of a block is stored after a while, where the start did not.
func (w *world) checkpoint(ctx context.Context) (err error) {
	if err := w.open(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.store.Close()) }()
	if _, ok := w.store.Checkpoint(); ok {
		return nil
	}
	ex, err := chain.New(w.gen, chain.Ledger{})
	if err != nil {
		return err
	}
	zero, st, err := ex.Genesis(w.store, w.mapOptions()...)
	if err != nil {
		return err
	}
	_, err = w.store.SaveState(ctx, st.Map().Seal(), 0, zero.Hash())
	return err
}
