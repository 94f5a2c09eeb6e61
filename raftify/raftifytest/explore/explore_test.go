package explore_test

import (
	"flag"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/baton-ha/baton/raftify/core"
	"github.com/baton-ha/baton/raftify/raftifytest/explore"
)

var (
	deepFlag  = flag.Bool("deep", false, "explore the deep configurations instead, which may take hours")
	limitFlag = flag.Int("limit", 0, "cut an exploration at so many states")
	onlyFlag  = flag.String("only", "", "explore only the configurations whose names contain this")
)

// TestExplore explores each configuration, and demands that it is complete.
func TestExplore(t *testing.T) {
	configs := explore.Configs()
	if *deepFlag {
		configs = explore.Deep()
	}
	for _, cfg := range configs {
		if !strings.Contains(cfg.Name, *onlyFlag) {
			continue
		}
		cfg.Limit = *limitFlag
		t.Run(cfg.Name, func(t *testing.T) {
			t.Parallel()
			if raceEnabled {
				t.Skip("one goroutine, and long: without the race detector")
			}
			r := run(t, cfg)
			t.Log(r)
			if r.Violation != "" {
				t.Fatalf("%s\n%s", r.Violation, strings.Join(r.Trace, "\n"))
			}
			if !r.Complete && !*deepFlag {
				t.Errorf("cut at %d states: not exhaustive", r.States)
			}
			for _, want := range must(cfg) {
				if r.Reached[want] == 0 {
					t.Errorf("no state of kind %q: the exploration shows less than it seems to", want)
				}
			}
		})
	}
}

func run(t *testing.T, cfg explore.Config) *explore.Result {
	t.Helper()
	var progress io.Writer
	if *deepFlag {
		progress = os.Stderr
	}
	r, err := explore.Run(cfg, progress)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// must are the kinds of states that a configuration has to reach.
func must(cfg explore.Config) []string {
	out := []string{"leads term 1"}
	if cfg.MaxTerm > 1 {
		out = append(out, "leads term 2", "two leaders of different terms")
	}
	if cfg.Crashes > 0 && cfg.Timed == nil {
		out = append(out, "restarted after a vote", "two writes under way")
	}
	if cfg.Wipes > 0 {
		out = append(out, "disk replaced")
	}
	if cfg.Reconfigs > 0 {
		out = append(out, "configuration installed")
	}
	if cfg.Timed != nil {
		out = append(out, "lease held")
	}
	return out
}

// TestSymmetry: without the renaming of nodes an exploration reaches exactly the states that those with it stand for.
func TestSymmetry(t *testing.T) {
	if raceEnabled {
		t.Skip("one goroutine, and long: without the race detector")
	}
	for _, cfg := range []explore.Config{
		{Name: "one term", Nodes: 3, MaxTerm: 1, StepDowns: true},
		{Name: "a voter removed", Nodes: 3, MaxTerm: 1, Reconfigs: 1, Changes: removals("1", "2", "3")},
		{Name: "a second term", Nodes: 3, MaxTerm: 2, Elected: true},
	} {
		with := run(t, cfg)
		cfg.Asymmetric = true
		without := run(t, cfg)
		if with.Orbits != without.States || !with.Complete || !without.Complete {
			t.Errorf("%v stands for %d states\n%v", with, with.Orbits, without)
		}
		if with.States >= without.States {
			t.Errorf("%s: symmetry saves nothing", cfg.Name)
		}
	}
}

func removals(ids ...core.NodeID) (out []core.Change) {
	for _, id := range ids {
		out = append(out, core.Change{Kind: core.ChangeRemove, Member: core.Member{ID: id}})
	}
	return out
}

// TestCutIsSaid: a run that reaches its limit is not called complete.
func TestCutIsSaid(t *testing.T) {
	r := run(t, explore.Config{Name: "cut", Nodes: 3, MaxTerm: 1, Limit: 100})
	if r.Complete || !strings.Contains(r.String(), "cut at") {
		t.Errorf("%v", r)
	}
}

// TestBadBounds: what makes no sense is refused.
func TestBadBounds(t *testing.T) {
	for _, cfg := range []explore.Config{
		{Nodes: 0, MaxTerm: 1},
		{Nodes: 5, MaxTerm: 1},
		{Nodes: 3, MaxTerm: 0},
		{Nodes: 3, Voters: 4, MaxTerm: 1},
		{Nodes: 3, MaxTerm: 1, Timed: &explore.Timed{}},
	} {
		if _, err := explore.Run(cfg, nil); err == nil {
			t.Errorf("%+v is taken", cfg)
		}
	}
}
