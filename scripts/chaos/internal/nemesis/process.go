package nemesis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"
)

func processKinds() []Kind {
	supervised := func(_ context.Context, w *World) bool { return w.Watcher.Status(0).SupervisorPID != 0 }
	return []Kind{
		{Name: "kill-leader", Class: Process, Least: 3, Short: true, Text: "SIGKILL, started again later", inject: kill(true)},
		{Name: "kill-follower", Class: Process, Least: 3, Short: true, Text: "SIGKILL, started again later", inject: kill(false)},
		{
			Name: "kill-majority", Class: Process, Least: 3, Solo: true, Short: true,
			Text: "the leader and others, so that no majority is left", inject: killMajority,
		},
		{Name: "kill-all", Class: Process, Least: 3, Solo: true, Short: true, Text: "SIGKILL to all nodes at once", inject: killAll},
		{
			Name: "stop-leader", Class: Process, Least: 3, Short: true,
			Text: "SIGSTOP for seconds, then SIGCONT", inject: stop(true),
		},
		{
			Name: "stop-follower", Class: Process, Least: 3, Short: true,
			Text: "SIGSTOP for seconds, then SIGCONT", inject: stop(false),
		},
		{
			Name: "stutter", Class: Process, Least: 3,
			Text: "the leader is stopped and continued again and again, around the election timeout", inject: stutter,
		},
		{
			Name: "terminate-leader", Class: Process, Least: 3, Short: true,
			Text: "SIGTERM: it hands over and ends with status 0", inject: terminate(true),
		},
		{Name: "terminate-follower", Class: Process, Least: 3, Text: "SIGTERM", inject: terminate(false)},
		{
			Name: "restart-storm", Class: Process, Least: 3, Solo: true, Short: true,
			Text: "random nodes are killed and started every few hundred milliseconds", inject: storm,
		},
		{
			Name: "kill-worker", Class: Process, Least: 3, Short: true, Brief: true, needs: supervised,
			Text: "SIGKILL to the leader's worker alone: its supervisor starts another", inject: killWorker,
		},
		{
			Name: "kill-supervisor", Class: Process, Least: 3, Short: true, needs: supervised,
			Text: "SIGKILL to the leader's supervisor alone: its worker goes with it", inject: killSupervisor,
		},
	}
}

// victim picks a leader or a follower and marks it.
func (w *World) victim(ctx context.Context, rng *rand.Rand, leader bool) (int, error) {
	var i int
	var err error
	if leader {
		i, err = w.leader(ctx)
	} else {
		i, err = w.follower(ctx, rng)
	}
	if err != nil {
		return 0, err
	}
	if !w.take(i) {
		return 0, ErrNoVictim
	}
	return i, nil
}

// killed is the active fault of nodes that are down until it is healed.
func (w *World) killed(detail string, is ...int) *Active {
	a := &Active{Detail: detail, Heal: func(context.Context) error {
		defer w.release(is...)
		return w.start(is...)
	}}
	for _, i := range is {
		a.Targets = append(a.Targets, w.label(i))
	}
	return a
}

func kill(leader bool) injector {
	return func(ctx context.Context, w *World, rng *rand.Rand) (*Active, error) {
		i, err := w.victim(ctx, rng, leader)
		if err != nil {
			return nil, err
		}
		w.Cluster.Nodes[i].Kill()
		return w.killed("SIGKILL", i), nil
	}
}

func (w *World) killEach(is []int) {
	for _, i := range is {
		w.Cluster.Nodes[i].KillSoon()
	}
	for _, i := range is {
		w.Cluster.Nodes[i].Kill()
	}
}

func killMajority(ctx context.Context, w *World, rng *rand.Rand) (*Active, error) {
	lead, err := w.leader(ctx)
	if err != nil {
		return nil, err
	}
	is := append([]int{lead}, w.others(rng, lead)[:len(w.Cluster.Nodes)/2]...)
	if !w.take(is...) {
		return nil, ErrNoVictim
	}
	w.killEach(is)
	return w.killed("SIGKILL to "+w.name(is...), is...), nil
}

func killAll(_ context.Context, w *World, _ *rand.Rand) (*Active, error) {
	all := w.nodes()
	if !w.take(all...) {
		return nil, ErrNoVictim
	}
	w.killEach(all)
	return w.killed("SIGKILL to all", all...), nil
}

