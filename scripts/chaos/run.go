package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/baton-ha/baton/node/client"
	"github.com/baton-ha/baton/scripts/chaos/internal/cluster"
	"github.com/baton-ha/baton/scripts/chaos/internal/fabric"
	"github.com/baton-ha/baton/scripts/chaos/internal/judge"
	"github.com/baton-ha/baton/scripts/chaos/internal/load"
	"github.com/baton-ha/baton/scripts/chaos/internal/nemesis"
	"github.com/baton-ha/baton/scripts/chaos/internal/report"
	"github.com/baton-ha/baton/scripts/chaos/internal/sandbox"
)

// run is the whole program inside the sandbox. It reports whether all was well.
func run(ctx context.Context, s *settings) (bool, error) {
	if err := os.MkdirAll(s.out, 0o755); err != nil {
		return false, err
	}
	out, err := exec.CommandContext(ctx, s.binary, "version").Output()
	if err != nil {
		return false, fmt.Errorf("%s version: %w", s.binary, err)
	}
	// A copy: somebody may build a newer one meanwhile, and a run is about one program.
	program := filepath.Join(s.out, "baton-under-test")
	if err := copyProgram(s.binary, program); err != nil {
		return false, err
	}
	s.binary = program
	res := &report.Result{
		OK: true, Version: strings.TrimSpace(string(out)), Machine: machine(), Began: time.Now().Format(time.RFC3339), Seed: s.seed,
		Command: fmt.Sprintf("baton-chaos --seed %d --nodes %s --duration %v%s", s.seed, join(s.nodes), s.duration, options(s)),
	}
	fmt.Printf("%s\nreplay the plan with: %s\n", res.Version, res.Command)
	for i, n := range s.nodes {
		part, err := one(ctx, s, i, n)
		if err != nil {
			return false, err
		}
		if err := part.WriteText(os.Stdout); err != nil {
			return false, err
		}
		res.Clusters = append(res.Clusters, part)
		res.OK = res.OK && part.OK
		if ctx.Err() != nil {
			break
		}
	}
	if err := errors.Join(
		res.WriteJSON(filepath.Join(s.out, "report.json")),
		res.WriteJUnit(filepath.Join(s.out, "junit.xml")),
		res.WriteHTML(filepath.Join(s.out, "report.html")),
	); err != nil {
		return false, fmt.Errorf("write the report: %w", err)
	}
	if s.summary != "" {
		if err := res.WriteSummary(s.summary); err != nil {
			return false, fmt.Errorf("write the summary: %w", err)
		}
	}
	word := "all is well"
	if !res.OK {
		word = "NOT WELL"
	}
	if res.OK && !s.keep {
		if err := os.Remove(program); err != nil {
			return false, err
		}
	}
	fmt.Printf("\n%s; report in %s\n", word, filepath.Join(s.out, "report.html"))
	return res.OK, nil
}

// machine says what the run had to share: how many cores, and how busy they were when it began.
func machine() string {
	text := fmt.Sprintf("%d cores", runtime.NumCPU())
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		text += ", load average at the start " + strings.Join(strings.Fields(string(b))[:3], " ")
	}
	return text
}

func copyProgram(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.Remove(to); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.WriteFile(to, data, 0o755) //nolint:gosec // it is run
}

func options(s *settings) string {
	text := ""
	if s.short {
		text += " --short"
	}
	if len(s.only) > 0 {
		text += " --only " + strings.Join(s.only, ",")
	}
	if s.injected {
		text += " --injected"
	}
	if s.rtt > 0 {
		text += " --rtt " + s.rtt.String()
	}
	if s.level > 0 {
		text += " --level " + strconv.Itoa(s.level)
	}
	return text
}

func join(ns []int) string {
	texts := make([]string, len(ns))
	for i, n := range ns {
		texts[i] = strconv.Itoa(n)
	}
	return strings.Join(texts, ",")
}

// bench is one cluster under test with all that belongs to it.
type bench struct {
	s       *settings
	dir     string
	load    *load.Load
	cl      *cluster.Cluster
	fabric  *fabric.Fabric
	watch   *cluster.Watcher
	world   *nemesis.World
	hosts   []*sandbox.Host
	tracing bool
}

