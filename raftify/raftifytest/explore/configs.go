package explore

import (
	"time"

	"github.com/baton-ha/baton/raftify/core"
)

func removals(ids ...core.NodeID) (out []core.Change) {
	for _, id := range ids {
		out = append(out, core.Change{Kind: core.ChangeRemove, Member: core.Member{ID: id}})
	}
	return out
}

// leases is the time after node 1 was elected, at the ends of the clocks' bounds: 5 quanta are more than its lease, and
// at the fourth both the lease and the others' faith end.
func leases(rates ...float64) *Timed {
	return &Timed{Quantum: 200 * time.Millisecond, Steps: 5, Rates: rates}
}

// leasesFor is leases with node 1's clock slow and the others' fast, for so many quanta.
func leasesFor(steps int) *Timed {
	t := leases(0.75, 1.25, 1.25)
	t.Steps = steps
	return t
}

// Configs are the explorations that every change has to pass. All of them are complete.
func Configs() []Config {
	return []Config{
		{Name: "two terms", Nodes: 3, MaxTerm: 2},
		{Name: "one term, one crash", Nodes: 3, MaxTerm: 1, Crashes: 1, StepDowns: true},
		{Name: "one term, pre-votes as they are", Nodes: 3, MaxTerm: 1, PreVotes: true, Rounds: 1},
		{Name: "one term, a voter removed", Nodes: 3, MaxTerm: 1, Reconfigs: 1, Changes: removals("1", "2", "3")},
		{Name: "second term, a handover", Nodes: 3, MaxTerm: 2, Elected: true, Transfers: 1},
		{Name: "leases", Nodes: 3, MaxTerm: 2, Elected: true, Timed: leases(0.75, 1.25, 1.25)},
		{Name: "leases, clocks alike", Nodes: 3, MaxTerm: 2, Elected: true, Timed: leases(1, 1, 1)},
		{Name: "leases, a crash of a follower", Nodes: 3, MaxTerm: 2, Elected: true, Crashes: 1, CrashOnly: "2", InFlight: 1, Timed: leasesFor(4)},
		{Name: "leases, a handover", Nodes: 3, MaxTerm: 2, Elected: true, Transfers: 1, Timed: leasesFor(2)},
		{Name: "second term, a crash of the leader", Nodes: 3, MaxTerm: 2, Elected: true, Crashes: 1, CrashOnly: "1"},
		{Name: "second term, a crash of a follower", Nodes: 3, MaxTerm: 2, Elected: true, Crashes: 1, CrashOnly: "2", InFlight: 2},
		{Name: "second term, a voter removed", Nodes: 3, MaxTerm: 2, Elected: true, Reconfigs: 1, Changes: removals("1", "2", "3")},
		{Name: "one term, two voters removed", Nodes: 3, MaxTerm: 1, Reconfigs: 2, Changes: removals("1", "2", "3")},
	}
}

// Deep are explorations that take minutes to hours and gigabytes, and may be cut.
func Deep() []Config {
	return []Config{
		{Name: "two terms, a crash", Nodes: 3, MaxTerm: 2, Crashes: 1, CrashOnly: "1", InFlight: 2},
		{Name: "two terms, a voter removed", Nodes: 3, MaxTerm: 2, Reconfigs: 1, Changes: removals("1", "2", "3")},
		{Name: "second term, a disk replaced", Nodes: 3, MaxTerm: 2, Elected: true, Wipes: 1},
		{Name: "one term, a disk replaced", Nodes: 3, MaxTerm: 1, Wipes: 1},
		{Name: "leases, a handover, longer", Nodes: 3, MaxTerm: 2, Elected: true, Transfers: 1, Timed: leasesFor(5)},
		{Name: "leases, a crash anywhere", Nodes: 3, MaxTerm: 2, Elected: true, Crashes: 1, Timed: leases(0.75, 1.25, 1.25)},
		{Name: "three terms", Nodes: 3, MaxTerm: 3},
	}
}
