package blockstore

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/baton-ha/baton/blockstore/merkle"
)

var _ merkle.NodeStore = (*Nodes)(nil)

// Nodes reads stored state nodes as they were at one moment, and those that are near each other several times as fast as
// [Store.Node] does: a checkpoint writes the nodes of a subtree one behind the other. It is not safe for concurrent use.
// Close it soon, and before the store: what is deleted meanwhile stays on the disk until then.
type Nodes struct {
	it *pebble.Iterator
	at merkle.NodeID // that the iterator stands at, 0 for none
}

// Nodes returns a reader of the nodes that are stored now.
func (s *Store) Nodes() (*Nodes, error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{spaceNode}, UpperBound: []byte{spaceNode + 1}})
	if err != nil {
		return nil, fmt.Errorf("read state nodes: %w", err)
	}
	return &Nodes{it: it}, nil
}

// Node returns a stored state node, [ErrNotFound] when it was not stored.
func (n *Nodes) Node(id merkle.NodeID) ([]byte, error) {
	valid := false
	if n.at > 0 && id == n.at+1 {
		valid = n.it.Next()
	} else {
		valid = n.it.SeekGE(seqKey(spaceNode, uint64(id)))
	}
	n.at = 0
	key := n.it.Key()
	if err := n.it.Error(); err != nil {
		return nil, readError(OpReadNode, err)
	}
	if !valid || len(key) != 9 || merkle.NodeID(binary.BigEndian.Uint64(key[1:])) != id {
		return nil, readError(OpReadNode, pebble.ErrNotFound)
	}
	v, err := n.it.ValueAndErr()
	if err != nil {
		return nil, readError(OpReadNode, err)
	}
	n.at = id
	return bytes.Clone(v), nil
}

// Close ends the reading.
func (n *Nodes) Close() error {
	if err := n.it.Close(); err != nil {
		return fmt.Errorf("read state nodes: %w", err)
	}
	return nil
}
