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
	m.Root() // all children have their hashes
	var proof [][]byte
	at := nibbles(key)
	depth := 0
	for l := m.root; l != nil; {
		n, err := m.tree.load(l, depth)
		if err != nil {
			return nil, err
		}
		proof = append(proof, n.encode(nil))
		next, ok := n.follow(at[depth:])
		if !ok {
			break
		}
		depth += len(n.path) + 1
		l = next
	}
	return proof, nil
}

// follow returns the child towards the rest of a key, nil if there is none; false when the key ends or leaves the tree in
// this node.
func (n *node) follow(rest []byte) (*link, bool) {
	if len(rest) <= len(n.path) || !bytes.Equal(rest[:len(n.path)], n.path) {
		return nil, false
	}
	kid := n.kid(rest[len(n.path)])
	return kid, kid != nil
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
	rest, depth, want := nibbles(key), 0, root
	for i, enc := range proof {
		if HashNode(enc) != want {
			return nil, false, fmt.Errorf("node %d has another hash: %w", i, ErrBadProof)
		}
		n, err := decodeNode(enc)
		if err == nil {
			err = n.fits(depth)
		}
		if err != nil {
			return nil, false, fmt.Errorf("node %d: %w: %w", i, ErrBadProof, err)
		}
		kid, more := n.follow(rest)
		if more != (i < len(proof)-1) {
			return nil, false, fmt.Errorf("%d nodes, the key's way ends elsewhere: %w", len(proof), ErrBadProof)
		}
		if !more {
			if bytes.Equal(rest, n.path) && n.has {
				return n.value, true, nil
			}
			return nil, false, nil
		}
		step := len(n.path) + 1
		rest, depth, want = rest[step:], depth+step, kid.hash
	}
	return nil, false, ErrBadProof // not reached: the last node returns
}
