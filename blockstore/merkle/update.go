package merkle

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/bits"
	"slices"
)

// Change sets a key or, with Delete, removes it.
type Change struct {
	Key, Value []byte
	Delete     bool
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
	if len(e.stale.ids)+len(e.stale.links) > 0 {
		stale := e.stale // by itself: a pointer into e would keep all of that
		stale.before = m.stale
		next.stale = &stale
	}
	t := m.tree
	next.sealed = t.sealUpdates > 0 && next.updates >= t.sealUpdates || t.sealBytes > 0 && next.newBytes >= t.sealBytes
	return next, nil
}

func prepare(changes []Change) ([]Change, error) {
	for _, c := range changes {
		if len(c.Key) == 0 || len(c.Key) > MaxKeyBytes {
			return nil, fmt.Errorf("key of %d bytes: %w", len(c.Key), ErrKeySize)
		}
		if len(c.Value) > MaxValueBytes {
			return nil, fmt.Errorf("value of %d bytes: %w", len(c.Value), ErrValueSize)
		}
	}
	sorted := slices.Clone(changes)
	slices.SortFunc(sorted, func(a, b Change) int { return bytes.Compare(a.Key, b.Key) })
	for i := 1; i < len(sorted); i++ {
		if bytes.Equal(sorted[i-1].Key, sorted[i].Key) {
			return nil, fmt.Errorf("key %x: %w", sorted[i].Key, ErrDuplicateKey)
		}
	}
	return sorted, nil
}

// edit is one Update under way. A node is encoded and hashed where it is made, children first, while all of it is in the
// processor's caches.
type edit struct {
	tree     *tree
	epoch    uint64
	newBytes int64
	stale    staleList
	buf      []byte // scratch
}

// newLink makes a node of a draft.
func (e *edit) newLink(d *draft) *link {
	buf, size := d.encode(append(e.buf[:0], nodeDomain...))
	e.buf = buf
	enc := bytes.Clone(buf[len(nodeDomain):])
	rec, _, err := cutNode(enc)
	if err != nil {
		invariant(false, "new node: %v", err)
	}
	rec.bytes, rec.id, rec.fresh = enc, d.base.id, d.fresh
	n := &node{record: rec, links: d.newLinks()}
	l := &link{epoch: e.epoch, hash: sha256.Sum256(buf[:size])}
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
		e.stale.ids = append(e.stale.ids, id)
		e.tree.cache.forget(id)
	case r.link.epoch < e.epoch:
		r.link.replaced.Store(true)
		e.stale.links = append(e.stale.links, r.link)
	default:
		e.newBytes -= n.cost()
	}
}

// update applies sorted changes, at least one, which all lead to r, depth nibbles down. It returns the link to what
// replaces r's node, nil when nothing is left, and whether the changes changed anything.
func (e *edit) update(r ref, changes []Change, depth int) (l *link, changed bool, err error) {
	n, err := e.tree.load(r, depth)
	if err != nil {
		return nil, false, err
	}
	// Between two keys that share a prefix all keys do, so the outer ones tell where the changes leave the path.
	common := min(n.path().common(changes[0].Key, depth), n.path().common(changes[len(changes)-1].Key, depth))
	var d draft
	if common < int(n.pathLen) {
		e.split(&d, &n, common)
	} else {
		d.replace(&n)
	}
	below := depth + common
	if 2*len(changes[0].Key) == below {
		changed = d.apply(changes[0])
		changes = changes[1:]
	}
	for len(changes) > 0 {
		var nibble byte
		var group []Change
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
func (e *edit) updateKid(d *draft, nibble byte, changes []Change, depth int) (changed bool, err error) {
	var l *link
	if kid, ok := d.kid(nibble); ok {
		l, changed, err = e.update(kid, changes, depth)
	} else {
		l = e.build(changes, depth)
		changed = l != nil
	}
	if changed && err == nil {
		d.set(nibble, l)
	}
	return changed, err
}

// split starts from n, cut after the first common nibbles of its path: what is below becomes the only child.
func (e *edit) split(d *draft, n *node, common int) {
	var lower draft
	lower.replace(n)
	lower.path = lower.path.cut(common+1, int(n.pathLen))
	d.path = n.path().cut(0, common)
	d.set(n.path().at(common), e.newLink(&lower))
}

// finish makes a node of the draft: nothing if it is empty; merged with its child if that is all it has.
func (e *edit) finish(d *draft, depth int) (*link, error) {
	count := bits.OnesCount16(d.bitmap)
	if d.has || count > 1 {
		return e.newLink(d), nil
	}
	if count == 0 {
		return nil, nil
	}
	nibble := byte(bits.TrailingZeros16(d.bitmap))
	only, _ := d.kid(nibble)
	child, err := e.tree.load(only, depth+int(d.path.len)+1)
	if err != nil {
		return nil, err
	}
	e.drop(only, &child)
	var merged draft
	merged.replace(&child)
	merged.path = join(d.path, nibble, merged.path)
	return e.newLink(&merged), nil
}

// build makes the subtree of the sets among sorted changes, nil if there is none.
func (e *edit) build(changes []Change, depth int) *link {
	if slices.ContainsFunc(changes, func(c Change) bool { return c.Delete }) {
		kept := make([]Change, 0, len(changes))
		for _, c := range changes {
			if !c.Delete {
				kept = append(kept, c)
			}
		}
		changes = kept
	}
	if len(changes) == 0 {
		return nil
	}
	first := keyPath(changes[0].Key, depth)
	var d draft
	d.path = first.cut(0, first.common(changes[len(changes)-1].Key, depth))
	depth += int(d.path.len)
	if 2*len(changes[0].Key) == depth {
		d.value, d.has = changes[0].Value, true
		changes = changes[1:]
	}
	for len(changes) > 0 {
		var nibble byte
		var group []Change
		nibble, group, changes = cutNibble(changes, depth)
		d.set(nibble, e.build(group, depth+1))
	}
	return e.newLink(&d)
}

// cutNibble returns the run of sorted changes at the front that have the same nibble at depth, and what is left.
func cutNibble(changes []Change, depth int) (nibble byte, group, rest []Change) {
	nibble, n := nibbleAt(changes[0].Key, depth), 1
	for n < len(changes) && nibbleAt(changes[n].Key, depth) == nibble {
		n++
	}
	return nibble, changes[:n], changes[n:]
}
