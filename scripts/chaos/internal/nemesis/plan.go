package nemesis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// Plan says what is injected, for how long.
type Plan struct {
	Seed     uint64
	Kinds    []Kind
	Duration time.Duration
	// HoldMin and HoldMax bound how long a fault lasts.
	HoldMin, HoldMax time.Duration
	// Overlap is the probability of a second fault during one.
	Overlap float64
	// Whole is how long a cluster that is healed may take until payments are acknowledged and all nodes are level again.
	// It is generous: the machine, not the cluster, is what makes it long.
	Whole time.Duration
}

// Injected is one fault of a run. Times count from the beginning of the load.
type Injected struct {
	Kind    string   `json:"kind"`
	Class   Class    `json:"class"`
	Targets []string `json:"targets"`
	Detail  string   `json:"detail"`
	// Start, End and Whole are when it was injected, when it was healed and when the cluster was whole again, in seconds.
	Start float64 `json:"start_s"`
	End   float64 `json:"end_s"`
	Whole float64 `json:"whole_s"`
	// Majority says that with it some node was still connected both ways to a majority: the cluster had to go on.
	Majority bool `json:"majority_connected"`
	// Beside is set for a fault that was injected during another one.
	Beside bool `json:"beside,omitempty"`
	// LeaderBefore led when it was injected, LeaderAfter when the cluster was whole again.
	LeaderBefore string `json:"leader_before"`
	LeaderAfter  string `json:"leader_after"`
	// Gap is the longest time without an acknowledgement because of it, in seconds.
	Gap float64 `json:"gap_s"`
}

// Outcome is what a plan came to.
type Outcome struct {
	Injected []Injected
	// Never are the kinds of the plan that were not injected.
	Never []string
	// Errors say what did not go as planned in the harness itself.
	Errors []string
}

// runner carries out one plan.
type runner struct {
	w   *World
	p   Plan
	rng *rand.Rand

	mu   sync.Mutex
	out  Outcome
	seen map[string]bool
}

// Run carries out the plan and returns when the cluster is whole, or was given up. It ends early when ctx ends.
func Run(ctx context.Context, w *World, p Plan) Outcome {
	r := &runner{w: w, p: p, rng: rand.New(rand.NewPCG(p.Seed, 7)), seen: map[string]bool{}}
	begin := time.Now()
	for ctx.Err() == nil && (time.Since(begin) < p.Duration || len(r.seen) < len(p.Kinds) && time.Since(begin) < 2*p.Duration+time.Minute) {
		for _, k := range r.deck() {
			if ctx.Err() != nil || time.Since(begin) > p.Duration && (len(r.seen) == len(p.Kinds) || time.Since(begin) > 2*p.Duration+time.Minute) {
				break
			}
			if time.Since(begin) > p.Duration && r.seen[k.Name] {
				continue
			}
			if !r.one(ctx, k) {
				return r.end(false)
			}
		}
	}
	return r.end(ctx.Err() != nil)
}

func (r *runner) end(cut bool) Outcome {
	for _, k := range r.p.Kinds {
		if !r.seen[k.Name] && !cut {
			r.out.Never = append(r.out.Never, k.Name)
		}
	}
	return r.out
}

// deck returns all kinds in a random order.
func (r *runner) deck() []Kind {
	deck := append([]Kind(nil), r.p.Kinds...)
	r.rng.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
	return deck
}

func (r *runner) now() float64 { return time.Since(r.w.Load.Began).Seconds() }

func (r *runner) hold() time.Duration {
	return r.p.HoldMin + time.Duration(r.rng.Int64N(int64(r.p.HoldMax-r.p.HoldMin)+1))
}

