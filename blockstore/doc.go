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
//	n u64 id     -> state node (package merkle)                   k u64 seq  -> the checkpoint, same as mcheckpoint
//	p position   -> hash || u64 lane || u64 node || u8 split, of a part of a transfer
//	o u64 seq || u32 chunk -> ids of the nodes that checkpoint seq no longer has, ascending, as differences, uvarints
//	x height     -> hashes of a pruned block's transactions       mbase      -> first height with blocks || with receipts
//	mformat      -> u64 3                                         melection  -> opaque
//	mcommit      -> height || hash || cterm || from               mnacked    -> u64 term
//	msigner      -> height || hash                                mcheckpoint-> height || u64 seq || block hash ||
//	                                                                            state root || u64 root node || u64 next node
//	mimport      -> u8: an import into this folder is under way, or what its chain may be used for
//	mfolder      -> 16 random bytes, made with the folder
//	mposition    -> u64 seq || u64 from || mark || u8 1 and claim, or zeros || 8 bytes of their SHA-256
//
// where a mark, and a claim, is u64 synced || height || tip hash.
//
// A block is read back by decoding it, which recomputes the transactions' root, and comparing its hash with the one in
// front: that is its checksum. State nodes are named by their hash. Pebble has a checksum on each of its blocks.
//
// # Mark
//
// The mark (synced, height, tip) is what a vote reports. If the only record of it stood in the log beside the blocks, one
// damage could take both: Pebble takes a damaged last record of its log for one that a crash cut off, and ends the log
// before it; an acknowledged block would be gone and nobody would know. So the mark has a file of its own, "mark", of two
// slots that are written in turn, 1 MiB apart:
//
//	          fsync                  fsync
//	group ──> Pebble's log    group ──> the slot whose turn it is        at the same time; done(nil) after both
//
// A slot holds the folder's id, the number of the newest group, the mark, the election's hard state, the last refusal,
// and a copy of all groups since the last fsync (markslot.go has the layout). The copy is why the two may be synced at the
// same time: whichever the other one loses, to a power cut between them or to rot later, is put back from it at the next
// start. Without it a power cut of the whole cluster could leave marks everywhere that vouch for a block which no log has.
// A group that no slot takes, with about 1 MiB, is synced in the log first and marked after that, without a copy.
//
// Measured on one disk as the median of 300 writes of 2 KiB: the log alone 1, both at the same time 1.27, one after the
// other 1.61 to 1.65; of 1 MiB: 1, 1.25, 1.58.
//
// The alternative, segments of our own instead of Pebble's log, would do without the second file only if each record
// were written twice there as well: a single log cannot tell the rot of its last record from a torn write.
//
// # What a start finds
//
//	the last group is in the log, not in the mark       a crash between the two: the mark is written anew
//	it is in the mark, not in the log                   it is put back
//	  and the mark has no copy of it                    promises stand, the mark is asserted, [Store.Lost] says what to fetch
//	a slot cannot be read                               the other one counts, it is written anew, the log says so
//	a block above the commit cannot be read             the chain ends below it, the mark is asserted, [Store.Lost]
//	a block at or below the commit cannot be read       whoever reads it gets a [*CorruptionError] with its height
//	no slot can be read; more is missing than the
//	last group; mark and chain are of two folders,
//	or of two times of one                              [*CorruptionError]: the folder is to be emptied
//
// Blocks that are lost are still asserted: the mark stands, here and in what votes report, until the chain is as great
// again, with those blocks or with a later leader's. What can be read above the gap stays where it is until then.
//
// # Checkpoints
//
// The blocks are the log of the state: a block costs no write of a state node. Now and then [Store.SaveState] writes what
// is new in the state after a committed block: 256 KiB at a time, without an fsync, between the blocks; then, with one, the
// record that says that it is whole. A start loads the newest such state, lazily, and executes the blocks after it. What a
// crash leaves of a checkpoint that is not whole has ids from the last one's next id on: the next one deletes that range
// first.
//
// Each checkpoint also writes down which nodes it no longer has. [Store.PruneState] forgets the oldest checkpoint and then
// deletes what the next one no longer has, 4096 nodes a step, each step one atomic batch without an fsync, so that it can
// be stopped, and crash, anywhere, and finds what is left to do by looking. No step's cost depends on the size of the
// state, and none waits for the disk. Why a list a checkpoint, and not reference counts or mark and sweep, is in package
// merkle. [VerifyDir] counts: every stored node is in the newest state or in one list.
//
// # Retention
//
// What grows on the disk, measured with scripts/bench/state: 364 bytes a transfer go to the log in blocks of 500, of which
// the receipt is 45; 439 bytes a block, all in all, stay on the disk of blocks with one transaction of 210 bytes; and old
// states, as much as each checkpoint rewrites. [Store.PruneBlocks] removes bodies, signatures and certificates below a height and receipts below another;
// between the two a block leaves its hash and 32 bytes a transaction. Genesis stays. The chain is then [base..tip], with
// every height from [Store.Base] on; a body below it is [ErrPruned]. By default all blocks stay.
//
// # State from elsewhere
//
// A [Transfer] writes a state that other nodes have, beside what the store holds, and a [Jump] then makes that state's
// block the beginning of the chain:
//
//	Begin ──> parts, in any order: Want, Add (hashed and compared), Link (is here already) ──> Finish ──> Batch{Jump} ──> Close
//
// The jump is one batch, and so one record of the log: the chain above genesis goes, whatever of it there is, and the block
// with its signature and certificate, the checkpoint of its state, the base, the commit, the signer's record, synced and
// the mark are there. It goes only up: above the own commit, and to no less than the mark. The store is then one whose older
// blocks were pruned.
//
// Each part has 2^32 node ids of its own (a lane), so that several can be written at a time and one can be dropped as a
// range. A complete part is recorded under its position; a crash keeps a prefix of what was written, so that the record is
// there only with all its nodes; the next transfer, of whatever state, deletes the lanes without a record, reads and hashes
// what the records name, and goes on. What it has in common with the newest checkpoint is linked, not written: the id at
// the same position under the same hash. What that checkpoint has and the new state has not is listed as for any other
// checkpoint. Memory does not grow with the state.
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
// Open then compares log and mark as above, and checks that nothing stands above the tip, that the commit lies in the
// chain, and that all blocks from the commit to the tip are there, hash to what the indexes say and link. Blocks further
// down are checked when they are read; [VerifyDir] checks everything.
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
// Below the commit, Open does not look for missing heights. Fetching from peers is not done here; errors and [Store.Lost]
// name what to fetch. While a transfer is open there are no checkpoints and there is no pruning.
package blockstore
