package merkle

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
)

// A node's position is the nibbles, one a byte, that lead from the root down to and including the nibble that selects the
// node, without the node's own path. The topmost node's position is empty. The positions of a tree in byte order are its
// nodes in pre-order, each before all that is below it.

// Child is a child of a node as the node's bytes name it.
type Child struct {
	Nibble byte
	Hash   Hash
}

// Outline is what a node's bytes say of the tree around it.
type Outline struct {
	// Path is the node's own path, one nibble a byte.
	Path []byte
	// Children are the node's, lowest nibble first.
	Children []Child
}

// Below returns the position of a child of the node at pos.
func (o *Outline) Below(pos []byte, c Child) []byte {
	below := make([]byte, 0, len(pos)+len(o.Path)+1)
	below = append(append(below, pos...), o.Path...)
	return append(below, c.Nibble)
}

// ReadNode decodes a node's bytes, all of enc, as they stand at a position of depth nibbles, and checks that such a node
// can stand there. It does not know the node's hash. It never panics and allocates no more than a small multiple of
// len(enc).
func ReadNode(enc []byte, depth int) (Outline, error) {
	rec, err := decodeNode(enc)
	n := node{record: rec}
	if err == nil {
		err = n.fits(depth)
	}
	if err != nil {
		return Outline{}, fmt.Errorf("read state node: %w", err)
	}
	out := Outline{Path: n.path().nibbles(), Children: make([]Child, 0, bits.OnesCount16(n.bitmap))}
	for nibble, kid := range n.children() {
		out.Children = append(out.Children, Child{Nibble: nibble, Hash: Hash(kid.hash)})
	}
	return out, nil
}

// AppendStored appends a node as it is stored under id: its bytes and where its children are stored, in their order. The
// children's ids are lower.
func AppendStored(buf, enc []byte, id NodeID, children []NodeID) []byte {
	buf = append(buf, enc...)
	for _, k := range children {
		invariant(k > 0 && k < id, "child %d of node %d", k, id)
		buf = binary.AppendUvarint(buf, uint64(id-k))
	}
	return buf
}

// At returns the hash and the id of the node at a position, false if there is none. The id is 0 while the node is not
// stored.
func (m *Map) At(pos []byte) (hash Hash, id NodeID, ok bool, err error) {
	r, ok, err := m.refAt(pos)
	if !ok || err != nil {
		return Hash{}, 0, false, err
	}
	return r.nodeHash(), r.storedID(), true, nil
}

// NodeAt returns the bytes of the node at a position, nil if there is none.
func (m *Map) NodeAt(pos []byte) ([]byte, error) {
	r, ok, err := m.refAt(pos)
	if !ok || err != nil {
		return nil, err
	}
	n, err := m.tree.load(r, len(pos))
	if err != nil {
		return nil, err
	}
	return bytes.Clone(n.encoded()), nil
}

// refAt returns what leads to the node at a position, false if there is none.
func (m *Map) refAt(pos []byte) (r ref, ok bool, err error) {
	at := 0
	for r, ok = m.top(); ok && at < len(pos); at++ {
		n, err := m.tree.load(r, at)
		if err != nil {
			return ref{}, false, err
		}
		own := n.path().nibbles()
		if at += len(own); at >= len(pos) || !bytes.Equal(pos[at-len(own):at], own) {
			return ref{}, false, nil
		}
		r, ok = n.kid(pos[at] & 0x0f)
	}
	return r, ok, nil
}

// Walk calls fn, in pre-order, for each node of the subtree at pos whose position is not before from, until fn returns
// false; a nil from is pos. There may be no such subtree. fn may keep what it gets.
func (m *Map) Walk(pos, from []byte, fn func(pos, enc []byte) bool) error {
	r, ok, err := m.refAt(pos)
	if !ok || err != nil {
		return err
	}
	_, err = m.tree.walk(r, pos, from, fn)
	return err
}

func (t *tree) walk(r ref, pos, from []byte, fn func(pos, enc []byte) bool) (bool, error) {
	above := bytes.HasPrefix(from, pos) && len(from) > len(pos)
	if !above && bytes.Compare(pos, from) < 0 {
		return true, nil // and all that is below
	}
	n, err := t.read(r, len(pos), not)
	if err != nil {
		return false, err
	}
	if !above && !fn(pos, bytes.Clone(n.encoded())) {
		return false, nil
	}
	for nibble, kid := range n.children() {
		more, err := t.walk(kid, n.below(pos, nibble), from, fn)
		if !more || err != nil {
			return false, err
		}
	}
	return true, nil
}

// below returns the position of a child of the node at pos.
func (n *node) below(pos []byte, nibble byte) []byte {
	return append(slices.Concat(pos, n.path().nibbles()), nibble)
}

// Dropped calls fn with the id of each stored node of m that next does not have at the same position under the same id,
// until fn fails. What both have is not read.
func (m *Map) Dropped(next *Map, fn func(id NodeID) error) error {
	if m.root == nil {
		return nil
	}
	return m.tree.dropped(ref{link: m.root}, nil, next, fn)
}

func (t *tree) dropped(r ref, pos []byte, next *Map, fn func(id NodeID) error) error {
	if own := r.storedID(); own != 0 {
		_, id, ok, err := next.At(pos)
		if err != nil || ok && id == own {
			return err
		}
		if err := fn(own); err != nil {
			return err
		}
	}
	n, err := t.read(r, len(pos), not)
	if err != nil {
		return err
	}
	for nibble, kid := range n.children() {
		if err := t.dropped(kid, n.below(pos, nibble), next, fn); err != nil {
			return err
		}
	}
	return nil
}

// Check reads the whole subtree whose topmost node has this hash, is stored under id and stands at a position of depth
// nibbles, and reports the first node that is missing or is not what its hash says.
func Check(store NodeStore, hash Hash, id NodeID, depth int) error {
	return newTree(store, []Option{WithCacheBytes(0)}).eachNode(ref{id: id, hash: hash[:]}, depth, func(NodeID) error { return nil })
}

// ReadStored decodes what is stored under id, as ReadNode does a node's bytes.
func ReadStored(rec []byte, id NodeID, depth int) (Outline, error) {
	_, hashed, err := decodeStored(rec, id)
	if err != nil {
		return Outline{}, fmt.Errorf("read state node %d: %w", id, err)
	}
	return ReadNode(rec[:hashed], depth)
}
