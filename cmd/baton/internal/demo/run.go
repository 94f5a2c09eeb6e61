package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// run is one run of the demo. It belongs to the goroutine of do.
type run struct {
	opts   Options
	screen *Screen
	dir    string
	report *Report

	c *cluster
	w *watcher
	t *traffic
	// known are the terms that had a reason: the first, and one after each kill.
	known map[uint64]bool
}

// do is the whole run. Whatever happens, no process and no goroutine is left when it returns.
func (r *run) do(parent context.Context) error {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	r.screen.line(r.screen.paint(bold, fmt.Sprintf("baton demo: %d nodes, %v of payments, the leader killed with SIGKILL %d times",
		r.opts.Nodes, r.opts.Duration, r.opts.Kills)))
	if err := r.raise(ctx); err != nil {
		return err
	}
	defer r.c.close()

	var background sync.WaitGroup
	defer background.Wait()
	defer cancel(nil)
	background.Go(func() {
		select {
		case err := <-r.c.died:
			cancel(err)
		case <-ctx.Done():
		}
	})
	if err := r.payAndKill(ctx, &background); err != nil {
		return cause(ctx, err)
	}
	return cause(ctx, r.prove(ctx))
}

// cause replaces an error that comes from a node's death by that.
func cause(ctx context.Context, err error) error {
	if died := context.Cause(ctx); err != nil && errors.Is(died, errDied) {
		return died
	}
	return err
}

// raise lays out the cluster and starts all of it, until there is a leader. With ports of our own choosing it tries
// others when somebody was faster.
func (r *run) raise(ctx context.Context) error {
	for try := 1; ; try++ {
		err := r.tryRaise(ctx)
		if err == nil {
			return nil
		}
		if r.c != nil {
			r.c.close()
		}
		if r.opts.BasePort != 0 || try == 3 || !strings.Contains(err.Error(), "address already in use") {
			return err
		}
		r.screen.event(yellow, "a port was taken by somebody else: trying others")
		if err := empty(r.dir); err != nil {
			return err
		}
	}
}

func (r *run) tryRaise(ctx context.Context) error {
	base := r.opts.BasePort
	var err error
	if base == 0 {
		base, err = findPorts(ctx, r.opts.Nodes)
	} else if err = portsFree(ctx, base, r.opts.Nodes); err != nil {
		err = fmt.Errorf("--base-port %d: %w; name another one, or none to have free ones found", base, err)
	}
	if err != nil {
		return err
	}
	if r.c, err = layOut(r.opts.Binary, r.dir, r.opts.Nodes, r.opts.Clients, base); err != nil {
		return err
	}
	r.report.ChainID, r.report.BasePort = r.c.genesis.ChainID, base
	r.screen.event(plain, "chain %s laid out in %s", r.c.genesis.ChainID, r.dir)
	for _, n := range r.c.nodes {
		if err := r.start(n, "started"); err != nil {
			return err
		}
	}
	return r.firstLeader(ctx)
}

func (r *run) start(n *node, verb string) error {
	p, err := r.c.start(n)
	if err == nil {
		r.screen.event(plain, "%s %s: pid %d, %s", n.id, verb, p.pid, n.url)
	}
	return err
}

// firstLeader waits until all nodes are ready, or one of them dies.
func (r *run) firstLeader(parent context.Context) error {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	w, join, err := r.c.watch(ctx)
	if err != nil {
		return err
	}
	defer join()
	defer cancel(nil)
	started := time.Now()
	go func() {
		select {
		case err := <-r.c.died:
			cancel(err)
		case <-ctx.Done():
		}
	}()
	id, term, err := w.awaitLeader(ctx, 0)
	if err != nil {
		return cause(ctx, err)
	}
	r.screen.event(green, "%s leads, term %d, %.0f ms after the start", id, term, ms(time.Since(started)))
	for _, n := range r.c.nodes {
		if err := w.awaitReady(ctx, n); err != nil {
			return cause(ctx, err)
		}
	}
	return nil
}

// payAndKill makes payments through all nodes and kills the leader as often as it should. When it returns the traffic
// has ended.
func (r *run) payAndKill(ctx context.Context, background *sync.WaitGroup) (err error) {
	w, join, err := r.c.watch(ctx)
	if err != nil {
		return err
	}
	r.w = w
	background.Go(join)
	id, term, err := w.awaitLeader(ctx, 0)
	if err != nil {
		return err
	}
	r.known = map[uint64]bool{term: true}
	if r.t, err = r.c.newTraffic(); err != nil {
		return err
	}
	paying, stop := context.WithCancel(ctx)
	begin := time.Now()
	r.t.start(paying)
	r.screen.event(plain, "%d accounts pay each other through all %d nodes at once, %s leads", len(r.t.accounts), len(r.c.nodes), id)
	showing, hide := context.WithCancel(ctx)
	background.Go(func() { r.show(showing, begin) })

	defer func() {
		// What is under way may still end, unless that takes too long.
		late := time.AfterFunc(patience, stop)
		if err != nil {
			stop()
		}
		r.t.finish()
		late.Stop()
		stop()
		hide()
		r.report.measure(r.t, begin, time.Now())
		err = errors.Join(err, r.t.errs())
		if err == nil {
			r.screen.event(plain, "payments end: every one of %s has its receipt", group(r.report.Transactions.Acknowledged))
		}
	}()
	for k := range r.opts.Kills {
		if err := until(ctx, begin.Add(r.opts.Duration*time.Duration(k+1)/time.Duration(r.opts.Kills+1))); err != nil {
			return err
		}
		if err := r.failover(ctx, k%2 == 1); err != nil {
			return err
		}
	}
	return until(ctx, begin.Add(r.opts.Duration))
}

