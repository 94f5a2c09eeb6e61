//go:build !faults

package replication

type faults struct{}

func (c *Chain) broken(Fault) bool { return false }
