package merkle

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math/bits"
	"sync/atomic"
)

const (
	layoutVersion = 1
	flagValue     = 1

	nodeDomain  = "baton/state/node/v1\n"
	emptyDomain = "baton/state/empty/v1\n"
)

// Limits of keys and values; part of the format.
const (
	// MaxKeyBytes bounds a key; keys have at least one byte.
	MaxKeyBytes = 512
	// MaxValueBytes bounds a value.
	MaxValueBytes = 1 << 20

	maxNibbles = 2 * MaxKeyBytes
)

// Hash is the SHA-256 of a node, or of the empty map. It is an alias so that it can be assigned to other packages' own
// 32-byte hash types.
type Hash = [32]byte

// NodeID names a stored node. Ids are given in rising order and never twice, children before their parent; 0 is none.
// Unlike its hash, a node's id says where in which version of the tree it stands, so that a node that left the newest
// version can be deleted without asking whether an equal one is still in use elsewhere.
type NodeID uint64

// EmptyRoot returns the root of the map without entries.
func EmptyRoot() Hash { return sha256.Sum256([]byte(emptyDomain)) }

// HashNode returns the hash of an encoded node.
func HashNode(enc []byte) Hash {
	var room [1024]byte // most nodes fit
	return sha256.Sum256(append(append(room[:0], nodeDomain...), enc...))
}

var errNode = errors.New("malformed node")

// node is one trie node. It never changes once a link points to it. A stored one is a view of its record. A new one says
// only what is different: it has links to the children that are new as well, and the record of the node that it replaces
// for the others.
type node struct {
	path   path
	value  []byte
	has    bool    // there is a value, perhaps an empty one
	bitmap uint16  // which children there are
	fresh  uint16  // which of them are links
	links  []*link // one a set bit of fresh, lowest first
	base   record  // has the others; no bytes if there are none
}

// ref leads to a node: by its link if it has one, otherwise to a stored one by its hash and id.
type ref struct {
	link *link
	id   NodeID
	hash Hash
}

// kid returns what leads to the child for a nibble, and whether there is one.
func (n *node) kid(nibble byte) (ref, bool) {
	bit := uint16(1) << nibble
	switch {
	case n.bitmap&bit == 0:
		return ref{}, false
	case n.fresh&bit != 0:
		return ref{link: n.links[rank(n.fresh, nibble)]}, true
	default:
		i := rank(n.base.bitmap, nibble)
		return ref{id: n.base.idOf(i), hash: Hash(n.base.hashOf(i))}, true
	}
}

// children yields the nibble of each child and what leads to it, lowest nibble first.
func (n *node) children() iter.Seq2[byte, ref] {
	return func(yield func(byte, ref) bool) {
		for left := n.bitmap; left != 0; left &= left - 1 {
			nibble := byte(bits.TrailingZeros16(left))
			kid, _ := n.kid(nibble)
			if !yield(nibble, kid) {
				return
			}
		}
	}
}

// nodeHash returns the node's hash, which must be known.
func (r ref) nodeHash() Hash {
	if r.link != nil {
		return r.link.hash
	}
	return r.hash
}

// storedID returns the node's id if it is stored, otherwise 0.
func (r ref) storedID() NodeID {
	switch {
	case r.link == nil:
		return r.id
	case r.link.stored.Load():
		return r.link.id
	default:
		return 0
	}
}

// cost estimates the memory that a new node takes, with its link, in bytes. The record is counted in full, though it may
// be in the cache as well.
func (n *node) cost() int64 {
	return int64(250 + cap(n.path.packed) + len(n.value) + 8*len(n.links) + len(n.base.bytes))
}

// own returns the node in bytes of its own.
func (n *node) own() node {
	if !n.base.shared {
		return *n
	}
	r := n.base
	r.bytes, r.shared = bytes.Clone(r.bytes), false
	return r.node()
}

// link is an edge to a new node, shared by all maps that share the node, and always the edge to one place in the tree: two
// places with equal nodes have a link and a stored node each. A new link holds its node; the hash is filled in by the
// first Root above it. Once the node is stored the link lets go of it and only the hash and the id are left.
//
// Order of publication: hash, then known; id, then stored, then node = nil. So whoever sees no node may read both.
type link struct {
	hash   Hash
	id     NodeID
	epoch  uint64 // of the map that made it; 0 for a link that was read from the store
	known  atomic.Bool
	stored atomic.Bool
	node   atomic.Pointer[node]
}

// storedLink makes a link to a stored node.
func storedLink(h Hash, id NodeID) *link {
	l := &link{hash: h, id: id}
	l.known.Store(true)
	l.stored.Store(true)
	return l
}

// encode appends the node's bytes to buf. All children's hashes must be known.
func (n *node) encode(buf []byte) []byte {
	buf = append(buf, layoutVersion)
	buf = binary.AppendUvarint(buf, uint64(n.path.len))
	buf = n.path.pack(buf)
	if n.has {
		buf = append(buf, flagValue)
		buf = binary.AppendUvarint(buf, uint64(len(n.value)))
		buf = append(buf, n.value...)
	} else {
		buf = append(buf, 0)
	}
	buf = binary.BigEndian.AppendUint16(buf, n.bitmap)
	links := n.links
	for left := n.bitmap; left != 0; left &= left - 1 {
		nibble := byte(bits.TrailingZeros16(left))
		if n.fresh&(1<<nibble) != 0 {
			invariant(links[0].known.Load(), "node encoded before its child was hashed")
			buf, links = append(buf, links[0].hash[:]...), links[1:]
			continue
		}
		buf = append(buf, n.base.hashOf(rank(n.base.bitmap, nibble))...)
	}
	return buf
}

// encodeStored returns the node's bytes as they are stored under id, children's ids included, which are lower.
func (n *node) encodeStored(id NodeID) []byte {
	kids := bits.OnesCount16(n.bitmap)
	return n.appendStored(make([]byte, 0, 16+len(n.path.packed)+len(n.value)+kids*(len(Hash{})+5)), id)
}

func (n *node) appendStored(buf []byte, id NodeID) []byte {
	buf = n.encode(buf)
	for _, kid := range n.children() {
		if kid.link != nil {
			kid.id = kid.link.id
		}
		if kid.id == 0 || kid.id >= id { // checked here: the arguments of invariant take time to put together
			invariant(false, "child %d of node %d", kid.id, id)
		}
		buf = binary.AppendUvarint(buf, uint64(id-kid.id))
	}
	return buf
}

// invariant panics when our own code broke a promise of this package.
func invariant(ok bool, format string, args ...any) {
	if !ok {
		panic("merkle: invariant broken: " + fmt.Sprintf(format, args...))
	}
}
