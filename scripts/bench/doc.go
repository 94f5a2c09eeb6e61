// Command bench compares baton with a peer in one run, as ratios.
//
// Both are three real processes on loopback with real data folders on one disk, real fsyncs, and the same HTTP front:
// package node/api, which gets the same signed transactions, byte for byte. The peer (package rival) is a small ledger
// on hashicorp/raft with raft-wal: each of its nodes verifies each signature once and applies the transfer, but it
// hashes no state, signs no block and encrypts nothing between its nodes. What baton does beyond that is in the ratio.
//
// A load generator, a process of its own with its own CPU account, drives them one after the other in rounds that
// alternate (A B, B A, ...), so that the noise of a shared machine hits both. What is reported are medians of the rounds.
// In the same run the cost of verifying and of signing is measured; three nodes that verify and sign each transaction
// cannot do more than
//
//	bound = C / (3 x (verify + sign))      C = cores less what the load generator used
//
// transactions a second, whatever else they do.
//
// At the end every account's nonce on every node must be the number of its acknowledged transactions. The exit status is
// 1 only when something is wrong: an error, an acknowledged transaction lost, a node that died. Slowness is not.
//
// `bench failover` is another measurement: it kills the leader of a cluster again and again, with --how=worker its process
// alone, with all its supervisor at the same instant, with freeze as if its host were cut off, and reports how long it
// takes until another node acknowledges a transaction that was sent to it after the kill.
//
// `bench busy` kills nothing: it has a cluster live beside programs that never sleep, and reports how often it changed its
// leader and how long transactions took. --baton may be given several times, with whole commands such as
// 'nice -n 5 bin/baton': these clusters live side by side, under the same load.
//
// `bench handover` has the leader of a cluster under load hand over, by `leader transfer` and by SIGTERM, and reports the
// longest pause between two acknowledgements of any client of the other nodes.
//
// `bench sync` moves the state of a store of many accounts to another process, over a link of a given speed, whole and
// where one account in a hundred has changed, and compares that with copying as many bytes over the same link. Then it
// measures what clients feel of it: how long transactions of a cluster with such a state take while newcomers sync from it,
// while they sync from a process that is none of it, and while nobody does. Newcomers and that process would be on other
// machines; here they have the lowest priority, and what they cost by the disk that they share is in both.
//
// With --before another baton binary is measured in the same rounds, which is how an improvement is judged.
package main
