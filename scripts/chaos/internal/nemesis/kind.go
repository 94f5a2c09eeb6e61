package nemesis

import (
	"context"
	"math/rand/v2"
	"slices"
)

// Class groups kinds.
type Class string

// The classes of faults.
const (
	Network Class = "network"
	Process Class = "process"
	Disk    Class = "disk"
	Clock   Class = "clock"
	Members Class = "members"
)

// Active is a fault that was injected.
type Active struct {
	Targets []string
	Detail  string
	// Late: heal it after what was injected beside it.
	Late bool
	// Refused: the cluster did not do it, or nobody knows whether it did. It is undone all the same, and does not count.
	Refused bool
	// Heal ends the fault. It is called once.
	Heal func(ctx context.Context) error
}

// Kind is one kind of fault.
type Kind struct {
	Name  string
	Class Class
	// Text says in a line what it is, for people.
	Text string
	// Least is the smallest cluster in which it makes sense.
	Least int
	// Solo: nothing else happens at the same time.
	Solo bool
	// Short: it belongs to a short run as well.
	Short bool
	// Brief: it is not held; its effect is over by itself.
	Brief bool

	needs  func(ctx context.Context, w *World) bool
	inject func(ctx context.Context, w *World, rng *rand.Rand) (*Active, error)
}

// Kinds returns all kinds of faults, in a fixed order.
func Kinds() []Kind {
	return slices.Concat(networkKinds(), processKinds(), diskKinds(), illKinds(), clockKinds(), memberKinds())
}

// Possible returns the kinds that make sense in the world, or of them those that a short run has.
func Possible(ctx context.Context, w *World, short bool) []Kind {
	var out []Kind
	for _, k := range Kinds() {
		if len(w.Cluster.Nodes) >= k.Least && (!short || k.Short) && (k.needs == nil || k.needs(ctx, w)) {
			out = append(out, k)
		}
	}
	return out
}
