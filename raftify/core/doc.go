// Package core is an election without a log: one leader a term among three or five voters, a lease for it, and the
// first configuration of a cluster. It is a plain state machine with no goroutine, lock, clock, I/O or logging inside:
// a driver feeds it time, messages and completed writes, and carries out what Ready returns. The rules (R1 and so on)
// and invariants (I1 and so on) are those of PROTOCOL.md.
//
// # Promise
//
// At most one leader a term (I1), whatever clocks, networks and crashes do. At no instant of true time two valid
// leases (I15), as long as the clocks keep the bounds below. If one node stays connected both ways to a majority, there
// is a leader within 10 MinElection (I14). A replicated application is registered as a Hook and called inline; what it
// wants it returns as Commands. The core alone knows nothing of blocks.
//
// # States
//
//	              timeout (R4)              majority of pre-votes, not sticky (R6)
//	+----------+ ------------> +---------------+ ------------------> +-----------+
//	| follower |               | pre-candidate |                     | candidate |--+ limit reached:
//	+----------+ <------------ +---------------+ <------------------ +-----------+<-+ pre-candidate again,
//	  ^  ^   |     heartbeat, vote given, higher term                  |              limits double
//	  |  |   |                                                         | majority of votes
//	  |  |   +------- TimeoutNow: no pre-vote (R22) -----------------> |
//	  |  |                                                             v
//	  |  |  no progress, another configuration, higher term     +-------------+
//	  |  +------------------------------------------------------| leader,     |
//	  |                                                         | taking over |
//	  |     no quorum (R18), handover not taken up (R22),       +-------------+
//	  |     higher term, CmdStepDown                                   | configuration (T, ver) durable,
//	  |                                                                v CmdTakeoverDone
//	  |                                                         +-------------+
//	  +---------------------------------------------------------| leader      |
//	                                                            +-------------+
//
// A node that is no voter of its configuration is a learner: it answers, and never stands. A pre-vote raises nothing. A
// candidacy persists (term+1, self) before it asks anyone. A pre-candidate that granted a smaller id's pre-vote waits
// two heartbeats, once, so that two nodes that outlive their leader do not split the votes. Leadership is never
// resumed in a term (R9).
//
// Sticky (R4) is a node that heard its leader, or started, less than MinElection ago, and a leader whose quorum is
// fresh. It refuses pre-votes and votes of others than its leader, also its own, except in a handover (transfer_of).
//
// # Fast suspicion
//
// A Death says that one start of a node has ended for good, which whoever saw its process exit knows (R23a). It is true
// for ever, so copies that come late or again do no harm. Who keeps faith with that very start keeps it no longer: a dead
// process uses no lease. Later messages of it are ignored. Those who may stand do so in the order of their ids, a quarter
// of a heartbeat apart, the first at once, and one that is behind after all others. Requests for votes carry the notice,
// so that one node that has it is enough. It frees neither a node that has just started, which may have acknowledged a
// leader that it forgot, nor one that heard a later start. A leader that hears of its own death steps down.
//
// Stalled tells that the driver itself was kept from running (stall.go): it looks at the clock before it has heard what
// came meanwhile. A leader without a fresh quorum then gives the others MinElection to answer before it steps down, a
// follower waits three heartbeats before it campaigns, each once. That is patience only: a lease ends when it ends, a
// leader whose quorum is stale denies no pre-vote, and faith lasts MinElection.
//
// Suspect tells that the leader's host refused a connection (R23b). That looks the same when a firewall rejects, so it
// starts the pre-vote early and no more, unless Timing.NoLease says that there is no lease to break.
//
// # Messages
//
//	PreVote      NextTerm, Cfg, Seq     could I win? Answered at once; Seq is the round, which lasts MinElection
//	PreVoteResp  NextTerm, Seq, OK
//	             Dead                   and why the receiver need not keep faith with the leader either
//	Vote         Cfg, TransferOf, Dead  resent each heartbeat while the candidacy lasts
//	VoteResp     OK, Attachment         the application's report, read when the promise is durable (R1)
//	HB           Seq, Cfg, Attachment   with the configuration that is durable at the leader
//	HBAck        Seq, CfgKey            asserts term, vote and the durable configuration; waits only for the first two
//	TimeoutNow   -                      stand at once for the next term (R22)
//	Death        Dead                   a start has ended: from anybody, at any time
//	Term         Cfg                    the answer to lower terms and to strangers: my term and configuration (R2, R3)
//	BootProbe, BootInfo, BootPropose, BootPromise   the first configuration (R26)
//
// Each carries cluster, sender, incarnation, start number and session (R3). The configuration that a message carries is
// adopted before the message is judged, and ends a candidacy.
//
// # Membership
//
// There is no log: a configuration travels in heartbeats, and the greater (cterm, version) wins. Reconfigure installs the
// next one, in which at most one voter differs, once a majority has acknowledged the present one in this very term and,
// as the application says, holds what is committed (R14). It is sent when it is durable at the leader.
//
//	           asked to join,          level for a while (R17),
//	           said the token back     or Reconfigure
//	stranger --------------> learner ---------------> voter
//	   ^                      |   ^                     |
//	   |  Reconfigure         |   | silent to everybody |
//	   +----------------------+   | for KickAfter (R16) |
//	   ^                          +---------------------+
//	   +------------------------------------------------+  Reconfigure, or its disk is new
//
// With Options.Membership the leader takes the automatic steps by itself, one at a time. Who has no configuration, or is
// no voter and hears no leader, asks all it knows to join; the leader's answer holds a token, so that a request that was
// under way for long lets nobody in. Another incarnation of an id takes its place only while the old one is silent, and
// in steps: the voter is demoted, the learner makes way for a learner, and that one is promoted when it is level. Two nodes
// with one id raise an alarm. A member whose own address is not the one in the configuration asks like a newcomer, and
// the leader changes the address. Members that have no other reason to talk ping one another, and a
// heartbeat's answer lists who was heard: what a voter hears is never demoted.
//
// What an operator said about an id stands in the configuration as well (Pin): it may join although it is no configured
// peer, it left and is not promoted by itself, or it was removed and may not come back. So that is as durable as the
// members are, and holds under every later leader.
//
// A vote that somebody wishes to go (Leave, ReconfigureAnswered) goes when a majority of the voters that would be left has
// answered a heartbeat sent after the wish: what they answered before may be the last word of one that is dead, without
// which, and without the one that goes, nothing could ever be decided. If they do not answer within MinElection it is refused
// (ErrUnsafe). This is on top of R14, which Reconfigure demands in any case.
//
// A node may be told that it should not lead (SetFitness). It says so in each heartbeat's answer; an unfit leader hands over
// to a fit voter, ever more rarely if that does not last, and unfit nodes campaign late. Neither unseats anybody.
//
//	Join         Addr, Seq      let me in; Seq is the leader's token
//	JoinResp     Cfg, Seq       the configuration, and from the leader the token
//	Ping, Pong   Seq, NextTerm  between members; a start that asks adds its session, which the answer repeats, and the term
//	                            of its folder
//	Stale        Attachment     to a start that does not count: why
//	Leave        CfgKey         take my vote (R16): from a member to its leader, repeated until it is answered
//	LeaveResp    OK, Seq        it is so and settled, or why it cannot be
//
// Where each rule comes from, section by section, stands in ../COMPARISON.md.
//
// # Durable state, and what a driver must do
//
// HardState is cluster id, id, incarnation, start number, term, vote, configuration and bootstrap promise. A driver
//
//   - raises Boot and makes it durable before New;
//   - makes each HardState durable in the order of its Seq, in one FIFO with the application's writes, and calls Durable
//     then. Messages in a Ready may leave at once: those that assert what is not durable yet are held inside;
//   - queues the HardState of a Ready before it lets the application queue anything of a later step;
//   - publishes Status, with the Lease, before it sends the Messages of the same step: a handover gives the lease up
//     before it sends TimeoutNow;
//   - reads the clocks for a Step after it received the message, and for a Tick before it sends: a follower's faith must
//     not begin before the heartbeat was sent;
//   - calls Tick at least each quarter of a heartbeat, or when Quiet says, and Stalled before it where Late says so;
//   - takes Dead out of a message, or drops a Death, unless its signature proves that the node itself wrote it for that
//     start; and has it told only by whoever saw that very process exit.
//
// # Faults that it stands
//
// Messages lost, repeated, reordered and delayed without bound; one-way and partial partitions; crashes that lose any
// write not yet durable; restarts at any time; processes and machines that pause; disks that are slow or hang; wall
// clocks that are stepped. Not: members that lie; durable state that is rolled back while the incarnation stays the same,
// but for what the next section says.
//
// # Restored folders
//
// A folder that was restored from a backup, or copied, has forgotten votes and acknowledgements, and nothing in it says so.
// Others may remember: each keeps, for an incarnation, its newest start and the highest term that it was heard in, and the
// application what it acknowledged (CmdDistrust). An older start, another one of the same number, or a later one of a lower
// term does not count and is told so; it gives the folder up, durably, before it could be started often enough to pass
// for a new one (EventStale, ErrStaleFolder). With an empty folder the node comes back as another incarnation. Each start of a
// member asks all others, and until all have answered, for MinElection at most, it votes for nobody, does not stand, and
// Status.Asking tells the application to acknowledge nothing.
//
// So an old folder never uses a right of it if a member that remembers more can be reached within MinElection of the
// start, and nobody who remembers ever counts what it says. What is remembered is not durable: if all that remember have
// been restarted since, or cannot be reached, an old folder is taken for what it says, and what it has forgotten may be lost.
// Insisting on answers would not change that: any majority may lack the one that knows, and a cluster of which one node is
// dead could not restart another one.
//
// Clocks: of two clocks none may run faster or slower than true time by more than Timing.Drift. A leader takes the
// largest of what its monotonic, boot and wall clocks saw, a follower the smaller of monotonic and boot (R21). So a
// lease fails only if all three of a leader's clocks stand still or go back at once.
//
// # Recovery
//
// After a start a node is a follower of its term that keeps faith with an unknown leader for MinElection (R4): it may
// have acknowledged a heartbeat that it forgot. Nothing else is replayed. A node whose folder is empty has a new
// incarnation, is a stranger to the configuration, and never votes (R3); it comes back by a change of membership.
//
// # Limits
//
// During bootstrap, a lost disk of the smallest id
// after some have adopted version 1 needs an operator. Two candidates in a term can still split the votes; limits that
// double and random timeouts end that.
//
// With the build tag faults a core has Break, which switches single rules off for negative tests. Fingerprint and Clone
// are for exploration.
package core
