package merkle

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
)

// NodeStore is where stored nodes are read from. Node returns the bytes that [Map.Save] gave out under this id; the
// slice is only read, and not kept. Any error is passed on, wrapped. It must be safe for concurrent use.
type NodeStore interface {
	Node(id NodeID) ([]byte, error)
}

// CorruptionError is returned when a stored node's bytes are not what its hash promises.
type CorruptionError struct {
	// ID and Hash are the node's.
	ID   NodeID
	Hash Hash
	// Err says what is wrong.
	Err error
}

// Error names the node and what is wrong with it.
func (e *CorruptionError) Error() string {
	return fmt.Sprintf("state node %d (%x) is corrupt: %v", e.ID, e.Hash, e.Err)
}

// Unwrap returns what is wrong.
func (e *CorruptionError) Unwrap() error { return e.Err }

var (
	errHashMismatch = errors.New("its bytes have another hash")
	errNoStore      = errors.New("no node store")
)

// tree is what all maps that descend from one Empty or Load share.
type tree struct {
	store NodeStore
	cache *cache

	sealUpdates int   // see WithSeal
	sealBytes   int64 //

	mu  sync.Mutex // held while nodes are hashed or marked stored
	buf []byte     // scratch for hashing, under mu
}

// load returns the node that l leads to. depth is the number of nibbles above the node's own path.
func (t *tree) load(l *link, depth int) (*node, error) {
	if n := l.node.Load(); n != nil {
		return n, nil
	}
	n := t.cache.get(l.id)
	if n == nil {
		if t.store == nil || l.id == 0 {
			return nil, fmt.Errorf("load state node %d (%x): %w", l.id, l.hash, errNoStore)
		}
		rec, err := t.store.Node(l.id)
		if err != nil {
			return nil, fmt.Errorf("load state node %d: %w", l.id, err)
		}
		var hashed []byte
		if n, hashed, err = decodeStored(rec, l.id); err != nil {
			return nil, &CorruptionError{ID: l.id, Hash: l.hash, Err: err}
		}
		if HashNode(hashed) != l.hash {
			return nil, &CorruptionError{ID: l.id, Hash: l.hash, Err: errHashMismatch}
		}
		t.cache.put(l.id, n)
	}
	if err := n.fits(depth); err != nil {
		return nil, &CorruptionError{ID: l.id, Hash: l.hash, Err: err}
	}
	return n, nil
}

// fits reports what is wrong with a node by where it stands: keys are whole bytes and bounded.
func (n *node) fits(depth int) error {
	end := depth + len(n.path)
	if end > maxNibbles || (n.has && (end%2 != 0 || end == 0)) || (len(n.kids) > 0 && end == maxNibbles) {
		return fmt.Errorf("not possible at depth %d: %w", depth, errNode)
	}
	return nil
}

// hash fills in the hashes of l and all that is below it. The caller holds mu.
func (t *tree) hash(l *link) {
	if l.known.Load() {
		return
	}
	n := l.node.Load()
	for _, k := range n.kids {
		t.hash(k)
	}
	t.buf = n.encode(append(t.buf[:0], nodeDomain...))
	l.hash = sha256.Sum256(t.buf)
	l.known.Store(true)
}

// markStored makes l and all new nodes below it readable from the store only. The caller holds mu.
func (t *tree) markStored(l *link) {
	if l.stored.Load() {
		return
	}
	n := l.node.Load()
	for _, k := range n.kids {
		t.markStored(k)
	}
	t.cache.put(l.id, n)
	l.stored.Store(true)
	l.node.Store(nil)
}
