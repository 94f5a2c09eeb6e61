package report

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/baton-ha/baton/scripts/chaos/internal/judge"
)

// WriteText writes the summary of one cluster's run for the terminal.
func (r *Run) WriteText(w io.Writer) error {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("")
	p("%d nodes, %.0f s, seed %d: %d payments acknowledged, %d reads, height %d", r.Nodes, r.Duration, r.Seed,
		r.Acknowledged, r.Reads, r.Height)
	p("latency p50 %.1f ms, p99 %.1f ms, worst %.0f ms; %d leader changes, %d restarts; %d packets, %d dropped, %d refused",
		r.P50, r.P99, r.Worst, r.LeaderChanges, r.Restarts, r.Network.Carried, r.Network.Dropped, r.Network.Rejected)
	p("")
	p("  %-24s %5s  %10s %10s  %s", "fault", "times", "gap median", "gap worst", "without a majority")
	for _, k := range r.Kinds {
		lost := ""
		if k.LostMajority > 0 {
			lost = fmt.Sprintf("%d", k.LostMajority)
		}
		p("  %-24s %5d  %9.2fs %9.2fs  %s", k.Kind, k.Count, k.GapMedian, k.GapWorst, lost)
	}
	p("")
	for _, v := range r.Verdicts {
		mark := map[judge.Result]string{judge.Pass: "ok  ", judge.Fail: "FAIL", judge.Cut: "cut ", judge.Skip: "skip"}[v.Result]
		p("  %s  %s: %s", mark, v.Check, v.Detail)
		for _, x := range v.Violations {
			p("          %s", x)
		}
	}
	for _, x := range r.Problems {
		p("  FAIL  the run did not go as planned: %s", x)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteSummary writes what is worth keeping of a run to a Markdown file: what was run, and the summary of each cluster.
func (r *Result) WriteSummary(path string) error {
	var b bytes.Buffer
	word := "all was well"
	if !r.OK {
		word = "NOT WELL"
	}
	minutes := 0.0
	for _, c := range r.Clusters {
		minutes += c.Duration / 60
	}
	fmt.Fprintf(&b, "# Summary of a chaos run\n\nWritten by the program itself; do not edit.\n\n- command: `%s`\n- program: %s\n"+
		"- machine: %s\n- began %s, %.0f minutes under load: %s\n", r.Command, r.Version, r.Machine, r.Began, minutes, word)
	var errs []error
	for _, c := range r.Clusters {
		fmt.Fprintf(&b, "\n## %d nodes\n\n```text", c.Nodes)
		errs = append(errs, c.WriteText(&b))
		b.WriteString("```\n")
	}
	return errors.Join(append(errs, os.WriteFile(path, b.Bytes(), 0o644))...) //nolint:gosec // for everybody
}
