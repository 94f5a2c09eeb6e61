package main

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/scripts/bench/internal/load"
	"github.com/baton-ha/baton/scripts/bench/internal/proc"
)

type options struct {
	baton, before, dir, json, clients string
	noPeer, keep                      bool
	rounds, basePort                  int
	warm, measure                     time.Duration
}

// report is all that was measured.
type report struct {
	Cores    int           `json:"cores"`
	Rounds   int           `json:"rounds"`
	Measure  time.Duration `json:"measure_ns"`
	VerifyUs float64       `json:"verify_us"`
	SignUs   float64       `json:"sign_us"`
	FsyncMs  float64       `json:"fsync_ms"`
	Systems  []string      `json:"systems"`
	// IdleCores is what the three nodes of each system use when nobody asks them anything.
	IdleCores map[string]float64 `json:"idle_cores"`
	// Runs are the results by system, number of clients and round.
	Runs map[string]map[int][]*load.Result `json:"runs"`
	// Wrong is what was wrong, nil if nothing was.
	Wrong []string `json:"wrong"`
}

func bench(ctx context.Context, o options) (err error) {
	var clients []int
	for text := range strings.SplitSeq(o.clients, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > load.Accounts {
			return fmt.Errorf("--clients %q: want numbers from 1 to %d", o.clients, load.Accounts)
		}
		clients = append(clients, n)
	}
	if o.rounds < 1 || o.measure <= 0 {
		return errors.New("--rounds and --measure must be above 0")
	}
	dir := o.dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "baton-bench-"); err != nil {
			return err
		}
		if !o.keep {
			defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		}
	}
	l := newLauncher()
	systems, err := start(ctx, l, o, dir)
	defer func() {
		for _, s := range systems {
			s.stop()
		}
	}()
	if err != nil {
		return err
	}
	gen, err := startLoad(l)
	if err != nil {
		return err
	}
	defer gen.close()
	r := &report{
		Cores: runtime.NumCPU(), Rounds: o.rounds, Measure: o.measure, Runs: map[string]map[int][]*load.Result{},
		IdleCores: map[string]float64{},
	}
	for _, s := range systems {
		r.Systems = append(r.Systems, s.name)
		r.Runs[s.name] = map[int][]*load.Result{}
	}
	if err := r.measure(ctx, o, dir, systems, clients, gen); err != nil {
		return err
	}
	for _, s := range systems {
		if err := s.check(ctx, r.nonces(s.name)); err != nil {
			r.Wrong = append(r.Wrong, err.Error())
		}
		if err := s.died(); err != nil {
			r.Wrong = append(r.Wrong, err.Error())
		}
	}
	r.print(os.Stdout, clients)
	if o.json != "" {
		text, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(o.json, append(text, '\n'), 0o644); err != nil {
			return err
		}
	}
	if len(r.Wrong) > 0 {
		return errors.New(strings.Join(r.Wrong, "\n"))
	}
	return nil
}

func start(ctx context.Context, l *launcher, o options, dir string) ([]*system, error) {
	var systems []*system
	add := func(s *system, err error) error {
		if s != nil {
			systems = append(systems, s)
		}
		return err
	}
	if err := add(l.startBaton("baton", o.baton, filepath.Join(dir, "baton"), o.basePort)); err != nil {
		return systems, err
	}
	if o.before != "" {
		if err := add(l.startBaton("before", o.before, filepath.Join(dir, "before"), o.basePort+30)); err != nil {
			return systems, err
		}
	}
	if !o.noPeer {
		genesis := filepath.Join(dir, "baton", "genesis.json")
		if err := add(l.startRival("peer", filepath.Join(dir, "peer"), genesis, o.basePort+60)); err != nil {
			return systems, err
		}
	}
	for _, s := range systems {
		if _, err := s.leader(ctx); err != nil {
			return systems, err
		}
	}
	return systems, nil
}

// measure runs the rounds. The order of the systems turns around from one to the next.
func (r *report) measure(ctx context.Context, o options, dir string, systems []*system, clients []int, gen *generator) error {
	if err := r.idle(ctx, o, systems); err != nil {
		return err
	}
	order := slices.Clone(systems)
	var verify, sign, fsync []float64
	for round := range o.rounds {
		v, s, err := crypto()
		if err != nil {
			return err
		}
		f, err := fsyncTime(dir)
		if err != nil {
			return err
		}
		verify, sign, fsync = append(verify, v), append(sign, s), append(fsync, f)
		for _, n := range clients {
			for _, s := range order {
				fmt.Fprintf(os.Stderr, "\rround %d/%d: %s, %d clients        ", round+1, o.rounds, s.name, n)
				res, err := r.window(ctx, o, s, n, gen)
				if err != nil {
					return err
				}
				r.Runs[s.name][n] = append(r.Runs[s.name][n], res)
				for _, e := range res.Errors {
					r.Wrong = append(r.Wrong, fmt.Sprintf("%s, %d clients: %s", s.name, n, e))
				}
			}
		}
		slices.Reverse(order)
	}
	fmt.Fprint(os.Stderr, "\r                                              \r")
	r.VerifyUs, r.SignUs, r.FsyncMs = median(verify), median(sign), median(fsync)
	return nil
}

