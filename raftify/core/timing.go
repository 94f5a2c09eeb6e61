package core

import (
	"errors"
	"fmt"
	"time"
)

// Timing holds the durations that the election is built on. All of them are properties of the whole cluster: nodes
// that differ in MinElection or Drift may break the lease promise (I15), never the chain.
type Timing struct {
	Heartbeat   time.Duration // between two heartbeats of a leader
	MinElection time.Duration // minET: the shortest election timeout, and how long a voter keeps faith with its leader
	// Drift bounds how much faster or slower than real time any two clocks of the cluster may run (0.01 = 1 %).
	Drift float64
	// Epsilon is taken off each lease for clock reading granularity.
	Epsilon time.Duration
	// NoLease switches leases off: nobody ever holds one, and a leader whose host refuses connections may be replaced at
	// once. What needs a lease must then ask for a heartbeat round instead.
	NoLease bool
	// MaxBackoff caps the limits that double at each failure.
	MaxBackoff time.Duration
}

// DefaultTiming returns timings for a performance level, 1 being the fastest, of machines that always run their
// processes in time, as simulated ones do. For real ones see raftify.TimingOf.
func DefaultTiming(performance int) Timing {
	p := time.Duration(max(performance, 1))
	return Timing{
		Heartbeat:   40 * time.Millisecond * p,
		MinElection: 200 * time.Millisecond * p,
		Drift:       0.01,
		Epsilon:     time.Millisecond,
		MaxBackoff:  30 * time.Second,
	}
}

// LeaseDuration is D of PROTOCOL R18 and R21: MinElection as the slowest clock of the cluster can have seen it when
// the fastest has seen all of it.
func (t Timing) LeaseDuration() time.Duration {
	return time.Duration(float64(t.MinElection)*(1-t.Drift)/(1+t.Drift)) - t.Epsilon
}

// Validate reports every problem of the timings.
func (t Timing) Validate() error {
	var errs []error
	if t.Heartbeat <= 0 {
		errs = append(errs, fmt.Errorf("heartbeat is %v: must be positive", t.Heartbeat))
	}
	if t.Drift < 0 || t.Drift > 0.5 {
		errs = append(errs, fmt.Errorf("drift is %v: must be within [0, 0.5]", t.Drift))
	}
	if d := t.LeaseDuration(); d < 2*t.Heartbeat {
		errs = append(errs, fmt.Errorf("lease of %v (election timeout %v less drift) must be at least two heartbeats of %v",
			d, t.MinElection, t.Heartbeat))
	}
	if t.MaxBackoff < t.MinElection {
		errs = append(errs, fmt.Errorf("max backoff is %v: must be at least the election timeout %v", t.MaxBackoff, t.MinElection))
	}
	return errors.Join(errs...)
}
