package core

import (
	"fmt"
	"time"
)

// Death says that one start of a node has ended for good: its process is gone and will never use a lease again
// (PROTOCOL R23a). It is true for ever, so it may come late, twice and from anybody; whether it is true, the core cannot
// know. Sig is the driver's evidence, made with the node's own key: a driver takes a Death that it cannot verify out of
// a message before it steps it.
type Death struct {
	ID            NodeID
	Inc           Inc
	Boot, Session uint64
	Sig           []byte // never modified once the Death has been handed to the core
}

// String names the start, for logs.
func (d Death) String() string { return fmt.Sprintf("start %d of %s (%v)", d.Boot, d.ID, d.Inc) }

// start is one start of a node.
type start struct {
	id            NodeID
	inc           Inc
	boot, session uint64
}

// gone is the newest start of a node that is known to have ended.
type gone struct {
	inc           Inc
	boot, session uint64
	at            Instant
}

// Death returns what a death notice for this very start of this node must say, without a signature.
func (c *Core) Death() Death {
	return Death{ID: c.hs.ID, Inc: c.hs.Inc, Boot: c.hs.Boot, Session: c.opt.Session}
}

// covers reports whether a death tells the end of a start: of that one itself, or of a later one of the same folder,
// which begins only when all before it have ended.
func (c *Core) covers(d Death, s start) bool {
	if d.ID != s.id || d.Inc != s.inc {
		return false
	}
	return d.Boot > s.boot || d.Boot == s.boot && d.Session == s.session || c.broken(FaultAnyBoot)
}

// died takes a death notice. With stand this node may campaign for it: it came by itself, not from somebody who does.
func (c *Core) died(now Instant, d Death, stand bool) error {
	if d.ID == c.hs.ID {
		if d.Inc != c.hs.Inc || d.Boot != c.hs.Boot || d.Session != c.opt.Session {
			return dropped("death of an earlier start of this node")
		}
		// Others may have stopped keeping faith with this node. It has no way back to them but another start.
		c.alarm("R23: this node is alive, and a death notice for it is under way: two supervisors, or a stolen notice")
		c.stepDown(now, "declared dead", 2)
		return nil
	}
	m, ok := c.hs.Cfg.Member(d.ID)
	if !ok || m.Inc != d.Inc {
		return dropped("death of %v, which is no member", d)
	}
	if last := c.seen[d.ID]; last.inc == d.Inc && (last.boot > d.Boot || last.boot == d.Boot && last.session != d.Session) &&
		!c.broken(FaultAnyBoot) {
		return dropped("death of %v, it has started again since", d)
	}
	if g, ok := c.dead[d.ID]; !ok || g.inc != d.Inc || g.boot < d.Boot {
		if c.dead == nil {
			c.dead = map[NodeID]gone{}
		}
		c.dead[d.ID] = gone{d.Inc, d.Boot, d.Session, now}
		c.event(Event{Kind: EventDied, Peer: d.ID, Seq: d.Boot})
	}
	if c.free || !c.covers(d, c.trust) {
		return nil
	}
	c.free, c.notice = true, &d
	c.forsake(now, d.ID, stand)
	return nil
}

// forsake is what follows from the end of this node's faith in a leader: somebody has to stand, at once.
func (c *Core) forsake(now Instant, id NodeID, stand bool) {
	if c.role == RolePreCandidate {
		c.askGrants(now)
		return
	}
	if c.role != RoleFollower || !c.selfVoter() || c.leader != id && c.leader != "" {
		return
	}
	c.timer = timer{now, time.Duration(c.rank(id)) * c.slot()}
	if !stand {
		c.timer.after += c.slot() * time.Duration(len(c.hs.Cfg.Members))
	}
	c.hasten(now)
}

// rank orders those who may stand after a leader's death, so that they do not split the votes: by id. That who is behind
// comes after those who are not, CampaignDelay sees to.
func (c *Core) rank(dead NodeID) int {
	n := 0
	for _, id := range c.hs.Cfg.Voters() {
		if id < c.hs.ID && id != dead {
			n++
		}
	}
	return n
}

// slot is how long after a leader's death each waits for the one before it: a driver ticks as often.
func (c *Core) slot() time.Duration { return c.tm.Heartbeat / 4 }

// hasten begins the election after a leader's death when it is this node's turn. One that is behind, or should not lead,
// lets all others go first, for moments only: it may be behind by no more than a write that is under way.
func (c *Core) hasten(now Instant) {
	if !c.free || c.role != RoleFollower || !c.selfVoter() || !c.stayOut.expired(now) || !c.mayStand() {
		return
	}
	wait := c.timer.after
	if c.hook.CampaignDelay() > 0 || c.fitness != Fit {
		wait += c.slot() * time.Duration(len(c.hs.Cfg.Members))
	}
	if now.SinceMin(c.timer.start) >= wait {
		c.preCampaign(now)
	}
}

// Suspect says that the leader's host refused a connection just now: the pre-vote starts at once instead of at the
// end of the timeout. It lifts nobody's stickiness, not even this node's own, unless there are no leases that it could
// break: a firewall that rejects looks just like death (PROTOCOL R23b).
func (c *Core) Suspect(now Instant, id NodeID) {
	if id == "" || id != c.leader || c.role != RoleFollower {
		c.drain(now)
		return
	}
	if c.tm.NoLease && id == c.trust.id || c.broken(FaultSuspectLifts) {
		c.free = true
		c.event(Event{Kind: EventSuspected, Peer: id})
		c.forsake(now, id, true)
	} else if c.selfVoter() && c.stayOut.expired(now) && c.fitness == Fit && c.mayStand() {
		c.event(Event{Kind: EventSuspected, Peer: id})
		c.preCampaign(now)
	}
	c.drain(now)
}

// faithful notes a heartbeat of the leader that this node keeps faith with from now on.
func (c *Core) faithful(now Instant, h Header) {
	c.contact = now
	c.trust = start{h.From, h.Inc, h.Boot, h.Session}
	c.free, c.notice = false, nil
}

// buried reports whether a message is of a start that is known to have ended. One that goes on speaking long after that
// is alive, which an operator must know.
func (c *Core) buried(now Instant, h Header) bool {
	g, ok := c.dead[h.From]
	if !ok || g.inc != h.Inc || h.Boot > g.boot || h.Boot == g.boot && h.Session != g.session {
		return false
	}
	if h.Boot == g.boot && now.SinceMin(g.at) >= c.tm.MinElection {
		c.event(Event{Kind: EventAlarm, Peer: h.From, Seq: h.Boot, Detail: fmt.Sprintf("%s is heard although a death notice "+
			"for this start of it was received: is its supervisor another process than the one that started it?", h.From)})
	}
	return true
}
