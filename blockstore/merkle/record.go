package merkle

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// record is a node's bytes, checked once, and where in them things are. A branch of 16 children takes less than 700 bytes
// in one piece, without a pointer for each child. The bytes never change. Those that the cache has are part of a segment;
// what is kept beyond a call has its own ones. A stored node has its children's ids behind what the hash covers; a new node
// has there those of the children that are stored, as what they are below id, which is that of the node it replaces.
type record struct {
	bytes    []byte
	id       NodeID // what the children's ids are relative to
	valueAt  uint32
	valueLen uint32
	kidsAt   uint32 // the children's hashes, then ids
	pathLen  uint16 // nibbles
	bitmap   uint16 // which children there are
	fresh    uint16 // which of them have no id here
	pathAt   uint8
	has      bool // there is a value, perhaps an empty one
	shared   bool // the bytes are part of something larger
}

// path returns the node's path, a view.
func (r *record) path() path {
	return path{packed: r.bytes[r.pathAt : int(r.pathAt)+(int(r.pathLen)+1)/2], len: r.pathLen}
}

// value returns the node's value, a view.
func (r *record) value() []byte {
	return r.bytes[r.valueAt : r.valueAt+r.valueLen : r.valueAt+r.valueLen]
}

// rank is the place of the child for a nibble, which there is, among all children of bitmap.
func rank(bitmap uint16, nibble byte) int { return bits.OnesCount16(bitmap & (1<<nibble - 1)) }

// idsAt is where the bytes end that the hash covers.
func (r *record) idsAt() int { return int(r.kidsAt) + bits.OnesCount16(r.bitmap)*len(Hash{}) }

// hashOf returns the hash of the i-th child.
func (r *record) hashOf(i int) []byte {
	at := int(r.kidsAt) + i*len(Hash{})
	return r.bytes[at : at+len(Hash{})]
}

// storedKid returns what leads to the child for a nibble, which is not a fresh one. It has no id if the record has none.
func (r *record) storedKid(nibble byte) ref {
	out := ref{hash: r.hashOf(rank(r.bitmap, nibble))}
	if ids := r.bytes[r.idsAt():]; len(ids) > 0 {
		below, _ := binary.Uvarint(ids[skipUvarints(ids, rank(r.bitmap&^r.fresh, nibble)):])
		out.id = r.id - NodeID(below)
	}
	return out
}

// skipUvarints returns how long the first n numbers are.
func skipUvarints(in []byte, n int) (at int) {
	for ; n > 0; at++ {
		if in[at] < 0x80 {
			n--
		}
	}
	return at
}

// decodeNode reads an encoded node, all of enc, which it keeps. The children have no id: they can be compared, not
// loaded.
func decodeNode(enc []byte) (r record, err error) {
	r, size, err := cutNode(enc)
	if err == nil && len(enc) > size {
		err = fmt.Errorf("%d trailing bytes: %w", len(enc)-size, errNode)
	}
	if err != nil {
		return record{}, err
	}
	r.bytes = enc
	return r, nil
}

// decodeStored reads what encodeStored wrote, which it keeps, and returns it with the size of the part that the hash
// covers.
func decodeStored(in []byte, id NodeID) (record, int, error) {
	cut, size, err := cutNode(in)
	if err != nil {
		return record{}, 0, err
	}
	rest := in[size:]
	for range bits.OnesCount16(cut.bitmap) {
		below, n := binary.Uvarint(rest)
		if n <= 0 || below == 0 || below >= uint64(id) || (n > 1 && rest[n-1] == 0) {
			return record{}, 0, fmt.Errorf("child id: %w", errNode)
		}
		rest = rest[n:]
	}
	if len(rest) > 0 {
		return record{}, 0, fmt.Errorf("%d trailing bytes: %w", len(rest), errNode)
	}
	cut.bytes, cut.id = in, id
	return cut, size, nil
}

// cutNode finds the parts of an encoded node at the front of in and its size. It accepts only what encode produces and
// allocates nothing but errors.
func cutNode(in []byte) (r record, size int, err error) {
	if len(in) == 0 || in[0] != layoutVersion {
		return r, 0, fmt.Errorf("layout version: %w", errNode)
	}
	at := 1
	count, n, err := uvarint(in[at:], maxNibbles)
	if err != nil {
		return r, 0, fmt.Errorf("path length: %w", err)
	}
	at += n
	r.pathAt, r.pathLen = uint8(at), uint16(count)
	at += (count + 1) / 2
	switch {
	case len(in) < at:
		return r, 0, fmt.Errorf("path cut off: %w", errNode)
	case count%2 == 1 && in[at-1]&0x0f != 0:
		return r, 0, fmt.Errorf("path padding: %w", errNode)
	case len(in) == at || in[at]&^flagValue != 0:
		return r, 0, fmt.Errorf("flags: %w", errNode)
	}
	r.has = in[at] == flagValue
	at++
	if r.has {
		if count, n, err = uvarint(in[at:], MaxValueBytes); err != nil {
			return r, 0, fmt.Errorf("value length: %w", err)
		}
		at += n
		if len(in)-at < count {
			return r, 0, fmt.Errorf("value cut off: %w", errNode)
		}
		r.valueAt, r.valueLen = uint32(at), uint32(count)
		at += count
	}
	if len(in)-at < 2 {
		return r, 0, fmt.Errorf("child bitmap cut off: %w", errNode)
	}
	r.bitmap = binary.BigEndian.Uint16(in[at:])
	at += 2
	r.kidsAt = uint32(at)
	kids := bits.OnesCount16(r.bitmap)
	if len(in)-at < kids*len(Hash{}) {
		return r, 0, fmt.Errorf("%d bytes for %d children: %w", len(in)-at, kids, errNode)
	}
	if !r.has && kids < 2 {
		return r, 0, fmt.Errorf("%d children and no value: %w", kids, errNode)
	}
	return r, at + kids*len(Hash{}), nil
}

// uvarint reads a number of at most limit in its shortest form and returns it with its size.
func uvarint(in []byte, limit uint64) (v, size int, err error) {
	u, size := binary.Uvarint(in)
	if size <= 0 || u > limit || (size > 1 && in[size-1] == 0) {
		return 0, 0, errNode
	}
	return int(u), size, nil
}
