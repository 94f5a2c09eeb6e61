package long_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/baton-ha/baton/raftify/raftifytest/long"
)

// TestContinue: a second run begins where the first ended, totals add up, and a broken seed is named.
func TestContinue(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "record.json")
	var mu sync.Mutex
	var seen []uint64
	run := func(seed uint64) long.Outcome {
		mu.Lock()
		seen = append(seen, seed)
		mu.Unlock()
		o := long.Outcome{Steps: seed, Simulated: time.Second, Branches: map[string]int{"b": 1}}
		if seed == 7 {
			o.Violation = "I1: two"
		}
		return o
	}
	if _, err := long.Continue(t.Context(), path, "test", 5, time.Hour, 2, run); err != nil {
		t.Fatal(err)
	}
	r, err := long.Continue(t.Context(), path, "test", 10, time.Hour, 2, run)
	if err == nil || !strings.Contains(err.Error(), "seed 7") {
		t.Errorf("%v does not name the seed", err)
	}
	slices.Sort(seen)
	if !slices.Equal(seen, []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}) {
		t.Errorf("%v were run", seen)
	}
	if r.Seeds != 10 || r.Steps != 55 || r.SimulatedSeconds != 10 || len(r.Ranges) != 2 || r.Branches["b"] != 10 || len(r.Violations) != 1 {
		t.Errorf("%+v", r)
	}
	if _, err := long.Continue(t.Context(), path, "test", 10, time.Hour, 2, run); err != nil || len(seen) != 10 {
		t.Errorf("%v after the target, %d seeds", err, len(seen))
	}
	if _, err := long.Continue(t.Context(), path, "test", 20, 0, 1, func(uint64) long.Outcome { return long.Outcome{} }); err != nil {
		t.Error(err)
	}

	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(b), `"steps": 55`, `"steps": 56`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := long.Load(path); err == nil {
		t.Error("a record that does not add up was taken")
	}
}
