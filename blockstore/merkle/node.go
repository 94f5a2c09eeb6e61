package merkle

import (
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

// node is one trie node: its bytes, and links to those of its children that are not stored. It never changes once a link
// points to it, and a new one never shares its bytes with anything larger.
type node struct {
	record
	links []*link // one a set bit of fresh, lowest first
}

// ref leads to a node: by its link if it has one, otherwise to a stored one by its hash and id. The hash is part of what
// names the child and must not be changed.
type ref struct {
	link *link
	id   NodeID
	hash []byte
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
		return n.storedKid(nibble), true
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

// nodeHash returns the node's hash.
func (r ref) nodeHash() Hash {
	if r.link != nil {
		return r.link.hash
	}
	return Hash(r.hash)
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

// cost estimates the memory that a new node takes, with its link, in bytes.
func (n *node) cost() int64 { return int64(170 + len(n.bytes) + 8*len(n.links)) }

// link is an edge to a new node, shared by all maps that share the node, and always the edge to one place in the tree: two
// places with equal nodes have a link and a stored node each. A new link holds its node. Once the node is stored the link
// lets go of it and only the hash and the id are left.
//
// Order of publication: id, then stored, then node = nil. So whoever sees no node may read the id.
type link struct {
	hash     Hash
	id       NodeID
	epoch    uint64 // of the map that made it; 0 for a link that was read from the store
	stored   atomic.Bool
	replaced atomic.Bool // by a newer map: no use in the cache
	node     atomic.Pointer[node]
}

// storedLink makes a link to a stored node.
func storedLink(h Hash, id NodeID) *link {
	l := &link{hash: h, id: id}
	l.stored.Store(true)
	return l
}

// encoded returns the node's bytes, which its hash covers. They must not be changed, and may be part of something larger.
func (n *node) encoded() []byte { return n.bytes[:n.idsAt()] }

// encodeStored returns the node's bytes as they are stored under id, children's ids included, which are lower.
func (n *node) encodeStored(id NodeID) []byte {
	return n.appendStored(make([]byte, 0, n.idsAt()+5*bits.OnesCount16(n.bitmap)), id)
}

func (n *node) appendStored(buf []byte, id NodeID) []byte {
	buf = append(buf, n.encoded()...)
	links, ids := n.links, n.bytes[n.idsAt():]
	for left := n.bitmap; left != 0; left &= left - 1 {
		var kid NodeID
		if n.fresh&(left&-left) != 0 {
			kid, links = links[0].id, links[1:]
		} else if below, size := binary.Uvarint(ids); size > 0 {
			kid, ids = n.id-NodeID(below), ids[size:]
		}
		if kid == 0 || kid >= id { // checked here: the arguments of invariant take time to put together
			invariant(false, "child %d of node %d", kid, id)
		}
		buf = binary.AppendUvarint(buf, uint64(id-kid))
	}
	return buf
}

// invariant panics when our own code broke a promise of this package.
func invariant(ok bool, format string, args ...any) {
	if !ok {
		panic("merkle: invariant broken: " + fmt.Sprintf(format, args...))
	}
}
