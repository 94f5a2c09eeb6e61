package raftifytest

import (
	"math"
	"time"

	"github.com/baton-ha/baton/raftify/core"
)

// Faults are the rates, in events a second of true time for the whole cluster, at which things go wrong.
type Faults struct {
	Crash, Kill, CrashAll, Pause, Suspend, StepClock float64
	SlowDisk, HangDisk                               float64
	Partition, OneWay, Isolate, Chain, Mend          float64
	Transfer, Suspect, Read, Notice                  float64
	Wipe, Change                                     float64 // with Config.Membership only
	Restore                                          float64 // with Config.Membership only
}

// DrawFaults draws rates: many are zero in any one run, so that each fault is also seen without the others.
func DrawFaults(r *Rand) Faults {
	rate := func(lo, hi float64) float64 {
		if r.Chance(0.5) {
			return 0
		}
		return lo * math.Pow(hi/lo, r.Float64())
	}
	return Faults{
		Crash: rate(0.1, 3), CrashAll: rate(0.05, 0.3), Pause: rate(0.1, 3), Suspend: rate(0.1, 2), StepClock: rate(0.1, 2),
		SlowDisk: rate(0.1, 1), HangDisk: rate(0.1, 1),
		Partition: rate(0.1, 2), OneWay: rate(0.1, 4), Isolate: rate(0.1, 2), Chain: rate(0.1, 1), Mend: rate(0.3, 3),
		Transfer: rate(0.1, 5), Suspect: rate(0.1, 10), Read: rate(1, 20),
		Wipe: rate(0.1, 2), Change: rate(0.3, 10),
		Kill: rate(0.1, 3), Notice: rate(0.3, 10),
	}
}

// DrawNet draws the rates of a network.
func DrawNet(r *Rand) NetRates {
	some := func(p float64) float64 {
		if r.Chance(0.5) {
			return 0
		}
		return p * r.Float64()
	}
	lo := r.Between(0, 10*time.Millisecond)
	return NetRates{
		Loss: some(0.2), Dup: some(0.1), MinDelay: lo, MaxDelay: lo + r.Between(0, 30*time.Millisecond),
		Slow: some(0.1), MaxSlow: r.Between(50*time.Millisecond, 2*time.Second), Keep: some(1),
	}
}

// DrawDisk draws the rates of a disk.
func DrawDisk(r *Rand) DiskRates {
	lo := r.Between(0, 5*time.Millisecond)
	d := DiskRates{Min: lo, Max: lo + r.Between(0, 20*time.Millisecond), MaxSlow: r.Between(50*time.Millisecond, time.Second)}
	if r.Chance(0.5) {
		d.Slow = 0.1 * r.Float64()
	}
	return d
}

