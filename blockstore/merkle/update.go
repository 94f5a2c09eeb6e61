package merkle

import (
	"bytes"
	"fmt"
	"math/bits"
	"slices"
)

// Change sets a key or, with Delete, removes it.
type Change struct {
	Key, Value []byte
	Delete     bool
}

// change is a checked Change.
type change struct {
	key   []byte
	value []byte
	del   bool
}

// Update returns the map with all changes applied, in any order; m stays as it is. Keys and values are copied. Setting
// what is already set and deleting what is absent change nothing. It returns [ErrKeySize], [ErrValueSize],
// [ErrDuplicateKey] or an error of reading nodes; then there is no new map.
func (m *Map) Update(changes []Change) (*Map, error) {
	if len(changes) == 0 {
		return m, nil
	}
	sorted, err := prepare(changes)
	if err != nil {
		return nil, err
	}
	next := &Map{tree: m.tree, epoch: m.epoch, updates: m.updates + 1, newBytes: m.newBytes, stale: m.stale}
	if m.sealed {
		next.epoch, next.updates, next.newBytes = m.epoch+1, 1, 0
	}
	e := edit{tree: m.tree, epoch: next.epoch}
	var changed bool
	if m.root == nil {
		next.root = e.build(sorted, 0)
		changed = next.root != nil
	} else if next.root, changed, err = e.update(ref{link: m.root}, sorted, 0); err != nil {
		return nil, err
	}
	if !changed {
		return m, nil
	}
	next.newBytes += e.newBytes
	if len(e.stale) > 0 {
		next.stale = &staleList{before: m.stale, nodes: e.stale}
	}
	t := m.tree
	next.sealed = t.sealUpdates > 0 && next.updates >= t.sealUpdates || t.sealBytes > 0 && next.newBytes >= t.sealBytes
	return next, nil
}

func prepare(changes []Change) ([]change, error) {
	for _, c := range changes {
		if len(c.Key) == 0 || len(c.Key) > MaxKeyBytes {
			return nil, fmt.Errorf("key of %d bytes: %w", len(c.Key), ErrKeySize)
		}
		if len(c.Value) > MaxValueBytes {
			return nil, fmt.Errorf("value of %d bytes: %w", len(c.Value), ErrValueSize)
		}
	}
	sorted := make([]change, len(changes))
	for i, c := range changes {
		sorted[i] = change{key: bytes.Clone(c.Key), del: c.Delete}
		if !c.Delete {
			sorted[i].value = append(make([]byte, 0, len(c.Value)), c.Value...)
		}
	}
	slices.SortFunc(sorted, func(a, b change) int { return bytes.Compare(a.key, b.key) })
	for i := 1; i < len(sorted); i++ {
		if bytes.Equal(sorted[i-1].key, sorted[i].key) {
			return nil, fmt.Errorf("key %x: %w", sorted[i].key, ErrDuplicateKey)
		}
	}
	return sorted, nil
}

// edit is one Update under way.
type edit struct {
	tree     *tree
	epoch    uint64
	newBytes int64
	stale    []staleNode
}

func (e *edit) newLink(n *node) *link {
	l := &link{epoch: e.epoch}
	l.node.Store(n)
	e.newBytes += n.cost()
	return l
}

// drop notes that the node n that r leads to is not in the new map. What this epoch made and dropped again was never stored
// and never will be; whatever is older has an id, or gets one if a checkpoint of its epoch is still being written.
func (e *edit) drop(r ref, n *node) {
	id := r.storedID()
	switch {
	case id != 0:
		e.stale = append(e.stale, staleNode{id: id})
		e.tree.cache.forget(id)
	case r.link.epoch < e.epoch:
		e.stale = append(e.stale, staleNode{link: r.link})
	default:
		e.newBytes -= n.cost()
	}
}

// draft is a node being put together. It may break the rule that a node has a value or two children. Its children are the
// links, and those of base that bitmap has and fresh has not.
type draft struct {
	path          path
	value         []byte
	has           bool
	borrowed      bool // the value is part of bytes that others own
	bitmap, fresh uint16
	base          record
	links         [16]*link
}

// set makes l the child for a nibble; nil takes it away.
func (d *draft) set(nibble byte, l *link) {
	bit := uint16(1) << nibble
	d.links[nibble] = l
	if l == nil {
		d.bitmap, d.fresh = d.bitmap&^bit, d.fresh&^bit
		return
	}
	d.bitmap, d.fresh = d.bitmap|bit, d.fresh|bit
}

// update applies sorted changes, at least one, which all lead to r, depth nibbles down. It returns the link to what
// replaces r's node, nil when nothing is left, and whether the changes changed anything.
func (e *edit) update(r ref, changes []change, depth int) (l *link, changed bool, err error) {
	n, err := e.tree.load(r, depth)
	if err != nil {
		return nil, false, err
	}
	// Between two keys that share a prefix all keys do, so the outer ones tell where the changes leave the path.
	common := min(n.path.common(changes[0].key, depth), n.path.common(changes[len(changes)-1].key, depth))
	var d draft
	e.begin(&d, &n, common)
	below := depth + common
	if 2*len(changes[0].key) == below {
		changed = d.apply(changes[0])
		changes = changes[1:]
	}
	for len(changes) > 0 {
		var nibble byte
		var group []change
		nibble, group, changes = cutNibble(changes, below)
		other, err := e.updateKid(&d, nibble, group, below+1)
		if err != nil {
			return nil, false, err
		}
		changed = changed || other
	}
	if !changed {
		return nil, false, nil
	}
	e.drop(r, &n)
	l, err = e.finish(&d, depth)
	return l, true, err
}

