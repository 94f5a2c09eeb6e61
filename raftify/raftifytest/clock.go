package raftifytest

import (
	"time"

	"github.com/baton-ha/baton/raftify/core"
)

// Clock is what one node reads instead of the true time: a monotonic and a boot clock of one oscillator and a wall
// clock of its own, all within the drift bound of true time unless told otherwise.
type Clock struct {
	base       time.Duration // true time of the last change
	at         core.Instant  // the reading then
	oscillator float64       // rates, 1 = true time
	wall       float64
	suspended  bool
	frozen     bool
}

// NewClock draws a clock whose rates are within drift of true time.
func NewClock(r *Rand, drift float64) *Clock {
	rate := func() float64 { return 1 + drift*(2*r.Float64()-1) }
	if r.Chance(0.3) { // the extremes are where the sums must hold
		rate = func() float64 {
			if r.Chance(0.5) {
				return 1 + drift
			}
			return 1 - drift
		}
	}
	start := r.Int64N(int64(1000 * time.Hour))
	return &Clock{
		at:         core.Instant{Mono: start, Boot: start + r.Int64N(int64(time.Hour)), Real: r.Int64N(int64(100000 * time.Hour))},
		oscillator: rate(), wall: rate(),
	}
}

// Now is the reading at true time t.
func (c *Clock) Now(t time.Duration) core.Instant {
	d := float64(t - c.base)
	out := c.at
	if c.frozen {
		return out
	}
	if !c.suspended {
		out.Mono += int64(d * c.oscillator)
	}
	out.Boot += int64(d * c.oscillator)
	out.Real += int64(d * c.wall)
	return out
}

func (c *Clock) rebase(t time.Duration) {
	c.at = c.Now(t)
	c.base = t
}

// SetRates changes how fast the oscillator of the monotonic and boot clocks, and the wall clock, run from t on.
func (c *Clock) SetRates(t time.Duration, oscillator, wall float64) {
	c.rebase(t)
	c.oscillator, c.wall = oscillator, wall
}

// Suspend stops (or starts) the monotonic clock, as a sleeping machine does; the boot and wall clocks go on.
func (c *Clock) Suspend(t time.Duration, on bool) {
	c.rebase(t)
	c.suspended = on
}

// Freeze stops (or starts) all clocks, which is outside of what leases can stand: for tests of that limit.
func (c *Clock) Freeze(t time.Duration, on bool) {
	c.rebase(t)
	c.frozen = on
}

// StepReal steps the wall clock, back if by is negative.
func (c *Clock) StepReal(t, by time.Duration) {
	c.rebase(t)
	c.at.Real += int64(by)
}
