package nodetest

import (
	"context"
	"fmt"
	"maps"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// summary gathers the results of many runs.
type summary struct {
	from, to   uint64
	elapsed    time.Duration
	virtual    time.Duration
	count      counters
	height     uint64
	longest    time.Duration
	violations []string
	runs       int
}

func newSummary(from, to uint64) *summary { return &summary{from: from, to: to, count: newCounters()} }

func (m *summary) add(r Result) {
	m.runs++
	m.virtual += r.VirtualTime
	m.height += r.Height
	m.longest = max(m.longest, r.Recovery)
	m.count.add(counters{events: r.Events, acked: r.Acknowledged, drawn: r.Faults, branches: r.Branches})
	if r.Violation != "" {
		m.violations = append(m.violations, fmt.Sprintf("seed %d: %s", r.Seed, r.Violation))
	}
}

func (m *summary) line() string {
	return fmt.Sprintf("%d seeds in %v: %v of virtual time, %d events, %d blocks, %d transactions, longest recovery %v, %d violations",
		m.runs, m.elapsed.Round(time.Millisecond), m.virtual.Round(time.Second), m.count.events, m.height, m.count.acked,
		m.longest.Round(time.Millisecond), len(m.violations))
}

// rare are the branches that a long run must reach.
var rare = []string{
	"R11 sync to an older term", "R11 sync without a leader", "back-off", "batch extended", "block begun on an old tip",
	"certificate of an unknown term", "chain whose blocks do not come left out", "crash with loss", "fetch", "follower asked to resend", "follower cut its own tail",
	"follower read", "fsync error", "further votes counted", "lease", "nack", "nack cut",
	"read lost its leader", "read served", "step down: a block of the best chain cannot be reproduced here",
	"step down: handover was not taken up", "step down: higher term", "step down: no commit in time",
	"step down: no majority answers heartbeats", "step down: own disk does not answer",
	"step down: takeover makes no progress", "step down: too many cannot reproduce this leader's block",
	"takeover done", "takeover with fetched bodies", "transfer begun", "transfer done", "winner cut its own tail",
	"wrong block inherited", "lost disk", "joined", "change: add", "change: promote", "change: demote", "change: remove",
	"jump", "jump with a tail of its own", "jump lost in a crash", "jump to what is not newer", "leader or candidate wants to jump",
	"blocks pruned", "blocks to go on from are pruned", "executed on the state before a jump",
	"restored disk", "restored disk found", "death notice", "death notice repeated", "false death notice",
}

func (m *summary) missing() []string {
	var out []string
	for _, b := range rare {
		if m.count.branches[b] == 0 {
			out = append(out, b)
		}
	}
	return out
}

func (m *summary) text(ctx context.Context) string {
	var b strings.Builder
	commit, err := exec.CommandContext(ctx, "git", "rev-parse", "HEAD").Output()
	if err != nil {
		commit = []byte("unknown")
	}
	fmt.Fprintf(&b, "# Summary of a simulation run\n\nWritten by the test itself; do not edit.\n\n")
	fmt.Fprintf(&b, "- command: `go test ./node/nodetest -run TestSimulation -seeds %d-%d -summary testdata/SUMMARY.md`\n", m.from, m.to)
	fmt.Fprintf(&b, "- commit: %s\n- %s %s/%s\n", strings.TrimSpace(string(commit)), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	fmt.Fprintf(&b, "- %s\n", m.line())
	table := func(title string, rows map[string]int) {
		fmt.Fprintf(&b, "\n## %s\n\n| what | times |\n|---|---|\n", title)
		for _, k := range slices.Sorted(maps.Keys(rows)) {
			fmt.Fprintf(&b, "| %s | %d |\n", k, rows[k])
		}
	}
	table("Faults drawn", m.count.drawn)
	table("Branches reached", m.count.branches)
	fmt.Fprintf(&b, "\n## Violations\n\n")
	if len(m.violations) == 0 {
		b.WriteString("None.\n")
	}
	slices.Sort(m.violations)
	for _, v := range m.violations {
		fmt.Fprintf(&b, "- %s\n", v)
	}
	return b.String()
}
