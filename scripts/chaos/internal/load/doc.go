// Package load is the traffic of a chaos run: many clients that pay each other and read accounts through all nodes at
// once, and the history of what they asked and were told, by which the run is judged.
//
// # Accounts
//
// Accounts come in groups; money moves only inside a group. So groups are independent of each other, and a history may
// be judged group by group (package judge). Each account has one writer, which sends one transaction at a time and sends
// the same bytes again, to any node, until the answer is final: at the end each outcome is known. Readers ask one node
// each, so that every node answers linearizable reads.
//
// # Times
//
// The instants of an operation are nanoseconds of this process's monotonic clock since the load began: before its first
// byte was sent, and after its last answer was read.
package load