// Inject lets faults come at random until true time until. Whatever a fault broke for a while is repaired in its own
// time, also later than that; Settle repairs the rest.
func (c *Cluster) Inject(f Faults, until time.Duration) {
	r := c.Rand
	every := func(rate float64, do func()) {
		if rate <= 0 {
			return
		}
		var next func()
		next = func() {
			if c.now < until {
				if c.now >= c.calm {
					do()
				}
				c.After(r.Every(rate), next)
			}
		}
		c.After(r.Every(rate), next)
	}
	anyone := func() *Node { return c.nodes[r.IntN(len(c.nodes))] }
	// Half of the faults aim at the leader, where they hurt.
	victim := func() *Node {
		if id := c.Leader(); id != "" && r.Chance(0.5) {
			return c.Node(id)
		}
		return anyone()
	}
	crash := func(n *Node) {
		c.Crash(n.ID)
		c.After(r.Between(time.Millisecond, time.Second), func() { c.Start(n.ID) })
	}
	every(f.Crash, func() { crash(victim()) })
	every(f.Kill, func() {
		n := victim()
		c.Kill(n.ID)
		c.After(r.Between(time.Millisecond, time.Second), func() { c.Start(n.ID) })
	})
	every(f.Notice, func() { c.strayNotice(victim(), anyone()) })
	every(f.CrashAll, func() {
		for _, n := range c.nodes {
			crash(n)
		}
	})
	every(f.Pause, func() {
		n := victim()
		if r.Chance(0.5) {
			c.Stall(n.ID)
		} else {
			c.Pause(n.ID)
		}
		c.After(r.Between(time.Millisecond, time.Second), func() { c.Resume(n.ID) })
	})
	every(f.Suspend, func() { // the whole machine sleeps
		n := victim()
		c.Pause(n.ID)
		n.Clock.Suspend(c.now, true)
		c.After(r.Between(time.Millisecond, 2*time.Second), func() {
			n.Clock.Suspend(c.now, false)
			c.Resume(n.ID)
		})
	})
	every(f.StepClock, func() { victim().Clock.StepReal(c.now, r.Between(-time.Hour, time.Hour)) })
	every(f.SlowDisk, func() {
		n, was := victim(), c.cfg.Disk
		n.Disk.Rates = DiskRates{Min: was.Max, Max: was.Max + r.Between(0, 5*c.timing.MinElection)}
		c.After(r.Between(0, 5*time.Second), func() { n.Disk.Rates = was })
	})
	every(f.HangDisk, func() {
		n := victim()
		n.Disk.Hang(c.now, true)
		c.After(r.Between(0, 3*time.Second), func() { n.Disk.Hang(c.now, false) })
	})
	c.cutters(f, every, anyone, victim)
	every(f.Transfer, func() {
		to := core.NodeID("")
		if r.Chance(0.7) {
			to = anyone().ID
		}
		c.Do(c.Leader(), func(k *core.Core, now core.Instant) { _ = k.Transfer(now, to) })
	})
	every(f.Suspect, func() {
		c.Do(anyone().ID, func(k *core.Core, now core.Instant) {
			before := k.Status().Role
			k.Suspect(now, k.Status().Leader)
			if before != k.Status().Role {
				c.Count["suspected"]++
			}
		})
	})
	every(f.Read, func() { c.AskRound(anyone().ID) })
	if c.cfg.Membership == nil {
		return
	}
	every(f.Wipe, func() {
		if n := anyone(); c.mayWipe(n) {
			c.LoseDisk(n.ID)
			c.Count["disk lost"]++
			c.After(r.Between(time.Millisecond, time.Second), func() { c.Start(n.ID) })
		}
	})
	every(f.Restore, func() {
		if n := anyone(); n.backup == nil || r.Chance(0.3) {
			c.Backup(n.ID)
		} else if c.now+3*c.timing.MinElection < until && c.mayRestore(n) {
			c.restore(n)
		}
	})
	every(f.Change, func() {
		kind, who := core.ChangePromote+core.ChangeKind(r.IntN(3)), anyone().ID
		c.Do(c.Leader(), func(k *core.Core, now core.Instant) {
			cfg := k.Status().Cfg
			if kind != core.ChangePromote && (len(cfg.Voters()) <= 3 || len(c.living(cfg, who)) < cfg.Majority()) {
				kind = core.ChangeInvite
			} else if kind == core.ChangeDemote && r.IntN(2) == 0 {
				kind = core.ChangeLeave
			}
			_ = k.Reconfigure(now, core.Change{Kind: kind, Member: core.Member{ID: who}})
		})
	})
}

// strayNotice sends a notice that is an old true one, or one that no supervisor ever said: with another session, with
// another incarnation, of an earlier start.
func (c *Cluster) strayNotice(about, to *Node) {
	r := c.Rand
	if len(c.notices) > 0 && r.Chance(0.6) {
		c.Count["notice replayed"]++
		c.Notify(to.ID, c.notices[r.IntN(len(c.notices))])
		return
	}
	if about.core == nil {
		return
	}
	d := about.core.Death()
	switch r.IntN(3) {
	case 0:
		d.Session++
	case 1:
		d.Inc = c.newInc()
	default:
		if d.Boot < 2 {
			return
		}
		d.Boot--
		d.Session = r.Uint64()
	}
	c.Count["false notice"]++
	c.Notify(to.ID, d)
}

