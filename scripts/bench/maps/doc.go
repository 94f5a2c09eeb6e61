// Command maps compares package merkle with a library of the same kind, cosmos/iavl, in one run: both on Pebble, with the
// same options, the same keys and values, in turns.
//
//	go -C scripts/bench build -o ../../bin/bench-maps ./maps
//	bin/bench-maps --keys 100000,1000000
//
// A map is filled, then changed in batches of keys drawn from all of them, each followed by its root, as a block is. Every
// so many batches the map is saved with an fsync, and all but the four newest saved versions are pruned. Reported are, for a
// key changed, the wall time and the CPU time with all that goes on in the background; bytes on disk; and for a proof of a
// key its size and the CPU time to make and to check it. iavl caches decoded nodes by number: it gets as many as fit into the
// memory that ours has when each takes 300 bytes. Its index for fast reads is off, which favours it here.
//
// What it said is in package merkle.
package main