// idle measures all systems at once.
func (r *report) idle(ctx context.Context, o options, systems []*system) error {
	var pids []int
	for _, s := range systems {
		own, err := s.pids(ctx)
		if err != nil {
			return err
		}
		pids = append(pids, own...)
	}
	before, err := proc.Take(pids)
	if err != nil {
		return err
	}
	time.Sleep(o.warm + o.measure)
	after, err := proc.Take(pids)
	if err != nil {
		return err
	}
	for i, cores := range after.Since(before).PIDs {
		r.IdleCores[systems[i/nodes].name] += cores
	}
	return nil
}

func (r *report) window(ctx context.Context, o options, s *system, n int, gen *generator) (*load.Result, error) {
	leader, err := s.leader(ctx)
	if err != nil {
		return nil, err
	}
	// The leader first, so that results by node are comparable.
	turn := func(i int) int { return (leader + i) % len(s.addrs) }
	w := load.Window{
		System: s.name, ChainID: chainID, Clients: n, Spread: n == 1, Warm: o.warm, Measure: o.measure,
	}
	pids, err := s.pids(ctx)
	if err != nil {
		return nil, err
	}
	for i := range s.addrs {
		w.Addrs, w.PIDs = append(w.Addrs, s.addrs[turn(i)]), append(w.PIDs, pids[turn(i)])
	}
	first, term, err := s.height(ctx)
	if err != nil {
		return nil, err
	}
	had := sumOf(r.nonces(s.name))
	res, err := gen.run(w)
	if err != nil {
		return nil, err
	}
	last, newTerm, err := s.height(ctx)
	if err != nil {
		return nil, err
	}
	now, err := s.pids(ctx)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(pids, now) {
		return nil, fmt.Errorf("%s: a node was restarted: processes %v, before %v", s.name, now, pids)
	}
	res.Elections = int(newTerm - term)
	if last > first {
		res.PerBlock = float64(sumOf(res.Nonces)-had) / float64(last-first)
	}
	return res, nil
}

func sumOf(v []uint64) (total uint64) {
	for _, n := range v {
		total += n
	}
	return total
}

// nonces is what all accounts had acknowledged after the last window.
func (r *report) nonces(system string) []uint64 {
	var longest []uint64
	for _, results := range r.Runs[system] {
		for _, res := range results {
			for i, n := range res.Nonces {
				if i == len(longest) {
					longest = append(longest, 0)
				}
				longest[i] = max(longest[i], n)
			}
		}
	}
	return longest
}

// generator is the load process.
type generator struct {
	p    *process
	in   io.WriteCloser
	out  *json.Decoder
	lost error
}

func startLoad(l *launcher) (*generator, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "load")
	cmd.Stderr = os.Stderr
	// Not StdoutPipe: Wait would close it.
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close() //nolint:errcheck // the child has its own copy
	cmd.Stdout = w
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p, err := l.start(cmd, false)
	if err != nil {
		return nil, err
	}
	return &generator{p: p, in: in, out: json.NewDecoder(r)}, nil
}

func (g *generator) run(w load.Window) (*load.Result, error) {
	if err := json.NewEncoder(g.in).Encode(w); err != nil {
		return nil, fmt.Errorf("load generator: %w", err)
	}
	var r load.Result
	if err := g.out.Decode(&r); err != nil {
		return nil, fmt.Errorf("load generator: %w", err)
	}
	return &r, nil
}

func (g *generator) close() {
	_ = g.in.Close()
	g.p.stop()
}

// crypto returns the CPU microseconds of one verification and one signature of a payload as it is sent.
func crypto() (verify, sign float64, err error) {
	const count = 500
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	key := load.Key(0)
	pub := key.Public().(ed25519.PublicKey)
	txs := make([]*block.Tx, count)
	payload := []byte(strings.Repeat("x", 270))
	t0, err := proc.ThreadTime()
	if err != nil {
		return 0, 0, err
	}
	for i := range txs {
		txs[i] = block.SignTx(key, payload)
	}
	t1, err := proc.ThreadTime()
	if err != nil {
		return 0, 0, err
	}
	for _, tx := range txs {
		if !tx.Verify(pub) {
			return 0, 0, errors.New("a signature does not verify")
		}
	}
	t2, err := proc.ThreadTime()
	return float64((t2 - t1).Microseconds()) / count, float64((t1 - t0).Microseconds()) / count, err
}

// fsyncTime returns the median milliseconds of a small append and its fsync.
func fsyncTime(dir string) (float64, error) {
	f, err := os.CreateTemp(dir, "fsync-")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // the folder goes too
	defer f.Close()           //nolint:errcheck // of no use any more
	var took []float64
	for range 30 {
		begun := time.Now()
		if _, err := f.Write(make([]byte, 512)); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
		took = append(took, time.Since(begun).Seconds()*1e3)
	}
	return median(took), nil
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}