// mayWipe reports whether every configuration that anybody has keeps a majority without n's disk: more disks lost at a
// time is more than the protocol stands.
func (c *Cluster) mayWipe(n *Node) bool {
	for _, m := range c.nodes {
		cfgs := []core.Config{m.durable.Cfg}
		if m.core != nil {
			cfgs = append(cfgs, m.core.Status().Cfg)
		}
		for _, cfg := range cfgs {
			if cfg.Key.Ver > 0 && len(c.living(cfg, n.ID)) < cfg.Majority() {
				return false
			}
		}
	}
	return true
}

// living returns the voters of a configuration whose disks are still those that it speaks of, but for one.
func (c *Cluster) living(cfg core.Config, but core.NodeID) (out []core.NodeID) {
	for _, m := range cfg.Members {
		if m.Voter && m.ID != but && c.Node(m.ID).durable.Inc == m.Inc {
			out = append(out, m.ID)
		}
	}
	return out
}

// cutters are the faults of links.
func (c *Cluster) cutters(f Faults, every func(float64, func()), anyone, victim func() *Node) {
	r := c.Rand
	cut := func(a, b core.NodeID, both bool) {
		c.trace("link %s -> %s is cut (both ways: %v)", a, b, both)
		c.Net.Cut(a, b)
		if both {
			c.Net.Cut(b, a)
		}
		if r.Chance(0.7) {
			c.After(r.Between(time.Millisecond, 2*time.Second), func() {
				c.Net.Mend(c.now, a, b)
				c.Net.Mend(c.now, b, a)
			})
		}
	}
	every(f.Partition, func() { // two groups
		side := map[core.NodeID]bool{}
		for _, n := range c.nodes {
			side[n.ID] = r.Chance(0.5)
		}
		for i, a := range c.nodes {
			for _, b := range c.nodes[:i] {
				if side[a.ID] != side[b.ID] {
					cut(a.ID, b.ID, true)
				}
			}
		}
	})
	every(f.OneWay, func() {
		if a, b := victim(), anyone(); a != b {
			cut(a.ID, b.ID, false)
		}
	})
	every(f.Isolate, func() { // deaf, mute, or both
		n := victim()
		in, out := r.Chance(0.6), r.Chance(0.6)
		for _, m := range c.nodes {
			if m != n && in {
				cut(m.ID, n.ID, false)
			}
			if m != n && out {
				cut(n.ID, m.ID, false)
			}
		}
	})
	every(f.Chain, func() { // each reaches its neighbours only
		p := r.Perm(len(c.nodes))
		for i := range p {
			for j := range i - 1 {
				cut(c.nodes[p[i]].ID, c.nodes[p[j]].ID, true)
			}
		}
	})
	every(f.Mend, func() { c.Net.Heal(c.now) })
}

// Settle ends the faults and heals a majority around one node, the hub: its nodes run, with good clocks and disks, and
// the hub reaches each of them both ways; some links between the others may stay cut, and the nodes outside are down
// or hear and are heard at random. It then demands a leader with a valid lease within 10 MinElection (I14), and that
// no election follows in as much time again. A leader that changed the membership meanwhile may have lost its majority to
// the links that were cut: then another one is healed.
func (c *Cluster) Settle() error {
	for range 4 {
		ver := c.newest().Key.Ver
		done, err := c.settle()
		if done || err != nil {
			return err
		}
		if c.newest().Key.Ver == ver {
			c.Checker.Fail(c.now, "I14", "no leader, or more than one election, in a healed majority")
			return c.Err()
		}
	}
	c.Checker.Fail(c.now, "I14", "the membership never settles")
	return c.Err()
}

