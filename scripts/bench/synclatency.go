package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/baton-ha/baton/config"
	"github.com/baton-ha/baton/scripts/bench/internal/load"
	"github.com/baton-ha/baton/scripts/bench/internal/proc"
)

// latencyOptions say how the latency of a cluster is measured while newcomers sync.
type latencyOptions struct {
	baton, before   string
	rounds, clients int
	basePort, rate  int
	window, pause   time.Duration
	accounts        int
}

// What newcomers do meanwhile. Their own work, and that of others who serve them, would be on other machines: it has the
// lowest priority. What it costs all the same, by the disk say, is in elsewhere as well as in here.
const (
	quiet     = "nobody syncs"
	here      = "syncing from it"
	elsewhere = "syncing from others"
)

// elsewhereNice comes before the commands that would run on other machines.
func elsewhereNice() []string { return []string{"nice", "-n", "19"} }

// spell is what was seen in one window.
type spell struct {
	begun     []time.Time // of the transactions, in the order of took
	took      []time.Duration
	cores     float64 // of the three nodes
	elections uint64
	syncs     []time.Duration
	bytes     uint64 // of state, in all syncs
}

// target is a cluster that is measured.
type target struct {
	o      *latencyOptions
	name   string
	binary []string
	home   string
	s      *system
	reader string              // config of a newcomer
	from   map[string][]string // the listeners of those who serve, by what newcomers do
	nonces []uint64
	spells map[string][]spell // by what newcomers do; of quiet ones two a round
}

// run measures how long the transactions of a cluster with so many accounts take while newcomers sync, and while nobody
// does, in rounds of windows.
func (o latencyOptions) run(ctx context.Context, l *launcher, home string, n int) error {
	o.accounts = n
	var all []*target
	for _, t := range []*target{{name: "baton", binary: strings.Fields(o.baton)}, {name: "before", binary: strings.Fields(o.before)}} {
		if len(t.binary) == 0 {
			continue
		}
		t.o, t.home, t.spells = &o, filepath.Join(home, t.name), map[string][]spell{}
		stop, err := t.start(ctx, l, o.basePort+30*len(all))
		defer stop()
		if err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		all = append(all, t)
	}
	order := []string{here, elsewhere}
	for range o.rounds {
		for _, t := range all {
			for _, what := range slices.Concat([]string{quiet}, order, []string{quiet}) {
				if err := t.window(ctx, what); err != nil {
					return fmt.Errorf("%s, %s: %w", t.name, what, err)
				}
			}
		}
		slices.Reverse(order)
		slices.Reverse(all)
	}
	slices.SortFunc(all, func(a, b *target) int { return len(a.name) - len(b.name) })
	for _, t := range all {
		if err := t.s.check(ctx, t.nonces); err != nil {
			return err
		}
		t.print()
	}
	return nil
}

// start starts the cluster, fills it with accounts, and starts who serves the same chain elsewhere.
func (t *target) start(ctx context.Context, l *launcher, basePort int) (stop func(), err error) {
	var ends []func()
	stop = func() {
		for _, end := range slices.Backward(ends) {
			end()
		}
	}
	files, err := layOut(t.name, filepath.Join(t.home, "cluster"), basePort)
	if err != nil {
		return stop, err
	}
	t.from = map[string][]string{}
	for i, file := range files.Configs {
		listen := fmt.Sprintf("127.0.0.1:%d", basePort+10*i+3)
		if err := t.configure(file, listen); err != nil {
			return stop, err
		}
		t.from[here] = append(t.from[here], "http://"+listen)
	}
	if t.s, err = l.startLaidOut(t.name, strings.Join(t.binary, " "), files); t.s != nil {
		ends = append(ends, t.s.stop)
	}
	if err != nil {
		return stop, err
	}
	if _, err := t.s.leader(ctx); err != nil {
		return stop, err
	}
	if t.nonces, err = load.Fill(ctx, chainID, t.s.addrs, t.o.accounts); err != nil {
		return stop, err
	}
	folder := filepath.Join(t.home, "elsewhere")
	if err := t.stored(ctx, folder); err != nil {
		return stop, err
	}
	p, urls, err := l.startServe(elsewhereNice(), folder, t.o.rate*8/1e6, nodes)
	if err != nil {
		return stop, err
	}
	ends = append(ends, p.stop)
	t.from[elsewhere] = urls
	return stop, nil
}

