package merkle

import (
	"bytes"
	"errors"
	"fmt"
)

// ErrBadProof is returned when a list of nodes does not prove what became of a key under a root: a hash does not match,
// the nodes do not lead along the key, some are missing or some are too many.
var ErrBadProof = errors.New("not a proof")

// MaxProofNodes bounds a proof: a node a nibble and the topmost one.
const MaxProofNodes = maxNibbles + 1

// Prove returns the encodings of the nodes on the way to key, the topmost first: a proof of its value, or of its absence,
// that [VerifyProof] checks under the map's root. The empty map needs none. A key of impossible size is [ErrKeySize].
func (m *Map) Prove(key []byte) ([][]byte, error) {
	if len(key) == 0 || len(key) > MaxKeyBytes {
		return nil, fmt.Errorf("key of %d bytes: %w", len(key), ErrKeySize)
	}
	var proof [][]byte
	depth := 0
	for r, more := m.top(); more; {
		n, err := m.tree.load(r, depth)
		if err != nil {
			return nil, err
		}
		proof = append(proof, bytes.Clone(n.encoded()))
		r, more = n.follow(key, depth)
		depth += int(n.pathLen) + 1
	}
	return proof, nil
}

// follow returns what leads to the child towards the rest of a key, depth nibbles down; false when the key ends or leaves
// the tree in this node.
func (n *node) follow(key []byte, depth int) (ref, bool) {
	end := depth + int(n.pathLen)
	if end >= 2*len(key) || n.path().common(key, depth) < int(n.pathLen) {
		return ref{}, false
	}
	return n.kid(nibbleAt(key, end))
}

// VerifyProof checks a proof of [Map.Prove] against a root that the caller trusts and returns what it proves: the value of
// key, or that the map has none. It needs nothing else, allocates no more than a small multiple of the proof's size and
// returns [ErrBadProof] or [ErrKeySize]. One key under one root has exactly one proof.
func VerifyProof(root Hash, key []byte, proof [][]byte) (value []byte, present bool, err error) {
	if len(key) == 0 || len(key) > MaxKeyBytes {
		return nil, false, fmt.Errorf("key of %d bytes: %w", len(key), ErrKeySize)
	}
	if root == EmptyRoot() && len(proof) == 0 {
		return nil, false, nil
	}
	if len(proof) == 0 || len(proof) > MaxProofNodes {
		return nil, false, fmt.Errorf("%d nodes: %w", len(proof), ErrBadProof)
	}
	depth, want := 0, root
	for i, enc := range proof {
		if HashNode(enc) != want {
			return nil, false, fmt.Errorf("node %d has another hash: %w", i, ErrBadProof)
		}
		rec, err := decodeNode(enc)
		n := node{record: rec}
		if err == nil {
			err = n.fits(depth)
		}
		if err != nil {
			return nil, false, fmt.Errorf("node %d: %w: %w", i, ErrBadProof, err)
		}
		kid, more := n.follow(key, depth)
		if more != (i < len(proof)-1) {
			return nil, false, fmt.Errorf("%d nodes, the key's way ends elsewhere: %w", len(proof), ErrBadProof)
		}
		if !more {
			if n.has && depth+int(n.pathLen) == 2*len(key) && n.path().common(key, depth) == int(n.pathLen) {
				return bytes.Clone(n.value()), true, nil
			}
			return nil, false, nil
		}
		depth, want = depth+int(n.pathLen)+1, Hash(kid.hash)
	}
	return nil, false, ErrBadProof // not reached: the last node returns
}
