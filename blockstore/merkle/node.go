package merkle

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
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
	d := sha256.New()
	d.Write([]byte(nodeDomain))
	d.Write(enc)
	var h Hash
	d.Sum(h[:0])
	return h
}

var errNode = errors.New("malformed node")

// node is one trie node. It never changes once a link points to it.
type node struct {
	path   []byte // nibbles, one a byte
	value  []byte
	has    bool // there is a value, perhaps an empty one
	bitmap uint16
	kids   []*link // one a set bit of bitmap, lowest first
}

// kid returns the link for a nibble, nil if there is none.
func (n *node) kid(nibble byte) *link {
	bit := uint16(1) << nibble
	if n.bitmap&bit == 0 {
		return nil
	}
	return n.kids[bits.OnesCount16(n.bitmap&(bit-1))]
}

// cost estimates the memory that a decoded node takes, in bytes.
func (n *node) cost() int64 { return int64(200 + len(n.path) + len(n.value) + 88*len(n.kids)) }

// link is an edge to a node, shared by all maps that share the node, and always the edge to one place in the tree: two
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

// setStored makes l, which nobody else sees yet, a link to a stored node.
func (l *link) setStored(h Hash, id NodeID) {
	l.hash, l.id = h, id
	l.known.Store(true)
	l.stored.Store(true)
}

// encode appends the node's bytes to buf. All children's hashes must be known.
func (n *node) encode(buf []byte) []byte {
	buf = append(buf, layoutVersion)
	buf = binary.AppendUvarint(buf, uint64(len(n.path)))
	for i := 0; i < len(n.path); i += 2 {
		b := n.path[i] << 4
		if i+1 < len(n.path) {
			b |= n.path[i+1]
		}
		buf = append(buf, b)
	}
	if n.has {
		buf = append(buf, flagValue)
		buf = binary.AppendUvarint(buf, uint64(len(n.value)))
		buf = append(buf, n.value...)
	} else {
		buf = append(buf, 0)
	}
	buf = binary.BigEndian.AppendUint16(buf, n.bitmap)
	for _, k := range n.kids {
		invariant(k.known.Load(), "node encoded before its child was hashed")
		buf = append(buf, k.hash[:]...)
	}
	return buf
}

// decodeNode reads an encoded node, all of enc. The children have no id: they can be compared, not loaded.
func decodeNode(enc []byte) (*node, error) {
	n, rest, err := cutNode(enc)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d trailing bytes: %w", len(rest), errNode)
	}
	if err != nil {
		return nil, err
	}
	return n, nil
}

// cutNode reads an encoded node from the front of in. It copies what it keeps, accepts only what encode produces, and
// allocates no more than a small multiple of len(in).
func cutNode(in []byte) (n *node, rest []byte, err error) {
	if len(in) == 0 || in[0] != layoutVersion {
		return nil, nil, fmt.Errorf("layout version: %w", errNode)
	}
	n = &node{}
	if rest, err = n.decodePath(in[1:]); err != nil {
		return nil, nil, err
	}
	if rest, err = n.decodeValue(rest); err != nil {
		return nil, nil, err
	}
	if len(rest) < 2 {
		return nil, nil, fmt.Errorf("child bitmap cut off: %w", errNode)
	}
	n.bitmap = binary.BigEndian.Uint16(rest)
	rest = rest[2:]
	count := bits.OnesCount16(n.bitmap)
	if len(rest) < count*len(Hash{}) {
		return nil, nil, fmt.Errorf("%d bytes for %d children: %w", len(rest), count, errNode)
	}
	if !n.has && count < 2 {
		return nil, nil, fmt.Errorf("%d children and no value: %w", count, errNode)
	}
	links := make([]link, count)
	n.kids = make([]*link, count)
	for i := range links {
		links[i].setStored(Hash(rest[i*len(Hash{}):]), 0)
		n.kids[i] = &links[i]
	}
	return n, rest[count*len(Hash{}):], nil
}

// encodeStored appends the node's bytes as they are stored under id, children's ids included, which are lower.
func (n *node) encodeStored(buf []byte, id NodeID) []byte {
	buf = n.encode(buf)
	for _, k := range n.kids {
		invariant(k.id > 0 && k.id < id, "child %d of node %d", k.id, id)
		buf = binary.AppendUvarint(buf, uint64(id-k.id))
	}
	return buf
}

// decodeStored reads what encodeStored wrote and returns the node with the part of in that its hash covers.
func decodeStored(in []byte, id NodeID) (*node, []byte, error) {
	n, rest, err := cutNode(in)
	if err != nil {
		return nil, nil, err
	}
	hashed := in[:len(in)-len(rest)]
	for _, k := range n.kids {
		below, size := binary.Uvarint(rest)
		if size <= 0 || below == 0 || below >= uint64(id) || (size > 1 && rest[size-1] == 0) {
			return nil, nil, fmt.Errorf("child id: %w", errNode)
		}
		k.id = id - NodeID(below)
		rest = rest[size:]
	}
	if len(rest) > 0 {
		return nil, nil, fmt.Errorf("%d trailing bytes: %w", len(rest), errNode)
	}
	return n, hashed, nil
}

func (n *node) decodePath(in []byte) ([]byte, error) {
	count, in, err := uvarint(in, maxNibbles)
	if err != nil {
		return nil, fmt.Errorf("path length: %w", err)
	}
	packed := (count + 1) / 2
	if len(in) < packed {
		return nil, fmt.Errorf("path cut off: %w", errNode)
	}
	if count%2 == 1 && in[packed-1]&0x0f != 0 {
		return nil, fmt.Errorf("path padding: %w", errNode)
	}
	n.path = make([]byte, count)
	for i := range n.path {
		n.path[i] = nibbleAt(in, i)
	}
	return in[packed:], nil
}

func (n *node) decodeValue(in []byte) ([]byte, error) {
	if len(in) == 0 || in[0]&^flagValue != 0 {
		return nil, fmt.Errorf("flags: %w", errNode)
	}
	n.has = in[0] == flagValue
	in = in[1:]
	if !n.has {
		return in, nil
	}
	count, in, err := uvarint(in, MaxValueBytes)
	if err != nil {
		return nil, fmt.Errorf("value length: %w", err)
	}
	if len(in) < count {
		return nil, fmt.Errorf("value cut off: %w", errNode)
	}
	n.value = append(make([]byte, 0, count), in[:count]...)
	return in[count:], nil
}

// uvarint reads a number of at most limit in its shortest form.
func uvarint(in []byte, limit uint64) (int, []byte, error) {
	v, size := binary.Uvarint(in)
	if size <= 0 || v > limit || (size > 1 && in[size-1] == 0) {
		return 0, nil, errNode
	}
	return int(v), in[size:], nil
}

// nibbleAt returns the i-th nibble of packed bytes, high half first.
func nibbleAt(packed []byte, i int) byte {
	b := packed[i/2]
	if i%2 == 0 {
		return b >> 4
	}
	return b & 0x0f
}

// nibbles unpacks a key, one nibble a byte.
func nibbles(key []byte) []byte {
	out := make([]byte, 2*len(key))
	for i, b := range key {
		out[2*i], out[2*i+1] = b>>4, b&0x0f
	}
	return out
}

// invariant panics when our own code broke a promise of this package.
func invariant(ok bool, format string, args ...any) {
	if !ok {
		panic("merkle: invariant broken: " + fmt.Sprintf(format, args...))
	}
}