// one injects a fault, perhaps a second beside it, heals and waits. False when the cluster did not become whole.
func (r *runner) one(ctx context.Context, k Kind) bool {
	main, rec := r.inject(ctx, k, false)
	if main == nil {
		return true
	}
	hold := r.hold()
	if k.Brief {
		hold = min(hold, time.Second)
	}
	var second *Active
	var beside *Injected
	if !k.Solo && r.rng.Float64() < r.p.Overlap {
		first := time.Duration(r.rng.Int64N(int64(hold)))
		wait(ctx, first)
		if other := r.p.Kinds[r.rng.IntN(len(r.p.Kinds))]; !other.Solo && other.Name != k.Name {
			second, beside = r.inject(ctx, other, true)
		}
		hold -= first
	}
	wait(ctx, hold)
	late := r.rng.IntN(2) == 0 && !main.Late
	if !late {
		r.heal(ctx, second, beside)
	}
	r.heal(ctx, main, rec)
	if late && second != nil {
		wait(ctx, time.Duration(r.rng.Int64N(int64(time.Second))))
		r.heal(ctx, second, beside)
	}
	ok := r.whole(ctx)
	for _, i := range []*Injected{rec, beside} {
		if i != nil {
			i.Whole = r.now()
			if n := r.w.Watcher.Leader(); n != nil {
				i.LeaderAfter = n.ID
			}
			r.mu.Lock()
			r.out.Injected = append(r.out.Injected, *i)
			r.mu.Unlock()
		}
	}
	if ok {
		wait(ctx, time.Duration(300+r.rng.IntN(1200))*time.Millisecond)
	}
	return ok
}

func (r *runner) inject(ctx context.Context, k Kind, beside bool) (*Active, *Injected) {
	before := ""
	if n := r.w.Watcher.Leader(); n != nil {
		before = n.ID
	}
	start := r.now()
	a, err := k.inject(ctx, r.w, r.rng)
	if err != nil {
		if !errors.Is(err, ErrNoVictim) && ctx.Err() == nil {
			r.out.Errors = append(r.out.Errors, fmt.Sprintf("inject %s: %v", k.Name, err))
		}
		return nil, nil
	}
	if !a.Refused {
		r.seen[k.Name] = true
	}
	rec := &Injected{
		Kind: k.Name, Class: k.Class, Targets: a.Targets, Detail: a.Detail, Start: start, Beside: beside,
		LeaderBefore: before, Majority: r.w.majority(),
	}
	and := ""
	if beside {
		and = "and "
	}
	r.w.Say("%7.1fs  %s%s: %s", start, and, k.Name, a.Detail)
	return a, rec
}

func (r *runner) heal(ctx context.Context, a *Active, rec *Injected) {
	if a == nil {
		return
	}
	if err := a.Heal(context.WithoutCancel(ctx)); err != nil {
		r.out.Errors = append(r.out.Errors, fmt.Sprintf("heal %s: %v", rec.Kind, err))
	}
	rec.End = r.now()
}

// whole waits until a payment that was answered after now is there and all nodes answer and are level, within a bound
// (I14). A process that ended by itself meanwhile is started again.
func (r *runner) whole(ctx context.Context) bool {
	if err := r.w.Whole(ctx, r.p.Whole); err != nil && ctx.Err() == nil {
		r.w.breach("I14: %v", err)
		return false
	}
	return true
}

// voters returns how many nodes vote, as the leader says.
func (w *World) voters() int {
	n := w.Watcher.Leader()
	if n == nil {
		return 0
	}
	count := 0
	for _, m := range w.Watcher.Status(n.Index).Members {
		if m.Voter {
			count++
		}
	}
	return count
}

// Whole waits until the cluster is well: all nodes vote, payments are acknowledged, all nodes answer and are nearly level.
func (w *World) Whole(ctx context.Context, limit time.Duration) error {
	acks := w.Load.Acks()
	why := ""
	err := w.until(ctx, limit, func() bool {
		w.Cluster.Reap()
		if err := w.start(w.nodes()...); err != nil {
			why = err.Error()
			return false
		}
		if w.Load.Acks() < acks+3 {
			why = "no payment is acknowledged"
			return false
		}
		top := uint64(0)
		last := w.Watcher.Last()
		for _, s := range last {
			top = max(top, s.Height)
		}
		for i, s := range last {
			if voters := w.voters(); voters != len(last) {
				why = fmt.Sprintf("%d of %d nodes vote", voters, len(last))
				return false
			}
			if !s.Up || time.Since(s.At) > time.Second || s.Leader == "" || s.Height+100 < top {
				why = fmt.Sprintf("%s: answers %v, leader %q, height %d of %d", w.name(i), s.Up, s.Leader, s.Height, top)
				return false
			}
		}
		return true
	})
	if err != nil {
		return fmt.Errorf("all is healed, and after %v the cluster is not whole: %s", limit, why)
	}
	return nil
}
