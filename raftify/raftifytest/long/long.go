// Package long runs very many seeds of a simulator, a part at a time, and keeps a record in a file of which were run and
// what they showed: a later run goes on where the record ends.
package long

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// Outcome is what one seed showed.
type Outcome struct {
	Steps     uint64         // of the simulator
	Simulated time.Duration  // time that passed in it
	Branches  map[string]int // how often rare branches were taken
	Violation string         // "": none
}

// Range is a range of seeds, both ends included, that was run at one commit.
type Range struct {
	From    uint64 `json:"from"`
	To      uint64 `json:"to"`
	Commit  string `json:"commit"` // ends in "+" if the tree was changed since
	Seconds int    `json:"wall_seconds"`
	Workers int    `json:"workers"`
	Go      string `json:"go"`
	Steps   uint64 `json:"steps"`
}

// Record is the file. It is written by this package alone.
type Record struct {
	About            string         `json:"about"`
	Seeds            uint64         `json:"seeds"` // all together
	Steps            uint64         `json:"steps"`
	SimulatedSeconds uint64         `json:"simulated_seconds"`
	WallSeconds      int            `json:"wall_seconds"`
	Target           uint64         `json:"target_seeds"`
	Ranges           []Range        `json:"ranges"`
	Branches         map[string]int `json:"branches"`
	Violations       []string       `json:"violations"`
}

// Load reads a record; one that is not there is empty.
func Load(path string) (*Record, error) {
	r := &Record{Branches: map[string]int{}, Violations: []string{}}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, fmt.Errorf("load record: %w", err)
	}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("load record %s: %w", path, err)
	}
	return r, r.check()
}

// check demands that the ranges follow one another without a gap, and that the totals are theirs.
func (r *Record) check() error {
	next, steps := uint64(1), uint64(0)
	for _, x := range r.Ranges {
		if x.From != next || x.To < x.From {
			return fmt.Errorf("record: range %d-%d does not follow %d", x.From, x.To, next-1)
		}
		next, steps = x.To+1, steps+x.Steps
	}
	if r.Seeds != next-1 || r.Steps != steps {
		return fmt.Errorf("record: %d seeds and %d steps, its ranges have %d and %d", r.Seeds, r.Steps, next-1, steps)
	}
	return nil
}

// Complaints are the violations on record and, from so many seeds on, the rare branches that none of them reached.
func (r *Record) Complaints(enough uint64, rare []string) []string {
	out := slices.Clone(r.Violations)
	for _, b := range rare {
		if r.Seeds >= enough && r.Branches[b] == 0 {
			out = append(out, fmt.Sprintf("%d seeds never reached %q", r.Seeds, b))
		}
	}
	return out
}

// Continue runs seeds from where the record in path ends, for about limit or until target of them were run, and writes
// the record. It returns the record, and an error that names the seeds that broke an invariant this time.
func Continue(ctx context.Context, path, about string, target uint64, limit time.Duration, workers int, run func(seed uint64) Outcome) (*Record, error) {
	r, err := Load(path)
	if err != nil {
		return nil, err
	}
	r.About, r.Target = about, target
	part := Range{From: r.Seeds + 1, Commit: commit(ctx, filepath.Dir(path)), Workers: workers, Go: runtime.Version()}
	began := time.Now()
	var mu sync.Mutex
	var simulated time.Duration
	var broken []string
	next := part.From
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for {
				mu.Lock()
				seed := next
				if seed > target || time.Since(began) > limit || ctx.Err() != nil {
					mu.Unlock()
					return
				}
				next++
				mu.Unlock()
				o := run(seed)
				mu.Lock()
				part.Steps += o.Steps
				simulated += o.Simulated
				for k, n := range o.Branches {
					r.Branches[k] += n
				}
				if o.Violation != "" {
					broken = append(broken, fmt.Sprintf("seed %d at %s: %s", seed, part.Commit, o.Violation))
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if next == part.From {
		return r, ctx.Err()
	}
	part.To, part.Seconds = next-1, int(time.Since(began).Seconds())
	slices.Sort(broken)
	r.Ranges = append(r.Ranges, part)
	r.Seeds = part.To
	r.Steps += part.Steps
	r.SimulatedSeconds += uint64(simulated.Seconds())
	r.WallSeconds += part.Seconds
	r.Violations = append(r.Violations, broken...)
	if err := r.save(path); err != nil {
		return r, err
	}
	if len(broken) > 0 {
		return r, errors.New(strings.Join(broken, "\n"))
	}
	return r, nil
}

func (r *Record) save(path string) error {
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return fmt.Errorf("save record: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("save record: %w", err)
	}
	temp := path + ".tmp"
	if err := os.WriteFile(temp, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("save record: %w", err)
	}
	if err := os.Rename(temp, path); err != nil {
		return fmt.Errorf("save record: %w", err)
	}
	return nil
}

// commit names the commit of a folder's repository.
func commit(ctx context.Context, dir string) string {
	for ; dir != "" && dir != "/" && dir != "."; dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); err == nil {
			break
		}
	}
	git := func(args ...string) (string, error) {
		c := exec.CommandContext(ctx, "git", args...)
		c.Dir = dir
		out, err := c.Output()
		return strings.TrimSpace(string(out)), err
	}
	id, err := git("rev-parse", "--short=12", "HEAD")
	if err != nil {
		return "unknown"
	}
	if changed, err := git("status", "--porcelain", "--untracked-files=no"); err != nil || changed != "" {
		id += "+"
	}
	return id
}
