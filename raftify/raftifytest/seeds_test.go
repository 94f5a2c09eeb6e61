package raftifytest_test

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"

	"github.com/baton-ha/baton/raftify/raftifytest"
)

var (
	seedsFlag = flag.String("seeds", "", "seeds to run, FROM-TO (default 1-8000)")
	traceFlag = flag.Bool("trace", false, "print everything that happens in each seed")
)

// TestSeeds runs random faults over many seeds. A seed that fails prints the command that replays it.
func TestSeeds(t *testing.T) {
	// A cluster of a few kilobytes makes garbage all the time: collecting it less often is a third of the whole.
	defer debug.SetGCPercent(debug.SetGCPercent(800))
	from, to := uint64(1), uint64(defaultSeeds)
	if testing.Short() {
		to = 100
	}
	if *seedsFlag != "" {
		if _, err := fmt.Sscanf(*seedsFlag, "%d-%d", &from, &to); err != nil {
			t.Fatalf("-seeds %q is not FROM-TO", *seedsFlag)
		}
	}
	var mu sync.Mutex
	total := map[string]int{}
	next := from
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), 4) {
		wg.Go(func() {
			for {
				mu.Lock()
				seed := next
				next++
				mu.Unlock()
				if seed > to {
					return
				}
				var trace io.Writer
				if *traceFlag {
					trace = os.Stderr
				}
				c, err := raftifytest.RunSeed(seed, trace, nil)
				mu.Lock()
				for k, n := range c.Count {
					total[k] += n
				}
				mu.Unlock()
				if err != nil {
					t.Errorf("seed %d: %v\nreplay: go test ./raftify/raftifytest -run 'TestSeeds$' -args -seeds %d-%d -trace", seed, err, seed, seed)
				}
			}
		})
	}
	wg.Wait()
	var never []string
	for _, b := range raftifytest.Branches() {
		t.Logf("%-36s %7d", b, total[b])
		if total[b] == 0 {
			never = append(never, b)
		}
	}
	if len(never) > 0 && to-from >= 399 {
		t.Errorf("never taken: %s", strings.Join(never, ", "))
	}
}

// TestSeedIsDeterministic runs a seed twice and compares all that happened.
func TestSeedIsDeterministic(t *testing.T) {
	for seed := uint64(1); seed <= 5; seed++ {
		var a, b bytes.Buffer
		if _, err := raftifytest.RunSeed(seed, &a, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := raftifytest.RunSeed(seed, &b, nil); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a.Bytes(), b.Bytes()) {
			t.Fatalf("seed %d runs differently the second time", seed)
		}
	}
}