// until returns at the given time, or when ctx ends.
func until(ctx context.Context, at time.Time) error {
	select {
	case <-time.After(time.Until(at)):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// show keeps the live line up to date.
func (r *run) show(ctx context.Context, begin time.Time) {
	tick := time.NewTicker(r.screen.statusEvery())
	defer tick.Stop()
	last, lastAt := int64(0), begin
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			n := r.t.count.Load()
			rate := float64(n-last) / now.Sub(lastAt).Seconds()
			leads := "nobody leads"
			if id := r.w.leaderNow(); id != "" {
				leads = id + " leads"
			}
			r.screen.status(fmt.Sprintf("%s acknowledged, %s a second, height %s, %s",
				group(int(n)), group(int(rate)), group(int(r.w.height())), leads))
			if now.Sub(lastAt) >= time.Second {
				last, lastAt = n, now
			}
		}
	}
}

// failover kills the leader, waits for the next one and for a payment that was sent after the kill, and then until the
// killed node is level again. With all it kills the node's supervisor as well, and starts both again; otherwise the
// supervisor tells the other nodes and starts the node's process by itself.
func (r *run) failover(ctx context.Context, all bool) error {
	id, term, err := r.w.awaitLeader(ctx, 0)
	if err != nil {
		return err
	}
	n, pid := r.c.byID(id), r.w.pid(id)
	before := r.t.count.Load()
	f := Failover{Killed: id, Supervisor: all}
	what := fmt.Sprintf("kill -9 %s, pid %d", id, pid)
	if all {
		what = fmt.Sprintf("kill -9 %s and its supervisor", id)
	}
	killed := time.Now()
	acked := r.t.firstAfter(killed)
	if all {
		n.process().kill()
	} else if err := killOne(pid); err != nil {
		return fmt.Errorf("kill %s, pid %d: %w", id, pid, err)
	}
	f.AtMs = ms(killed.Sub(r.screen.start))
	r.screen.eventAt(killed, red, "%s: the leader of term %d, with %s payments acknowledged", what, term, group(int(before)))

	if f.Leader, f.Term, err = r.w.awaitLeader(ctx, term); err != nil {
		return err
	}
	r.known[f.Term] = true
	seen := time.Now()
	var first time.Time
	select {
	case first = <-acked:
	case <-time.After(patience):
		return fmt.Errorf("no payment sent after the kill of %s was acknowledged within %v (%s)", id, patience, r.w)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if seen.After(first) {
		seen = first // whoever acknowledges leads: the question came later
	}
	f.LeaderMs, f.GapMs = ms(seen.Sub(killed)), ms(first.Sub(killed))
	r.screen.eventAt(seen, green, "%s leads, term %d, %.0f ms after the kill", f.Leader, f.Term, f.LeaderMs)
	f.PauseMs = ms(r.t.longestPause(killed, first))
	r.screen.eventAt(first, green, "first payment sent after the kill is acknowledged, %.0f ms after it; longest silence %.0f ms", f.GapMs, f.PauseMs)

	target, started := r.w.height(), killed
	if all {
		started = time.Now()
		if err := r.start(n, "started again"); err != nil {
			return err
		}
	} else {
		again, err := r.w.awaitOtherPID(ctx, n, pid)
		if err != nil {
			return err
		}
		r.screen.event(plain, "%s started again by its supervisor: pid %d", id, again)
	}
	if err := r.w.awaitHeight(ctx, n, target, started); err != nil {
		return err
	}
	if err := r.w.awaitReady(ctx, n); err != nil {
		return err
	}
	f.CaughtUpMs = ms(time.Since(started))
	since := "its start"
	if !all {
		since = "the kill"
	}
	r.screen.event(plain, "%s has caught up with height %s, %.0f ms after %s", id, group(int(target)), f.CaughtUpMs, since)
	r.report.Failovers = append(r.report.Failovers, f)
	return nil
}

// prove judges the cluster after the traffic, stops it, and reads its folders.
func (r *run) prove(ctx context.Context) error {
	r.screen.hint("waiting for all nodes to be level")
	if err := r.w.awaitLevel(ctx, time.Now()); err != nil {
		return err
	}
	r.screen.event(plain, "all nodes are at the same tip: fetching and checking every block of each")
	r.screen.hint("fetching")
	v, err := r.c.audit(ctx, r.t)
	if err != nil {
		return err
	}
	r.report.judge(v)
	r.screen.event(plain, "checked: hashes, parents, signatures, receipts, balances, nonces")
	led, both := r.w.led()
	r.report.Problems = append(r.report.Problems, both...)
	for _, term := range led {
		if !r.known[term] {
			r.report.LeaderChangesWithoutFault++
		}
	}
	if err := r.c.stopAll(ctx, r.w.leaderNow); err != nil {
		return err
	}
	r.screen.event(plain, "all nodes ended on SIGTERM with status 0")
	if err := r.c.verifyFolders(); err != nil {
		return err
	}
	r.report.FoldersGood = true
	r.screen.event(plain, "all data folders read: nothing wrong")
	r.report.LogErrors = append(r.report.LogErrors, r.c.complaints(maxProblems)...)
	return nil
}

// empty removes what is in dir.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}
