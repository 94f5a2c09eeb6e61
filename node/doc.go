// Package node is one processor of an app-chain: it takes signed transactions, executes them into blocks while it
// leads, has a majority of processors make each block durable before it signs it, and follows while another leads.
// Embed it with an App of your own, or use the built-in ledger.
//
// # Promise
//
// No two different blocks of one height are ever signed, and nothing that was answered final is ever lost, whatever
// pauses, clocks, crashes, disks and networks do (PROTOCOL.md, I1 to I17). A transaction that was once answered is
// answered the same for ever, by every node.
//
// # How data flows
//
//	client -> api -> router ---- forwards to the leader ----> mempool -> engine (executes) -> replication -> blockstore
//	            ^                                                                                 |             |
//	            |                                                              acknowledgements of a majority   |
//	            +---- receipt <- finals <- finalizer (signs) <------------------- committed ------+    one queue, one fsync
//
// raftify tells who leads. Its owner loop is the only place that touches the election core and the replication
// core (package replication), so that a block's conditions and this node's own role are judged in one step (R1). The
// loop waits for no I/O: writes of both layers go through one queue of the store and come back as events, as do executed
// blocks and fetched ones.
//
// # Goroutines
//
//	owner loop   (raftify)   steps both cores; publishes view
//	store writer             one fsync for all that is queued
//	engine                   executes others' blocks, builds own ones
//	finalizer                signs committed blocks in order, answers who waits
//	router                   forwards what had to wait, sends again after a change of leader, gives up after PendingFor
//	checkpoints              writes the state out now and then
//	syncer                   looks whether this node is far behind, and then brings a state here to jump to
//	backfill                 brings the blocks below such a state, slowly
//	warm                     after a start reads the state ahead of its use, and ends
//
// Nobody waits for the engine but who waits for its blocks. It waits for the finalizer, which waits for checkpoints, when states
// come faster than they can be written: what is executed and not final is bounded.
//
// On an idle node a change of goroutine costs more than the work: a request's own goroutine hands its transaction to the
// leader's pool or has it sent, and a small proposed block is executed on the goroutine that received it.
//
// # Transactions
//
// The node that took a transaction looks after it: it hands it to each new leader until it is final or impossible.
// Handing it over twice does no harm, since a nonce is used once. A refusal (409, 422) names the block on whose state
// it was decided and is answered once that block is final; if that block lost, the leader is asked again. After 30
// seconds the answer is 504 when some leader may have proposed it, 503 when certainly none did.
//
// # Reads
//
// By default a read is linearizable (R20): the leader notes its commit, at least its takeover, proves by a heartbeat
// round that it still leads, and the node that was asked waits until its own final height is there.
//
// # Catching up
//
// A node that is a little behind fetches blocks and executes them. One that has nothing, or lacks more blocks than a
// restart would execute, or such as nobody has any more, takes a state over (mode state, the default):
//
//	wanted -> offer -> transfer ---------> certify -> state opened -> Chain.Jump -> Batch{Jump} durable -> shown -> filled in
//	          (package node/sync, beside    (members   (the key is     (owner loop: states, engine,    (finals, clients
//	          the work; a crash keeps it)   only)       the chain's)    finalizer, queuedFinal)         that wait)
//
// What is signed and shown goes over in one order: the finalizer signs nothing below once the jump is queued, and shows
// the new place when it is durable. A node that leads or stands for election does not jump; it waits a little for the end of
// that. The certificate, which no signature covers, is a member's word of the same cluster or what this node heard itself.
// Nobody waits for any of this who founds a cluster: there is nothing to catch up with.
//
// The node is then one whose older blocks were pruned. What was answered once it answers the same: receipts and blocks
// below come from other members, verified or a member's word, and when those that may know do not answer, the outcome of a
// transaction is unknown, never refused. Meanwhile backfill brings the blocks below, as far down as retention keeps them.
// Mode block executes everything, archive keeps everything as well, from:HEIGHT begins at a state of that height. Members
// are served on the peer port, others on Config.Sync.Listen.
//
// # A leader that dies
//
// Others need not wait for a timeout when they are told. A supervisor that sees this process exit sends DeathNotice to
// NoticeTargets (R23a). A node whose link to the leader breaks connects to it anew; a refusal starts the pre-vote early,
// but unseats nobody before the election timeout, because a firewall may refuse as well (R23b).
//
// # Start and stop
//
// New executes the stored blocks since the newest checkpoint, at most a few thousand, and no others. Run hands
// leadership over when its context ends, and does not take it again while requests end. A failed write or fsync ends Run
// with an error at once: nothing is retried (R24), and the process should exit.
package node
