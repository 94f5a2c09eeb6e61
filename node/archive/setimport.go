package archive

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/baton-ha/baton/blockstore/block"
)

// Import gives to an importer what the set has, as far as it goes: the whole chain from block 1 on, or, with state or where
// that leads further, a stored state and the blocks above it. All of it is verified by the importer; what an object claims to
// be does not count. An object that is damaged is named in the log and left out, which is an error only when no other one has
// the same blocks. An error leaves what was imported before it; called again, it goes on from there. It returns the names of
// the damaged objects that it came across.
func (s *Set) Import(ctx context.Context, im *Importer, state bool) (damaged []string, err error) {
	x, err := s.index(ctx)
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	d := &downloader{set: s, im: im, bad: map[string]bool{}}
	if x.empty() {
		err = fmt.Errorf("%w: no object begins with %s/", ErrNotInSet, s.genesis)
	} else {
		err = d.run(ctx, &x, state)
	}
	if err != nil {
		err = fmt.Errorf("import: %w", err)
	}
	return slices.Sorted(maps.Keys(d.bad)), err
}

type downloader struct {
	set *Set
	im  *Importer
	bad map[string]bool // objects that are damaged
	why error           // what was wrong with the last one
}

func (d *downloader) run(ctx context.Context, x *index, state bool) error {
	goal := x.end()
	if have := d.im.Height(); have == 0 {
		if err := d.begin(ctx, x, state); err != nil {
			return err
		}
	} else {
		goal = x.reach(have)
	}
	if state && d.im.Height() > 0 {
		goal = x.reach(d.im.Height())
	}
	for {
		next, ok := x.next(d.im.Height()+1, d.bad, d.set.blocksName)
		if !ok {
			break
		}
		if err := d.take(ctx, d.set.blocksName(next), next.to); err != nil {
			return err
		}
	}
	switch at := d.im.Height(); {
	case at == 0 && d.why == nil:
		return fmt.Errorf("%w: neither block 1 nor a state, so nothing that is there can be verified", ErrNoState)
	case at < goal || at == 0:
		return fmt.Errorf("blocks %d to %d: no object that has them is good: %w", at+1, goal, d.why)
	}
	return nil
}

// begin takes the state to begin with, unless blocks alone lead as far or there is no good one.
func (d *downloader) begin(ctx context.Context, x *index, wanted bool) error {
	states := slices.SortedFunc(slices.Values(x.states), func(a, b block.Height) int {
		return cmp.Or(cmp.Compare(x.reach(b), x.reach(a)), cmp.Compare(b, a))
	})
	if wanted && len(states) == 0 {
		return ErrNoState
	}
	for _, h := range states {
		if !wanted && x.reach(h) <= x.reach(0) {
			return nil
		}
		if err := d.take(ctx, d.set.stateName(h), h); err != nil {
			return err
		}
		if d.im.Height() > 0 {
			return nil
		}
	}
	if wanted {
		return fmt.Errorf("no state that is there is good: %w", d.why)
	}
	return nil
}

// take imports an object, or notes that it is not what its name says.
func (d *downloader) take(ctx context.Context, name string, to block.Height) error {
	log := d.set.log.With().Str("object", name).Logger()
	for try := 1; ; try++ {
		err := d.read(ctx, name)
		if err == nil && d.im.Height() < to {
			err = fmt.Errorf("%w: it ends with block %d", ErrFormat, d.im.Height())
		}
		switch {
		case err == nil:
			log.Info().Uint64("height", uint64(d.im.Height())).Msg("imported")
			return nil
		case ctx.Err() != nil:
			return err
		case errors.Is(err, ErrChanged) && try < maxTries:
			continue
		case errors.Is(err, ErrFormat), errors.Is(err, ErrRefused), errors.Is(err, ErrChanged):
			log.Warn().Err(err).Uint64("height", uint64(d.im.Height())).Msg("the object is damaged, or not what its name says")
			d.bad[name], d.why = true, fmt.Errorf("%s: %w", name, err)
			return nil
		default:
			return fmt.Errorf("%s: %w", name, err)
		}
	}
}

func (d *downloader) read(ctx context.Context, name string) (err error) {
	r, err := d.set.objects.Open(ctx, name)
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // only read from
	return d.im.Read(ctx, bufio.NewReaderSize(r, frameBytes))
}
