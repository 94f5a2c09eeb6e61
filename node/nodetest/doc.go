// Package nodetest simulates a whole cluster, elections and chain, in one goroutine and in virtual time: the shipped
// cores (raftify/core, node/replication) under everything that a network, a disk, a clock and an executor can do to
// them, and a checker that judges each step by the invariants of PROTOCOL.md.
//
// # What a run is
//
// [Run] takes a seed; the seed decides everything, so a failure is replayed by its number. It first draws the size of
// the cluster (3 or 5), the sizes of windows, batches and caches, the speed of disks, executors and network, and which
// faults may happen and how often: a run with all faults at full rate would only ever see one kind of history. Then
// faults come and go for some seconds of virtual time while clients send transactions and read. At the end a random
// majority is made whole and connected, what is wrong elsewhere stays so, and progress is demanded within a bound.
//
//	draw --> boot --> chaos (nemesis, clients, reads) --> heal a majority --> commits resume (I14) --> all settled
//
// # What is real and what is simulated
//
// Both cores are the shipped ones, and are driven in the order of the real driver: after each input the hard state and
// then the chain's writes go into one FIFO queue, the status (with the lease) is published, and only then do messages
// leave. One fsync serves what was queued before it began; a crash loses an arbitrary suffix of what no fsync covered,
// commit marks that needed none included. Each node has three clocks with their own rates; a node may be paused with
// its clocks going on, or sleep with its monotonic clock standing still. Messages are lost, delayed, repeated and
// reordered, also those that a TCP link would keep in order. The executor is a small ledger in which each transaction
// is valid exactly once. In some runs nodes forget old blocks, and states travel: a node that lacks blocks, or is only
// behind, is brought the state of another's newest certified block and jumps to it, at times with a crash in the middle.
//
// # The checker
//
// [Checker] is separate from the simulator: it is fed with what nodes send, write, decide, sign, read and believe, in
// the order of true time, and can be fed from a trace of real processes as well. A violation begins with the number of
// its invariant: "I8: ...". A panic of a core's own invariant counts as a violation too, and so does an alarm of a core
// that names an invariant.
//
// # Schedules
//
// The schedules of PROTOCOL.md that concern the chain are tests of their own, TestScheduleNN_Name, and so are some more:
// 36 for restored folders, 37 and 38 for jumps. Each has a permanent
// negative twin, TestScheduleNN_Negative, under the build tag faults: with the rule switched off the checker must
// report an invariant by its number. A crash, a time-out or a panic is no catch.
//
//	go test ./node/nodetest -run TestSimulation                        # 2,000 seeds
//	go test ./node/nodetest -run TestSimulation -seeds 5000-6000       # others
//	go test ./node/nodetest -run TestSimulation -seeds 17-17 -v        # one, with its trace
//	go test -tags faults ./node/nodetest -run Negative
//
// # Limits
//
// Disks may be lost, or rot above the commit, one at a time; rot below it is for the store's tests. Nodes are not Byzantine. Time is event time: a step of a core takes none. The bound of I14 is 10 minET, and
// four times that when a voter of the majority has refused a block of the present term (the leader's watchdog must end
// it, after its back-off). While some chain holds a block whose state root others cannot reproduce, only elections
// without that node's vote succeed: progress is then counted, not demanded.
package nodetest