const (
	groups  = 8
	members = 3
	readers = 2
	// diskBytes is the size of each node's disk, in memory as far as it is used.
	diskBytes = 4 << 30
	// home is this program's own address, nodes have those from 1 on.
	home = 100
	// wholeLimit is how long the cluster may take to be whole again when all is healed. Generous: a busy machine stands
	// still for seconds at times.
	wholeLimit = 90 * time.Second
)

// one tests one cluster.
func one(ctx context.Context, s *settings, i, nodes int) (*report.Run, error) {
	seed := s.seed + uint64(i)
	b := &bench{s: s, dir: filepath.Join(s.out, fmt.Sprintf("nodes%d", nodes))}
	if err := errors.Join(os.RemoveAll(b.dir), os.MkdirAll(b.dir, 0o755)); err != nil {
		return nil, err
	}
	// The deck of the network is set up anew for each cluster: 10.99.SIZE.0/24 in namespaces of its own.
	if err := b.raise(ctx, seed, nodes, i); err != nil {
		return nil, errors.Join(err, b.close(""))
	}
	r, err := b.test(ctx, seed)
	if err != nil {
		return nil, errors.Join(err, b.close(""))
	}
	r.Judge()
	keep := ""
	if !r.OK || s.keep {
		keep = b.dir
	}
	if err := b.close(keep); err != nil {
		return nil, err
	}
	if r.OK && !s.keep {
		if err := os.RemoveAll(b.dir); err != nil {
			return nil, err
		}
	} else {
		r.Dir = b.dir
	}
	return r, nil
}

// raise makes hosts, network and cluster, and starts all nodes.
func (b *bench) raise(ctx context.Context, seed uint64, nodes, i int) error {
	addr := func(k int) netip.Addr { return netip.AddrFrom4([4]byte{10, 99, byte(i), byte(k)}) }
	var cards []*sandbox.Card
	for k := range nodes {
		h, err := sandbox.NewHost(addr(k + 1))
		if err != nil {
			return err
		}
		b.hosts = append(b.hosts, h)
		cards = append(cards, h.Card())
	}
	own, err := sandbox.Home(addr(home))
	if err != nil {
		return err
	}
	b.fabric = fabric.New(seed, b.s.rtt, nodes, append(cards, own)...)
	b.load = load.New(load.Shape{Groups: groups, Members: members, Readers: readers, Rate: b.s.rate, Seed: seed})
	var env []string
	if b.s.rule != "" {
		env = append(env, "BATON_BREAK="+b.s.rule)
	}
	if b.cl, err = cluster.New(ctx, cluster.Options{
		Binary: b.s.binary, Dir: b.dir, Hosts: b.hosts, Fund: b.load.Fund(), DiskBytes: diskBytes, Level: b.s.level, Env: env,
	}); err != nil {
		return err
	}
	b.tracing = b.cl.HasFlag(ctx, "run", "trace")
	b.cl.Trace(b.tracing)
	for _, n := range b.cl.Nodes {
		if err := n.Start(); err != nil {
			return err
		}
	}
	return nil
}

// close ends everything. What is on the nodes' disks is copied to keep first, unless that is "".
func (b *bench) close(keep string) error {
	var errs []error
	if b.cl != nil {
		errs = append(errs, b.cl.Close(keep))
	}
	if b.fabric != nil {
		errs = append(errs, b.fabric.Close())
	}
	for _, h := range b.hosts {
		h.Close()
	}
	return errors.Join(errs...)
}

