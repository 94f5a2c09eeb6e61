package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

type options struct {
	accounts string
	seconds  int
	blocks   int
	dir      string
	cache    int64
	blockTxs int
	child    int
}

func main() {
	var o options
	flag.StringVar(&o.accounts, "accounts", "10000,1000000", "sizes of the state, the first is what the others are compared with")
	flag.IntVar(&o.seconds, "seconds", 20, "how long each size executes blocks")
	flag.IntVar(&o.blocks, "blocks", 0, "measure a start on a store of so many blocks instead")
	flag.StringVar(&o.dir, "dir", "", "where the stores are made (default: the folder for temporary files)")
	flag.Int64Var(&o.cache, "cache-mb", 128, "each of the two caches: the store's and the state's")
	flag.IntVar(&o.blockTxs, "block-txs", 500, "transactions in a block")
	flag.IntVar(&o.child, "child", 0, "measure one size in this process and print JSON")
	flag.Parse()
	if err := run(context.Background(), o); err != nil {
		fmt.Fprintln(os.Stderr, "bench-state:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	switch {
	case o.child > 0:
		r, err := measure(ctx, o, o.child)
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(r)
	case o.blocks > 0:
		return start(ctx, o)
	}
	var first *result
	fmt.Printf("%10s %8s %6s %9s %9s %9s %8s %9s %8s %8s %8s\n", "accounts", "tx/s", "ratio", "fill s", "peak MB", "B/tx disk", "log B/tx",
		"store MB", "proof B", "make µs", "check µs")
	for _, text := range strings.Split(o.accounts, ",") {
		n, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		r, err := childOf(ctx, o, n)
		if err != nil {
			return fmt.Errorf("%d accounts: %w", n, err)
		}
		if first == nil {
			first = r
		}
		fmt.Printf("%10d %8.0f %6.2f %9.1f %9.0f %9.0f %8.0f %9.0f %8.0f %8.0f %8.0f\n", n, r.TxPerSecond, r.TxPerSecond/first.TxPerSecond,
			r.FillSeconds, r.PeakMB, r.DiskPerTx, r.LogPerTx, r.StoreMB, r.ProofBytes, r.ProveMicros, r.CheckMicros)
	}
	return nil
}

// childOf measures one size in a process of its own, so that each has its own peak of memory.
func childOf(ctx context.Context, o options, n int) (*result, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "--child", strconv.Itoa(n), "--seconds", strconv.Itoa(o.seconds), "--dir", o.dir,
		"--cache-mb", strconv.FormatInt(o.cache, 10), "--block-txs", strconv.Itoa(o.blockTxs))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	var r result
	return &r, json.Unmarshal(out, &r)
}

// result is what one size gave.
type result struct {
	TxPerSecond, FillSeconds, PeakMB, DiskPerTx, LogPerTx, StoreMB float64
	ProofBytes, ProveMicros, CheckMicros                           float64
}

func since(t time.Time) float64 { return time.Since(t).Seconds() }
