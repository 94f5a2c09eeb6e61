// Package nemesis hurts a cluster: it knows the kinds of faults, draws them by a seed, injects them, heals them and
// waits until the cluster is whole again.
//
// # Kinds
//
// A [Kind] has a name, a class (network, process, disk, clock, members) and a function that injects it and returns how to
// heal it. Faults on links are layers: several may lie on one link, and taking one away leaves the others. A node that is
// the victim of a fault is not chosen by another one until it is healed.
//
// # The plan
//
//	deck of all kinds, shuffled by the seed --> inject --> hold --> heal --> whole again? --> next
//	                                              \__ now and then a second one beside it
//
// Every kind of the plan must have been injected when the run ends: a run in which one never came about has not tested
// what it says, and fails.
package nemesis
