package merkle

import (
	"errors"
	"fmt"
)

// NodeStore is where stored nodes are read from. Node returns the bytes that [Map.Save] gave out under this id. They are
// kept: nobody may change them afterwards. Any error is passed on, wrapped. It must be safe for concurrent use.
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
}

// load returns the node that r leads to. depth is the number of nibbles above the node's own path.
func (t *tree) load(r ref, depth int) (node, error) { return t.read(r, depth, onProbation) }

// keep says what the cache is to do with a node that had to be read from the store.
type keep uint8

const (
	not keep = iota
	onProbation
	asIfNew
)

// read is load for those who do not want what they read in the cache as others do.
func (t *tree) read(r ref, depth int, k keep) (node, error) {
	if r.link != nil {
		if n := r.link.node.Load(); n != nil {
			return *n, nil
		}
		r.id, r.hash = r.link.id, r.link.hash[:]
	}
	rec, err := t.record(r, k)
	if err != nil {
		return node{}, err
	}
	if err := rec.fits(depth); err != nil {
		return node{}, &CorruptionError{ID: r.id, Hash: Hash(r.hash), Err: err}
	}
	return node{record: rec}, nil
}

// record returns a stored node from the cache, or reads it from the store and checks it.
func (t *tree) record(r ref, k keep) (record, error) {
	if have := t.cache.get(r.id); have != nil {
		rec, _, err := cutNode(have)
		if err != nil { // not in one call: the arguments would be allocated each time
			invariant(false, "cached node %d: %v", r.id, err)
		}
		rec.bytes, rec.id, rec.shared = have, r.id, true
		return rec, nil
	}
	if t.store == nil || r.id == 0 {
		return record{}, fmt.Errorf("load state node %d (%x): %w", r.id, r.hash, errNoStore)
	}
	in, err := t.store.Node(r.id)
	if err != nil {
		return record{}, fmt.Errorf("load state node %d: %w", r.id, err)
	}
	rec, hashed, err := decodeStored(in, r.id)
	if err == nil && HashNode(in[:hashed]) != Hash(r.hash) {
		err = errHashMismatch
	}
	if err != nil {
		return record{}, &CorruptionError{ID: r.id, Hash: Hash(r.hash), Err: err}
	}
	if k != not {
		t.cache.put(r.id, in, k == asIfNew)
	}
	return rec, nil
}

// fits reports what is wrong with a node by where it stands: keys are whole bytes and bounded.
func (r *record) fits(depth int) error {
	end := depth + int(r.pathLen)
	if end > maxNibbles || (r.has && (end%2 != 0 || end == 0)) || (r.bitmap != 0 && end == maxNibbles) {
		return fmt.Errorf("not possible at depth %d: %w", depth, errNode)
	}
	return nil
}

// markStored makes l and all new nodes below it readable from the store only. It returns buf, its scratch.
func (t *tree) markStored(l *link, buf []byte) []byte {
	if l.stored.Load() {
		return buf
	}
	n := l.node.Load()
	for _, k := range n.links {
		buf = t.markStored(k, buf)
	}
	if !l.replaced.Load() {
		buf = n.appendStored(buf[:0], l.id)
		t.cache.put(l.id, buf, true)
	}
	l.stored.Store(true)
	l.node.Store(nil)
	return buf
}
