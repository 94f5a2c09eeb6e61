package nodetest

import "github.com/baton-ha/baton/raftify/core"

// clocks are the three clocks of one node, as functions of true time. Rates differ from one by at most Timing.Drift.
type clocks struct {
	monoRate, realRate float64
	at                 int64 // true time at which the readings below were taken
	mono, boot, real   int64
	asleep             bool // the machine sleeps: mono stands still
}

func (c *clocks) read(now int64) core.Instant {
	d := float64(now - c.at)
	in := core.Instant{Mono: c.mono, Boot: c.boot + int64(d*c.monoRate), Real: c.real + int64(d*c.realRate)}
	if !c.asleep {
		in.Mono += int64(d * c.monoRate)
	}
	return in
}

// settle makes now the origin of what follows.
func (c *clocks) settle(now int64) {
	in := c.read(now)
	c.at, c.mono, c.boot, c.real = now, in.Mono, in.Boot, in.Real
}

func (c *clocks) sleep(now int64, asleep bool) {
	c.settle(now)
	c.asleep = asleep
}

func (c *clocks) step(now, by int64) {
	c.settle(now)
	c.real += by
}