// updateKid applies changes to a draft's child, which there may not be, and reports whether that made a difference.
func (e *edit) updateKid(d *draft, nibble byte, changes []change, depth int) (changed bool, err error) {
	bit := uint16(1) << nibble
	var l *link
	switch {
	case d.bitmap&bit == 0:
		l = e.build(changes, depth)
		changed = l != nil
	case d.fresh&bit != 0:
		l, changed, err = e.update(ref{link: d.links[nibble]}, changes, depth)
	default:
		i := rank(d.base.bitmap, nibble)
		l, changed, err = e.update(ref{id: d.base.idOf(i), hash: Hash(d.base.hashOf(i))}, changes, depth)
	}
	if changed && err == nil {
		d.set(nibble, l)
	}
	return changed, err
}

// begin starts from n, cut after the first common nibbles of its path: what is below becomes the only child.
func (e *edit) begin(d *draft, n *node, common int) {
	if common < int(n.path.len) {
		d.path = n.path.cut(0, common).clone()
		lower := n.own()
		lower.path = lower.path.cut(common+1, int(n.path.len))
		d.set(n.path.at(common), e.newLink(&lower))
		return
	}
	if n.bitmap == 0 && n.base.bytes != nil { // a stored leaf: the record goes, and would stay for these few bytes
		d.path, d.value, d.has, d.borrowed = n.path.clone(), n.value, n.has, true
		return
	}
	own := n.own()
	d.path, d.value, d.has = own.path, own.value, own.has
	d.bitmap, d.fresh, d.base = own.bitmap, own.fresh, own.base
	links := n.links
	for left := n.fresh; left != 0; left &= left - 1 {
		d.links[bits.TrailingZeros16(left)], links = links[0], links[1:]
	}
}

// apply changes the draft's own value and reports whether that made a difference.
func (d *draft) apply(c change) bool {
	if c.del {
		changed := d.has
		d.value, d.has, d.borrowed = nil, false, false
		return changed
	}
	if d.has && bytes.Equal(d.value, c.value) {
		return false
	}
	d.value, d.has, d.borrowed = c.value, true, false
	return true
}

// finish makes a node of the draft: nothing if it is empty; merged with its child if that is all it has.
func (e *edit) finish(d *draft, depth int) (*link, error) {
	count := bits.OnesCount16(d.bitmap)
	if d.has || count > 1 {
		return e.newLink(d.node()), nil
	}
	if count == 0 {
		return nil, nil
	}
	nibble := byte(bits.TrailingZeros16(d.bitmap))
	half := d.node()
	only, _ := half.kid(nibble)
	child, err := e.tree.load(only, depth+int(d.path.len)+1)
	if err != nil {
		return nil, err
	}
	e.drop(only, &child)
	child = child.own()
	child.path = join(d.path, nibble, child.path)
	return e.newLink(&child), nil
}

func (d *draft) node() *node {
	n := &node{path: d.path, value: d.value, has: d.has, bitmap: d.bitmap, fresh: d.fresh}
	if d.borrowed {
		n.value = bytes.Clone(d.value)
	}
	if d.bitmap != d.fresh {
		n.base = d.base
	}
	if d.fresh != 0 {
		n.links = make([]*link, 0, bits.OnesCount16(d.fresh))
		for left := d.fresh; left != 0; left &= left - 1 {
			n.links = append(n.links, d.links[bits.TrailingZeros16(left)])
		}
	}
	return n
}

// build makes the subtree of the sets among sorted changes, nil if there is none.
func (e *edit) build(changes []change, depth int) *link {
	if slices.ContainsFunc(changes, func(c change) bool { return c.del }) {
		kept := make([]change, 0, len(changes))
		for _, c := range changes {
			if !c.del {
				kept = append(kept, c)
			}
		}
		changes = kept
	}
	if len(changes) == 0 {
		return nil
	}
	first := keyPath(changes[0].key, depth)
	var d draft
	d.path = first.cut(0, first.common(changes[len(changes)-1].key, depth))
	depth += int(d.path.len)
	if 2*len(changes[0].key) == depth {
		d.value, d.has = changes[0].value, true
		changes = changes[1:]
	}
	for len(changes) > 0 {
		var nibble byte
		var group []change
		nibble, group, changes = cutNibble(changes, depth)
		d.set(nibble, e.build(group, depth+1))
	}
	return e.newLink(d.node())
}

// cutNibble returns the run of sorted changes at the front that have the same nibble at depth, and what is left.
func cutNibble(changes []change, depth int) (nibble byte, group, rest []change) {
	nibble, n := nibbleAt(changes[0].key, depth), 1
	for n < len(changes) && nibbleAt(changes[n].key, depth) == nibble {
		n++
	}
	return nibble, changes[:n], changes[n:]
}
