package raftifytest

import (
	"io"
	"time"

	"github.com/baton-ha/baton/raftify/core"
)

// RunSeed runs the cluster that a seed draws: three, four or five nodes, sometimes from empty folders, for some
// seconds of random faults, and settles it. It returns the cluster for its counters. trace may be nil; onCore, if not
// nil, is given each core at each start.
func RunSeed(seed uint64, trace io.Writer, onCore func(*core.Core)) (*Cluster, error) {
	r := NewRand(seed ^ 0x5eed)
	cfg := Config{Seed: seed, Nodes: []int{3, 3, 3, 5, 5, 4}[r.IntN(6)], Net: DrawNet(r), Disk: DrawDisk(r), Trace: trace, OnCore: onCore}
	if r.Chance(0.1) {
		cfg.Timing = core.DefaultTiming(1)
		cfg.Timing.NoLease = true
	}
	if r.Chance(0.3) {
		cfg.Expect = cfg.Nodes
	}
	if cfg.Expect == 0 && r.Chance(0.5) { // members come and go
		cfg.Membership = &core.Membership{MaxVoters: 3 + 2*r.IntN(2)}
		if r.Chance(0.5) {
			cfg.Membership.KickAfter = r.Between(4*cfg.timing().MinElection, 10*cfg.timing().MinElection)
		}
		cfg.Voters = cfg.Nodes
		cfg.Nodes += r.IntN(3)
	}
	cfg.Hook = func(core.NodeID) core.Hook { return NewApp(func() bool { return r.Chance(0.8) }) }
	faults := DrawFaults(r)
	if own := NewRand(seed ^ 0x01df01de4); own.Chance(0.5) { // of its own, so that the other draws stay what they were
		faults.Restore = 0.5 + 4*own.Float64()
	}
	c := NewCluster(cfg)
	if cfg.Timing.NoLease {
		c.Count["no leases"]++
	}
	if cfg.Expect > 0 { // faults while the cluster is made, then it must be
		c.Inject(faults, r.Between(0, time.Second))
		if err := c.Run(2 * time.Second); err != nil {
			return c, err
		}
		c.everything()
		if !c.RunUntil(20*cfg.timing().MinElection, func() bool { return c.Holder() != "" }) {
			if c.Err() == nil {
				c.Checker.Fail(c.now, "I14", "the bootstrap does not end")
			}
			return c, c.Err()
		}
	}
	c.Inject(faults, c.now+r.Between(time.Second, 6*time.Second))
	if err := c.Run(6 * time.Second); err != nil {
		return c, err
	}
	return c, c.Settle()
}

func (c Config) timing() core.Timing {
	if c.Timing == (core.Timing{}) {
		return core.DefaultTiming(1)
	}
	return c.Timing
}

// everything ends all faults.
func (c *Cluster) everything() {
	c.actions = nil
	c.Net.Heal(c.now)
	for _, n := range c.nodes {
		c.repair(n)
		c.Start(n.ID)
	}
}
