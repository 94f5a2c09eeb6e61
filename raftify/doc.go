// Package raftify elects one leader among a few nodes, without a log, and hands its users a lease that they may rely
// on. It drives the protocol of package core: it gives it clocks, a disk and a network. It can be used alone, for
// whatever must run on one node at a time, or under a replicated application that registers a core.Hook and keeps its
// own data in one order with the election's.
//
// # Promise
//
// At most one node leads a term, and at no instant do two nodes hold a valid lease (Node.Lease), however messages are
// lost, delayed or repeated, nodes crash, and processes stand still, as long as no clock of the cluster runs faster or
// slower than Timing.Drift allows. While a majority of the voters can talk to each other, one of them soon leads.
// A node that is cut off learns nothing and can promise nothing: its lease runs out before others may elect.
//
// # States
//
//	           no heartbeat within minET..2 minET          majority would vote
//	follower ────────────────────────────────▶ pre-candidate ─────────────────▶ candidate ◀──┐
//	  ▲  ▲ ▲                                      │      ▲                        │   │      │ TimeoutNow of the
//	  │  │ └───────── leader heard ───────────────┘      └──── no majority ───────┘   │      │ leader (a handover)
//	  │  └──────────── leader heard, higher term ─────────────────────────────────────┤      │ skips the pre-vote
//	  │                                                             majority voted    ▼      │
//	  └── higher term, no majority answers, store failed ◀────── leader ◀── takeover done ── leader (taking)
//
// A learner follows and answers, and campaigns only once a configuration makes it a voter.
//
// # Messages
//
// PreVote and Vote with their answers, HB and HBAck (heartbeats, which also carry the configuration and the
// application's attachment), TimeoutNow (handover), Term ("yours is old"), and four for the bootstrap; core.Message
// lists their fields. On the wire a message is one version byte and a canonical msgpack array (wire.go), in a datagram that
// is encrypted and authenticated with a key of its own made from the gossip key (datagram.go), on the one UDP and TCP port
// that memberlist uses as well; long ones take memberlist's TCP. Any message may be lost: whoever needs an answer asks
// again.
//
// A death notice (notice.go) comes to the same UDP port without the gossip's encryption, from a supervisor that has no
// key: it is a statement of which start of which node has ended, signed beforehand by that node's own key
// (Options.PeerKey), and counts for that start alone, however late or often it comes. Requests for votes carry it on.
//
// # Durable state
//
// core.HardState, kept by a Store: id, incarnation (random, made with the folder), boot number (raised and synced by
// New, before anything is sent), term, vote, configuration, bootstrap promise. FileStore keeps it in one file.
// A replicated application implements Store over its own log, so that one order covers both.
//
// # The owner loop
//
// One goroutine at a time owns the core: the loop's own, or one that called Do while nobody was in the loop, since to wake
// another costs more than a turn. Inputs are messages, time, and functions given to Post or Do, among them the completions
// of writes. After each single input, in this order: the hard state goes to Store.Save; the status with its lease is
// published; AfterStep lets the application queue its own writes and sends; messages leave; events are told. What
// must wait for an fsync the core holds back by itself until Durable, so nothing in a turn ever waits for the disk,
// and heartbeats flow while it is busy. The clock is read at each input, and time passes for the core when it is due
// however full the queues are.
//
// # Heartbeats of a busy node
//
// Two things keep a node that is not run in time from losing its leadership for nothing.
//
// Who stood still gives one more round. When the loop was late by two heartbeats it tells the core so (core.Core.Stalled)
// before it lets time pass: a leader then waits up to MinElection for answers before it gives up (R18), a follower three
// heartbeats before it campaigns (R4). Neither changes what anybody may promise: leases and faith go by the clock.
//
// A leader's newest heartbeat is said again, by a thread of its own, when the loop is late with the next, as long as the
// loop has turned within half a MinElection (R23) and no write has failed (R24). What it says is the very message that the
// loop sent, so to the others, and to every invariant, it is a network that repeats: it acknowledges and promises nothing
// new (I3); an answer to it carries the old number, so the lease (R21, I15) and the leader's own quorum (R18) still count
// from when the loop sent it, and a read (R20, I13) needs a number that was sent after it began. What it does is keep the
// followers' faith, for half a MinElection longer than they would have; a loop that hangs is replaced that much later.
// The thread sleeps in the kernel and asks for real-time priority, or else the best nice level; where it may have
// neither the log says so, at level INFO. Stats.Repeated counts.
//
// # Invariants
//
// I1 (one leader a term), I2 (term and votes never taken back, across restarts), I11 (configurations) and I15 (no two
// leases) of PROTOCOL.md; core checks its own side in production and panics when our code breaks one. This package adds:
// nothing is sent before the boot number is durable (R3); a lease is compared with the clock at each use (R21); a
// status never shows a lease that a message already sent has given up (R22).
//
// # Faults
//
// Messages may be lost, repeated, reordered, delayed for ever, cut in one direction; processes may stop and go on;
// machines may sleep; wall clocks may be set; disks may fail. Members are not hostile, and the key keeps strangers
// out. What memberlist believes about who is alive is shown to people and decides nothing.
//
// # Recovery
//
// A restart continues with the stored state, and waits one minimal election timeout before it votes for another than
// its leader. A failed write ends the loop at once, without another heartbeat; Fatal is told, and the process should
// exit (R24). A damaged vote file is an error of New, never an empty one: replacing the folder makes a newcomer of the
// node, which must be added again. memberlist forgets dead peers; the node keeps knocking at the configured ones.
//
// # Limits
//
// 64 members, ids of 64 bytes, addresses of 256, attachments of 4 KiB. All nodes must use the same timings. The first
// configuration needs all of its Expect members at once. A majority that is lost for good is an operator's matter.
//
// # Use alone
//
// Three machines, of which one at a time does the job. A raftify.json on each (LoadConfig; ParseConfig lists the keys):
//
//	{ "id": "a", "max_nodes": 3, "expect": 3, "encrypt": "file:gossip.key",
//	  "bind_addr": "10.0.0.1", "bind_port": 7000,
//	  "peer_list": ["a@10.0.0.1:7000", "b@10.0.0.2:7000", "c@10.0.0.3:7000"] }
//
// and in the program:
//
//	cfg, err := raftify.LoadConfig("/etc/myservice/raftify.json")
//	...
//	store, err := raftify.OpenFileStore("/var/lib/myservice/vote")
//	...
//	node, err := raftify.Open(ctx, raftify.Options{Config: cfg, Store: store, Logger: logger, Fatal: stop})
//	...
//	for {
//		lead, err := node.Leadership(ctx) // blocks until this node leads
//		if err != nil {
//			break
//		}
//		work(lead, lead.Term) // a context that ends with the lease, and a fencing token
//	}
//	err = node.Shutdown(ctx) // hands over first
//	err = store.Close()
//
// Before each effect the work asks lead.Err(), which reads the clock. What an effect must survive even if the process
// is stopped between the question and the effect is fenced by the term: its receiver refuses a smaller one than it has
// seen. Package example is such a program, and is tested by killing and stopping it.
//
// # What to call
//
//	Open, New, Start, WaitLeader          begin, and wait for the bootstrap
//	Leadership, Lease, Leading            act as the leader; Round proves leadership of this very moment
//	State, Term, Leader, Members, Status  look
//	Events                                what happens, as a channel that never holds the election up
//	Transfer, Shutdown, Close             hand over, end with a handover, end at once
//	InviteMember, PromoteMember,
//	DemoteMember, RemoveMember            change the membership, on the leader
//	Leave                                 give up this node's own vote, on any node
//	InstallKey, UseKey, RemoveKey         change the gossip key while the cluster runs
//	HealthScore, Stats                    look after it
//
// An application that replicates something of its own registers a core.Hook; BasicHook is one to embed, for instance to
// attach something to votes. Package raftifytest runs such a hook under simulated faults, and its package explore says
// what of the election is explored exhaustively. COMPARISON.md compares all this with the Raftify of Blockscape, and
// names the papers that the rules are from.
package raftify
