package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/baton-ha/baton/scripts/bench/internal/load"
	"github.com/baton-ha/baton/scripts/bench/internal/proc"
)

// busyOptions say beside what clusters run, and for how long.
type busyOptions struct {
	batons   []string
	dir      string
	loops    int
	apart    bool
	length   time.Duration
	every    time.Duration
	basePort int
	keep     bool
}

// runBusy has clusters live beside programs that never sleep, and reports how often each changed its leader meanwhile.
// Nothing is killed, so each change is one too many. Several clusters run at the same time, and so under the same load.
func runBusy(ctx context.Context, args []string) (err error) {
	var o busyOptions
	fs := flag.NewFlagSet("bench busy", flag.ContinueOnError)
	fs.Func("baton", "the command to measure, such as bin/baton or 'nice -n 5 bin/baton'; several are compared", func(s string) error {
		if strings.TrimSpace(s) == "" {
			return errors.New("want a command")
		}
		o.batons = append(o.batons, s)
		return nil
	})
	fs.IntVar(&o.loops, "loops", 4, "how many programs that never sleep")
	fs.BoolVar(&o.apart, "apart", false, "each of them in a session of its own, which many kernels give a share of the CPU of its own")
	fs.DurationVar(&o.length, "for", 5*time.Minute, "for how long")
	fs.DurationVar(&o.every, "every", 50*time.Millisecond, "pause of each node's client between two transactions")
	fs.IntVar(&o.basePort, "base-port", 17700, "first port of those that are used, 30 a cluster")
	fs.StringVar(&o.dir, "dir", "", "folder for the data, on the disk to measure (default: a temporary one)")
	fs.BoolVar(&o.keep, "keep", false, "keep the folder")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if len(o.batons) == 0 {
		o.batons = []string{"bin/baton"}
	}
	done, err := dataFolder(&o.dir, "baton-busy-", o.keep)
	if err != nil {
		return err
	}
	defer func() { err = done(err) }()
	l := newLauncher()
	var clusters []*system
	for i, command := range o.batons {
		s, err := l.startBaton(command, command, filepath.Join(o.dir, fmt.Sprintf("cluster%d", i+1)), o.basePort+30*i)
		if s != nil {
			defer s.stop()
		}
		if err != nil {
			return err
		}
		clusters = append(clusters, s)
	}
	for _, s := range clusters {
		if _, err := s.leader(ctx); err != nil {
			return err
		}
	}
	loops, err := l.startLoops(o)
	for _, p := range loops {
		defer p.stop()
	}
	if err != nil {
		return err
	}
	return o.watch(ctx, clusters)
}

// startLoops starts the programs that never sleep.
func (l *launcher) startLoops(o busyOptions) ([]*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var out []*process
	for range o.loops {
		cmd := exec.Command(self, "spin")
		cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
		p, err := l.start(cmd, o.apart)
		if err != nil {
			return out, err
		}
		out = append(out, p)
	}
	return out, nil
}

// spin is such a program.
func spin(ctx context.Context) {
	for ctx.Err() == nil {
		for range 1 << 20 { //nolint:revive // to be busy is what it is for
		}
	}
}

// watch counts elections and times the clients for as long as asked.
func (o busyOptions) watch(ctx context.Context, clusters []*system) error {
	late := watchLateness()
	begin := time.Now()
	stop, cancel := context.WithDeadline(ctx, begin.Add(o.length))
	defer cancel()
	var wg sync.WaitGroup
	reports, errs := make([]string, len(clusters)), make([]error, len(clusters))
	for i, s := range clusters {
		wg.Go(func() { reports[i], errs[i] = o.one(ctx, stop, s) })
	}
	wg.Wait()
	longest := late.end()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	fmt.Printf("%v beside %d busy loops, load average at the end %s; a thread that goes before all others was late by %.1f ms (p99.9), %.1f (max)\n",
		time.Since(begin).Round(time.Second), o.loops, loadAverage(), milliseconds(longest[0]), milliseconds(longest[1]))
	for _, r := range reports {
		fmt.Println(r)
	}
	return nil
}

