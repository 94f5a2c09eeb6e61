package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/baton-ha/baton/scripts/chaos/internal/nemesis"
	"github.com/baton-ha/baton/scripts/chaos/internal/sandbox"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code, err := start(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "baton-chaos:", err)
	}
	os.Exit(code)
}

// exitUnavailable is the exit status when this machine cannot make a sandbox, so that a CI script may tell it from a
// failure.
const exitUnavailable = 77

// settings are the command line.
type settings struct {
	binary   string
	nodes    []int
	duration time.Duration
	seed     uint64
	rate     float64
	short    bool
	only     []string
	out      string
	summary  string
	keep     bool
	hold     time.Duration
	overlap  float64
	injected bool
	rule     string // switched off in the program under test
	mutants  bool
	rtt      time.Duration
	level    int
}

func start(ctx context.Context) (int, error) {
	s, list, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return 0, nil
	}
	if err != nil {
		return 2, err
	}
	if list {
		for _, k := range nemesis.Kinds() {
			fmt.Printf("%-24s %-8s from %d nodes  %s\n", k.Name, k.Class, k.Least, k.Text)
		}
		return 0, nil
	}
	if !sandbox.Inside() {
		code, err := sandbox.Enter(ctx)
		if errors.Is(err, sandbox.ErrUnavailable) {
			return exitUnavailable, err
		}
		return code, err
	}
	if err := sandbox.Prepare(); err != nil {
		return exitUnavailable, err
	}
	do := run
	if s.mutants {
		do = hunt
	}
	ok, err := do(ctx, s)
	switch {
	case errors.Is(err, sandbox.ErrUnavailable):
		return exitUnavailable, err
	case err != nil || !ok:
		return 1, err
	}
	return 0, nil
}

func parse(args []string) (*settings, bool, error) {
	s := &settings{}
	f := flag.NewFlagSet("baton-chaos", flag.ContinueOnError)
	self, err := os.Executable()
	if err != nil {
		return nil, false, err
	}
	f.StringVar(&s.binary, "baton", filepath.Join(filepath.Dir(self), "baton"), "the baton program to test")
	nodes := f.String("nodes", "3,5", "sizes of the clusters, one after the other")
	f.DurationVar(&s.duration, "duration", 15*time.Minute, "how long faults are injected, over all clusters")
	f.Uint64Var(&s.seed, "seed", 0, "draws the faults (default: a random one, printed)")
	f.Float64Var(&s.rate, "rate", 120, "operations a second that clients try to make")
	f.BoolVar(&s.short, "short", false, "only the kinds of faults of a short run, and shorter ones")
	only := f.String("only", "", "only these kinds of faults, separated by commas (see --list)")
	f.StringVar(&s.out, "out", "chaos-report", "folder for the report")
	f.StringVar(&s.summary, "summary", "", "file to write a summary to that is worth keeping, as Markdown")
	f.BoolVar(&s.keep, "keep", false, "keep logs, traces and data folders in the report's folder even if all is well")
	f.DurationVar(&s.hold, "hold", 6*time.Second, "how long one fault lasts at most")
	f.Float64Var(&s.overlap, "overlap", 0.3, "probability of a second fault during one")
	f.BoolVar(&s.injected, "injected", false, "the program was built with the tag faults: let its clocks jump and its disks fail")
	f.BoolVar(&s.mutants, "mutants", false, "the program was built with the tag faults: see that runs with rules switched off are caught")
	f.DurationVar(&s.rtt, "rtt", 0, "round trip between any two nodes: how far the machines are from each other")
	f.IntVar(&s.level, "level", 0, "raftify.performance of all nodes (default: what baton init writes)")
	list := f.Bool("list", false, "list the kinds of faults and end")
	f.Usage = func() {
		fmt.Fprintln(f.Output(), "usage: baton-chaos [flags]: hurts a real cluster on this machine and judges it; see --list for how")
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		return nil, false, err
	}
	if f.NArg() > 0 {
		return nil, false, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	for _, text := range strings.Split(*nodes, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n != 3 && n != 5 {
			return nil, false, fmt.Errorf("--nodes is %q: want 3, 5 or both, separated by a comma", *nodes)
		}
		s.nodes = append(s.nodes, n)
	}
	if *only != "" {
		s.only = strings.Split(*only, ",")
		for _, name := range s.only {
			if !slices.ContainsFunc(nemesis.Kinds(), func(k nemesis.Kind) bool { return k.Name == name }) {
				return nil, false, fmt.Errorf("--only names %q, which is no kind of fault: see --list", name)
			}
		}
	}
	if s.seed == 0 {
		s.seed = rand.Uint64N(1_000_000_000) + 1
	}
	if s.rtt < 0 || s.rtt > time.Second || s.level < 0 {
		return nil, false, errors.New("--rtt must be between 0 and 1s, --level not negative")
	}
	if s.duration <= 0 || s.rate <= 0 || s.hold < time.Second || s.overlap < 0 || s.overlap > 1 {
		return nil, false, errors.New("--duration and --rate must be positive, --hold at least 1s, --overlap between 0 and 1")
	}
	if s.binary, err = filepath.Abs(s.binary); err != nil {
		return nil, false, err
	}
	if s.out, err = filepath.Abs(s.out); err != nil {
		return nil, false, err
	}
	if s.summary != "" {
		if s.summary, err = filepath.Abs(s.summary); err != nil {
			return nil, false, err
		}
	}
	if _, err := os.Stat(s.binary); err != nil && !*list {
		return nil, false, fmt.Errorf("--baton: %w: build it (make build) or name it", err)
	}
	return s, *list, nil
}
