// Package judge says whether a chaos run kept the product's promise. It trusts neither the nodes nor each other's
// methods: the same history is judged in several independent ways.
//
//	every node's chain, fetched over HTTP   one hash and one good signature a height                       I8, I10
//	the chain, executed again from genesis  each state root; balances against a ledger of plain integers   I17, money
//	receipts against the chain              each acknowledged payment once, where its receipt says         I16
//	the chain as a witness                  the order of blocks respects real time, reads included         I13
//	porcupine, group by group               the history alone, without looking at the chain                linearizability
//
// The fourth is exact and takes n log n; the fifth knows nothing of blocks or heights, so that a mistake in what both
// believe of the chain would be found, but may take exponential time: it is cut off, and says so.
package judge
