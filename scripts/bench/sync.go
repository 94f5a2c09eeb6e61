package main

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/blockstore/merkle"
	"github.com/baton-ha/baton/config"
	"github.com/baton-ha/baton/scripts/bench/internal/load"
)

// What `bench sync` measures.
const (
	onlyCopy    = "copy"
	onlyLatency = "latency"
)

// syncOptions say how large states are moved over what link, and beside what load.
type syncOptions struct {
	dir      string
	accounts string
	only     string
	mbits    int
	rounds   int
	keep     bool
	latency  latencyOptions
}

// runSync moves states of several sizes between two processes over one link, whole and where one account in a hundred has
// changed, and compares that with copying as many bytes over the same link into a file. Then it measures what the clients
// of a cluster with such a state feel of it.
func runSync(ctx context.Context, args []string) (err error) {
	var o syncOptions
	fs := flag.NewFlagSet("bench sync", flag.ContinueOnError)
	fs.StringVar(&o.accounts, "accounts", "100000,1000000", "numbers of accounts")
	fs.StringVar(&o.only, "only", "", "copy: only how long a sync takes; latency: only what the clients of a cluster feel of it")
	fs.IntVar(&o.mbits, "mbits", 1000, "copy: speed of the link in megabits a second; 0: that of loopback")
	fs.IntVar(&o.rounds, "rounds", 3, "copy: how many rounds; medians of them are reported")
	fs.StringVar(&o.dir, "dir", "", "folder for the data, on the disk to measure (default: a temporary one)")
	fs.BoolVar(&o.keep, "keep", false, "keep the folder")
	fs.StringVar(&o.latency.baton, "baton", "bin/baton", "latency: the binary to measure")
	fs.StringVar(&o.latency.before, "before", "", "latency: another baton binary to measure in the same rounds")
	fs.IntVar(&o.latency.rounds, "latency-rounds", 6, "latency: how many rounds")
	fs.DurationVar(&o.latency.window, "window", 6*time.Second, "latency: length of one measurement; with a newcomer, until its sync ends after that")
	fs.IntVar(&o.latency.clients, "clients", 2, "latency: clients of each node")
	fs.DurationVar(&o.latency.pause, "pause", 20*time.Millisecond, "latency: pause of each client between two transactions")
	fs.IntVar(&o.latency.rate, "rate", config.DefaultConfig().Sync.Rate, "latency: sync.rate of each node")
	fs.IntVar(&o.latency.basePort, "base-port", 17800, "latency: first port of those that are used, 60 in all")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	switch {
	case !slices.Contains([]string{"", onlyCopy, onlyLatency}, o.only):
		return fmt.Errorf("--only %q: want %s or %s", o.only, onlyCopy, onlyLatency)
	case o.rounds < 1 || o.latency.rounds < 1:
		return errors.New("--rounds and --latency-rounds must be above 0")
	case o.latency.clients < 1 || o.latency.clients*nodes > load.Accounts:
		return fmt.Errorf("--clients %d: want 1 to %d", o.latency.clients, load.Accounts/nodes)
	}
	done, err := dataFolder(&o.dir, "baton-sync-", o.keep)
	if err != nil {
		return err
	}
	defer func() { err = done(err) }()
	l := newLauncher()
	for text := range strings.SplitSeq(o.accounts, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 100 {
			return fmt.Errorf("--accounts %q: want numbers of at least 100", text)
		}
		home := filepath.Join(o.dir, text)
		if o.only != onlyLatency {
			if err := benchSync(ctx, l, &o, home, n); err != nil {
				return err
			}
		}
		if o.only != onlyCopy {
			if err := o.latency.run(ctx, l, home, n); err != nil {
				return err
			}
		}
	}
	return nil
}

// moved is what one process that fetches reports.
type moved struct {
	Seconds float64
	Bytes   uint64 // on the wire
	Nodes   uint64
	PeakKiB int     // memory at its highest
	CPU     float64 // seconds of it
}

