// Command state measures what the size of the state costs, and how long a start takes.
//
//	go -C scripts/bench build -o ../../bin/bench-state ./state
//	bin/bench-state --accounts 10000,1000000                   # one process a size, ratios to the first
//	bin/bench-state --accounts 10000,10000000 --txs 100000     # 2 minutes of CPU time to fill, 1.1 GB of disk
//	bin/bench-state --blocks 1000000                           # time of a start on that many stored blocks
//	bin/bench-state --genesis 100000                           # time of a start with a genesis of that many accounts
//
// With --accounts, each size gets a store of its own that is filled through checkpoints, in the order of the keys so that each
// node is written once, is opened again and then executes
// blocks of transfers from 512 senders to accounts drawn from all of them, as a leader does: the block is built, appended
// with an fsync, committed, and now and then a checkpoint is written and old states are pruned beside it. The state was read
// ahead, as a node does after a start; with --cold it was not. Signatures are neither made nor checked in the time measured:
// three nodes that check them would hide the state's share. The sizes take turns, a slice of transactions each, so that
// whatever else the machine does falls on all alike. Reported are transactions a second of wall time until they are
// durable, and the CPU time of one with all that goes on beside it, compactions too, which a busy machine distorts less;
// the process's peak memory after the filling and what of that is cached state; what it wrote, as the kernel counts it, for
// each transaction, and what of that went to the log, to the mark file (a copy of the log, twice), to tables when memory
// tables were flushed, and to tables again in compactions; the store's size; and for proofs of accounts drawn from all of them
// their size and the time to make and to check one.
//
// Bytes written differ between runs of the same binary, since flushes and compactions come in lumps: a memory table is flushed
// after 32 MB of log, which is after 40,000 transactions with checkpoints and 90,000 without, a checkpoint is written after
// 64 MiB of new nodes, which with a million accounts is after 100,000, and a compaction of the first level rewrites what its
// tables overlap, which with transaction hashes and deleted nodes is most of the store. Whether the last one of each falls
// into the run or behind it makes hundreds of bytes a transaction. Log and mark do not vary but for the checkpoints in them.
// Only runs of some hundred thousand transactions compare.
//
// With --genesis, node.New is timed on a new folder, on that folder again, and with another genesis, which it must refuse.
//
// With --blocks, a store is filled with blocks of one transaction that nobody executes, up to a checkpoint, and as many
// executed blocks as half a checkpoint's distance on top; then node.New is timed, which opens the store, brings back the
// state and makes everything ready to run. Nothing is deleted but the folders that it made under --dir.
package main
