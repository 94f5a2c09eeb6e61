// Package merkle is the authenticated map that holds the chain's state: ordered, persistent (an old version stays
// readable while newer ones are built), named by its content and independent of history. Two maps with the same entries
// have the same root, whatever inserts and deletes led there, on every node and for ever; golden roots hold that.
//
// # Use
//
// A [Map] is an immutable handle. [Map.Update] gives a new one that shares all untouched nodes with the old one, so a
// snapshot is a copied pointer. An update encodes and hashes each new node once, where it is made. A checkpoint of a sealed map
// ([WithSeal]) writes what [Map.Save] yields and calls [Map.MarkStored] once that is durable; meanwhile readers and the
// writer go on with this map and newer ones. [Load] reopens a map from its root: nodes are then read when a path first
// leads to them.
//
// # Memory
//
// Memory is bounded by what changed since the last checkpoint ([Map.NewBytes]) plus a cache of stored nodes
// ([WithCacheBytes], [Map.CachedBytes]): MarkStored lets go of the nodes, which the [NodeStore] has from then on. Nothing in
// memory grows with the number of entries.
//
// A node is never decoded into a tree of objects. In the cache it is its own bytes, in a segment with many others
// (cache.go), 40 bytes of bookkeeping each and nothing for the garbage collector to follow; to go through it is to find out
// where in these bytes its parts are. A new node is its bytes as well, with links to the children that are new too. With
// objects and a pointer for each child a branch of 16 took 1.6 KB, now 700 bytes, and an account's leaf 280 bytes, now 100.
//
// # Structure
//
// A path-compressed trie over the key's nibbles (half bytes, high half first), 16 children a node. A node stands for
// the prefix spelled by the nibbles from the root down to and including its own path; the nibble that selects a child is
// not repeated in the child's path. A node has a value if a key ends there. A node without a value has at least two
// children, so each set of entries has exactly one tree. Keys have 1 to [MaxKeyBytes] bytes, values 0 to
// [MaxValueBytes]; iteration is in the keys' byte order.
//
// # Bytes
//
//	node = u8      1                                    layout version
//	       uvarint number of nibbles in the path        shortest form
//	       bytes   the nibbles, two a byte, high half first; an unpaired last one is followed by a zero half
//	       u8      flags: bit 0 set when there is a value; the other bits zero
//	       with a value: uvarint length (shortest form), bytes
//	       u16     child bitmap, big-endian; bit i set when there is a child for nibble i
//	       32 bytes a set bit, lowest nibble first: the child's hash
//
//	hash of a node   = SHA-256("baton/state/node/v1\n" || node)
//	root of a map    = hash of its topmost node
//	root of no entry = SHA-256("baton/state/empty/v1\n")
//
// A node's bytes are all that a reader needs to follow a key one step, so the encodings of the nodes on a key's path
// are a proof: of presence (they end in a node that spells the key and has the value) and of absence (they end in a
// node whose path leaves the key, that has no child for its next nibble, or no value). [Map.Prove] and [VerifyProof].
//
// # Stored nodes
//
// A node is stored under a number, its [NodeID], not under its hash, and followed by its children's numbers (as what they
// are below its own, uvarints, in the children's order), which no hash covers: a wrong one leads to a node with another
// hash. Numbers rise from checkpoint to checkpoint, so that a checkpoint writes one ascending run of keys, whatever it
// changed, and reads compare the hash in any case.
//
// The number is what makes pruning cheap. Equal subtrees in two places have one hash, so a store by hash cannot tell
// whether a node that left one place is still in use in another: it must count references (a read and a write for every
// child of every new node) or now and then mark all that is reachable (work that grows with the state). A number stands
// in exactly one place of the tree, and goes out of use when an update drops the link to it. [Map.Save] returns what was
// dropped since the last save; these nodes may be deleted when the checkpoints before this one need not be read any more.
// That list costs no reads, and eight bytes of memory or three of disk a node.
//
// # Faults
//
// Each node read back is hashed and compared; what differs, or does not decode, is a [*CorruptionError] and never
// enters the cache. The decoder checks declared lengths before it allocates and accepts one form of a node only.
//
// # Why not a library
//
// The root's format was given (it does not depend on history, keeps the keys' order and is SHA-256 all through), and each
// library that is well kept has one of its own: the root of cosmos/iavl, a balanced tree, depends on the order of inserts;
// celestiaorg/smt puts hashes of keys into a binary tree, so that there is no range to iterate; go-ethereum's trie, which
// its pathdb stores, is Keccak and RLP. What was taken is an idea of iavl's newer versions and of Aptos' Jellyfish tree:
// stored nodes have names that rise with the versions, not their hashes.
//
// scripts/bench/maps compares this package with iavl 1.2.6, both on Pebble. With 100,000 keys of an account's size, 500
// changed a batch, the root after each batch, saved every 40 and all but four versions pruned, on a machine at a load average
// of 20, a changed key cost 0.13 of iavl's CPU time (24 us to 189), the map took 0.72 of its bytes on disk, which vary by a half
// as compactions fall, and a proof 0.30 of its CPU time to make and 0.28 to check. iavl's proofs are smaller, 838 bytes to
// 2101: a binary tree names one sibling a level, a branch of 16 names 15.
package merkle
