package core

import (
	"errors"
	"time"
)

// ErrUnfit is returned by Transfer when the target that was named says that it should not lead.
var ErrUnfit = errors.New("target says that it is not fit to lead")

// Fitness is what a node's own surroundings say about its leading: the application, the disk. It decides nothing about
// safety, and who cannot be replaced goes on leading.
type Fitness uint8

// The degrees of fitness.
const (
	Fit    Fitness = iota // may lead
	Unfit                 // leads only while nobody fit can: it hands over, and campaigns late
	Unable                // does not even stand (PROTOCOL R24: reserved space)
)

// String returns the word used in logs and in the status API.
func (f Fitness) String() string {
	switch f {
	case Fit:
		return "fit"
	case Unfit:
		return "unfit"
	case Unable:
		return "unable"
	}
	return "invalid"
}

// The least and longest time between two attempts of an unfit leader to hand over, in election timeouts. They double,
// because a voter that looks fit from here may be unable to keep the lead: two such nodes must not swap it for ever.
const (
	passOnFirst = 4
	passOnMost  = 1 << 11
)

// passing is when an unfit leader last tried to hand over, and how often since it became unfit.
type passing struct {
	at    Instant
	tries int
}

// SetFitness notes whether this node should lead. Followers tell their leader with each heartbeat's answer.
func (c *Core) SetFitness(now Instant, f Fitness) {
	if f == c.fitness {
		return
	}
	if f == Fit || c.fitness == Fit {
		c.passed = passing{}
	}
	c.fitness = f
	c.event(Event{Kind: EventFitness, Detail: f.String()})
	c.observe(now)
	c.passOn(now)
	if f == Unable && (c.role == RolePreCandidate || c.role == RoleCandidate) {
		c.stepDown(now, "not able to lead", 0)
	}
	c.drain(now)
}

// fitnessDelay keeps a node that should not lead behind the others (PROTOCOL R4: never a reason to deny).
func (c *Core) fitnessDelay() time.Duration {
	if c.fitness == Fit {
		return 0
	}
	return c.tm.MinElection
}

// mayStand is false for a node that is unable, that has started and still asks what others remember of it, or whose
// application could not finish a takeover. Before the first term an
// unable one stands all the same: the others learn of the first configuration from its maker's pre-vote.
func (c *Core) mayStand() bool {
	return (c.fitness != Unable || c.hs.Term == 0) && !c.ask.on && c.hook.MayLead()
}

// passOn hands over to a fit voter that answers, if this leader is not fit itself.
func (c *Core) passOn(now Instant) {
	if c.fitness == Fit || c.role != RoleLeader || c.taking || c.transfer != nil {
		return
	}
	if n := c.passed.tries; n > 0 {
		wait := time.Duration(min(passOnFirst<<min(n-1, 20), passOnMost)) * c.tm.MinElection
		if now.SinceMin(c.passed.at) < wait {
			return
		}
	}
	to := c.bestTarget(now)
	if to == "" || !c.acks[to].fit {
		return
	}
	c.passed = passing{now, c.passed.tries + 1}
	_ = c.Transfer(now, to) // refused: again when the wait is over
}