// settle is one attempt; done is false when it did not end with one leader.
func (c *Cluster) settle() (done bool, err error) {
	c.actions = nil
	voters, majority := c.voters()
	if len(voters) < majority {
		// Disks were lost, and within the time that the leader could not know it a voter was let go.
		c.Count["tolerance exceeded"]++
		return true, c.Err()
	}
	r := c.Rand
	r.Shuffle(len(voters), func(i, j int) { voters[i], voters[j] = voters[j], voters[i] })
	quorum := map[core.NodeID]bool{}
	for _, id := range voters[:majority+r.IntN(len(voters)-majority+1)] {
		quorum[id] = true
	}
	c.complete(quorum)
	hub, star := voters[0], r.Chance(0.5)
	c.trace("a majority is healed around %s: %v, star: %v", hub, quorum, star)
	c.Net.Heal(c.now)
	c.Net.Rates.Loss, c.Net.Rates.Slow, c.Net.Rates.Dup = 0, 0, 0
	c.Net.Rates.MaxDelay = min(c.Net.Rates.MaxDelay, c.timing.MinElection/10)
	for i, a := range c.nodes {
		c.repair(a)
		switch {
		case quorum[a.ID]:
			c.Start(a.ID)
		case r.Chance(0.3):
			c.Crash(a.ID)
		}
		for _, b := range c.nodes[:i] {
			switch in := quorum[a.ID] && quorum[b.ID]; {
			case in && (!star || a.ID == hub || b.ID == hub):
			case in:
				c.Net.CutBoth(a.ID, b.ID)
			default:
				if one := r.IntN(4); one > 0 {
					if one&1 > 0 {
						c.Net.Cut(a.ID, b.ID)
					}
					if one&2 > 0 {
						c.Net.Cut(b.ID, a.ID)
					}
				}
			}
		}
	}
	limit := 10 * c.timing.MinElection
	if err := c.Run(limit); err != nil || c.Holder() == "" {
		return false, err
	}
	c.trace("%s leads", c.Holder())
	before := c.elected
	if err := c.Run(limit); err != nil {
		return false, err
	}
	return c.elected == before, nil
}

// newest returns the newest configuration that is on a disk.
func (c *Cluster) newest() (cfg core.Config) {
	for _, n := range c.nodes {
		if n.durable.Cfg.Key.Ver > 0 && n.durable.Cfg.Key.Compare(cfg.Key) >= 0 {
			cfg = n.durable.Cfg
		}
	}
	return cfg
}

// voters returns the voters of the newest configuration that any node has and that can come back, sorted by id.
func (c *Cluster) voters() (ids []core.NodeID, majority int) {
	if newest := c.newest(); newest.Key.Ver > 0 {
		return c.living(newest, ""), newest.Majority()
	}
	var all []core.NodeID
	for i, n := range c.nodes {
		if c.cfg.Expect == 0 || i < c.cfg.Expect {
			all = append(all, n.ID)
		}
	}
	return all, len(all)/2 + 1
}

// complete adds to a majority of the newest configuration what makes it one of those that its nodes know as well: who
// could tell them of the newer one may be outside.
func (c *Cluster) complete(quorum map[core.NodeID]bool) {
	for again := true; again; {
		again = false
		for _, n := range c.nodes {
			cfg := n.durable.Cfg
			if !quorum[n.ID] || cfg.Key.Ver == 0 {
				continue
			}
			in := 0
			for _, id := range c.living(cfg, "") {
				if quorum[id] {
					in++
				}
			}
			for _, id := range c.living(cfg, "") {
				if in < cfg.Majority() && !quorum[id] {
					quorum[id], again = true, true
					in++
				}
			}
		}
	}
}

// repair ends what faults did to a node and its disk and clock.
func (c *Cluster) repair(n *Node) {
	n.Disk.Rates = DiskRates{Min: min(c.cfg.Disk.Min, 10*time.Millisecond), Max: min(c.cfg.Disk.Max, 10*time.Millisecond)}
	n.Disk.Hang(c.now, false)
	n.Clock.Suspend(c.now, false)
	c.Resume(n.ID)
}