// test runs load and faults and judges the outcome.
func (b *bench) test(ctx context.Context, seed uint64) (*report.Run, error) {
	// What has to be done at the end is done also when the user interrupts.
	after := context.WithoutCancel(ctx)
	watching, stopWatching := context.WithCancel(after)
	defer stopWatching()
	var err error
	if b.watch, err = cluster.Watch(watching, b.cl); err != nil {
		return nil, err
	}
	b.world = &nemesis.World{
		Cluster: b.cl, Watcher: b.watch, Fabric: b.fabric, Load: b.load, Home: len(b.cl.Nodes), Injected: b.s.injected,
		Say: func(format string, args ...any) { fmt.Printf(format+"\n", args...) },
	}
	loading, stopLoading := context.WithCancel(after)
	defer stopLoading()
	if err := b.load.Start(loading, b.cl.Genesis.ChainID, b.cl.URLs()); err != nil {
		return nil, err
	}
	if err := b.world.Whole(ctx, wholeLimit); err != nil {
		return nil, fmt.Errorf("the cluster did not start: %w; logs are in %s", err, b.dir)
	}
	kinds := nemesis.Possible(ctx, b.world, b.s.short)
	if len(b.s.only) > 0 {
		kinds = slices.DeleteFunc(nemesis.Possible(ctx, b.world, false), func(k nemesis.Kind) bool { return !slices.Contains(b.s.only, k.Name) })
	}
	if len(kinds) == 0 {
		return nil, errors.New("no kind of fault is left that makes sense with so many nodes")
	}
	plan := nemesis.Plan{
		Seed: seed, Kinds: kinds, Duration: b.s.duration / time.Duration(len(b.s.nodes)),
		HoldMin: min(time.Second, b.s.hold/2), HoldMax: b.s.hold, Overlap: b.s.overlap, Whole: wholeLimit,
	}
	if b.s.short {
		plan.HoldMax = min(plan.HoldMax, 2500*time.Millisecond)
	}
	fmt.Printf("\n%d nodes, seed %d, %d kinds of faults for %v\n", len(b.cl.Nodes), seed, len(kinds), plan.Duration)
	out := nemesis.Run(ctx, b.world, plan)
	end := time.Since(b.load.Began)
	finishing, cancel := context.WithTimeout(after, wholeLimit)
	b.load.Finish(finishing)
	cancel()
	stopLoading()
	r := &report.Run{Nodes: len(b.cl.Nodes), Seed: seed, Faults: out.Injected, Network: b.fabric.Stats()}
	r.Measure(b.load.Ops(), end, kinds)
	b.observe(r, end)
	r.Problems = append(r.Problems, out.Errors...)
	if ctx.Err() != nil {
		r.Problems = append(r.Problems, "it was interrupted")
	}
	for _, k := range out.Never {
		r.Problems = append(r.Problems, "the fault "+k+" of the plan was never injected")
	}
	if r.LeaderChanges == 0 {
		r.Problems = append(r.Problems, "the leader never changed: nothing was tested")
	}
	fmt.Println("judging")
	r.Verdicts = b.verdicts(after, r)
	return r, nil
}

// sources are the nodes as the judge asks them, patiently.
func (b *bench) sources() ([]judge.Source, error) {
	var out []judge.Source
	for _, n := range b.cl.Nodes {
		cl, err := client.New([]string{n.API}, client.Options{})
		if err != nil {
			return nil, err
		}
		out = append(out, judge.Source{ID: n.ID, Client: cl})
	}
	return out, nil
}

// verdicts judges the run. What cannot be judged because nodes do not answer is a failure too.
func (b *bench) verdicts(ctx context.Context, r *report.Run) []*judge.Verdict {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	ops := b.load.Ops()
	all := []*judge.Verdict{b.alive(), b.leaders()}
	failed := func(err error) []*judge.Verdict {
		v := judge.NewVerdict("the nodes' chains can be read", "I14")
		v.Fail("%v", err)
		return append(all, v)
	}
	level, cancelLevel := context.WithTimeout(ctx, wholeLimit)
	err := b.level(level)
	cancelLevel()
	if err != nil {
		return failed(err)
	}
	nodes, err := b.sources()
	if err != nil {
		return failed(err)
	}
	chain, vs, err := judge.ReadChains(ctx, b.cl.Genesis, nodes)
	if err != nil {
		return failed(err)
	}
	r.Height = uint64(chain.Height)
	all = append(all, vs...)
	money, err := chain.Money(ctx, b.load.Fund(), nodes)
	if err != nil {
		return failed(err)
	}
	limit := min(max(30*time.Second, time.Duration(r.Duration/10)*time.Second), 5*time.Minute)
	all = append(all, chain.Receipts(ops, b.load.Broken()), money, chain.Witness(ops, b.load.Accounts, b.load.Fund()),
		judge.Linearizable(ops, groups, members, chain, limit))
	all = append(all, b.folders(ctx)) // which stops the nodes: their traces are whole now
	return append(all, b.traces(chain)...)
}

