package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/baton-ha/baton/scripts/bench/internal/load"
	"github.com/baton-ha/baton/scripts/bench/internal/rival"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run is one of the programs in this binary: the benchmarks, and what they start.
func run(ctx context.Context, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "load":
			return load.Serve(ctx, os.Stdin, os.Stdout)
		case "failover":
			return runFailover(ctx, args[1:])
		case "busy":
			return runBusy(ctx, args[1:])
		case "spin":
			spin(ctx)
			return nil
		case "handover":
			return runHandover(ctx, args[1:])
		case "sync":
			return runSync(ctx, args[1:])
		case "sync-serve":
			return serveSync(ctx, args[1:])
		case "sync-fetch":
			return fetchSync(ctx, args[1:])
		case "rival":
			return runRival(ctx, args[1:])
		}
	}
	var o options
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.StringVar(&o.baton, "baton", "bin/baton", "the binary to measure")
	fs.StringVar(&o.before, "before", "", "another baton binary to measure in the same rounds")
	fs.BoolVar(&o.noPeer, "no-peer", false, "leave the peer out")
	fs.IntVar(&o.rounds, "rounds", 3, "how many rounds; medians of them are reported")
	fs.DurationVar(&o.measure, "measure", 2500*time.Millisecond, "length of one measurement")
	fs.DurationVar(&o.warm, "warm", 700*time.Millisecond, "warm-up before each")
	fs.IntVar(&o.basePort, "base-port", 17400, "first port of those that are used, 100 in all")
	fs.StringVar(&o.dir, "dir", "", "folder for the data, on the disk to measure (default: a temporary one)")
	fs.StringVar(&o.json, "json", "", "also write all of it to this file as JSON")
	fs.StringVar(&o.clients, "clients", "1,64,512", "numbers of clients")
	fs.BoolVar(&o.keep, "keep", false, "keep the folder")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	return bench(ctx, o)
}

func runRival(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("rival: one config file")
	}
	text, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	var cfg rival.Config
	if err := json.Unmarshal(text, &cfg); err != nil {
		return fmt.Errorf("rival: %w", err)
	}
	return rival.Run(ctx, cfg)
}
