package core

import (
	"fmt"
	"slices"
)

// wish is the heartbeat that those are to answer who would be left by a change.
type wish struct {
	kind ChangeKind
	seq  uint64
	at   Instant
	own  bool // the member's own wish: it is carried out as soon as they have answered
}

// ReconfigureAnswered is Reconfigure for what somebody wishes: a vote that counts at present is given up only when a
// majority of the voters that would be left has answered a heartbeat sent after it was asked for. What they answered
// before says little: a voter that died within the last election timeout is one of them, and with it and without the one
// that goes the next configuration might have no majority, ever. It returns ErrReconfiguring until they have answered, to
// be called again, and ErrUnsafe when they did not within an election timeout. One that dies after its answer is a
// failure like any other.
//
// Automatic demotion (R16) needs none of this: who is silent for that long is not missed.
func (c *Core) ReconfigureAnswered(now Instant, ch Change) error {
	if err := c.settled(); err != nil {
		return err
	}
	ms, err := c.changed(now, ch)
	if err != nil {
		return err
	}
	voter := func(m Member) bool { return m.ID == ch.Member.ID && m.Voter }
	if slices.ContainsFunc(c.hs.Cfg.Members, voter) && !slices.ContainsFunc(ms, voter) && !c.broken(FaultUnsafeChange) {
		if err := c.confirm(now, ch, NewConfig(c.hs.Cfg.Key, ms)); err != nil {
			return err
		}
	}
	return c.Reconfigure(now, ch)
}

// confirm asks the voters of the next configuration, and returns nil when a majority of them has answered since.
func (c *Core) confirm(now Instant, ch Change, next Config) error {
	id := ch.Member.ID
	a, ok := c.mem.wishes[id]
	if !ok || a.kind != ch.Kind || now.SinceMin(a.at) > 2*c.tm.MinElection {
		if !c.answered(now, next) {
			return ErrUnsafe
		}
		a = wish{kind: ch.Kind, seq: c.hbSeq + 1, at: now}
		c.mem.wishes = put(c.mem.wishes, id, a)
		c.broadcastHB(now)
	}
	n := 0
	for _, v := range next.Voters() {
		if v == c.hs.ID || c.acks[v].ever && c.acks[v].seq >= a.seq {
			n++
		}
	}
	switch {
	case n >= next.Majority():
		delete(c.mem.wishes, id)
		return nil
	case now.SinceMin(a.at) > c.tm.MinElection:
		delete(c.mem.wishes, id)
		return ErrUnsafe
	}
	return fmt.Errorf("%w: %d of the %d voters that would be left have answered so far", ErrReconfiguring, n, len(next.Voters()))
}

// finishLeaves takes the votes of those whose wish to leave was waiting for what has just been answered.
func (c *Core) finishLeaves(now Instant) {
	for _, id := range sortedKeys(c.mem.wishes) {
		if a := c.mem.wishes[id]; a.own && now.SinceMin(a.at) <= c.tm.MinElection &&
			c.ReconfigureAnswered(now, Change{Kind: ChangeLeave, Member: Member{ID: id}}) == nil {
			return
		}
	}
}
