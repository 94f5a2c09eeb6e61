// Package wire holds the JSON shapes of the HTTP API, of the events stream and of the admin socket: each in one place,
// used by the server (node/api) and by the client (node/client). It depends on blockstore/block and on the standard
// library only, so that a program that merely talks to a cluster links no store and no metrics.
//
// The names of the fields are fixed by the contract with operators and their tools; fields may be added, none renamed.
// Hashes, keys and signatures are lower-case hex, amounts are decimal strings, times are integer Unix milliseconds.
//
// A block's JSON also carries the chain id, because its hash covers it: with the processor's public key a block can be
// checked with no further question to any node ([Block.Verify]).
package wire
