package report

import (
	"cmp"
	"encoding/json"
	"os"
	"slices"
	"time"

	"github.com/baton-ha/baton/scripts/chaos/internal/fabric"
	"github.com/baton-ha/baton/scripts/chaos/internal/judge"
	"github.com/baton-ha/baton/scripts/chaos/internal/load"
	"github.com/baton-ha/baton/scripts/chaos/internal/nemesis"
)

// Result is a whole run: one cluster after the other.
type Result struct {
	OK       bool   `json:"ok"`
	Version  string `json:"version"`
	Machine  string `json:"machine"`
	Began    string `json:"began"` // RFC 3339
	Seed     uint64 `json:"seed"`
	Command  string `json:"command"` // replays it
	Clusters []*Run `json:"clusters"`
}

// Run is one cluster's part. Times count from the beginning of the load, in seconds.
type Run struct {
	OK       bool    `json:"ok"`
	Nodes    int     `json:"nodes"`
	Seed     uint64  `json:"seed"`
	Dir      string  `json:"dir,omitempty"`
	Duration float64 `json:"duration_s"`

	Acknowledged  int     `json:"acknowledged"`
	Refused       int     `json:"refused"`
	Reads         int     `json:"reads"`
	Unanswered    int     `json:"unanswered"`
	P50           float64 `json:"p50_ms"`
	P99           float64 `json:"p99_ms"`
	Worst         float64 `json:"max_ms"`
	Height        uint64  `json:"height"`
	LeaderChanges int     `json:"leader_changes"`
	Restarts      int     `json:"restarts"`

	Faults   []nemesis.Injected `json:"faults"`
	Kinds    []KindSummary      `json:"kinds"`
	Verdicts []*judge.Verdict   `json:"verdicts"`
	Seconds  []load.Second      `json:"seconds"`
	// Gaps are the times of half a second and more without an acknowledgement.
	Gaps    []Gap        `json:"gaps"`
	Spans   [][]Span     `json:"spans"` // by node: what it was when
	Network fabric.Stats `json:"network"`
	// Problems are those of the harness: what did not go as planned.
	Problems []string `json:"problems"`
}

// Gap is a time without an acknowledgement, in seconds.
type Gap struct {
	From float64 `json:"from_s"`
	To   float64 `json:"to_s"`
}

// Span is a time during which a node was in one state, as far as was seen from outside.
type Span struct {
	From  float64 `json:"from_s"`
	To    float64 `json:"to_s"`
	State string  `json:"state"` // leader, follower, ..., or "silent"
	Term  uint64  `json:"term"`
	Lease bool    `json:"lease"`
}

// KindSummary is what one kind of fault came to.
type KindSummary struct {
	Kind  string `json:"kind"`
	Class string `json:"class"`
	Text  string `json:"text"`
	Count int    `json:"count"`
	// GapMedian and GapWorst are the times without an acknowledgement, in seconds.
	GapMedian float64 `json:"gap_median_s"`
	GapWorst  float64 `json:"gap_worst_s"`
	// LostMajority is how many of them left no node connected to a majority: there, standing still is right.
	LostMajority int `json:"lost_majority"`
}

// Measure fills in what follows from the history.
func (r *Run) Measure(ops []load.Op, end time.Duration, kinds []nemesis.Kind) {
	r.Duration = end.Seconds()
	for _, op := range ops {
		switch {
		case op.Kind == load.Read:
			r.Reads++
		case op.Outcome == load.Done:
			r.Acknowledged++
		case op.Outcome == load.Refused:
			r.Refused++
		default:
			r.Unanswered++
		}
	}
	took := load.Latencies(ops)
	r.P50, r.P99, r.Worst = ms(load.Percentile(took, 50)), ms(load.Percentile(took, 99)), ms(load.Percentile(took, 100))
	r.Seconds = load.Seconds(ops, end)
	for _, g := range load.Gaps(ops, end, 500*time.Millisecond) {
		r.Gaps = append(r.Gaps, Gap{g.From.Seconds(), g.To.Seconds()})
	}
	all := load.Gaps(ops, end, 0)
	for i := range r.Faults {
		r.Faults[i].Gap = worst(all, r.Faults[i])
	}
	for _, k := range kinds {
		s := KindSummary{Kind: k.Name, Class: string(k.Class), Text: k.Text}
		var gaps []float64
		for _, f := range r.Faults {
			if f.Kind == k.Name {
				s.Count++
				gaps = append(gaps, f.Gap)
				if !f.Majority {
					s.LostMajority++
				}
			}
		}
		if s.Count > 0 {
			slices.Sort(gaps)
			s.GapMedian, s.GapWorst = gaps[(len(gaps)-1)/2], gaps[len(gaps)-1]
		}
		r.Kinds = append(r.Kinds, s)
	}
	slices.SortFunc(r.Faults, func(a, b nemesis.Injected) int { return cmp.Compare(a.Start, b.Start) })
}

// worst is the longest gap that a fault may have caused: those that end while it lasts or until the cluster is whole,
// counted from its beginning.
func worst(gaps []load.Gap, f nemesis.Injected) float64 {
	w := 0.0
	for _, g := range gaps {
		from, to := g.From.Seconds(), g.To.Seconds()
		if to < f.Start || from > f.Whole {
			continue
		}
		w = max(w, to-max(from, f.Start))
	}
	return w
}

// Judge sets OK from the verdicts and problems.
func (r *Run) Judge() {
	r.OK = len(r.Problems) == 0
	for _, v := range r.Verdicts {
		r.OK = r.OK && v.Result != judge.Fail
	}
}

// WriteJSON writes the result.
func (r *Result) WriteJSON(path string) error {
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
