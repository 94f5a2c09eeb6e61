//go:build !faults

package core

// FaultsBuilt reports whether this build has the switches of negative tests.
const FaultsBuilt = false

type faults struct{}

func (c *Core) broken(Fault) bool { return false }
