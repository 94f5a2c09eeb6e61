// Package merkle is the authenticated map that holds the chain's state: ordered, persistent (an old version stays
// readable while newer ones are built), content-addressed and independent of history. Two maps with the same entries
// have the same root, whatever inserts and deletes led there, on every node and for ever; golden roots hold that.
//
// # Use
//
// A [Map] is an immutable handle. [Map.Update] gives a new one that shares all untouched nodes with the old one, so a
// snapshot is a copied pointer. [Map.Root] hashes each new node once, when first asked. A checkpoint writes what
// [Map.NewNodes] yields and calls [Map.MarkStored] once that is durable; meanwhile readers and the writer go on with
// this map and newer ones. [Load] reopens a map from its root: nodes are then read when a path first leads to them.
//
// Memory is bounded by what changed since the last checkpoint plus a cache of decoded nodes: MarkStored lets go of the
// nodes, which the [NodeStore] has from then on.
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
// node whose path leaves the key, that has no child for its next nibble, or no value). A test reads both kinds through
// a NodeStore that holds nothing but that list.
//
// # Faults
//
// Each node read back is hashed and compared; what differs, or does not decode, is a [*CorruptionError] and never
// enters the cache. The decoder checks declared lengths before it allocates and accepts one form of a node only.
//
// # Limits
//
// The store keeps nodes of old checkpoints: nothing here deletes.
package merkle
