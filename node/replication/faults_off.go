//go:build !faults

package replication

type faults struct{}

func (f faults) clone() faults { return f }

func (c *Chain) broken(Fault) bool { return false }
