package merkle

import (
	"fmt"
	"slices"
)

// A checkpoint stores the nodes that are new since the last one and names the stored ones that it no longer has: they
// are of use to older checkpoints only and can be deleted with the last of these. Nobody compares two trees for that. An
// update notes each link that it drops, unless the same epoch made it: an epoch is what lies between two sealed maps, and
// only sealed maps are saved, so such a node never reaches the store.

// staleList is what a line of updates dropped, newest first. A map and its successors share it. Only the one goroutine
// that saves walks it.
type staleList struct {
	before *staleList
	ids    []NodeID // of what was stored when it was dropped; apart from the links, nothing for the garbage collector to follow
	links  []*link  // what was not: it has an id if and when a checkpoint under way at that time is complete
}

// Seal returns this version as one that may be saved. Update it, not the original: what is updated from the original
// does not know that this version may reach the store.
func (m *Map) Seal() *Map {
	if m.sealed {
		return m
	}
	sealed := *m
	sealed.sealed = true
	return &sealed
}

// Sealed reports whether the map may be saved: see [WithSeal] and [Map.Seal].
func (m *Map) Sealed() bool { return m.sealed }

// NewBytes estimates the memory of the nodes that were made since the last sealed map before this one.
func (m *Map) NewBytes() int64 { return m.newBytes }

// CachedBytes returns the memory that stored nodes take in the cache, which all maps of one lineage share. It is never
// above what [WithCacheBytes] allows.
func (m *Map) CachedBytes() int64 { return m.tree.cache.bytes() }

// Saved says what a Save gave out.
type Saved struct {
	// Root is the id of the topmost node, 0 for the empty map. [Load] wants it together with the root's hash.
	Root NodeID
	// Next is the lowest id that is still free.
	Next NodeID
	// Stale are the nodes that earlier saves stored and that this map does not have, ascending: the last ones that may
	// still be read for the map saved before, or for one between the two.
	Stale []NodeID
}

// Save calls put for each node of a sealed map that is not stored, children before their parent, with ids from next on
// (at least 1), until put fails. The bytes may be kept. Nothing is marked: once all of them and the outcome are durable,
// call MarkStored on the same map. After an error the same map may be saved again from any free id.
//
// Of one lineage one map may be saved at a time, by ascending age. Maps in between may be left out.
func (m *Map) Save(next NodeID, put func(id NodeID, rec []byte) error) (Saved, error) {
	invariant(m.sealed && next > 0, "save of a map that is not sealed, or from id %d", next)
	out := Saved{Next: next}
	if m.root != nil {
		s := save{put: put, next: next}
		if err := s.visit(m.root); err != nil {
			return Saved{}, err
		}
		out.Root, out.Next = m.root.id, s.next
	}
	for list := m.stale; list != nil; list = list.before {
		out.Stale = append(out.Stale, list.ids...)
		for _, l := range list.links {
			if l.stored.Load() {
				out.Stale = append(out.Stale, l.id)
			}
		}
	}
	slices.Sort(out.Stale)
	return out, nil
}

type save struct {
	put  func(id NodeID, rec []byte) error
	next NodeID
}

func (s *save) visit(l *link) error {
	if l.stored.Load() {
		return nil
	}
	n := l.node.Load()
	for _, k := range n.links {
		if err := s.visit(k); err != nil {
			return err
		}
	}
	l.id = s.next // nobody else looks before it is stored
	s.next++
	if err := s.put(l.id, n.encodeStored(l.id)); err != nil {
		return fmt.Errorf("store state node %d: %w", l.id, err)
	}
	return nil
}

// MarkStored records that all nodes that Save gave out are durable in the NodeStore. They are read from there from now
// on, by every map that shares them, and no later Save gives them or the same stale ones out again.
func (m *Map) MarkStored() {
	if m.root != nil {
		m.tree.markStored(m.root, nil)
	}
	if m.stale != nil {
		*m.stale = staleList{}
	}
}

// EachNode calls fn with the id of each stored node of the map, in no order that means anything, until fn fails. All of
// them are read and checked.
func (m *Map) EachNode(fn func(id NodeID) error) error {
	if m.root == nil {
		return nil
	}
	return m.tree.eachNode(ref{link: m.root}, 0, fn)
}

func (t *tree) eachNode(r ref, depth int, fn func(id NodeID) error) error {
	n, err := t.read(r, depth, not) // it would drive all else out of the cache
	if err != nil {
		return err
	}
	if id := r.storedID(); id != 0 {
		if err := fn(id); err != nil {
			return err
		}
	}
	for _, kid := range n.children() {
		if err := t.eachNode(kid, depth+int(n.pathLen)+1, fn); err != nil {
			return err
		}
	}
	return nil
}
