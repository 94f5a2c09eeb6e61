package nemesis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

func memberKinds() []Kind {
	can := func(words ...string) func(context.Context, *World) bool {
		return func(ctx context.Context, w *World) bool { return w.Cluster.Can(ctx, words...) }
	}
	return []Kind{
		{
			Name: "transfer", Class: Members, Least: 3, Short: true, Brief: true,
			Text: "an operator hands the leadership to another node", inject: transfer,
		},
		{
			Name: "member-leave", Class: Members, Least: 3, Short: true, needs: can("member", "leave"),
			Text: "a node gives up its vote, and is promoted again later", inject: leave(false),
		},
		{
			Name: "leader-leave", Class: Members, Least: 3, needs: can("member", "leave"),
			Text: "the leader gives up its vote, and is promoted again later", inject: leave(true),
		},
		{
			Name: "member-remove", Class: Members, Least: 3, needs: can("member", "add"),
			Text: "a follower is removed, loses its folder and is added again later", inject: remove,
		},
	}
}

// adminTimeout is how long an operator's command is waited for.
const adminTimeout = 20 * time.Second

// transfer asks the leader to hand over. That it is refused, because of another fault, is no failure.
func transfer(ctx context.Context, w *World, rng *rand.Rand) (*Active, error) {
	lead, err := w.leader(ctx)
	if err != nil {
		return nil, err
	}
	to := w.others(rng, lead)[0]
	detail := w.name(lead) + " to " + w.name(to)
	if err := w.admin(ctx, lead, "leader", "transfer", "--to", w.name(to)); err != nil {
		detail += " (refused: " + err.Error() + ")"
	}
	return &Active{
		Targets: []string{w.name(lead), w.name(to)}, Detail: detail, Heal: func(context.Context) error { return nil },
	}, nil
}

func (w *World) admin(ctx context.Context, node int, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	return w.Cluster.Nodes[node].Admin(ctx, args...)
}

// retry repeats an operator's command on nodes that answer until one carries it out: what it undoes must be undone, and
// the cluster may be busy with another fault.
func (w *World) retry(ctx context.Context, limit time.Duration, args ...string) error {
	last := errors.New("no node leads")
	err := w.until(ctx, limit, func() bool {
		n := w.Watcher.Leader()
		if n == nil {
			return false
		}
		if last = w.admin(ctx, n.Index, args...); last != nil {
			wait(ctx, 300*time.Millisecond)
		}
		return last == nil
	})
	if err != nil {
		return fmt.Errorf("%w: %w", err, last)
	}
	return nil
}

// operatorPatience is how long an operator repeats a command that undoes a fault.
const operatorPatience = 90 * time.Second

// asked says what the cluster was asked for, and how it answered if it did not simply do it.
func asked(what string, refused error) string {
	if refused == nil {
		return what
	}
	return fmt.Sprintf("%s (refused, or unclear: %v)", what, refused)
}

func leave(leader bool) injector {
	return func(ctx context.Context, w *World, rng *rand.Rand) (*Active, error) {
		i, err := w.victim(ctx, rng, leader)
		if err != nil {
			return nil, err
		}
		id := w.name(i)
		refused := w.admin(ctx, i, "member", "leave")
		detail := asked(id+" gives up its vote", refused)
		heal := func(ctx context.Context) error {
			defer w.release(i)
			if err := w.retry(ctx, operatorPatience, "member", "promote", "--id", id); err != nil {
				w.breach("I14: %s cannot be promoted again: %v", id, err)
			}
			return nil
		}
		return &Active{Targets: []string{id}, Detail: detail, Late: true, Refused: refused != nil, Heal: heal}, nil
	}
}

func remove(ctx context.Context, w *World, rng *rand.Rand) (*Active, error) {
	lead, err := w.leader(ctx)
	if err != nil {
		return nil, err
	}
	i, err := w.loser(ctx, rng)
	if err != nil {
		return nil, err
	}
	n := w.Cluster.Nodes[i]
	refused := w.admin(ctx, lead, "member", "remove", "--id", n.ID)
	detail := asked(n.ID+" is removed", refused)
	if refused == nil {
		n.Kill() // its machine is taken away
	}
	heal := func(ctx context.Context) error {
		defer w.release(i)
		if refused == nil {
			if err := n.Wipe(); err != nil {
				return err
			}
		}
		if err := w.retry(ctx, operatorPatience, "member", "add", "--id", n.ID); err != nil {
			w.breach("I14: %s cannot be added again: %v", n.ID, err)
		}
		if refused != nil {
			return nil
		}
		return w.start(i)
	}
	return &Active{Targets: []string{n.ID}, Detail: detail, Late: true, Refused: refused != nil, Heal: heal}, nil
}
