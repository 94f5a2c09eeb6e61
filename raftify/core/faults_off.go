//go:build !faults

package core

// FaultsBuilt reports whether this build has the switches of negative tests.
const FaultsBuilt = false

type faults struct{}

func (f faults) clone() faults { return f }

func (c *Core) broken(Fault) bool { return false }
