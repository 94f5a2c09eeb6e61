//go:build faults

package core

import "maps"

// FaultsBuilt reports whether this build has the switches of negative tests.
const FaultsBuilt = true

type faults map[Fault]bool

func (f faults) clone() faults { return maps.Clone(f) }

func (c *Core) broken(f Fault) bool { return c.flt[f] }

// Break switches rules off for a negative test. Present only in builds with the tag `faults`.
func (c *Core) Break(fs ...Fault) {
	if c.flt == nil {
		c.flt = faults{}
	}
	for _, f := range fs {
		c.flt[f] = true
		if f == FaultForgetContact {
			c.contact.Mono -= int64(c.tm.MinElection)
			c.contact.Boot -= int64(c.tm.MinElection)
		}
		if f == FaultNoAsking {
			c.ask = asking{}
		}
	}
}
