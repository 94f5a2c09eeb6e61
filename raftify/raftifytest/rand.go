package raftifytest

import (
	"math/rand/v2"
	"time"
)

// Rand is a seeded source of chance. It is not safe for concurrent use.
type Rand struct{ *rand.Rand }

// NewRand returns the source of a seed.
func NewRand(seed uint64) *Rand { return &Rand{rand.New(rand.NewPCG(seed, 0x6261746f6e))} }

// Chance is true with probability p.
func (r *Rand) Chance(p float64) bool { return r.Float64() < p }

// Between returns a duration in [lo, hi).
func (r *Rand) Between(lo, hi time.Duration) time.Duration {
	if hi <= lo {
		return lo
	}
	return lo + time.Duration(r.Int64N(int64(hi-lo)))
}

// Every returns the time until the next of events that come at a mean rate of perSecond.
func (r *Rand) Every(perSecond float64) time.Duration {
	return time.Duration(r.ExpFloat64() / perSecond * float64(time.Second))
}
