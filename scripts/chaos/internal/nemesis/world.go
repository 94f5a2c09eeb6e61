package nemesis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/baton-ha/baton/scripts/chaos/internal/cluster"
	"github.com/baton-ha/baton/scripts/chaos/internal/fabric"
	"github.com/baton-ha/baton/scripts/chaos/internal/load"
)

// World is what faults act on.
type World struct {
	Cluster *cluster.Cluster
	Watcher *cluster.Watcher
	Fabric  *fabric.Fabric
	Load    *load.Load
	// Home is the place of this program's own card in the fabric: that of the clients.
	Home int
	// Injected says that the nodes were built with the tag `faults`: their clocks and disks can be told to misbehave.
	Injected bool
	// Say tells a person what happens.
	Say func(format string, args ...any)

	mu      sync.Mutex
	layers  map[int][]linkRule
	next    int
	victims map[int]bool
	frozen  map[int]bool // stopped by a signal
	broken  []string
}

type linkRule struct {
	from, to int
	rule     fabric.Rule
}

// ErrNoVictim is returned when no node fits a fault now.
var ErrNoVictim = errors.New("no node fits this fault now")

func (w *World) nodes() []int {
	all := make([]int, len(w.Cluster.Nodes))
	for i := range all {
		all[i] = i
	}
	return all
}

func (w *World) name(is ...int) string {
	names := make([]string, len(is))
	for i, n := range is {
		names[i] = w.label(n)
	}
	return strings.Join(names, "+")
}

func (w *World) label(i int) string {
	if i == w.Home {
		return "clients"
	}
	return w.Cluster.Nodes[i].ID
}

// lay puts rules on links and returns how to take them away.
func (w *World) lay(rules ...linkRule) (heal func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.layers == nil {
		w.layers = map[int][]linkRule{}
	}
	w.next++
	id := w.next
	w.layers[id] = rules
	w.apply(rules)
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.layers, id)
		w.apply(rules)
	}
}

// apply brings the links that rules speak of up to date.
func (w *World) apply(rules []linkRule) {
	for _, r := range rules {
		sum := fabric.Rule{}
		for _, layer := range w.layers {
			for _, l := range layer {
				if l.from == r.from && l.to == r.to {
					sum = merge(sum, l.rule)
				}
			}
		}
		w.Fabric.Set(r.from, r.to, sum)
	}
}

func merge(a, b fabric.Rule) fabric.Rule {
	m := fabric.Rule{
		Cut: a.Cut, Loss: max(a.Loss, b.Loss), Repeat: max(a.Repeat, b.Repeat),
		Delay: a.Delay + b.Delay, Jitter: max(a.Jitter, b.Jitter), MaxBytes: a.MaxBytes,
	}
	if m.Cut == fabric.Whole || b.Cut == fabric.Drop {
		m.Cut = b.Cut
	}
	if a.Cut == fabric.Drop {
		m.Cut = fabric.Drop
	}
	if m.MaxBytes == 0 || b.MaxBytes > 0 && b.MaxBytes < m.MaxBytes {
		m.MaxBytes = b.MaxBytes
	}
	return m
}

// between makes the rules of all links from one set to another, both ways.
func between(a, b []int, rule fabric.Rule) []linkRule {
	return append(oneWay(a, b, rule), oneWay(b, a, rule)...)
}

func oneWay(from, to []int, rule fabric.Rule) []linkRule {
	var out []linkRule
	for _, i := range from {
		for _, j := range to {
			if i != j {
				out = append(out, linkRule{i, j, rule})
			}
		}
	}
	return out
}

// take marks nodes as victims, all or none.
func (w *World) take(is ...int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.victims == nil {
		w.victims, w.frozen = map[int]bool{}, map[int]bool{}
	}
	for _, i := range is {
		if w.victims[i] {
			return false
		}
	}
	for _, i := range is {
		w.victims[i] = true
	}
	return true
}

func (w *World) release(is ...int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, i := range is {
		delete(w.victims, i)
	}
}

func (w *World) freeze(i int, on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if on {
		w.frozen[i] = true
	} else {
		delete(w.frozen, i)
	}
}

// breach records something that no correct cluster does.
func (w *World) breach(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.broken = append(w.broken, fmt.Sprintf(format, args...))
}

// Broken returns what was seen that no correct cluster does.
func (w *World) Broken() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.broken)
}

// majority says whether some node that runs is connected both ways to a majority of nodes that run (I14's condition).
func (w *World) majority() bool {
	n := len(w.Cluster.Nodes)
	w.mu.Lock()
	frozen := map[int]bool{}
	for i := range w.frozen {
		frozen[i] = true
	}
	w.mu.Unlock()
	alive := func(i int) bool { return w.Cluster.Nodes[i].Running() && !frozen[i] }
	whole := func(i, j int) bool {
		a, b := w.Fabric.Get(i, j), w.Fabric.Get(j, i)
		return a.Cut == fabric.Whole && b.Cut == fabric.Whole && a.MaxBytes == 0 && b.MaxBytes == 0
	}
	for i := range n {
		if !alive(i) {
			continue
		}
		count := 1
		for j := range n {
			if j != i && alive(j) && whole(i, j) {
				count++
			}
		}
		if 2*count > n {
			return true
		}
	}
	return false
}

// leaderPatience is how long a fault waits for a leader to hurt: the one there is may be the victim of another fault.
const leaderPatience = 5 * time.Second

// leader waits for a node that leads and is nobody's victim.
func (w *World) leader(ctx context.Context) (int, error) {
	found := -1
	err := w.until(ctx, leaderPatience, func() bool {
		n := w.Watcher.Leader()
		if n == nil {
			return false
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.victims[n.Index] {
			return false
		}
		found = n.Index
		return true
	})
	if err != nil {
		return 0, fmt.Errorf("%w: nobody leads that could be hurt", ErrNoVictim)
	}
	return found, nil
}

// follower picks a node that does not lead and is nobody's victim.
func (w *World) follower(ctx context.Context, rng *rand.Rand) (int, error) {
	lead, err := w.leader(ctx)
	if err != nil {
		lead = -1
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var fit []int
	for i := range w.Cluster.Nodes {
		if i != lead && !w.victims[i] && w.Cluster.Nodes[i].Running() {
			fit = append(fit, i)
		}
	}
	if len(fit) == 0 {
		return 0, ErrNoVictim
	}
	return fit[rng.IntN(len(fit))], nil
}

// until waits for a condition.
func (w *World) until(ctx context.Context, limit time.Duration, ok func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// wait lets time pass.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// start starts nodes that do not run. A node that ended by itself is started again as well, as systemd would.
func (w *World) start(is ...int) error {
	var errs []error
	for _, i := range is {
		if err := w.Cluster.Nodes[i].Start(); err != nil && !errors.Is(err, cluster.ErrRunning) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