// level waits until all nodes have the same height, with no traffic any more.
func (b *bench) level(ctx context.Context) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		last := b.watch.Last()
		same := true
		text := make([]string, len(last))
		for i, s := range last {
			same = same && s.Up && time.Since(s.At) < time.Second && s.Height == last[0].Height
			text[i] = fmt.Sprintf("%s at %d (answers: %v)", b.cl.Nodes[i].ID, s.Height, s.Up)
		}
		if same {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the nodes did not become level: %s", strings.Join(text, ", "))
		}
	}
}

// alive judges that no process ended by itself and that the cluster came back after each fault.
func (b *bench) alive() *judge.Verdict {
	v := judge.NewVerdict("the cluster came back after each fault, no process ended by itself", "I14 R24")
	excused := 0
	for _, e := range b.cl.Exits() {
		if e.Excused {
			excused++
			continue
		}
		v.Fail("%s ended by itself %.1fs into the load: %s", e.Node, e.At.Sub(b.load.Began).Seconds(), e.Why)
	}
	for _, text := range b.world.Broken() {
		v.Fail("%s", text)
	}
	starts := 0
	for _, n := range b.cl.Nodes {
		starts += n.Starts()
	}
	return v.Say("%d starts of %d nodes, %d stopped themselves because of their disk", starts, len(b.cl.Nodes), excused)
}

// leaders judges what was seen of leaders from outside.
func (b *bench) leaders() *judge.Verdict {
	v := judge.NewVerdict("at most one leader a term, as seen from outside", "I1")
	terms, twice := b.watch.Terms()
	for _, text := range twice {
		v.Fail("I1: %s", text)
	}
	return v.Say("%d terms with a leader", len(terms))
}

// traces judges what the nodes recorded of themselves.
func (b *bench) traces(c *judge.Chain) []*judge.Verdict {
	if !b.tracing {
		v := judge.NewVerdict("traces", "I1 to I17")
		v.Result = judge.Skip
		return []*judge.Verdict{v.Say("this baton has no --trace")}
	}
	var files []string
	for _, n := range b.cl.Nodes {
		files = append(files, n.Trace)
	}
	vs, err := judge.Traces(b.cl.Genesis, files, c)
	if err != nil {
		v := judge.NewVerdict("traces", "I1 to I17")
		v.Fail("%v", err)
		return []*judge.Verdict{v}
	}
	return vs
}

// folders stops all nodes and has each data folder verified by the product's own tool.
func (b *bench) folders(ctx context.Context) *judge.Verdict {
	v := judge.NewVerdict("every data folder is whole when its node has stopped", "R24 R25")
	for _, n := range b.cl.Nodes {
		if _, err := n.Terminate(time.Minute); err != nil {
			v.Fail("%v", err)
		}
	}
	for _, n := range b.cl.Nodes {
		if _, err := b.cl.Baton(ctx, "block", "verify", "--config", n.Config); err != nil {
			v.Fail("%s: %v", n.ID, err)
		}
	}
	return v.Say("%d folders read with baton block verify", len(b.cl.Nodes))
}

// observe fills in what the watcher saw.
func (b *bench) observe(r *report.Run, end time.Duration) {
	terms, _ := b.watch.Terms()
	r.LeaderChanges = max(0, len(terms)-1)
	for _, n := range b.cl.Nodes {
		r.Restarts += n.Starts() - 1
	}
	since := func(t time.Time) float64 { return max(0, t.Sub(b.load.Began).Seconds()) }
	for _, history := range b.watch.History() {
		spans := []report.Span{}
		for i, s := range history {
			to := end.Seconds()
			if i+1 < len(history) {
				to = since(history[i+1].At)
			}
			state := "silent"
			if s.Up {
				state = string(s.State)
			}
			spans = append(spans, report.Span{From: since(s.At), To: to, State: state, Term: s.Term, Lease: s.Lease})
		}
		r.Spans = append(r.Spans, spans)
	}
}
