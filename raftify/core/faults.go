package core

// Fault names a rule that a negative test switches off, to see that the checkers notice. Switches can be thrown only
// in builds with the tag `faults`; elsewhere broken is the constant false.
type Fault string

// The rules of the election layer that can be switched off.
const (
	FaultForgetContact   Fault = "R4-contact"         // a restarted voter has no stickiness
	FaultNoSticky        Fault = "R4-sticky"          // nobody keeps faith with a leader
	FaultNoLeaderVote    Fault = "R2-accept"          // accepting a term's leader does not use up the vote
	FaultKeepCandidacy   Fault = "R6-adopt"           // adopting another configuration does not end a candidacy
	FaultSelfSticky      Fault = "R6-self"            // a candidate grants itself whatever its own stickiness
	FaultNoClose         Fault = "R15-close"          // adopting a configuration or certificate does not close the vote
	FaultNoPersist       Fault = "R1-persist"         // answers leave before the fsync
	FaultEarlyReport     Fault = "R1-report"          // the report is read when the vote request arrives
	FaultLeaseCached     Fault = "R21-cached"         // the lease is not compared with the clock
	FaultLeaseUnacked    Fault = "R21-unacked"        // a lease without an acknowledgement
	FaultLeaseMonoOnly   Fault = "R21-mono"           // the leader reads the monotonic clock only
	FaultLeaseRealOnly   Fault = "R21-real"           // the leader reads the wall clock only
	FaultResumeLease     Fault = "R22-resume"         // the lease survives a handover
	FaultNoTermAnswer    Fault = "R2-answer"          // lower-term messages are dropped in silence
	FaultNoQuorumCheck   Fault = "R18-quorum"         // the leader does not count its heartbeats
	FaultBootTwice       Fault = "R26-promise"        // bootstrap without promises of all
	FaultNoTakeoverLimit Fault = "R6-limit"           // a takeover may last for ever
	FaultNoBackoff       Fault = "R6-backoff"         // limits do not double
	FaultTwoVotes        Fault = "R5-two-votes"       // a second vote in a term
	FaultNoConfigQuorum  Fault = "R14-config"         // a configuration is replaced before a majority has it
	FaultUnsafeChange    Fault = "R14-unsafe"         // voters are removed although those that are left do not answer
	FaultKickReachable   Fault = "R16-reachable"      // the leader alone decides who is silent
	FaultKickToTwo       Fault = "R16-floor"          // silent voters are demoted whatever their number
	FaultPromoteBehind   Fault = "R17-level"          // a learner is promoted whatever it holds
	FaultOldRights       Fault = "R3-inc"             // a node is known by its id, whatever its incarnation
	FaultAnyStart        Fault = "R3-boot"            // an older start of a folder counts like a newer one
	FaultNoStaleAnswer   Fault = "R3-stale"           // who sends from an older start is not told
	FaultNoAsking        Fault = "R3-ask"             // a start uses its rights before it has asked
	FaultJudgeFirst      Fault = "R3-adopt"           // a configuration counts only from a member of the old one
	FaultAnyBoot         Fault = "R23-boot"           // a death notice counts for every start of its node
	FaultSuspectLifts    Fault = "R23-suspect"        // a refused connection ends stickiness, leases or not
	FaultNoPatience      Fault = "R18-patience"       // who stood still judges by the clock at once
	FaultNoVotePersist   Fault = "R5-vote-not-stored" // the vote is not part of the durable state
)
