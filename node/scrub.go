package node

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/merkle"
)

// Scrub is how a node looks for damage that nobody has met yet.
type Scrub struct {
	// Every is the time between two passes over all that is stored; 0 is never.
	Every time.Duration
	// BytesPerSecond bounds what a pass reads.
	BytesPerSecond int
}

// DefaultScrub is one pass a day, with little of any disk.
func DefaultScrub() Scrub { return Scrub{Every: 24 * time.Hour, BytesPerSecond: 4 << 20} }

// Validate reports every bound that makes no sense.
func (s Scrub) Validate() error {
	var errs []error
	if s.Every < 0 {
		errs = append(errs, fmt.Errorf("scrub every %v: must be positive, or 0 for never", s.Every))
	}
	if s.Every > 0 && s.BytesPerSecond < 1 {
		errs = append(errs, fmt.Errorf("scrub of %d bytes per second: must be at least 1", s.BytesPerSecond))
	}
	return errors.Join(errs...)
}

// What a block and a state node cost besides their bytes, in bytes: reads all over the disk, hashes and a signature, so that
// small ones do not keep a processor busy.
const (
	blockCost = 8 << 10
	nodeCost  = 256
)

// scrubber reads all that is committed, block by block and node by node, slowly, and has what is damaged mended.
type scrubber struct {
	n      *Node
	passes atomic.Uint64
	bytes  atomic.Uint64
	begun  time.Time // of the current second of work
	budget int
}

func (s *scrubber) run(ctx context.Context) {
	every := s.n.cfg.Scrub.Every
	if every == 0 {
		return
	}
	tick := time.NewTimer(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		err := errors.Join(s.blocks(ctx), s.state(ctx))
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			s.n.log.Error().Err(err).Msg("scrub: not all of it could be checked or repaired")
		} else {
			s.n.log.Debug().Msg("scrub: all that is stored is good")
		}
		s.passes.Add(1)
		tick.Reset(every)
	}
}

// read waits until so many bytes more may be read.
func (s *scrubber) read(ctx context.Context, bytes int) error {
	s.bytes.Add(uint64(bytes))
	if s.budget -= bytes; s.budget > 0 {
		return ctx.Err()
	}
	rest := time.Second - time.Since(s.begun)
	if s.begun.IsZero() || rest < 0 {
		rest = 0
	}
	// What was read beyond a second's worth is paid for.
	rest += time.Duration(-s.budget) * time.Second / time.Duration(s.n.cfg.Scrub.BytesPerSecond)
	s.budget = s.n.cfg.Scrub.BytesPerSecond
	timer := time.NewTimer(rest)
	defer timer.Stop()
	select {
	case <-timer.C:
		s.begun = time.Now()
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// blocks goes from the commit down, so that each block says which one must be below it.
func (s *scrubber) blocks(ctx context.Context) error {
	n := s.n
	c := n.store.Committed()
	want, h := c.Hash, c.Height
	var failed error
	for {
		err := n.mender.check(ctx, h, want)
		switch {
		case errors.Is(err, blockstore.ErrPruned):
			if h = 0; n.finals.genesis.Hash() != want {
				want = n.finals.genesis.Hash()
			}
			continue
		case err != nil:
			failed = err
			n.mender.found(err) // it is tried again long before the next pass
		}
		if h == 0 || ctx.Err() != nil {
			return errors.Join(failed, ctx.Err())
		}
		b, err := n.store.Block(h)
		size := blockCost
		if err == nil {
			want, size = b.Header.Parent, size+b.Size()
		} else if want, err = n.store.TrustedHash(h - 1); err != nil && !errors.Is(err, blockstore.ErrPruned) {
			return errors.Join(failed, err)
		}
		if h--; h > 0 && h < n.store.Base() {
			h, want = 0, n.finals.genesis.Hash()
		}
		if err := s.read(ctx, size); err != nil {
			return errors.Join(failed, err)
		}
	}
}

// state reads the newest stored state.
func (s *scrubber) state(ctx context.Context) error {
	n := s.n
	defer n.checkpoints.hold()()
	cp, ok := n.store.Checkpoint()
	if !ok {
		return nil
	}
	err := merkle.Walk(n.store, cp.Root, cp.RootNode, func(merkle.NodeID, merkle.Hash) (bool, error) {
		return true, s.read(ctx, nodeCost)
	})
	n.mender.found(err)
	return err
}
