package nodetest

import (
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	flagSeeds   = flag.String("seeds", "", "seeds to simulate, FROM-TO; one seed with -v prints its trace")
	flagSummary = flag.String("summary", "", "file to write a summary of the run to")
)

func seedRange(t *testing.T) (from, to uint64) {
	t.Helper()
	text := *flagSeeds
	if text == "" {
		text = os.Getenv("BATON_SIM_SEEDS")
	}
	if text == "" {
		if testing.Short() || raceEnabled {
			return 1, 100
		}
		return 1, 2000
	}
	a, b, ok := strings.Cut(text, "-")
	if !ok {
		b = a
	}
	from, err1 := strconv.ParseUint(a, 10, 64)
	to, err2 := strconv.ParseUint(b, 10, 64)
	if err1 != nil || err2 != nil || to < from {
		t.Fatalf("seeds %q: want FROM-TO", text)
	}
	return from, to
}

// TestSimulation runs the whole cluster for many seeds.
func TestSimulation(t *testing.T) {
	// What a run holds is small, and it makes garbage all the time.
	defer debug.SetGCPercent(debug.SetGCPercent(800))
	from, to := seedRange(t)
	opt := Options{}
	if from == to && testing.Verbose() {
		opt.Trace = func(line string) { _, _ = fmt.Fprintln(t.Output(), line) }
		opt.Panic = true
	}
	begun := time.Now()
	sum := newSummary(from, to)
	next := make(chan uint64)
	var wg sync.WaitGroup
	var mu sync.Mutex
	for range 2 {
		wg.Go(func() {
			for seed := range next {
				r := Run(seed, opt)
				mu.Lock()
				sum.add(r)
				mu.Unlock()
				if r.Violation != "" {
					t.Errorf("seed %d: %s\n\treplay: go test ./node/nodetest -run TestSimulation -seeds %d-%d -v", seed, r.Violation, seed, seed)
				}
			}
		})
	}
	for seed := from; seed <= to; seed++ {
		next <- seed
	}
	close(next)
	wg.Wait()
	sum.elapsed = time.Since(begun)
	t.Log(sum.line())
	if to-from+1 >= 1000 {
		for _, b := range sum.missing() {
			t.Errorf("branch never reached over %d seeds: %s", to-from+1, b)
		}
	}
	if *flagSummary != "" {
		if err := os.WriteFile(*flagSummary, []byte(sum.text(t.Context())), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// Cores that are replaced by copies of themselves after each step do the same.
func TestClone(t *testing.T) {
	for seed := uint64(1); seed <= 10; seed++ {
		want, got := Run(seed, Options{}), Run(seed, Options{clone: true})
		if want.Events != got.Events || want.Height != got.Height || want.Acknowledged != got.Acknowledged || got.Violation != want.Violation {
			t.Errorf("seed %d: %d events, height %d; with copies %d, %d (%s)",
				seed, want.Events, want.Height, got.Events, got.Height, got.Violation)
		}
	}
}

// One seed is one run, whatever ran before.
func TestDeterminism(t *testing.T) {
	for seed := uint64(1); seed <= 5; seed++ {
		var a, b []string
		Run(seed, Options{Trace: func(line string) { a = append(a, line) }})
		Run(seed, Options{Trace: func(line string) { b = append(b, line) }})
		if !slices.Equal(a, b) {
			t.Errorf("seed %d: two runs differ", seed)
		}
	}
}
