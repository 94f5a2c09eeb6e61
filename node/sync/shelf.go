package sync

import (
	"slices"
	"sync"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/blockstore/merkle"
)

const (
	// openStates is how many states are open at a time, each with a cache of its own for the nodes near its top.
	openStates     = 4
	stateCacheSize = 4 << 20
	// fewStates are looked up each time. Whoever has more is an archive, where none goes.
	fewStates = 64
)

// shelf opens stored states to read in, and closes those that were not used for longest.
type shelf struct {
	store *blockstore.Store

	mu   sync.Mutex
	list []blockstore.Checkpoint // oldest first
	open []*openState            // used last, last
}

type openState struct {
	blockstore.Checkpoint
	m *merkle.Map
}

// checkpoints returns the stored states, oldest first.
func (s *shelf) checkpoints() ([]blockstore.Checkpoint, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current()
}

func (s *shelf) current() ([]blockstore.Checkpoint, error) {
	newest, ok := s.store.Checkpoint()
	if !ok {
		return nil, nil
	}
	if len(s.list) > fewStates && s.list[len(s.list)-1] == newest {
		return s.list, nil
	}
	list, err := s.store.Checkpoints()
	if err != nil {
		return nil, err
	}
	s.list = list
	return list, nil
}

// states returns the states in which to look for a piece: the one with this root, if it is there, then the newest others.
func (s *shelf) states(root block.Hash) ([]*openState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list, err := s.current()
	if err != nil {
		return nil, err
	}
	var wanted []blockstore.Checkpoint
	for _, cp := range slices.Backward(list) {
		if cp.Root == root {
			wanted = append(wanted, cp)
			break
		}
	}
	for _, cp := range slices.Backward(list) {
		if len(wanted) < openStates && cp.Root != root {
			wanted = append(wanted, cp)
		}
	}
	var out []*openState
	for _, cp := range wanted {
		st, err := s.get(cp)
		if err != nil {
			if pruned, listErr := s.pruned(cp); listErr == nil && pruned {
				continue
			}
			return nil, err
		}
		out = append(out, st)
	}
	return out, nil
}

func (s *shelf) get(cp blockstore.Checkpoint) (*openState, error) {
	i := slices.IndexFunc(s.open, func(o *openState) bool { return o.Checkpoint == cp })
	if i >= 0 {
		o := s.open[i]
		s.open = append(slices.Delete(s.open, i, i+1), o)
		return o, nil
	}
	m, err := merkle.Load(s.store, merkle.Hash(cp.Root), cp.RootNode, merkle.WithCacheBytes(stateCacheSize))
	if err != nil {
		return nil, err //nolint:wrapcheck // names the node
	}
	o := &openState{cp, m}
	if len(s.open) >= openStates {
		s.open = slices.Delete(s.open, 0, 1)
	}
	s.open = append(s.open, o)
	return o, nil
}

// pruned reports whether a state that could be opened is not stored any more.
func (s *shelf) pruned(cp blockstore.Checkpoint) (bool, error) {
	list, err := s.store.Checkpoints()
	if err != nil {
		return false, err
	}
	return !slices.Contains(list, cp), nil
}
