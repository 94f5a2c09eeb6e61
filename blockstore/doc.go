// Package blockstore is the durable side of a node, on Pebble, in one folder: the chain, its indexes, the state's nodes
// and the hard state of the election and of the chain. It is the only place of the program that writes to the data
// folder, and so the one fsync domain that PROTOCOL.md R1 asks for.
//
// # Promise
//
//   - A [Batch] is durable completely or not at all, and batches become durable in the order in which they were
//     enqueued: after a crash the store holds a prefix of the queue that contains everything acknowledged.
//   - An answer (done(nil)) to a batch without NoSync follows the fsync that covers it.
//   - After the first failed write or fsync nothing is acknowledged any more and nothing reaches the disk (R24).
//   - Nothing is ever truncated or repaired in silence. What contradicts itself is a [*CorruptionError].
//
// # One queue, one fsync for all that waits
//
//	Enqueue ──> queue ──> writer: all that is queued, up to 8 MiB,  ──> one Pebble batch ──> Pebble's log: write, fsync
//	(any goroutine)       checked against the state so far                                        │
//	                      publish state, done callbacks in order  <───────────────────────────────┘
//
// While one group waits for its fsync the next gathers in the queue. A group in which every batch says NoSync is written
// without an fsync; a later group's fsync covers it, since both stand in the same log. Commits and signatures do not even
// make a group of their own: they wait for the next batch, 20 ms at most, since a write of their own would cost as much as
// the block's.
//
// # Records
//
// Keys are one letter followed by a big-endian height or a hash:
//
//	b height     -> block hash || encoded block (package block)   h height   -> block hash
//	i block hash -> height                                        t tx hash  -> height || u32 index, committed only
//	s height     -> signature                                     c height   -> u64 cterm of its commit certificate
//	n node hash  -> encoded state node (package merkle)
//	mformat      -> u64 1                                         melection  -> opaque
//	mcommit      -> height || hash || cterm || from               mnacked    -> u64 term
//	msigner      -> height || hash                                mcheckpoint-> height || block hash || state root
//	mmark0, mmark1 -> u64 seq || u64 synced || height || tip hash || 8 bytes of their SHA-256
//
// A block is read back by decoding it, which recomputes the transactions' root, and comparing its hash with the one in
// front: that is its checksum. State nodes are named by their hash. Pebble has a checksum on each of its blocks.
//
// # Mark
//
// The mark (synced, height, tip) is what a vote reports. Every batch that changes one of the three writes it, in the same
// atomic batch, to the slot of its sequence number's parity; the slot with the greater number counts.
//
// # Crash and recovery
//
// A group is one Pebble batch, and one Pebble batch is one record of the write-ahead log with checksums over its chunks:
// a crash keeps or loses it whole. The log ends at the first record that is cut off or torn. From
// FormatWALSyncChunks on, which Open demands, each chunk says up to where the log had been synced when it was written, so
// a bad chunk with a good one behind it that vouches for it is recognised as rot, and Open fails instead of ending the
// log there.
//
// What a crash left unsynced may be readable after the restart and gone after the next crash. Pebble does not let that
// happen: Open replays the log into memory tables, flushes all of them to new sstables, syncs these and the manifest, and
// only then returns (open.go: replayWAL marks each table flushForced, Open waits while flushing). The old log is deleted
// after that. A test crashes right after Open and demands that nothing disappears. This is what R24 means by rewriting
// the unproven tail.
//
// Open then checks that the chain begins at 0 and ends exactly at the mark, that the commit lies in it, and that all
// blocks from the commit to the tip are there, hash to what the indexes say and link. Blocks further down are checked
// when they are read; [VerifyDir] checks everything.
//
// # Failure
//
// Below Pebble lies a file system (failstop.go) that stops for good at the first error of a write, sync, create, rename
// or close: it reports the error and never answers. Pebble would retry some of these, and would end the process for
// others; so it can do neither. [Options].Fatal is called once, every batch not yet acknowledged and every later one gets
// [ErrFailed], from a goroutine that takes the place of the writer, whom a failed file system keeps. Reading goes on. The
// folder stays locked until the process ends, which is what its owner should see to.
//
// A panic with "invariant broken" means that our own code asked for something that PROTOCOL.md forbids, such as a cut
// below the commit. It is raised in the writer before anything of the group is written.
//
// # Limits
//
// Nothing is pruned: blocks, and nodes of states that are no longer the newest, stay. Below the commit, Open does not
// look for missing heights. Repair of damaged blocks from peers is not done here; the error names the height.
package blockstore
