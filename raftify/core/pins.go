package core

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// ErrTooManyPins is returned by Reconfigure when a configuration would say more about ids than the wire carries.
var ErrTooManyPins = errors.New("too many pinned ids")

const (
	// MaxPins is how many pins a configuration may have.
	MaxPins = 64
	// MaxPinInfoBytes bounds Pin.Info.
	MaxPinInfoBytes = 512
)

// Pin is what an operator said about an id. It stands in the configuration, next to the members: so it is as durable as
// they are, reaches a node that was away when it was said, survives any change of leader, and is never in doubt once the
// configuration is settled. It gives no vote and counts in no majority.
type Pin struct {
	ID    NodeID
	State PinState
	// Info is the application's, opaque to the election: what its own layer must know to let the node in, such as a key.
	Info string
}

// PinState is what a Pin means for joining and promotion. Zero is invalid.
type PinState uint8

// The states of a pin.
const (
	PinInvited PinState = iota + 1 // may join, and be promoted beyond MaxVoters, whatever it was before; then PinMember
	PinMember                      // came in by invitation; with an empty folder it may come again
	PinHeld                        // left: it is not promoted by itself
	PinBarred                      // was removed: it may not join until it is invited again
)

// String returns the word used in logs.
func (s PinState) String() string {
	switch s {
	case PinInvited:
		return "invited"
	case PinMember:
		return "member"
	case PinHeld:
		return "held"
	case PinBarred:
		return "barred"
	}
	return fmt.Sprintf("PinState(%d)", uint8(s))
}

// Pin returns the pin of id.
func (c Config) Pin(id NodeID) (Pin, bool) {
	for _, p := range c.Pins {
		if p.ID == id {
			return p, true
		}
	}
	return Pin{}, false
}

// pinned returns pins with that of p.ID replaced, or without it if p has no state. The argument is not modified.
func pinned(pins []Pin, p Pin) []Pin {
	out := slices.DeleteFunc(slices.Clone(pins), func(o Pin) bool { return o.ID == p.ID })
	if p.State != 0 {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b Pin) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// released is a pin that no longer says more than that its node is a member.
func released(p Pin) Pin {
	if p.State == PinInvited || p.State == PinHeld {
		p.State = PinMember
	}
	if p.State == PinMember && p.Info == "" {
		return Pin{ID: p.ID} // the configured peers are known anyway
	}
	return p
}

// changedPins returns the pins after a change that changed has found possible.
func (c *Core) changedPins(ch Change) ([]Pin, error) {
	id := ch.Member.ID
	_, member := c.hs.Cfg.Member(id)
	old, _ := c.hs.Cfg.Pin(id)
	next := Pin{ID: id, State: old.State, Info: old.Info}
	switch ch.Kind {
	case ChangeAdd:
		next = released(next)
	case ChangePromote:
		next = released(next)
	case ChangeDemote, ChangeMove:
	case ChangeLeave:
		next.State = PinHeld
	case ChangeRemove:
		next = Pin{ID: id, State: PinBarred}
	case ChangeInvite:
		next.State = PinInvited
		if ch.Info != "" {
			next.Info = ch.Info
		}
		if len(next.Info) > MaxPinInfoBytes {
			return nil, fmt.Errorf("%w: information of %d bytes, at most %d", ErrTooManyPins, len(next.Info), MaxPinInfoBytes)
		}
		if member {
			next = released(next)
		}
		if next == old || next.State == 0 && old.State == 0 {
			return nil, ErrNoChange
		}
	}
	pins := pinned(c.hs.Cfg.Pins, next)
	if len(pins) > MaxPins {
		// Whom no configured peer list names cannot come back without an invitation anyway.
		pins = slices.DeleteFunc(pins, func(p Pin) bool { return p.State == PinBarred && !c.mem.allowed[p.ID] })
	}
	if len(pins) > MaxPins {
		return nil, fmt.Errorf("%w: %d, at most %d", ErrTooManyPins, len(pins), MaxPins)
	}
	return pins, nil
}

// mayJoin says why a node that asks may not be let in, "" if it may (PROTOCOL R26).
func (c *Core) mayJoin(m Message) string {
	pin, _ := c.hs.Cfg.Pin(m.From)
	_, member := c.hs.Cfg.Member(m.From)
	switch {
	case pin.State == PinBarred:
		return "it was removed: an operator must add it again"
	case !member && len(c.hs.Cfg.Members) >= MaxMembers:
		return fmt.Sprintf("there are %d members, and there can be no more: one must be removed first", len(c.hs.Cfg.Members))
	case pin.State == 0 && !c.mem.allowed[m.From]:
		return "it is neither a configured peer nor added by an operator"
	case m.ClusterID != (ClusterID{}) && pin.State != PinInvited:
		return fmt.Sprintf("incarnation %v was replaced: an operator must add it again, or its folder be emptied", m.Inc)
	}
	return ""
}
