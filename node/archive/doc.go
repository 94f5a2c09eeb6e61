// Package archive is a chain, or the newest part of one with its state, as one file: written from a data folder or a
// running node, read into an empty folder. It trusts nobody: what a file says counts only as far as the processor key of
// the genesis file signed it.
//
// # Files
//
//	file    = "baton/archive/1\n" frame...
//	frame   = u8 kind, u32 number from 0 on, u32 length, u32 length compressed, zstd data, first 8 bytes of the
//	          SHA-256 of all of it
//	kinds   1 header   u16 length || chain id || genesis hash || u64 first height || u64 last height || u8 1 with state
//	        2 blocks   (u32 length || encoded block (package block) || signature)...
//	        3 state    (u32 length || node (package merkle), in pre-order)...
//	        4 end      u64 blocks || u64 nodes
//
// A header comes first, an end last, and after it nothing. With state the first frame of blocks holds one block, the state
// after it follows, then the other blocks. Numbers are big-endian. A frame has about a megabyte; neither side needs more
// memory than a few of them, whatever the length of the chain and the size of the state.
//
// What is cut off, damaged, repeated or left out is [ErrFormat]; a frame's length is bounded before anything is allocated.
// The format has no terms, votes, certificates or keys: nothing of what a node promised.
//
// # Import
//
// A file from height 1 on is executed block by block, like a chain that comes from peers. One with state is believed up to
// the state of its first block, whose root the signed header has; what comes after is executed. All blocks must be signed
// by the processor key of genesis and link.
//
// An import that was interrupted goes on where it stopped when it is run again with the same chain, or any that agrees
// with what is there; until it is complete a node refuses the folder ([blockstore.ErrImporting]). The folder is then that
// of a newcomer: it has blocks and state and no vote (PROTOCOL.md R26), and never founds a cluster unless it was imported
// for that.
//
// # Several files
//
// An object store ([Objects]) holds a chain as several files, each a range of heights, so that a newer export adds to an older
// one ([Set]):
//
//	GENESIS/blocks-FROM-TO.baton   the blocks of a range, at most about 32 MiB
//	GENESIS/state-HEIGHT.baton     a block and the state after it
//
// GENESIS is the hash of block 0, so that chains do not mix, and heights have twenty digits. Importing them one after the
// other, in ascending order, is importing one file. An object is stored whole or not at all and says the same as any other of
// its name, since all of them are of signed blocks; so exporters need no lock. What names say is believed only to choose what
// to read: an object that turns out to be something else is left out.
package archive
