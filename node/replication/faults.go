package replication

// Fault names a rule that a negative test switches off. Switches can be thrown only in builds with the tag `faults`.
type Fault string

// The rules of the chain layer that can be switched off.
const (
	FaultEarlySync        Fault = "R7-early"     // synced is set with half of the suffix
	FaultNoCut            Fault = "R7-cut"       // SYNC keeps the own longer tail
	FaultNoSync           Fault = "R6-sync"      // a winner leads without SYNC(T)
	FaultBestByHeight     Fault = "R6-height"    // the best chain is the highest, whatever its label
	FaultCling            Fault = "R6-cling"     // a winner waits for the best chain alone, though it can do without it
	FaultAckOldTerm       Fault = "R1-ack"       // an acknowledgement leaves although the term changed
	FaultNoRecheck        Fault = "R8-recheck"   // the conditions of R8 are not checked again at the append
	FaultCountHolders     Fault = "R10-holders"  // holding a block counts as acknowledging it
	FaultSelfAckEarly     Fault = "R10-self"     // the leader counts itself before its own fsync
	FaultBlindCommit      Fault = "R11-blind"    // commit is set for whatever block has the height
	FaultWrongCTerm       Fault = "R11-cterm"    // a certificate is taken for one of the term of the message that brings it
	FaultNoNackCut        Fault = "R13-cut"      // a refused block is never dropped
	FaultNoWatchdog       Fault = "R19-watchdog" // a leader that cannot commit stays
	FaultReconfigureEarly Fault = "R14-commit"   // a configuration is replaced before a majority of it holds all that is committed
	FaultInheritMatch     Fault = "R14-match"    // another incarnation inherits the acknowledgements of the old
	FaultForgetSaid       Fault = "R3-said"      // a start that has less than its incarnation acknowledged is believed
	FaultJumpBack         Fault = "R11-jump"     // a node jumps to a block that is no newer than what it acknowledged
	FaultReadOldCommit    Fault = "R20-take"     // a new leader reads below its takeover
)
