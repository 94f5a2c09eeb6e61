package core

import "time"

// Quiet returns for how long from now, without any input, Tick would find nothing to do: up to the next heartbeat, the
// end of the lease or of the election timeout. It is never above one heartbeat, and where more than that is under way it
// is a quarter of one. It may be too short, and is 0 when something is due.
func (c *Core) Quiet(now Instant) time.Duration {
	least := c.tm.Heartbeat / 4
	var left time.Duration
	switch {
	case c.hs.Cfg.Key.Ver == 0 || c.ask.on:
		return least
	case c.role == RoleLeader && !c.taking && c.transfer == nil && !c.more:
		lease := c.lease()
		if !lease.Valid {
			return least // how long the quorum lasts is not said
		}
		left = min(c.tm.Heartbeat-now.SinceMax(c.lastHB), lease.Left(now))
	case c.role == RoleFollower && c.leader != "" && !c.free:
		left = c.timer.after + c.hook.CampaignDelay() - now.SinceMin(c.timer.start)
	default:
		return least
	}
	return min(max(left, 0), c.tm.Heartbeat)
}
