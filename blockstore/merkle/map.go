package merkle

import (
	"bytes"
	"errors"
)

var (
	// ErrKeySize is returned when a key is empty or longer than [MaxKeyBytes].
	ErrKeySize = errors.New("key size out of bounds")
	// ErrValueSize is returned when a value is longer than [MaxValueBytes].
	ErrValueSize = errors.New("value too large")
	// ErrDuplicateKey is returned when one batch changes a key twice: its outcome would depend on the order.
	ErrDuplicateKey = errors.New("key changed twice in one batch")
)

// Map is one version of the map. It is immutable: all methods are safe for concurrent use, also while newer maps are
// made from it and checkpoints are taken. Make one with [Empty] or [Load].
type Map struct {
	tree *tree
	root *link // nil when there is no entry

	// What Save needs to know; save.go explains.
	epoch    uint64
	sealed   bool
	updates  int   // in this epoch
	newBytes int64 // of this epoch's nodes that are still in the map, about
	stale    *staleList
}

// Option changes how a map and all that descend from it behave.
type Option func(*tree)

// WithCacheBytes bounds the memory for nodes that are in the store; the default is 64 MiB, 0 keeps none.
func WithCacheBytes(n int64) Option { return func(t *tree) { t.cache = newCache(n) } }

func newTree(store NodeStore, opts []Option) *tree {
	t := &tree{store: store}
	for _, o := range opts {
		o(t)
	}
	if t.cache == nil {
		t.cache = newCache(defaultCacheBytes)
	}
	return t
}

// WithSeal makes [Map.Update] seal every map that is the given number of updates, or about so many bytes of new nodes in
// memory, away from the last sealed one. Without it, or with zeros, no map is sealed by itself.
func WithSeal(updates int, newBytes int64) Option {
	return func(t *tree) { t.sealUpdates, t.sealBytes = updates, newBytes }
}

// Empty returns the map without entries. store may be nil if MarkStored is never called.
func Empty(store NodeStore, opts ...Option) *Map { return &Map{tree: newTree(store, opts), epoch: 1} }

// Load returns the map with this root, whose topmost node is stored under id (none for the empty map). It reads that one
// node; the others are read when they are needed, so that a later call may still find one missing or a
// [*CorruptionError].
func Load(store NodeStore, root Hash, id NodeID, opts ...Option) (*Map, error) {
	m := Empty(store, opts...)
	if root == EmptyRoot() {
		return m, nil
	}
	m.root = storedLink(root, id)
	if _, err := m.tree.load(ref{link: m.root}, 0); err != nil {
		return nil, err
	}
	return m, nil
}

// Root returns the hash that identifies the map's content.
func (m *Map) Root() Hash {
	if m.root == nil {
		return EmptyRoot()
	}
	return m.root.hash
}

// Get returns the value of key and whether there is one. The value must not be changed. A key of impossible size is
// absent.
func (m *Map) Get(key []byte) ([]byte, bool, error) {
	if len(key) == 0 || len(key) > MaxKeyBytes || m.root == nil {
		return nil, false, nil
	}
	r, at, end := ref{link: m.root}, 0, 2*len(key)
	for {
		n, err := m.tree.load(r, at)
		if err != nil {
			return nil, false, err
		}
		if n.path().common(key, at) < int(n.pathLen) {
			return nil, false, nil
		}
		if at += int(n.pathLen); at == end {
			switch {
			case !n.has:
				return nil, false, nil
			case n.shared:
				return bytes.Clone(n.value()), true, nil // a few bytes would keep many others in memory
			default:
				return n.value(), true, nil
			}
		}
		var ok bool
		if r, ok = n.kid(nibbleAt(key, at)); !ok {
			return nil, false, nil
		}
		at++
	}
}

// top returns what leads to the topmost node, and whether there is one.
func (m *Map) top() (ref, bool) { return ref{link: m.root}, m.root != nil }

// Range calls fn for each entry with from <= key < to in byte order until fn returns false. A nil bound is open. Key
// and value must not be changed; the key is only valid during the call.
func (m *Map) Range(from, to []byte, fn func(k, v []byte) bool) error {
	if m.root == nil {
		return nil
	}
	w := walk{tree: m.tree, from: nibbles(from), to: nibbles(to), open: to == nil, fn: fn}
	_, err := w.visit(ref{link: m.root})
	return err
}

// walk is one Range under way.
type walk struct {
	tree     *tree
	from, to []byte // nibbles
	open     bool   // no upper bound
	fn       func(k, v []byte) bool
	at       []byte // nibbles down to where the walk stands
	key      []byte // packed form of at
}

// visit walks the subtree below r in order; false means that the walk is over.
func (w *walk) visit(r ref) (bool, error) {
	depth := len(w.at)
	defer func() { w.at = w.at[:depth] }()
	n, err := w.tree.load(r, depth)
	if err != nil {
		return false, err
	}
	for own, i := n.path(), 0; i < int(own.len); i++ {
		w.at = append(w.at, own.at(i))
	}
	if !w.open && bytes.Compare(w.at, w.to) >= 0 {
		return false, nil // all keys here and later are too great
	}
	if bytes.Compare(w.at, w.from[:min(len(w.from), len(w.at))]) < 0 {
		return true, nil // all keys here are too small
	}
	if n.has && bytes.Compare(w.at, w.from) >= 0 && !w.fn(w.pack(), n.value()) {
		return false, nil
	}
	for nibble, kid := range n.children() {
		w.at = append(w.at, nibble)
		more, err := w.visit(kid)
		if !more || err != nil {
			return false, err
		}
		w.at = w.at[:len(w.at)-1]
	}
	return true, nil
}

func (w *walk) pack() []byte {
	w.key = w.key[:0]
	for i := 0; i < len(w.at); i += 2 {
		w.key = append(w.key, w.at[i]<<4|w.at[i+1])
	}
	return w.key
}
