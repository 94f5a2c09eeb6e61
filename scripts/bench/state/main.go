package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/baton-ha/baton/node"
)

type options struct {
	accounts   string
	txs        int
	slice      int
	blocks     int
	genesis    int
	dir        string
	cold       bool
	cache      int64
	stateCache int64
	blockTxs   int
	child      int
	profile    string
}

func main() {
	var o options
	flag.StringVar(&o.accounts, "accounts", "10000,1000000", "sizes of the state, the first is what the others are compared with")
	flag.IntVar(&o.txs, "txs", 200_000, "transactions for each size")
	flag.IntVar(&o.slice, "slice", 20_000, "transactions that one size executes before the next one has its turn")
	flag.IntVar(&o.blocks, "blocks", 0, "measure a start on a store of so many blocks instead")
	flag.IntVar(&o.genesis, "genesis", 0, "measure a start with a genesis of so many accounts instead")
	flag.StringVar(&o.dir, "dir", "", "where the stores are made (default: the folder for temporary files)")
	limits := node.DefaultLimits()
	flag.Int64Var(&o.cache, "cache-mb", limits.CacheBytes>>20, "the store's cache")
	flag.Int64Var(&o.stateCache, "state-cache-mb", limits.StateCacheBytes>>20, "the state's cache")
	flag.BoolVar(&o.cold, "cold", false, "begin right after a start, with nothing in the caches")
	flag.IntVar(&o.blockTxs, "block-txs", 500, "transactions in a block")
	flag.StringVar(&o.profile, "profile", "", "write CPU profiles of the execution to this name and the number of accounts")
	flag.IntVar(&o.child, "child", 0, "measure one size in this process, as told on standard input")
	flag.Parse()
	if err := run(context.Background(), o); err != nil {
		fmt.Fprintln(os.Stderr, "bench-state:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	switch {
	case o.child > 0:
		return measure(ctx, o, o.child)
	case o.blocks > 0:
		return start(ctx, o)
	case o.genesis > 0:
		return startGenesis(ctx, o)
	}
	return compare(ctx, o)
}

// result is what one size gave.
type result struct {
	FillSeconds, PeakMB, StoreMB, CacheMB                    float64
	DiskPerTx, LogPerTx, MarkPerTx, FlushPerTx, CompactPerTx float64
	ProofBytes, ProveMicros, CheckMicros                     float64
}

func since(t time.Time) float64 { return time.Since(t).Seconds() }
