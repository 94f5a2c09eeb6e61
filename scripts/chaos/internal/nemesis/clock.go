package nemesis

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

func clockKinds() []Kind {
	warped := func(_ context.Context, w *World) bool { return w.Injected }
	return []Kind{
		{
			Name: "clock-jump", Class: Clock, Least: 3, Short: true, needs: warped,
			Text: "the leader's wall clock jumps by up to hours, back or forth, and back later", inject: jump(true),
		},
		{
			Name: "clock-jump-follower", Class: Clock, Least: 3, Short: true, needs: warped,
			Text: "a follower's wall clock jumps by up to hours, back or forth, and back later", inject: jump(false),
		},
		{
			Name: "clock-jump-stop", Class: Clock, Least: 3, Short: true, needs: warped,
			Text: "the leader's wall clock jumps back while it is stopped", inject: jumpStopped,
		},
	}
}

// offset draws a jump: of seconds, minutes or hours.
func offset(rng *rand.Rand) time.Duration {
	unit := []time.Duration{time.Second, time.Minute, time.Hour}[rng.IntN(3)]
	d := time.Duration(1+rng.IntN(20)) * unit
	if rng.IntN(2) == 0 {
		d = -d
	}
	return d
}

func jump(leader bool) injector {
	return func(ctx context.Context, w *World, rng *rand.Rand) (*Active, error) {
		i, err := w.victim(ctx, rng, leader)
		if err != nil {
			return nil, err
		}
		n, d := w.Cluster.Nodes[i], offset(rng)
		if err := n.Warp(d, max(0, d/2)); err != nil {
			w.release(i)
			return nil, err
		}
		return &Active{Targets: []string{n.ID}, Detail: fmt.Sprintf("%s by %v", n.ID, d), Heal: func(context.Context) error {
			defer w.release(i)
			return n.Warp(0, max(0, d/2)) // the clock of sleep never goes back
		}}, nil
	}
}

// jumpStopped stops the leader, jumps and lets it go on, with hindsight of a world that went on without it.
func jumpStopped(ctx context.Context, w *World, rng *rand.Rand) (*Active, error) {
	a, err := stop(true)(ctx, w, rng)
	if err != nil {
		return nil, err
	}
	n := w.Cluster.Node(a.Targets[0])
	heal := a.Heal
	a.Detail = "SIGSTOP, and its wall clock an hour back"
	a.Heal = func(ctx context.Context) error {
		err := heal(ctx)
		wait(ctx, time.Second)
		if back := n.Warp(0, 0); back != nil {
			return back
		}
		return err
	}
	return a, n.Warp(-time.Hour, 0)
}
