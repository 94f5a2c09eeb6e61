// Command state measures what the size of the state costs, and how long a start takes.
//
//	go -C scripts/bench build -o ../../bin/bench-state ./state
//	bin/bench-state --accounts 10000,1000000 --seconds 20      # one process a size, ratios to the first
//	bin/bench-state --blocks 1000000                           # time of a start on that many stored blocks
//
// With --accounts, each size gets a store of its own that is filled through checkpoints, is opened again and then executes
// blocks of transfers from 512 senders to accounts drawn from all of them, as a leader does: the block is built, appended
// with an fsync, committed, and now and then a checkpoint is written and old states are pruned beside it. Signatures are
// neither made nor checked in the time measured: three nodes that check them would hide the state's share. Reported are
// transactions a second, the process's peak memory after the filling, what it wrote, as the kernel counts it, for each
// transaction, the store's size, and for proofs of accounts drawn from all of them their size and the time to make and to
// check one.
//
// With --blocks, a store is filled with blocks of one transaction that nobody executes, up to a checkpoint, and as many
// executed blocks as half a checkpoint's distance on top; then node.New is timed, which opens the store, brings back the
// state and makes everything ready to run. Nothing is deleted but the folders that it made under --dir.
package main