// configure has a node serve newcomers, and makes the config of a newcomer of the first one's: it knows nobody but those
// whom the command line names.
func (t *target) configure(file, listen string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var c map[string]any
	if err := json.Unmarshal(text, &c); err != nil {
		return err
	}
	c["sync"] = map[string]any{"listen": listen, "rate": t.o.rate}
	if text, err = json.Marshal(c); err != nil {
		return err
	}
	if err := os.WriteFile(file, text, 0o600); err != nil || t.reader != "" {
		return err
	}
	cfg, err := config.Load(file)
	if err != nil {
		return err
	}
	raftify, peer := cfg.Raftify, cfg.Peer
	raftify.MaxNodes, raftify.Expect, raftify.PeerList, peer.Peers = 1, 1, raftify.PeerList[:1], peer.Peers[:1]
	c["raftify"], c["peer"] = raftify, peer
	delete(c, "sync")
	if text, err = json.Marshal(c); err != nil {
		return err
	}
	t.reader = filepath.Join(filepath.Dir(file), "reader.json")
	return os.WriteFile(t.reader, text, 0o600)
}

// stored has the chain grow until a newcomer can take over a state with all accounts. Its folder stays.
func (t *target) stored(ctx context.Context, folder string) error {
	for {
		first, _, err := t.s.height(ctx)
		if err != nil {
			return err
		}
		grown := first + uint64(config.DefaultConfig().State.CheckpointBlocks) //nolint:gosec // it is positive
		if _, err := t.watch(ctx, 0, func(ctx context.Context) error {
			for h := first; h < grown; {
				select {
				case <-time.After(100 * time.Millisecond):
				case <-ctx.Done():
					return ctx.Err()
				}
				if h, _, err = t.s.height(ctx); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
		bytes, err := t.sync(ctx, folder, t.from[here])
		if err != nil {
			return err
		}
		if bytes > uint64(t.o.accounts)*leafBytes { //nolint:gosec // it is positive
			return nil
		}
		if err := os.RemoveAll(folder); err != nil { // the state was not written yet
			return err
		}
	}
}

// leafBytes is less than what the node of an account takes: its key alone has as many.
const leafBytes = 32

// window measures one window.
func (t *target) window(ctx context.Context, what string) error {
	var syncs []time.Duration
	var bytes uint64
	var folders []string
	w, err := t.watch(ctx, t.o.pause, func(ctx context.Context) error {
		begun := time.Now()
		if what == quiet {
			select {
			case <-time.After(t.o.window):
			case <-ctx.Done():
			}
			return ctx.Err()
		}
		for time.Since(begun) < t.o.window {
			folder := filepath.Join(t.home, fmt.Sprint("newcomer", len(folders)))
			folders = append(folders, folder)
			start := time.Now()
			n, err := t.sync(ctx, folder, t.from[what])
			if err != nil {
				return err
			}
			syncs, bytes = append(syncs, time.Since(start)), bytes+n
		}
		return nil
	})
	for _, folder := range folders {
		err = errors.Join(err, os.RemoveAll(folder))
	}
	if err != nil {
		return err
	}
	if len(w.took) == 0 {
		return errors.New("no transaction was acknowledged")
	}
	w.syncs, w.bytes = syncs, bytes
	t.spells[what] = append(t.spells[what], w)
	fmt.Fprintf(os.Stderr, "%s, %s: %d transactions, p50 %.2f ms, p99 %.2f, %d syncs, load %s\n",
		t.name, what, len(w.took), percentile(w.took, 50), percentile(w.took, 99), len(syncs), loadAverage())
	return t.s.died()
}

// warmUp is for how long clients send before what they see counts.
const warmUp = 500 * time.Millisecond

// watch has clients send at a steady pace, and notes what they see while during runs.
func (t *target) watch(ctx context.Context, pause time.Duration, during func(context.Context) error) (w spell, err error) {
	pids, err := t.s.pids(ctx)
	if err != nil {
		return w, err
	}
	_, term, err := t.s.height(ctx)
	if err != nil {
		return w, err
	}
	stop, end := context.WithCancel(ctx)
	var mu sync.Mutex
	var wg sync.WaitGroup
	clients := nodes * t.o.clients
	for len(t.nonces) < clients {
		t.nonces = append(t.nonces, 0)
	}
	errs := make([]error, clients)
	for i := range clients {
		wg.Go(func() {
			p, err := load.NewProbe(chainID, i, t.s.addrs[i%nodes], t.nonces[i])
			if err != nil {
				errs[i] = err
				return
			}
			defer p.Close()
			errs[i] = steady(ctx, stop, p, pause, func(begun time.Time, took time.Duration) {
				mu.Lock()
				defer mu.Unlock()
				w.begun, w.took = append(w.begun, begun), append(w.took, took)
			})
			t.nonces[i] = p.Nonce()
		})
	}
	select {
	case <-time.After(warmUp):
	case <-ctx.Done():
	}
	before, err := proc.Take(pids)
	if err == nil {
		err = during(ctx)
	}
	after, takeErr := proc.Take(pids)
	end()
	wg.Wait()
	if err := errors.Join(append(errs, err, takeErr)...); err != nil {
		return w, err
	}
	_, now, err := t.s.height(ctx)
	w.elections = now - term
	for _, c := range after.Since(before).PIDs {
		w.cores += c
	}
	kept := w.took[:0]
	for i, took := range w.took {
		if w.begun[i].After(before.At) && w.begun[i].Before(after.At) {
			kept = append(kept, took)
		}
	}
	w.took, w.begun = kept, nil
	return w, err
}

// sync has a newcomer fill a folder, and returns how many bytes of state it fetched.
func (t *target) sync(ctx context.Context, folder string, from []string) (uint64, error) {
	command := append(slices.Concat(elsewhereNice(), t.binary), "sync", "--json", "--config", t.reader)
	for _, url := range from {
		command = append(command, "--from", url)
	}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(os.Environ(), "BATON_DATA_DIR="+folder)
	var problem bytes.Buffer
	cmd.Stderr = &problem
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("%v: %w: %s%s", command, err, out, problem.Bytes())
	}
	var last struct {
		Phase string `json:"phase"`
		Bytes uint64 `json:"bytes"`
	}
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	if err := json.Unmarshal(lines[len(lines)-1], &last); err != nil || last.Phase != "done" {
		return 0, fmt.Errorf("%v ended with %s (%w)", command, lines[len(lines)-1], err)
	}
	return last.Bytes, nil
}

// print reports medians over the rounds.
func (t *target) print() {
	calm, begin, end := t.rounds(quiet)
	all := 0
	for _, spells := range t.spells {
		for _, w := range spells {
			all += len(w.took)
		}
	}
	fmt.Printf("%s with %d accounts: how long a transaction takes, %d clients, sync.rate %.1f MB/s, %d transactions in %d rounds; medians of rounds (least to greatest)\n",
		t.name, t.o.accounts, nodes*t.o.clients, float64(t.o.rate)/1e6, all, t.o.rounds)
	t.line(quiet, calm)
	t.ratios("  noise: after the syncs, of before", end, begin)
	for _, what := range []string{here, elsewhere} {
		with, _, _ := t.rounds(what)
		t.line(what, with)
		t.ratios("  of "+quiet, with, calm)
	}
	with, _, _ := t.rounds(here)
	other, _, _ := t.rounds(elsewhere)
	t.ratios("what serving costs: "+here+", of "+elsewhere, with, other)
}

// rounds returns what was seen in each round: whole, and of two windows the first and the second.
func (t *target) rounds(what string) (whole, first, second []spell) {
	if what != quiet {
		return t.spells[what], nil, nil
	}
	for two := range slices.Chunk(t.spells[what], 2) {
		first, second = append(first, two[0]), append(second, two[1])
		both := two[0]
		both.took = slices.Concat(both.took, two[1].took)
		both.cores, both.elections = (both.cores+two[1].cores)/2, both.elections+two[1].elections
		whole = append(whole, both)
	}
	return whole, first, second
}

func (t *target) line(what string, spells []spell) {
	var p50, p99, cores, seconds, rate []float64
	elections := uint64(0)
	for _, w := range spells {
		p50, p99 = append(p50, percentile(w.took, 50)), append(p99, percentile(w.took, 99))
		cores, elections = append(cores, w.cores), elections+w.elections
		total := 0.0
		for _, d := range w.syncs {
			seconds, total = append(seconds, d.Seconds()), total+d.Seconds()
		}
		rate = append(rate, float64(w.bytes)/1e6/total)
	}
	text := ""
	if len(seconds) > 0 {
		text = fmt.Sprintf("; %d syncs of %.2f s, %.1f MB/s of state", len(seconds), median(seconds), median(rate))
	}
	fmt.Printf("%-20s p50 %6.2f ms, p99 %6.2f ms; nodes use %.2f cores, %d elections%s\n", what, median(p50), median(p99), median(cores), elections, text)
}

// ratios prints what came out in each round over what came out in the same round otherwise.
func (t *target) ratios(what string, over, under []spell) {
	var of [2][]float64
	for i := range over {
		for k, p := range []int{50, 99} {
			of[k] = append(of[k], percentile(over[i].took, p)/percentile(under[i].took, p))
		}
	}
	fmt.Printf("%-55s p50 %.2f (%.2f to %.2f), p99 %.2f (%.2f to %.2f)\n", what,
		median(of[0]), slices.Min(of[0]), slices.Max(of[0]), median(of[1]), slices.Min(of[1]), slices.Max(of[1]))
}
