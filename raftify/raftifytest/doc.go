// Package raftifytest holds simulated time, networks and disks, and the checkers of the election's invariants. It is
// exported so that a program that embeds raftify can put its own application through the same faults.
//
// # The pieces
//
// Everything runs in one goroutine and in true simulated time, a time.Duration since the start of the simulation, that
// only the test sees. The parts can be used one by one; a simulator asks each for its Next instant, goes to the
// earliest and lets that part Step.
//
//	Rand    the one source of chance of a run: a seed draws the faults and also their rates
//	Net[M]  messages of any type: loss, delay, reordering, repetition; links cut one way, both ways, in part; messages
//	        on a cut link are lost or kept until it mends, as socket buffers do
//	Clock   what a node reads: three clocks that drift within the bound, stand still, or are stepped by an operator
//	Disk[W] a FIFO queue of writes of any type under group commit; a crash loses an arbitrary suffix of what was not
//	        synced; it can be slow and it can hang
//	Checker watches what nodes say and do, and names the invariant of PROTOCOL.md that is broken
//	Cluster some core.Core on those parts, with commands for directed tests and Faults for random ones
//
// # What is checked
//
// I1 one leader a term. I2 per incarnation and across restarts, the term never falls and there is one vote a term. I11
// a configuration's number determines its members, and no incarnation goes back to a lower one. I13 for reads: when a
// heartbeat round ends, no later leader had begun to lead before the round was asked for. I14 after a majority is
// healed around one node, a leader leads within 10 MinElection. I15 at no instant of true time two valid leases: a
// paused node counts with its last published lease and its own clocks. R9 leadership is never resumed in a term. An
// alarm of a core is a violation as well, since no fault that Faults draws should raise one.
//
// # Limits
//
// A start raises the boot counter at once: the fsync before the first message is not simulated. Cluster runs
// elections alone; the chain's simulator is node/nodetest.
package raftifytest
