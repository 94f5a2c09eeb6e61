package nemesis

import (
	"context"
	"math/rand/v2"
	"time"
)

func memberKinds() []Kind {
	return []Kind{
		{
			Name: "transfer", Class: Members, Least: 3, Short: true, Brief: true,
			Text: "an operator hands the leadership to another node", inject: transfer,
		},
	}
}

// transfer asks the leader to hand over. That it is refused, because of another fault, is no failure.
func transfer(ctx context.Context, w *World, rng *rand.Rand) (*Active, error) {
	lead, err := w.leader(ctx)
	if err != nil {
		return nil, err
	}
	to := w.others(rng, lead)[0]
	n := w.Cluster.Nodes[lead]
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	detail := w.name(lead) + " to " + w.name(to)
	if err := n.Admin(ctx, "leader", "transfer", "--to", w.name(to)); err != nil {
		detail += " (refused: " + err.Error() + ")"
	}
	return &Active{Targets: []string{w.name(lead), w.name(to)}, Detail: detail, Heal: func(context.Context) error { return nil }}, nil
}
