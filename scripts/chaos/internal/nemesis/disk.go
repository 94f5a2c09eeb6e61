package nemesis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/baton-ha/baton/scripts/chaos/internal/cluster"
)

func diskKinds() []Kind {
	rejoins := func(ctx context.Context, w *World) bool { return w.Cluster.Can(ctx, "member", "leave") }
	return []Kind{
		{
			Name: "full-disk", Class: Disk, Least: 3, Short: true,
			Text: "the leader's disk is full: it may stop itself, and must not lose anything", inject: fullDisk(true),
		},
		{
			Name: "full-disk-follower", Class: Disk, Least: 3,
			Text: "a follower's disk is full", inject: fullDisk(false),
		},
		{
			Name: "wiped-disk", Class: Disk, Least: 3, Solo: true, Short: true, needs: rejoins,
			Text: "a follower comes back with an empty data folder, as a newcomer", inject: wipe,
		},
		{
			Name: "bit-rot", Class: Disk, Least: 3, Solo: true, needs: rejoins,
			Text: "bits of a stopped follower's files are flipped; whatever it does then, its disk is replaced", inject: rot,
		},
	}
}

// fullDisk fills a node's disk to the last byte. The node may end by itself (R24); it is started again when there is room.
func fullDisk(leader bool) injector {
	return func(ctx context.Context, w *World, rng *rand.Rand) (*Active, error) {
		i, err := w.victim(ctx, rng, leader)
		if err != nil {
			return nil, err
		}
		n := w.Cluster.Nodes[i]
		n.Excuse(true)
		if err := n.Fill(); err != nil {
			n.Excuse(false)
			w.release(i)
			return nil, err
		}
		return &Active{Targets: []string{n.ID}, Detail: "not a byte left on the disk of " + n.ID, Heal: func(ctx context.Context) error {
			defer w.release(i)
			err := n.Free()
			// What is under way may still meet the full disk: let that come to its end.
			wait(ctx, 500*time.Millisecond)
			n.Excuse(false)
			return errors.Join(err, w.start(i))
		}}, nil
	}
}

// fillPatience is how long the loss of a disk waits for others to fill in what they lack.
const fillPatience = 30 * time.Second

// filled waits, before a disk is lost, until a majority of the others has all blocks again, as an operator would: a disk
// after the other, each sooner than the newcomer has filled in what is below its state, and nobody has them any more.
func (w *World) filled(ctx context.Context, victim int) error {
	err := w.until(ctx, fillPatience, func() bool {
		whole := 0
		for i := range w.Cluster.Nodes {
			if i != victim && w.Watcher.Status(i).Base <= 1 {
				whole++
			}
		}
		return 2*whole > len(w.Cluster.Nodes)
	})
	if err != nil {
		return fmt.Errorf("%w: the others lack old blocks: %w", ErrNoVictim, err)
	}
	return nil
}

// loser picks a follower whose disk the others can do without.
func (w *World) loser(ctx context.Context, rng *rand.Rand) (int, error) {
	i, err := w.victim(ctx, rng, false)
	if err != nil {
		return 0, err
	}
	if err := w.filled(ctx, i); err != nil {
		w.release(i)
		return 0, err
	}
	return i, nil
}

func wipe(ctx context.Context, w *World, rng *rand.Rand) (*Active, error) {
	i, err := w.loser(ctx, rng)
	if err != nil {
		return nil, err
	}
	n := w.Cluster.Nodes[i]
	n.Kill()
	if err := n.Wipe(); err != nil {
		w.release(i)
		return nil, err
	}
	return w.killed(n.ID+" loses its data folder", i), nil
}

func rot(ctx context.Context, w *World, rng *rand.Rand) (*Active, error) {
	i, err := w.loser(ctx, rng)
	if err != nil {
		return nil, err
	}
	n := w.Cluster.Nodes[i]
	n.Kill()
	n.Excuse(true)
	where, err := n.Rot(rng)
	if err == nil {
		err = w.start(i)
	}
	if err != nil {
		n.Excuse(false)
		w.release(i)
		return nil, err
	}
	return &Active{Targets: []string{n.ID}, Detail: where, Heal: func(context.Context) error {
		defer w.release(i)
		end := "it ran on"
		if !n.Running() {
			end = "it refused to run"
		}
		n.Kill()
		n.Excuse(false)
		w.Say("          %s: %s; its disk is replaced", n.ID, end)
		if err := n.Wipe(); err != nil {
			return fmt.Errorf("replace the disk: %w", err)
		}
		if err := w.start(i); err != nil && !errors.Is(err, cluster.ErrRunning) {
			return err
		}
		return nil
	}}, nil
}
