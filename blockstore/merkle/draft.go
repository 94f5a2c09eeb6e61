package merkle

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// draft is a node being put together. It may break the rule that a node has a value or two children. Its parts are views of
// what others own. Its children are the links, and those of base that bitmap has and fresh has not.
type draft struct {
	path          path
	value         []byte
	has           bool
	bitmap, fresh uint16
	replaced      uint16 // which children are not those that base has
	base          record
	links         [16]*link
}

// replace starts from what n is.
func (d *draft) replace(n *node) {
	d.path, d.has, d.bitmap, d.fresh, d.replaced, d.base = n.path(), n.has, n.bitmap, n.fresh, 0, n.record
	if n.has {
		d.value = n.value()
	}
	links := n.links
	for left := n.fresh; left != 0; left &= left - 1 {
		d.links[bits.TrailingZeros16(left)], links = links[0], links[1:]
	}
}

// kid returns what leads to the child for a nibble, and whether there is one.
func (d *draft) kid(nibble byte) (ref, bool) {
	bit := uint16(1) << nibble
	switch {
	case d.bitmap&bit == 0:
		return ref{}, false
	case d.fresh&bit != 0:
		return ref{link: d.links[nibble]}, true
	default:
		return d.base.storedKid(nibble), true
	}
}

// set makes l the child for a nibble; nil takes it away.
func (d *draft) set(nibble byte, l *link) {
	bit := uint16(1) << nibble
	d.links[nibble] = l
	d.replaced |= bit
	if l == nil {
		d.bitmap, d.fresh = d.bitmap&^bit, d.fresh&^bit
		return
	}
	d.bitmap, d.fresh = d.bitmap|bit, d.fresh|bit
}

// apply changes the draft's own value and reports whether that made a difference.
func (d *draft) apply(c Change) bool {
	if c.Delete {
		changed := d.has
		d.value, d.has = nil, false
		return changed
	}
	if d.has && bytes.Equal(d.value, c.Value) {
		return false
	}
	d.value, d.has = c.Value, true
	return true
}

// newLinks returns the links to the fresh children in a slice of their own.
func (d *draft) newLinks() []*link {
	if d.fresh == 0 {
		return nil
	}
	links := make([]*link, 0, bits.OnesCount16(d.fresh))
	for left := d.fresh; left != 0; left &= left - 1 {
		links = append(links, d.links[bits.TrailingZeros16(left)])
	}
	return links
}

// encode appends the node's bytes to buf, then the ids of the children that are stored as base has them, and returns the
// length up to the ids.
func (d *draft) encode(buf []byte) (_ []byte, size int) {
	buf = append(buf, layoutVersion)
	buf = binary.AppendUvarint(buf, uint64(d.path.len))
	buf = d.path.pack(buf)
	if d.has {
		buf = append(buf, flagValue)
		buf = binary.AppendUvarint(buf, uint64(len(d.value)))
		buf = append(buf, d.value...)
	} else {
		buf = append(buf, 0)
	}
	buf = binary.BigEndian.AppendUint16(buf, d.bitmap)
	buf = d.appendHashes(buf)
	size = len(buf)
	if d.bitmap == d.fresh {
		return buf, size
	}
	ids := d.base.bytes[d.base.idsAt():]
	for left := d.base.bitmap &^ d.base.fresh; left != 0 && len(ids) > 0; left &= left - 1 {
		n := skipUvarints(ids, 1)
		if d.bitmap&^d.fresh&(left&-left) != 0 {
			buf = append(buf, ids[:n]...)
		}
		ids = ids[n:]
	}
	return buf, size
}

// appendHashes appends the children's hashes. Those of children that base has are in its bytes, one behind the other; their
// links, if they are new too, are all over the memory.
func (d *draft) appendHashes(buf []byte) []byte {
	if d.bitmap == d.base.bitmap {
		at := len(buf)
		buf = append(buf, d.base.bytes[d.base.kidsAt:d.base.idsAt()]...)
		for left := d.replaced & d.bitmap; left != 0; left &= left - 1 {
			nibble := byte(bits.TrailingZeros16(left))
			copy(buf[at+rank(d.bitmap, nibble)*len(Hash{}):], d.links[nibble].hash[:])
		}
		return buf
	}
	for left := d.bitmap; left != 0; left &= left - 1 {
		if nibble := byte(bits.TrailingZeros16(left)); d.replaced&(1<<nibble) != 0 {
			buf = append(buf, d.links[nibble].hash[:]...)
		} else {
			buf = append(buf, d.base.hashOf(rank(d.base.bitmap, nibble))...)
		}
	}
	return buf
}
