package merkle

import (
	"errors"
	"fmt"
	"math/bits"
)

// ErrBadStream is returned when nodes that were given to a [Builder] are not, children first, those of one map.
var ErrBadStream = errors.New("not the nodes of one map, children first")

// Stream calls fn with the bytes of each node of the map, children before their parent and lowest nibble first, until fn
// fails: what a [Builder] makes a stored map of again. The bytes are only valid during the call. Nodes are read from the
// store one at a time and checked; memory does not grow with the map.
func (m *Map) Stream(fn func(enc []byte) error) error {
	if m.root == nil {
		return nil
	}
	s := streamer{tree: m.tree, fn: fn}
	return s.visit(ref{link: m.root}, 0)
}

type streamer struct {
	tree *tree
	fn   func(enc []byte) error
}

func (s *streamer) visit(r ref, depth int) error {
	n, err := s.tree.read(r, depth, not)
	if err != nil {
		return err
	}
	for _, k := range n.children() {
		if err := s.visit(k, depth+int(n.pathLen)+1); err != nil {
			return err
		}
	}
	return s.fn(n.encoded())
}

// Builder makes stored nodes of a stream that [Map.Stream] gave out, from a source that is not trusted: a node's children
// must be the ones that came before it, and what it all amounts to is known only at the end, when the caller compares the
// root. Its memory is bounded by the depth of the tree, not by its size. It is not safe for concurrent use.
type Builder struct {
	next NodeID
	put  func(id NodeID, rec []byte) error
	open []built // roots of complete subtrees that no node has taken as a child yet
}

// built is the root of a subtree whose nodes were all put.
type built struct {
	hash    Hash
	id      NodeID
	nibbles int  // how many more the longest key below has, the node's own path included
	parity  int  // of the number of nibbles that its keys have, the path included: keys are whole bytes
	bare    bool // a key ends right where the node begins: it cannot be the topmost one
}

// maxOpen bounds the subtrees that wait for a parent: 15 older siblings a level at most.
const maxOpen = 15*maxNibbles + 16

// NewBuilder returns a builder that gives ids from next on (at least 1) and calls put for each node, children first, until
// put fails. The bytes may be kept.
func NewBuilder(next NodeID, put func(id NodeID, rec []byte) error) *Builder {
	invariant(next > 0, "builder from id 0")
	return &Builder{next: next, put: put}
}

// Add takes the next node of the stream. It returns [ErrBadStream], or what put did.
func (b *Builder) Add(enc []byte) error {
	n, err := decodeNode(enc)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadStream, err)
	}
	kids, path := bits.OnesCount16(n.bitmap), int(n.pathLen)
	if kids > len(b.open) {
		return fmt.Errorf("%w: %d children, %d nodes before it", ErrBadStream, kids, len(b.open))
	}
	own := built{hash: HashNode(enc), id: b.next, nibbles: path, parity: -1, bare: n.has && path == 0}
	if n.has {
		own.parity = path % 2
	}
	first := len(b.open) - kids
	ids := make([]NodeID, kids)
	for i, below := range b.open[first:] {
		if below.hash != Hash(n.hashOf(i)) {
			return fmt.Errorf("%w: child %d is another node", ErrBadStream, i)
		}
		ids[i] = below.id
		own.nibbles = max(own.nibbles, path+1+below.nibbles)
		parity := (path + 1 + below.parity) % 2
		if own.parity >= 0 && parity != own.parity {
			return fmt.Errorf("%w: keys of half bytes", ErrBadStream)
		}
		own.parity = parity
	}
	if own.nibbles > maxNibbles || first >= maxOpen {
		return fmt.Errorf("%w: too deep", ErrBadStream)
	}
	if err := b.put(own.id, AppendStored(nil, enc, own.id, ids)); err != nil {
		return fmt.Errorf("store state node %d: %w", own.id, err)
	}
	b.next++
	b.open = append(b.open[:first], own)
	return nil
}

// Done ends the stream and returns the root of the map that it was, under which id its topmost node was put (0 for the
// empty map), and the lowest id that is still free. It returns [ErrBadStream] when the stream stopped in between.
func (b *Builder) Done() (root Hash, id, next NodeID, err error) {
	switch {
	case len(b.open) == 0:
		return EmptyRoot(), 0, b.next, nil
	case len(b.open) > 1:
		return Hash{}, 0, 0, fmt.Errorf("%w: %d nodes without a parent", ErrBadStream, len(b.open))
	case b.open[0].parity != 0 || b.open[0].bare:
		return Hash{}, 0, 0, fmt.Errorf("%w: keys of half bytes", ErrBadStream)
	}
	return b.open[0].hash, b.open[0].id, b.next, nil
}

// Walk reads and checks the stored nodes of the map with this root, whose topmost node is stored under id, parents first.
// It calls visit before it reads one, and leaves the node and all below it out where visit returns false. It stops at the
// first error: visit's, the store's, or a [*CorruptionError]. Its memory is bounded by the depth of the tree.
func Walk(store NodeStore, root Hash, id NodeID, visit func(id NodeID, hash Hash) (bool, error)) error {
	if root == EmptyRoot() {
		return nil
	}
	w := walker{tree: newTree(store, []Option{WithCacheBytes(0)}), visit: visit}
	return w.walk(ref{id: id, hash: root[:]}, 0)
}

type walker struct {
	tree  *tree
	visit func(id NodeID, hash Hash) (bool, error)
}

func (w *walker) walk(r ref, depth int) error {
	if further, err := w.visit(r.id, Hash(r.hash)); err != nil || !further {
		return err
	}
	n, err := w.tree.load(r, depth)
	if err != nil {
		return err
	}
	for _, k := range n.children() {
		if err := w.walk(k, depth+int(n.pathLen)+1); err != nil {
			return err
		}
	}
	return nil
}