func stop(leader bool) injector {
	return func(ctx context.Context, w *World, rng *rand.Rand) (*Active, error) {
		i, err := w.victim(ctx, rng, leader)
		if err != nil {
			return nil, err
		}
		n := w.Cluster.Nodes[i]
		w.freeze(i, true)
		if err := n.Signal(syscall.SIGSTOP); err != nil {
			w.freeze(i, false)
			w.release(i)
			return nil, fmt.Errorf("%w: %w", ErrNoVictim, err)
		}
		return &Active{Targets: []string{n.ID}, Detail: "SIGSTOP", Heal: func(context.Context) error {
			defer w.release(i)
			defer w.freeze(i, false)
			return n.Signal(syscall.SIGCONT)
		}}, nil
	}
}

func stutter(ctx context.Context, w *World, rng *rand.Rand) (*Active, error) {
	i, err := w.victim(ctx, rng, true)
	if err != nil {
		return nil, err
	}
	n := w.Cluster.Nodes[i]
	seed := rng.Uint64()
	end, done := make(chan struct{}), make(chan error, 1)
	go func() {
		rng := rand.New(rand.NewPCG(seed, 0))
		for {
			if err := n.Signal(syscall.SIGSTOP); err != nil {
				done <- err
				return
			}
			over := pause(end, time.Duration(50+rng.IntN(600))*time.Millisecond)
			if err := n.Signal(syscall.SIGCONT); err != nil {
				done <- err
				return
			}
			if over || pause(end, time.Duration(20+rng.IntN(300))*time.Millisecond) {
				done <- nil
				return
			}
		}
	}()
	return &Active{Targets: []string{n.ID}, Detail: "SIGSTOP and SIGCONT", Heal: func(context.Context) error {
		defer w.release(i)
		close(end)
		return <-done
	}}, nil
}

// terminatePatience is how long a node may take to hand over, drain its requests and close.
const terminatePatience = 60 * time.Second

func terminate(leader bool) injector {
	return func(ctx context.Context, w *World, rng *rand.Rand) (*Active, error) {
		i, err := w.victim(ctx, rng, leader)
		if err != nil {
			return nil, err
		}
		took, err := w.Cluster.Nodes[i].Terminate(terminatePatience)
		if err != nil {
			w.breach("SIGTERM: %v", err)
		}
		return w.killed(fmt.Sprintf("SIGTERM, ended after %v", took.Round(time.Millisecond)), i), nil
	}
}

func storm(_ context.Context, w *World, rng *rand.Rand) (*Active, error) {
	all := w.nodes()
	if !w.take(all...) {
		return nil, ErrNoVictim
	}
	seed := rng.Uint64()
	end, done := make(chan struct{}), make(chan struct{})
	kills := 0
	var errs []error
	go func() {
		defer close(done)
		rng := rand.New(rand.NewPCG(seed, 0))
		for !pause(end, time.Duration(100+rng.IntN(500))*time.Millisecond) {
			i := rng.IntN(len(all))
			w.Cluster.Nodes[i].Kill()
			kills++
			if pause(end, time.Duration(rng.IntN(200))*time.Millisecond) {
				return
			}
			if err := w.start(i); err != nil {
				errs = append(errs, err)
				return
			}
		}
	}()
	return &Active{Targets: []string{"all"}, Detail: "SIGKILL and start, again and again", Heal: func(context.Context) error {
		defer w.release(all...)
		close(end)
		<-done
		return errors.Join(append(errs, w.start(all...))...)
	}}, nil
}

func killWorker(ctx context.Context, w *World, rng *rand.Rand) (*Active, error) {
	i, err := w.victim(ctx, rng, true)
	if err != nil {
		return nil, err
	}
	n := w.Cluster.Nodes[i]
	if !n.KillWorker() {
		w.release(i)
		return nil, ErrNoVictim
	}
	return &Active{Targets: []string{n.ID}, Detail: "SIGKILL to the worker", Heal: func(context.Context) error {
		defer w.release(i)
		return w.start(i)
	}}, nil
}

func killSupervisor(ctx context.Context, w *World, rng *rand.Rand) (*Active, error) {
	i, err := w.victim(ctx, rng, true)
	if err != nil {
		return nil, err
	}
	if !w.Cluster.Nodes[i].KillSupervisor() {
		w.release(i)
		return nil, ErrNoVictim
	}
	return w.killed("SIGKILL to the supervisor", i), nil
}