// one watches one cluster.
func (o busyOptions) one(ctx, stop context.Context, s *system) (string, error) {
	before, err := elections(ctx, s)
	if err != nil {
		return "", err
	}
	_, term, err := s.height(ctx)
	if err != nil {
		return "", err
	}
	pids, err := s.pids(ctx)
	if err != nil {
		return "", err
	}
	start, err := proc.Take(pids)
	if err != nil {
		return "", err
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var took []time.Duration
	nonces, errs := make([]uint64, nodes), make([]error, nodes)
	for i, addr := range s.addrs {
		wg.Go(func() {
			nonces[i], errs[i] = o.client(ctx, stop, i, addr, func(d time.Duration) {
				mu.Lock()
				defer mu.Unlock()
				took = append(took, d)
			})
		})
	}
	wg.Wait()
	end, err := proc.Take(pids)
	if err := errors.Join(append(errs, err)...); err != nil {
		return "", err
	}
	use := 0.0
	for _, c := range end.Since(start).PIDs {
		use += c
	}
	after, err := elections(ctx, s)
	if err != nil {
		return "", err
	}
	_, last, err := s.height(ctx)
	if err != nil {
		return "", err
	}
	if err := s.check(ctx, nonces); err != nil {
		return "", err
	}
	slices.Sort(took)
	at := func(share float64) float64 { return milliseconds(took[int(share*float64(len(took)-1))]) }
	return fmt.Sprintf("%s: %d leader changes, %d terms; %d transactions, median %.1f ms, p99 %.1f, max %.1f; %.2f cores",
		s.name, after-before, last-term, len(took), at(0.5), at(0.99), at(1), use), nil
}

// client sends one transaction after the other to a node until stop ends, and returns how many were acknowledged.
func (o busyOptions) client(ctx, stop context.Context, i int, addr string, note func(time.Duration)) (uint64, error) {
	p, err := load.NewProbe(chainID, i, addr, 0)
	if err != nil {
		return 0, err
	}
	defer p.Close()
	err = steady(ctx, stop, p, o.every, func(_ time.Time, took time.Duration) { note(took) })
	return p.Nonce(), err
}

// steady sends one transaction after the other, with a pause between two, until stop ends.
func steady(ctx, stop context.Context, p *load.Probe, pause time.Duration, note func(begun time.Time, took time.Duration)) error {
	for {
		begun := time.Now()
		at, err := p.Send(ctx)
		if err != nil {
			return err
		}
		note(begun, at.Sub(begun))
		select {
		case <-time.After(pause):
		case <-stop.Done():
			return nil
		}
	}
}

// elections is how many elections the nodes have won since they started.
func elections(ctx context.Context, s *system) (int, error) {
	sum := 0
	for _, addr := range s.addrs {
		n, err := metric(ctx, addr, "elections_won_total")
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// metric reads a counter without labels; its name may lack what all names begin with.
func metric(ctx context.Context, addr, name string) (n int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, r.Body.Close()) }()
	lines := bufio.NewScanner(r.Body)
	for lines.Scan() {
		if full, value, ok := strings.Cut(lines.Text(), " "); ok && strings.HasSuffix(full, name) && full[0] != '#' {
			return strconv.Atoi(value)
		}
	}
	return 0, errors.Join(lines.Err(), fmt.Errorf("%s has no metric %s", addr, name))
}

func loadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(b))[:3], " ")
}

// lateness is how late a thread of this process runs that sleeps for a moment again and again. Where it may have the
// highest priority, only a machine that stands still as a whole delays it.
type lateness struct {
	stop, done chan struct{}
	late       []time.Duration
}

func watchLateness() *lateness {
	p := &lateness{stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		runtime.LockOSThread() // for good: the thread has another priority and ends with this goroutine
		_ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 50}, 0)
		const nap = 2 * time.Millisecond
		for {
			select {
			case <-p.stop:
				return
			default:
			}
			begin := time.Now()
			_ = unix.Nanosleep(&unix.Timespec{Nsec: int64(nap)}, nil)
			p.late = append(p.late, max(time.Since(begin)-nap, 0))
		}
	}()
	return p
}

// end returns the 99.9th percentile and the longest.
func (p *lateness) end() [2]time.Duration {
	close(p.stop)
	<-p.done
	slices.Sort(p.late)
	if len(p.late) == 0 {
		return [2]time.Duration{}
	}
	return [2]time.Duration{p.late[len(p.late)*999/1000], p.late[len(p.late)-1]}
}
