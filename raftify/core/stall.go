package core

// A node that was kept from running looks at its clock before it has heard what came meanwhile: a follower would suspect
// a leader whose heartbeats wait in its socket, and a leader would miss answers that nobody could have given it. Where a
// whole machine stands still for a moment both are wrong on all of its nodes at once. So whoever stood still gives one
// more round. It is patience and nothing else: faith (R4) and leases (R21) are judged by the clock as ever, others may
// elect meanwhile, and no patience is given twice without a heartbeat, or a quorum, in between.
type patience struct {
	timer timer
	spent bool
}

// stallHeartbeats is how many heartbeats must have fallen due between two turns of a driver's loop for it to have stood
// still: between turns on time there is at most one.
const stallHeartbeats = 2

// stallRounds is for how many heartbeats a follower waits for what its leader has said and will say.
const stallRounds = 3

// Late reports whether so much time has passed since the driver last let time pass that it must have been kept from it.
func (c *Core) Late(now, last Instant) bool {
	return now.SinceMax(last) > stallHeartbeats*c.tm.Heartbeat
}

// Stalled says that the driver was Late. It is to be called before Tick.
func (c *Core) Stalled(now Instant) {
	if c.broken(FaultNoPatience) {
		return
	}
	p := &c.patience
	switch c.role {
	case RoleLeader:
		if lost := c.lostQuorum(now); !lost || !p.spent {
			*p = patience{timer{now, c.tm.MinElection}, lost}
		}
	case RoleFollower:
		if !p.spent {
			*p = patience{timer{now, stallRounds * c.tm.Heartbeat}, true}
		}
	case RolePreCandidate, RoleCandidate, RoleLearner:
	}
}

// patient reports whether a leader that has lost its quorum (R18) goes on for now, because it stood still.
func (c *Core) patient(now Instant) bool { return !c.patience.timer.expired(now) }

// forgetStall ends patience: there is nothing to be patient about any more.
func (c *Core) forgetStall() { c.patience = patience{} }
