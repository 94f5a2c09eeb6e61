// Package replication makes blocks durable on a majority of processors before anybody signs them. It is a pure core:
// one struct, Chain, that one caller steps; it does no I/O, reads no clock and starts no goroutine. It is the chain
// layer of PROTOCOL.md, rules R7 to R13, R19 and R20, and takes part in elections as the core.Hook of raftify/core.
//
// # The promise
//
// At one height only one block is ever committed (I8), and a committed block is in the chain of every later leader
// (I9). A block is signed only when it is committed. So no two different blocks of one height are ever signed.
//
// # How
//
//	        elected               SYNC(T) durable            majority acked >= take
//	voter ----------> taking over ---------------> leading ------------------------> committing
//	                      |                           |  ^
//	                      | no progress               |  | Propose: execute, append, send
//	                      v                           v  |
//	                   step down <------ higher term, no quorum, no commit in time, refused block
//
// A winner adopts the greatest report (synced term, height) of the majority that elected it: it fetches the bodies,
// executes them and writes one atomic record SYNC(T). From then on its chain only grows (R9). A follower does the
// same towards the leader's takeover block, cutting its own tail where it differs, and acknowledges only after that
// (R7): an acknowledgement in term T says "my durable chain is, up to here, the chain of T's leader". A height at or
// above the takeover that a majority acknowledged in T is committed (R10).
//
// A winner that cannot reproduce a block of that report may not drop the block: somebody may have committed it. It asks
// the voters that were not counted yet, and takes the greatest report of a majority that does without that chain (I5),
// or steps down. All of them promised this term, so each majority of them knows of all that was committed before. It does
// the same when no block of the report has come for an election timeout, but goes on waiting where no such majority is.
//
// A certificate (cterm, height, hash) says that the leader of cterm counted that commit. It may come from anyone and
// at any time, and moves a node forward as a leader would (R11), so that a node that cannot hear the leader keeps up.
//
// # Jump
//
// A node that lacks much, or whose missing blocks nobody has any more, need not execute its way: the driver brings it the
// state of a committed block, and [Chain.Jump] makes that block the whole chain, in one record, as SYNC does with blocks.
// It is R11's rule: newer than the own report and, where the node vouches for more than it has, no less than that; above
// the commit; from then on the label is the certificate's term. A leader, also one that is taking over, and a candidate do
// not jump: their chain is what they were elected with. A vote meanwhile reports what is durable, as ever.
//
// The chain is then [height..tip], as if all below had been pruned. What an ack, an old proposal or a certificate says of
// heights below is not compared: they are committed, so it is the same (I8). Who asks for blocks below hears where the
// chain begins ([PrunedError]) and goes elsewhere; [EventPruned] says it to its driver, who brings a state when it must. So
// a winner who hears that steps down at once, and jumps then.
//
// # Messages
//
//	Prop       leader -> all       a block that extends the leader's chain, and its newest commit
//	Ack        follower -> leader  all up to this block is durable here, in this term
//	Nack       follower -> leader  the state root of this block cannot be reproduced here (R13)
//	Committed  anyone -> anyone    a certificate
//	Fetch      anyone -> anyone    a request for blocks, served from the store by the driver; or the height it begins at
//
// # Durable state
//
// chain [base..tip], synced, commit (rides on the next write), and the term in which this node refused a block. Writes
// leave through Ready in order; the store applies each atomically and reports it durable in the same order. The
// chain in memory is the chain as queued; reports and acknowledgements speak of the durable one only.
//
// # Execution
//
// A block is appended only when its state root was reproduced here. Execution runs elsewhere: Ready.Execs asks,
// Executed answers, and the conditions of R8 are checked again at the append, because the term or the chain may have
// changed meanwhile. Blocks come in parent order; the executor keeps the states of uncommitted blocks by hash.
//
// # Damage
//
// A node that cannot show all that it acknowledged is given the mark as Options.Claim (R25). It votes with the mark as
// its report and says that it lacks some of it, does not campaign or acknowledge, and fetches the blocks by hash, until
// its chain is as great again. A winner leads without such a chain only if a majority that promised its term, which
// of three is all others, does not report it.
//
// # Limits
//
// Damage at or below the commit is not repaired here. Two voters, one of them damaged, wait for the block. What a node
// vouches for is not given up for a state that is less; the block must still be found with somebody.
//
// Uncommitted blocks are bounded by MaxInflight, bodies of other chains by count and bytes; a follower that lacks
// more than the leader has in memory fetches certified blocks from anyone, in batches.
package replication
