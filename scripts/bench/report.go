package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/baton-ha/baton/scripts/bench/internal/load"
)

// The aims that the report compares with.
const (
	aimLatency    = 1.2 // of the peer's p50, at most
	aimThroughput = 0.6 // of the bound, at least
)

// of returns one number of every round.
func of(results []*load.Result, f func(*load.Result) float64) []float64 {
	var out []float64
	for _, r := range results {
		out = append(out, f(r))
	}
	return out
}

func p50(r *load.Result) float64         { return r.P50 }
func perSecond(r *load.Result) float64   { return r.PerSecond }
func usPerTx(r *load.Result) float64     { return r.ServerCores / r.PerSecond * 1e6 }
func atLeader(r *load.Result) float64    { return r.NodeP50[0] }
func atFollowers(r *load.Result) float64 { return (r.NodeP50[1] + r.NodeP50[2]) / 2 }

// bound is what three nodes can do at most that verify and sign each transaction, on the cores that cores says.
func (r *report) bound(cores float64) float64 {
	return cores / (3 * (r.VerifyUs + r.SignUs) * 1e-6)
}

// left is C: the cores less what the load generator used.
func (r *report) left(x *load.Result) float64 { return float64(r.Cores) - x.LoadCores }

func (r *report) print(out io.Writer, clients []int) {
	fmt.Fprintf(out, "\n%d cores, %d rounds of %v; Ed25519 verify %.1f us, sign %.1f us of CPU; append + fsync of a file %.2f ms\n",
		r.Cores, r.Rounds, r.Measure, r.VerifyUs, r.SignUs, r.FsyncMs)
	for _, s := range r.Systems {
		fmt.Fprintf(out, "idle, the three nodes of %s use %.3f cores\n", s, r.IdleCores[s])
	}
	fmt.Fprintf(out, "medians over the rounds; noise is (largest - smallest) / median\n\n")
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "clients\tsystem\ttx/s\tnoise\tp50 ms\tp99 ms\tCPU us/tx\tnodes' cores\tload's\tothers'\ttx/block\tretries\telections\t")
	for _, n := range clients {
		for _, s := range r.Systems {
			x := r.Runs[s][n]
			m := func(f func(*load.Result) float64) float64 { return median(of(x, f)) }
			fmt.Fprintf(w, "%d\t%s\t%.0f\t%.0f%%\t%.2f\t%.2f\t%.0f\t%.2f\t%.2f\t%.2f\t%.1f\t%.0f\t%.0f\t\n", n, s, m(perSecond), 100*noise(of(x, perSecond)),
				m(p50), m(func(r *load.Result) float64 { return r.P99 }), m(usPerTx),
				m(func(r *load.Result) float64 { return r.ServerCores }), m(func(r *load.Result) float64 { return r.LoadCores }),
				m(func(r *load.Result) float64 { return r.OtherCores }), m(func(r *load.Result) float64 { return r.PerBlock }), sum(of(x, func(r *load.Result) float64 { return float64(r.Retries) })),
				sum(of(x, func(r *load.Result) float64 { return float64(r.Elections) })))
		}
	}
	_ = w.Flush() // to a terminal or a file that the shell opened
	for _, n := range clients {
		r.printBounds(out, n)
	}
	if base := r.Systems[1:]; len(base) > 0 {
		fmt.Fprintln(out, "\nbaton against the others, medians of the ratios of each round:")
	}
	for _, s := range r.Systems[1:] {
		for _, n := range clients {
			r.printRatios(out, s, n)
		}
	}
	for _, problem := range r.Wrong {
		fmt.Fprintln(out, "WRONG:", problem)
	}
}

func (r *report) printBounds(out io.Writer, n int) {
	if n == 1 {
		for _, s := range r.Systems {
			x := r.Runs[s][n]
			fmt.Fprintf(out, "\none client of %s, p50: %.2f ms at the leader, %.2f ms at a follower", s, median(of(x, atLeader)), median(of(x, atFollowers)))
		}
		fmt.Fprintln(out)
		return
	}
	var parts []string
	for _, s := range r.Systems {
		x := r.Runs[s][n]
		share := median(of(x, func(x *load.Result) float64 { return x.PerSecond / r.bound(r.left(x)) }))
		quiet := median(of(x, func(x *load.Result) float64 { return x.PerSecond / r.bound(r.left(x)-x.OtherCores) }))
		parts = append(parts, fmt.Sprintf("%s %.0f%% (%.0f%% of what others left)", s, 100*share, 100*quiet))
	}
	c := median(of(r.Runs["baton"][n], r.left))
	fmt.Fprintf(out, "%d clients: bound %.2f cores / (3 x (verify + sign)) = %.0f tx/s; reached: %s; aim %.0f%%\n",
		n, c, r.bound(c), strings.Join(parts, ", "), 100*aimThroughput)
}

func (r *report) printRatios(out io.Writer, other string, n int) {
	ratio := func(f func(*load.Result) float64) (float64, []float64) {
		var all []float64
		for i, x := range r.Runs["baton"][n] {
			all = append(all, f(x)/f(r.Runs[other][n][i]))
		}
		return median(all), all
	}
	tps, each := ratio(perSecond)
	lat, eachLat := ratio(p50)
	cpu, _ := ratio(usPerTx)
	fmt.Fprintf(out, "  %3d clients / %s: p50 x%.2f %s, tx/s x%.2f %s, CPU per tx x%.2f", n, other, lat, list(eachLat), tps, list(each), cpu)
	if n == 1 && other == "peer" {
		fmt.Fprintf(out, "   (aim: p50 at most x%.1f)", aimLatency)
	}
	fmt.Fprintln(out)
}

func list(v []float64) string {
	var out []string
	for _, x := range slices.Sorted(slices.Values(v)) {
		out = append(out, fmt.Sprintf("%.2f", x))
	}
	return "[" + strings.Join(out, " ") + "]"
}

func noise(v []float64) float64 {
	if m := median(v); m > 0 {
		return (slices.Max(v) - slices.Min(v)) / m
	}
	return 0
}

func sum(v []float64) float64 {
	total := 0.0
	for _, x := range v {
		total += x
	}
	return total
}
