//go:build faults

package replication

import "maps"

type faults map[Fault]bool

func (f faults) clone() faults { return maps.Clone(f) }

func (c *Chain) broken(f Fault) bool { return c.flt[f] }

// Break switches rules off for a negative test. Present only in builds with the tag `faults`.
func (c *Chain) Break(fs ...Fault) {
	if c.flt == nil {
		c.flt = faults{}
	}
	for _, f := range fs {
		c.flt[f] = true
	}
}
