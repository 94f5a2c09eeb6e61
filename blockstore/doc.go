// Package blockstore is the durable side of a node, on Pebble, in one folder: the chain, its indexes, the state's nodes
// and the hard state of the election and of the chain. It is the only place of the program that writes to the data
// folder, and so the one fsync domain that PROTOCOL.md R1 asks for.
//
// # Promise
//
//   - A [Batch] is durable completely or not at all, and batches become durable in the order in which they were
//     enqueued: after a crash the store holds a prefix of the queue that contains everything acknowledged.
//   - An answer (done(nil)) to a batch without NoSync follows the one fdatasync that covers it, which is the mark's.
//   - After the first failed write or fsync nothing is acknowledged any more and nothing reaches the disk (R24).
//   - Nothing is ever truncated or repaired in silence. What contradicts itself is a [*CorruptionError].
//
// # One queue, one fsync for all that waits
//
//	Enqueue ──> queue ──> writer: all that is queued, up to 8 MiB,  ──> one Pebble batch ──> Pebble's log, not synced
//	(any goroutine)       checked against the state so far                              └──> the mark: write, fdatasync
//	                      publish state, done callbacks in order  <───────────────────────────────┘
//
// While one group waits for its fsync the next gathers in the queue. A group in which every batch says NoSync is written
// without an fsync; a later group's covers it, since its record has a copy of both. Commits and signatures do not even
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
//	mformat      -> u64 4                                         melection  -> opaque
//	mcommit      -> height || hash || cterm || from               mnacked    -> u64 term
//	msigner      -> height || hash                                mcheckpoint-> height || u64 seq || block hash ||
//	                                                                            state root || u64 root node || u64 next node
//	mimport      -> u8: an import into this folder is under way, or what its chain may be used for
//	mdamage      -> u8 1: stored state was found damaged, the next start must not go on from it
//	mfolder      -> 16 random bytes, made with the folder
//	mgenesis     -> SHA-256 of what genesis was made of || hash of block 0
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
// before it; an acknowledged block would be gone and nobody would know. So the mark has a file of its own, "mark", and what
// is acknowledged stands in two places from the first moment on. The file is a ring of records, written twice:
//
//	mirror 0: | record | record | record | free ...     4 MiB, records begin at pages of 4 KiB
//	mirror 1: | record | record | record | free ...     the same again, right behind it
//
// A record (markrecord.go has the layout) has the folder's id, the number of the newest group, the mark, the election's
// hard state, the last refusal, and a copy of every group that no record before it has; each group, and what stands in
// front of them, with a checksum of its own. It is written to both mirrors and synced with ONE fdatasync; then comes
// done(nil). Pebble has the same groups in its log by then, but not synced: that follows behind (logsync.go), after 200 ms
// at the latest, sooner when half of the ring is full, and at Close. Only what the log has for good is overwritten, and
// never the newest record. If a sync of the log takes longer than a second, answers wait for it as well: a log that hangs
// must not look like a disk that is well (R19). A group that no record takes, with about 1 MiB, is synced in the log first
// and marked after that, without a copy. So is one of which a page in the file would begin as records do: a transaction can
// be made to look like a record of another folder, and a start looks for records at every page.
//
// Why this cannot be told apart wrongly: a record that was acknowledged is whole in both mirrors, and between the two are at
// least 3 MiB, so no single damage shorter than that makes it unreadable. What is whole in neither was therefore never acknowledged, and is passed
// over; so a power cut in mid-write, of all nodes at once, leaves no mark that vouches for a block that nobody has.
//
// Measured on one disk, each the median of 200: of 4 KiB, log and a second file synced at the same time 1, the two mirrors
// with the log not synced 0.32 to 0.54; of 32 KiB 0.29 to 0.52; of 128 KiB 0.54 to 0.61; of 512 KiB 0.92 to 1.08. The store
// with one batch at a time: 1 to 0.68 to 0.72; with eight 0.52 to 0.74.
//
// The alternatives: one header in front of the copies and one behind them tells the rot of a copy from a torn write only
// by guessing, and either forgets what was acknowledged or vouches for what never was. A copy of all groups since the
// log's last sync in each of two slots writes the same bytes again and again. Without Pebble's log at all, rot would
// find one place less.
//
// # What a start finds
//
// Cuts are a crash of the machine; a crash of the process leaves what was written, synced or not. "Whole" is: in at least
// one mirror, or in the two together.
//
//	newest record torn in both mirrors                  never acknowledged: the one before it counts
//	newest record torn, or rotten, in one mirror        the other one counts, and says it to a person
//	it is whole and the log ends before it, by a cut    what is missing is put back, in order, from all records since the
//	of what was not synced, or by rot                   folder was opened last, and flushed out of the log
//	  a copy of what is missing is in no record         promises stand, the mark is asserted, [Store.Lost] says what to fetch:
//	                                                    a group that no record takes, or a second damage
//	  and it had been synced in the log before          [*CorruptionError]: more than the last writes is missing
//	the log goes on behind the newest record            a crash between the two, or writes without an fsync: marked anew
//	the log goes on too far behind it                   [*CorruptionError]: the mark is of an older time
//	the log ends where it was synced, rot further up    Pebble tells it from a torn end, and refuses
//	the log's end is there, older writes are not: a     the hard state is compared with the mark's: [*CorruptionError]. Blocks
//	rotten manifest, which Pebble takes for its end     are missed as further down
//	ring overwritten while the log has not caught up    never: a record keeps its place until the log is synced beyond it
//	crash while records are put back                    the mark is as before, so it is done again; it is renewed at the end
//	an fsync, or a write, of either file fails          all stops, nothing later is acknowledged; what was, is in the mark
//	the mark hangs                                      no answer
//	the log hangs                                       answers stop when the ring is full, or after a second
//	writes without an fsync                             may be lost, with all that comes after them; the next record that is
//	                                                    acknowledged has a copy of them
//	election and refusal                                are in every record, and in the groups; never older than the newest
//	                                                    record that is whole
//	a block above the commit cannot be read             the chain ends below it, the mark is asserted, [Store.Lost]
//	a block at or below the commit cannot be read       whoever reads it gets a [*CorruptionError] with its height
//	no record can be read; the file is cut short; mark
//	and chain are of two folders, or of two times       [*CorruptionError]: the folder is to be emptied
//
// Every start renews the mark: a record in another place, for what is all durable in the database by then. Records from
// before it are history and put nothing back.
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
// the receipt is 45; 446 bytes a block, all in all, stay on the disk of blocks with one transaction of 210 bytes; and old
// states, as much as each checkpoint rewrites: with a million accounts 34 MB, after 100,000 transfers. [Store.PruneBlocks] removes bodies, signatures and certificates below a height and receipts below another;
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
// blocks were pruned; [Store.FillBelow] puts them back, newest first, each batch under the block that names its last one.
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
// With what the mark has beyond the log Open does the same: it is put back and flushed, then the mark is renewed.
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
