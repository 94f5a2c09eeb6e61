//go:build !faults

package node

import "github.com/baton-ha/baton/raftify"

// signEarly names a rule that only builds with the tag `faults` can switch off.
const signEarly = "R12-early"

// clock returns the machine's clocks.
func (n *Node) clock() raftify.Clock { return raftify.SystemClock() }

// mutant holds nothing in builds without the tag `faults`.
type mutant struct{}

func (mutant) broken(string) bool { return false }
