package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/baton-ha/baton/node/api/wire"
	"github.com/baton-ha/baton/scripts/bench/internal/load"
)

// handoverOptions say how leadership is handed over under load, and how often.
type handoverOptions struct {
	baton, before, dir string
	rounds, clients    int
	basePort           int
}

// Ways to have a leader hand over.
const (
	byTransfer = "leader transfer" // the command
	bySIGTERM  = "SIGTERM"         // to the started process, which then ends and is started again
)

// hand is one cluster whose leader hands over.
type hand struct {
	name   string
	binary string
	s      *system
	config []string
	took   map[string][]time.Duration // the longest pause between two acknowledgements around a handover, by the way it began
	quiet  []time.Duration            // the same in windows of that length without one
}

// runHandover has the leader of a cluster under load hand over again and again, and reports for how long no transaction of
// any client of the other nodes was acknowledged.
func runHandover(ctx context.Context, args []string) (err error) {
	var o handoverOptions
	fs := flag.NewFlagSet("bench handover", flag.ContinueOnError)
	fs.StringVar(&o.baton, "baton", "bin/baton", "the binary to measure")
	fs.StringVar(&o.before, "before", "", "another baton binary to measure in the same rounds")
	fs.IntVar(&o.rounds, "rounds", 10, "how often by each way")
	fs.IntVar(&o.clients, "clients", 8, "clients of each node")
	fs.IntVar(&o.basePort, "base-port", 17700, "first port of those that are used, 60 in all")
	fs.StringVar(&o.dir, "dir", "", "folder for the data, on the disk to measure (default: a temporary one)")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if o.rounds < 1 || o.clients < 1 || o.clients*nodes > load.Accounts {
		return fmt.Errorf("--rounds %d, --clients %d: want at least 1, and at most %d clients", o.rounds, o.clients, load.Accounts/nodes)
	}
	done, err := dataFolder(&o.dir, "baton-handover-", false)
	if err != nil {
		return err
	}
	defer func() { err = done(err) }()
	l := newLauncher()
	var hands []*hand
	for _, h := range []*hand{{name: "baton", binary: o.baton}, {name: "before", binary: o.before}} {
		if h.binary == "" {
			continue
		}
		dir := filepath.Join(o.dir, h.name)
		h.took = map[string][]time.Duration{}
		h.s, err = l.startBaton(h.name, h.binary, dir, o.basePort+30*len(hands))
		if h.s != nil {
			defer h.s.stop()
		}
		if err != nil {
			return err
		}
		for i := range nodes {
			h.config = append(h.config, filepath.Join(dir, fmt.Sprintf("node%d", i+1), "config.json"))
		}
		hands = append(hands, h)
	}
	for round := range o.rounds {
		for _, way := range []string{byTransfer, bySIGTERM} {
			for _, h := range hands {
				if err := h.once(ctx, l, way, o.clients); err != nil {
					return fmt.Errorf("%s, round %d, %s: %w", h.name, round+1, way, err)
				}
			}
			slices.Reverse(hands)
		}
	}
	slices.SortFunc(hands, func(a, b *hand) int { return len(a.name) - len(b.name) })
	for _, way := range []string{byTransfer, bySIGTERM} {
		for _, h := range hands {
			fmt.Printf("%s: longest pause between acknowledgements around a handover by %s, %d times: median %.1f ms, p90 %.1f, max %.1f\n",
				h.name, way, len(h.took[way]), percentile(h.took[way], 50), percentile(h.took[way], 90), percentile(h.took[way], 100))
		}
		if len(hands) == 2 {
			fmt.Printf("ratio of the medians, %s: %.2f\n", way, percentile(hands[0].took[way], 50)/percentile(hands[1].took[way], 50))
		}
	}
	for _, h := range hands {
		fmt.Printf("%s: without a handover: median %.1f ms, p90 %.1f\n", h.name, percentile(h.quiet, 50), percentile(h.quiet, 90))
	}
	return nil
}

func percentile(all []time.Duration, p int) float64 {
	all = slices.Sorted(slices.Values(all))
	return milliseconds(all[max(0, (len(all)*p+99)/100-1)])
}

// window is for how long acknowledgements are watched after a handover began.
const window = 300 * time.Millisecond

// once has the leader hand over while all nodes have clients, and waits until the cluster is whole again.
func (h *hand) once(ctx context.Context, l *launcher, way string, clients int) error {
	f := &failover{s: h.s}
	at, err := f.whole(ctx)
	if err != nil {
		return err
	}
	sending, stop := context.WithCancel(ctx)
	defer stop()
	var mu sync.Mutex
	var acks []time.Time
	var wg sync.WaitGroup
	for i, addr := range h.s.addrs {
		for k := range clients {
			account := i*clients + k
			var acc wire.Account
			if err := get(ctx, h.s.addrs[at], "/v1/accounts/"+publicHex(account), &acc); err != nil {
				return err
			}
			p, err := load.NewProbe(chainID, account, addr, acc.Nonce)
			if err != nil {
				return err
			}
			wg.Go(func() {
				defer p.Close()
				for sending.Err() == nil {
					t, err := p.Send(sending)
					if err != nil {
						return // its node stops, or the round is over
					}
					if i != at {
						mu.Lock()
						acks = append(acks, t)
						mu.Unlock()
					}
				}
			})
		}
	}
	pause := func(d time.Duration) {
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
	}
	pause(window + rand.N(100*time.Millisecond))
	calm := time.Now()
	pause(window)
	begin := time.Now()
	switch way {
	case byTransfer:
		var out []byte
		if out, err = exec.CommandContext(ctx, h.binary, "leader", "transfer", "--config", h.config[at]).CombinedOutput(); err != nil {
			err = fmt.Errorf("leader transfer: %w: %s", err, out)
		}
	case bySIGTERM:
		err = syscall.Kill(h.s.procs[at].cmd.Process.Pid, syscall.SIGTERM)
	}
	if err != nil {
		return err
	}
	pause(window)
	end := time.Now()
	stop()
	wg.Wait()
	h.took[way] = append(h.took[way], longest(acks, begin, end))
	h.quiet = append(h.quiet, longest(acks, calm, begin))
	if way == bySIGTERM {
		<-h.s.procs[at].ended
		if err := h.s.restart(l, at); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// longest is the longest time between two acknowledgements, or an edge of the window and one.
func longest(acks []time.Time, from, to time.Time) time.Duration {
	slices.SortFunc(acks, time.Time.Compare)
	worst, last := time.Duration(0), from
	for _, t := range append(slices.Clone(acks), to) {
		if t.After(from) && !t.After(to) {
			worst, last = max(worst, t.Sub(last)), t
		}
	}
	return worst
}
