package merkle

import (
	"bytes"
	"fmt"
	"slices"
)

// Change sets a key or, with Delete, removes it.
type Change struct {
	Key, Value []byte
	Delete     bool
}

// change is a checked Change with its key unpacked.
type change struct {
	key   []byte // nibbles
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
	if next.root, err = e.update(m.root, sorted, 0); err != nil {
		return nil, err
	}
	if next.root == m.root {
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
		sorted[i] = change{key: nibbles(c.Key), del: c.Delete}
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

// drop notes that l, which leads to n, is not in the new map. What this epoch made and dropped again was never stored and
// never will be; whatever is older has an id, or gets one if a checkpoint of its epoch is still being written.
func (e *edit) drop(l *link, n *node) {
	switch {
	case l.stored.Load():
		e.stale = append(e.stale, staleNode{id: l.id})
	case l.epoch < e.epoch:
		e.stale = append(e.stale, staleNode{link: l})
	default:
		e.newBytes -= n.cost()
	}
}

// draft is a node being put together. It may break the rule that a node has a value or two children.
type draft struct {
	path  []byte
	value []byte
	has   bool
	kids  [16]*link
}

// update applies sorted changes, at least one, which all lead to l, depth nibbles down. It returns l itself when they
// change nothing, nil when nothing is left.
func (e *edit) update(l *link, changes []change, depth int) (*link, error) {
	if l == nil {
		return e.build(changes, depth), nil
	}
	n, err := e.tree.load(l, depth)
	if err != nil {
		return nil, err
	}
	// Between two keys that share a prefix all keys do, so the outer ones tell where the changes leave the path.
	common := min(commonPrefix(n.path, changes[0].key[depth:]), commonPrefix(n.path, changes[len(changes)-1].key[depth:]))
	d := e.draft(n, common)
	changed := false
	if len(changes[0].key) == depth+common {
		changed = d.apply(changes[0])
		changes = changes[1:]
	}
	err = eachNibble(changes, depth+common, func(nibble byte, group []change) error {
		kid, err := e.update(d.kids[nibble], group, depth+common+1)
		if err != nil {
			return err
		}
		changed = changed || kid != d.kids[nibble]
		d.kids[nibble] = kid
		return nil
	})
	if err != nil {
		return nil, err
	}
	if !changed {
		return l, nil
	}
	e.drop(l, n)
	return e.finish(&d, depth)
}

// draft starts from n, cut after the first common nibbles of its path: what is below becomes the only child.
func (e *edit) draft(n *node, common int) draft {
	if common < len(n.path) {
		d := draft{path: n.path[:common:common]}
		lower := *n
		lower.path = n.path[common+1:]
		d.kids[n.path[common]] = e.newLink(&lower)
		return d
	}
	d := draft{path: n.path, value: n.value, has: n.has}
	for nibble, i := 0, 0; i < len(n.kids); nibble++ {
		if n.bitmap&(1<<nibble) != 0 {
			d.kids[nibble] = n.kids[i]
			i++
		}
	}
	return d
}

// apply changes the draft's own value and reports whether that made a difference.
func (d *draft) apply(c change) bool {
	if c.del {
		changed := d.has
		d.value, d.has = nil, false
		return changed
	}
	if d.has && bytes.Equal(d.value, c.value) {
		return false
	}
	d.value, d.has = c.value, true
	return true
}

// finish makes a node of the draft: nothing if it is empty; merged with its child if that is all it has.
func (e *edit) finish(d *draft, depth int) (*link, error) {
	count, only := 0, byte(0)
	for nibble, k := range d.kids {
		if k != nil {
			count, only = count+1, byte(nibble)
		}
	}
	if d.has || count > 1 {
		return e.newLink(d.node(count)), nil
	}
	if count == 0 {
		return nil, nil
	}
	child, err := e.tree.load(d.kids[only], depth+len(d.path)+1)
	if err != nil {
		return nil, err
	}
	e.drop(d.kids[only], child)
	merged := *child
	merged.path = slices.Concat(d.path, []byte{only}, child.path)
	return e.newLink(&merged), nil
}

func (d *draft) node(count int) *node {
	n := &node{path: d.path, value: d.value, has: d.has, kids: make([]*link, 0, count)}
	for nibble, k := range d.kids {
		if k != nil {
			n.bitmap |= 1 << nibble
			n.kids = append(n.kids, k)
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
	first, last := changes[0].key[depth:], changes[len(changes)-1].key[depth:]
	d := draft{path: first[:commonPrefix(first, last)]}
	depth += len(d.path)
	if len(changes[0].key) == depth {
		d.value, d.has = changes[0].value, true
		changes = changes[1:]
	}
	count := 0
	_ = eachNibble(changes, depth, func(nibble byte, group []change) error { // never fails
		d.kids[nibble] = e.build(group, depth+1)
		count++
		return nil
	})
	return e.newLink(d.node(count))
}

// eachNibble calls fn for each run of sorted changes with the same nibble at depth.
func eachNibble(changes []change, depth int, fn func(nibble byte, group []change) error) error {
	for len(changes) > 0 {
		nibble, n := changes[0].key[depth], 1
		for n < len(changes) && changes[n].key[depth] == nibble {
			n++
		}
		if err := fn(nibble, changes[:n]); err != nil {
			return err
		}
		changes = changes[n:]
	}
	return nil
}

func commonPrefix(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}
