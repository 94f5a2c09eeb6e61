package nemesis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// illKinds are disks that do not do what they are asked to: only for programs built with the tag `faults`.
func illKinds() []Kind {
	injected := func(_ context.Context, w *World) bool { return w.Injected }
	return []Kind{
		{
			Name: "fsync-error", Class: Disk, Least: 3, Short: true, needs: injected,
			Text: "the leader's fsyncs fail: it must stop and never try again (R24)", inject: ill(true, true, "fsync-error"),
		},
		{
			Name: "write-error", Class: Disk, Least: 3, Short: true, needs: injected,
			Text: "a follower's writes fail", inject: ill(false, true, "write-error"),
		},
		{
			Name: "disk-hang", Class: Disk, Least: 3, Short: true, needs: injected,
			Text: "the leader's fsyncs do not return, its heartbeats go on", inject: ill(true, false, "hang"),
		},
		{
			Name: "slow-disk", Class: Disk, Least: 3, Short: true, needs: injected,
			Text: "the leader's fsyncs take up to 300 ms longer", inject: ill(true, false, "slow"),
		},
	}
}

func ill(leader, ends bool, what string) injector {
	return func(ctx context.Context, w *World, rng *rand.Rand) (*Active, error) {
		i, err := w.victim(ctx, rng, leader)
		if err != nil {
			return nil, err
		}
		n, text := w.Cluster.Nodes[i], what
		if what == "slow" {
			text += fmt.Sprintf(" %dms", 50+rng.IntN(250))
		}
		n.Excuse(true)
		if err := n.Sicken(text); err != nil {
			n.Excuse(false)
			w.release(i)
			return nil, err
		}
		return &Active{Targets: []string{n.ID}, Detail: n.ID + ": " + text, Heal: func(ctx context.Context) error {
			defer w.release(i)
			if ends {
				if err := w.until(ctx, stopPatience, func() bool { return !n.Running() }); err != nil {
					w.breach("R24: %s met %q for longer than %v and did not end", n.ID, what, stopPatience)
				}
			}
			err := n.Sicken("")
			wait(ctx, 500*time.Millisecond)
			n.Excuse(false)
			return errors.Join(err, w.start(i))
		}}, nil
	}
}

// stopPatience is how long a node under load may take to meet its disk's error and end.
const stopPatience = 30 * time.Second
