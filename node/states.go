package node

import (
	"context"
	"fmt"
	"sync"

	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/blockstore/merkle"
	"github.com/baton-ha/baton/node/chain"
)

// states keeps the state after each block that may still be built on: those of uncommitted blocks, whatever fork they
// are on, and of the newest committed ones. Safe for concurrent use.
type states struct {
	mu       sync.RWMutex
	byID     map[block.Hash]*chain.State
	byHeight map[block.Height][]block.Hash
	lowest   block.Height // no state below, exact while there are states
	line     uint64       // counts the jumps: what was executed before one is of another line of states than what comes after
}

// keepStates is how many committed heights stay readable. Each holds what its block changed.
const keepStates = 8

func newStates() *states {
	return &states{byID: map[block.Hash]*chain.State{}, byHeight: map[block.Height][]block.Hash{}}
}

func (s *states) get(h block.Hash) *chain.State {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.byID[h]
}

// current returns the present line, for put: ask before the state that is built on is looked up.
func (s *states) current() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.line
}

// restart forgets all states but this one, with which another line begins.
func (s *states) restart(st *chain.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, hash := st.Height(), st.BlockHash()
	s.line++
	s.byID, s.byHeight = map[block.Hash]*chain.State{hash: st}, map[block.Height][]block.Hash{h: {hash}}
	s.lowest = h
}

// put adds the state after a block and returns the one that counts: of two executions of one block the first, since what
// is built on them and what is stored must be of one line (package merkle). It returns nil, and adds nothing, when another
// line has begun since.
func (s *states) put(st *chain.State, line uint64) *chain.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	if line != s.line {
		return nil
	}
	h, hash := st.Height(), st.BlockHash()
	if first := s.byID[hash]; first != nil {
		return first
	}
	if len(s.byID) == 0 {
		s.lowest = h
	}
	s.lowest = min(s.lowest, h)
	s.byHeight[h] = append(s.byHeight[h], hash)
	s.byID[hash] = st
	return st
}

// forget drops all that is further below committed than readers may want.
func (s *states) forget(committed block.Height) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ; len(s.byID) > 0 && s.lowest+keepStates <= committed; s.lowest++ {
		for _, hash := range s.byHeight[s.lowest] {
			delete(s.byID, hash)
		}
		delete(s.byHeight, s.lowest)
	}
}

// mapOptions is how the state that this node works on is held.
func mapOptions(limits Limits) []merkle.Option {
	return []merkle.Option{
		merkle.WithCacheBytes(limits.StateCacheBytes), merkle.WithSeal(int(limits.CheckpointEvery), limits.CheckpointBytes),
	}
}

// restore brings the state of the stored tip into memory: from the newest checkpoint, or genesis, by executing the
// stored blocks since. It makes block 0 durable in an empty store. An uncommitted block that cannot be reproduced, left
// there by an executor that was damaged, does not keep the node from starting, though it builds on nothing above it: the
// next leader has it cut (R7, R13), and a node that is down for good could not be told.
func restore(
	store *blockstore.Store, ex *chain.Executor, limits Limits, log zerolog.Logger,
) (*states, *block.Block, error) {
	opts := mapOptions(limits)
	zero, st, err := restoreGenesis(store, ex, opts)
	if err != nil {
		return nil, nil, err
	}
	if cp, ok := store.Checkpoint(); ok {
		b, err := store.Block(cp.Height)
		if err != nil {
			return nil, nil, fmt.Errorf("read block of the checkpoint: %w", err)
		}
		if st, err = chain.LoadState(store, cp.Root, cp.RootNode, cp.Height, cp.Hash, b.Header.TimeMs, opts...); err != nil {
			return nil, nil, fmt.Errorf("load checkpoint %d: %w", cp.Height, err)
		}
	}
	tip, _ := store.Tip()
	all := newStates()
	all.put(st, 0)
	committed := store.Committed().Height
	for h := st.Height() + 1; h <= tip; h++ {
		b, err := store.Block(h)
		if err != nil {
			return nil, nil, fmt.Errorf("read block %d: %w", h, err)
		}
		apply := ex.Apply
		if h <= committed {
			apply = ex.Reapply
		}
		next, err := apply(st, b)
		if h > committed && refused(err) {
			log.Error().Err(err).Uint64("height", uint64(h)).Msg("an uncommitted block of the own chain cannot be reproduced")
			break
		}
		if err != nil {
			return nil, nil, fmt.Errorf("execute stored block %d: %w", h, err)
		}
		st = next
		all.put(st, 0)
		all.forget(min(h, committed))
		if m := st.Map(); m.Sealed() && h+limits.CheckpointEvery < committed { // more than a usual start has to do
			if _, err := store.SaveState(context.Background(), m, h, st.BlockHash()); err != nil {
				return nil, nil, fmt.Errorf("store state of block %d: %w", h, err)
			}
		}
	}
	return all, zero, nil
}

// restoreGenesis returns block 0, which it makes durable in an empty store, and the state after it, or no state where there
// is a checkpoint: the state of a genesis with many accounts takes long to put together. So a folder with a checkpoint
// remembers which content its genesis block came from, and a large genesis is the first checkpoint. It returns
// [ErrWrongChain] if the store has the genesis of another chain.
func restoreGenesis(store *blockstore.Store, ex *chain.Executor, opts []merkle.Option) (*block.Block, *chain.State, error) {
	_, stored := store.Checkpoint()
	if stored {
		zero, err := store.GenesisFrom(ex.GenesisSource())
		if err != nil && !isDamage(err) { // what is damaged is told by whoever needs it
			return nil, nil, fmt.Errorf("read genesis: %w", err)
		}
		if zero != nil {
			return zero, nil, nil
		}
	}
	zero, st, err := ex.Genesis(store, opts...)
	if err != nil {
		return nil, nil, fmt.Errorf("make genesis: %w", err)
	}
	if tip, tipHash := store.Tip(); tip == 0 && tipHash.IsZero() {
		done := make(chan error, 1)
		store.Enqueue(blockstore.Batch{Append: []*block.Block{zero}}, func(err error) { done <- err })
		if err := <-done; err != nil {
			return nil, nil, fmt.Errorf("store genesis: %w", err)
		}
	}
	have, err := store.HashAt(0)
	if err != nil {
		return nil, nil, fmt.Errorf("read genesis: %w", err)
	}
	if have != zero.Hash() {
		return nil, nil, fmt.Errorf("%w: its genesis is %v, the genesis file's is %v", ErrWrongChain, have, zero.Hash())
	}
	if m := st.Map(); m.Sealed() && !stored {
		if _, err := store.SaveState(context.Background(), m, 0, zero.Hash()); err != nil {
			return nil, nil, fmt.Errorf("store state of genesis: %w", err)
		}
		stored = true
	}
	if stored {
		if err := store.NoteGenesis(ex.GenesisSource()); err != nil {
			return nil, nil, err
		}
	}
	return zero, st, nil
}
