package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/baton-ha/baton/node/api/wire"
	"github.com/baton-ha/baton/scripts/bench/internal/load"
)

// failoverOptions say what to kill, and how often.
type failoverOptions struct {
	baton, dir, how string
	kills, basePort int
	keep            bool
}

// Ways to kill a leader.
const (
	killWorker = "worker" // its process alone: the supervisor tells the others
	killAll    = "all"    // the supervisor with it, at one instant: nobody tells
	killFreeze = "freeze" // SIGSTOP to both, as a host that is cut off: not even its kernel refuses anything
)

// runFailover kills the leader of a cluster again and again, and reports how long it takes until another node acknowledges
// a transaction that was sent to it after the kill.
func runFailover(ctx context.Context, args []string) (err error) {
	var o failoverOptions
	fs := flag.NewFlagSet("bench failover", flag.ContinueOnError)
	fs.StringVar(&o.baton, "baton", "bin/baton", "the binary to measure")
	fs.StringVar(&o.how, "how", killWorker, "what is done to the leader: worker, all or freeze")
	fs.IntVar(&o.kills, "kills", 20, "how often")
	fs.IntVar(&o.basePort, "base-port", 17600, "first port of those that are used, 30 in all")
	fs.StringVar(&o.dir, "dir", "", "folder for the data, on the disk to measure (default: a temporary one)")
	fs.BoolVar(&o.keep, "keep", false, "keep the folder")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if !slices.Contains([]string{killWorker, killAll, killFreeze}, o.how) {
		return fmt.Errorf("--how is %q: want worker, all or freeze", o.how)
	}
	done, err := dataFolder(&o.dir, "baton-failover-", o.keep)
	if err != nil {
		return err
	}
	defer func() { err = done(err) }()
	l := newLauncher()
	s, err := l.startBaton("baton", o.baton, filepath.Join(o.dir, "cluster"), o.basePort)
	if s != nil {
		defer s.stop()
	}
	if err != nil {
		return err
	}
	f := &failover{opt: o, l: l, s: s, nonces: make([]uint64, nodes)}
	var took []time.Duration
	for len(took) < o.kills {
		d, err := f.once(ctx)
		if err != nil {
			return fmt.Errorf("kill %d: %w", len(took)+1, err)
		}
		took = append(took, d)
		fmt.Fprintf(os.Stderr, "%d: %.1f ms\n", len(took), milliseconds(d))
	}
	if err := s.check(ctx, f.nonces); err != nil {
		return err
	}
	slices.Sort(took)
	at := func(p int) float64 { return milliseconds(took[max(0, (len(took)*p+99)/100-1)]) }
	fmt.Printf("leader's %s killed %d times, until another node acknowledged a new transaction: median %.1f ms, p90 %.1f, min %.1f, max %.1f\n",
		o.how, len(took), at(50), at(90), milliseconds(took[0]), at(100))
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

type failover struct {
	opt    failoverOptions
	l      *launcher
	s      *system
	nonces []uint64 // of the account that each node's probe uses
}

// once kills the leader of a cluster that is whole and level, and has it whole again.
func (f *failover) once(ctx context.Context) (time.Duration, error) {
	at, err := f.whole(ctx)
	if err != nil {
		return 0, err
	}
	var st wire.Status
	if err := get(ctx, f.s.addrs[at], "/v1/status", &st); err != nil {
		return 0, err
	}
	var probes []*load.Probe
	var who []int
	for i, addr := range f.s.addrs {
		if i == at {
			continue
		}
		p, err := load.NewProbe(chainID, i, addr, f.nonces[i])
		if err != nil {
			return 0, err
		}
		defer p.Close()
		if _, err := p.Send(ctx); err != nil {
			return 0, fmt.Errorf("before the kill: %w", err)
		}
		probes, who = append(probes, p), append(who, i)
	}
	select { // at any moment between two heartbeats
	case <-time.After(200*time.Millisecond + rand.N(100*time.Millisecond)):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	type ack struct {
		at  time.Time
		err error
	}
	acks := make(chan ack, len(probes))
	leader := f.s.procs[at].cmd.Process.Pid
	begin := time.Now()
	switch f.opt.how {
	case killWorker:
		err = syscall.Kill(st.PID, syscall.SIGKILL)
	case killAll:
		err = syscall.Kill(-leader, syscall.SIGKILL)
	case killFreeze:
		err = syscall.Kill(-leader, syscall.SIGSTOP)
	}
	if err != nil {
		return 0, fmt.Errorf("kill the leader: %w", err)
	}
	for _, p := range probes {
		go func() {
			at, err := p.Send(ctx)
			acks <- ack{at, err}
		}()
	}
	var first time.Time
	for range probes {
		a := <-acks
		if a.err != nil {
			return 0, a.err
		}
		if first.IsZero() || a.at.Before(first) {
			first = a.at
		}
	}
	for i, p := range probes {
		f.nonces[who[i]] = p.Nonce()
	}
	switch f.opt.how {
	case killAll:
		<-f.s.procs[at].ended
		err = f.s.restart(f.l, at)
	case killFreeze:
		err = syscall.Kill(-leader, syscall.SIGCONT)
	}
	return first.Sub(begin), err
}

// whole waits until all nodes run, agree on a leader and are level, and returns its index.
func (f *failover) whole(ctx context.Context) (int, error) {
	deadline := time.Now().Add(startPatience)
	for {
		at, err := f.s.leader(ctx)
		if err != nil {
			return 0, err
		}
		level := true
		var first wire.Status
		for i, addr := range f.s.addrs {
			var st wire.Status
			if err := get(ctx, addr, "/v1/status", &st); err != nil {
				level = false
				break
			}
			if i == 0 {
				first = st
			}
			level = level && st.Height == first.Height && st.Term == first.Term
		}
		if level {
			return at, nil
		}
		if time.Now().After(deadline) {
			return 0, errors.New("the nodes are never level")
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}