func benchSync(ctx context.Context, l *launcher, o *syncOptions, home string, n int) error {
	source := filepath.Join(home, "source")
	stateBytes, err := makeStates(ctx, source, n)
	if err != nil {
		return fmt.Errorf("make a state of %d accounts: %w", n, err)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	serve, urls, err := l.startServe(nil, source, o.mbits, 1)
	if err != nil {
		return err
	}
	defer serve.stop()
	fetch := func(args ...string) (m moved, err error) {
		cmd := exec.CommandContext(ctx, self, append([]string{"sync-fetch", urls[0]}, args...)...)
		cmd.Stderr = os.Stderr
		answer, err := cmd.Output()
		if err == nil {
			err = json.Unmarshal(answer, &m)
		}
		if err != nil {
			return m, fmt.Errorf("fetch %v: %w", args, err)
		}
		return m, nil
	}
	var plain, whole, change []moved
	for round := range o.rounds {
		folder := filepath.Join(home, fmt.Sprint("round", round))
		for i := range 2 {
			if (round+i)%2 == 0 {
				m, err := fetch("plain", filepath.Join(home, "plain"), strconv.FormatUint(stateBytes, 10))
				if err != nil {
					return err
				}
				plain = append(plain, m)
				continue
			}
			m, err := fetch("state", folder, "1")
			if err != nil {
				return err
			}
			whole = append(whole, m)
		}
		m, err := fetch("state", folder, "2")
		if err != nil {
			return err
		}
		change = append(change, m)
		if err := os.RemoveAll(folder); err != nil {
			return err
		}
	}
	p, w, c := medianMoved(plain), medianMoved(whole), medianMoved(change)
	fmt.Printf("%d accounts, %.1f MB of state, link of %d Mbit/s, medians of %d rounds\n", n, float64(stateBytes)/1e6, o.mbits, o.rounds)
	fmt.Printf("  plain copy        %7.2f s\n", p.Seconds)
	fmt.Printf("  sync              %7.2f s   %.2f of the copy, %.2f of its bytes, %.1f s of CPU, %d MB of memory at most\n",
		w.Seconds, w.Seconds/p.Seconds, float64(w.Bytes)/float64(stateBytes), w.CPU, w.PeakKiB>>10)
	fmt.Printf("  sync, 1%% changed  %7.2f s   %.3f of the bytes of the whole (%d nodes), %d MB of memory at most\n",
		c.Seconds, float64(c.Bytes)/float64(w.Bytes), c.Nodes, c.PeakKiB>>10)
	return nil
}

func medianMoved(all []moved) moved {
	slices.SortFunc(all, func(a, b moved) int {
		switch {
		case a.Seconds < b.Seconds:
			return -1
		case a.Seconds > b.Seconds:
			return 1
		}
		return 0
	})
	m := all[len(all)/2]
	for _, other := range all {
		m.PeakKiB = max(m.PeakKiB, other.PeakKiB)
	}
	return m
}

const syncChain = "bench"

func syncKey() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)) }

func syncGenesis() *block.Block {
	return block.New(block.Header{ChainID: syncChain, ChainVersion: "1", StateRoot: merkle.EmptyRoot()}, nil)
}

// entry is an account as the ledger stores one: a key under a prefix, nonce and one balance.
func entry(i, round uint64) merkle.Change {
	rng := rand.New(rand.NewPCG(i, 7))
	key := append(make([]byte, 0, 33), 'a')
	for range 32 {
		key = append(key, byte(rng.Uint32()))
	}
	value := append([]byte{1, byte(round), 1, 6}, "native"...)
	return merkle.Change{Key: key, Value: fmt.Appendf(value, "%012d", rng.Uint64N(1e12)+round)}
}

// makeStates makes a store with the state of two blocks, both stored; in the second one account of a hundred differs. It
// returns how many bytes the nodes of the first have.
func makeStates(ctx context.Context, dir string, n int) (stateBytes uint64, err error) {
	s, err := blockstore.Open(blockstore.Options{Dir: dir, Logger: zerolog.Nop()})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	tip := syncGenesis()
	if err := enqueue(s, blockstore.Batch{Append: []*block.Block{tip}}); err != nil {
		return 0, err
	}
	m := merkle.Empty(s)
	for round := range uint64(2) {
		step := uint64(1)
		if round > 0 {
			step = 100
		}
		var changes []merkle.Change
		for i := uint64(0); i < uint64(n); i += step { //nolint:gosec // it is positive
			if changes = append(changes, entry(i, round)); len(changes) == 50_000 {
				if m, err = m.Update(changes); err != nil {
					return 0, err
				}
				changes = changes[:0]
			}
		}
		if m, err = m.Update(changes); err != nil {
			return 0, err
		}
		m = m.Seal()
		head := tip.Header
		head.Height, head.Parent, head.StateRoot = head.Height+1, tip.Hash(), m.Root()
		tip = block.New(head, nil)
		if err := enqueue(s, blockstore.Batch{
			Append: []*block.Block{tip}, Commit: &blockstore.Commit{Height: head.Height, Hash: tip.Hash()},
			Signed: []blockstore.Signed{{Height: head.Height, Hash: tip.Hash(), Signature: block.Sign(syncKey(), tip.Hash())}},
		}); err != nil {
			return 0, err
		}
		if _, err := s.SaveState(ctx, m, head.Height, tip.Hash()); err != nil {
			return 0, err
		}
		if round == 0 {
			if err := m.Walk(nil, nil, func(_, enc []byte) bool { stateBytes += uint64(len(enc)); return true }); err != nil {
				return 0, err
			}
		}
	}
	return stateBytes, nil
}

func enqueue(s *blockstore.Store, b blockstore.Batch) error {
	done := make(chan error, 1)
	s.Enqueue(b, func(err error) { done <- err })
	return <-done
}
