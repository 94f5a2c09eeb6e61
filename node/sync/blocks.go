package sync

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"

	"github.com/baton-ha/baton/blockstore/block"
)

func span(from, to block.Height) url.Values {
	return url.Values{"from": {fmt.Sprint(uint64(from))}, "to": {fmt.Sprint(uint64(to))}}
}

// blocks asks for final blocks of a range and calls take for each one as it arrives; at least one does. Nothing is
// verified but heights.
func (s *source) blocks(ctx context.Context, from, to block.Height, take func(block.Final) error) error {
	a, err := s.ask(ctx, pathBlocks, span(from, to), "", pieceBytes+block.MaxBlockBytes+finalTail+4)
	if err != nil {
		return err
	}
	defer a.Close()
	f := newFrames(a)
	for h := from; ; h++ {
		frame, err := f.next(block.MaxBlockBytes + finalTail)
		if errors.Is(err, io.EOF) && h > from {
			return nil
		}
		if err != nil {
			return wire("read block %d: %w", h, err)
		}
		final, err := decodeFinal(frame)
		if err != nil {
			return lie("block %d: %w", h, err)
		}
		if got := final.Block.Header.Height; got != h || h > to {
			return lie("block %d where %d should be, of %d to %d", got, h, from, to)
		}
		if !s.Member {
			final.CTerm = 0
		}
		if err := take(final); err != nil {
			return err
		}
	}
}

// headers does so with headers.
func (s *source) headers(ctx context.Context, from, to block.Height, take func(block.Header) error) error {
	a, err := s.ask(ctx, pathHeaders, span(from, to), "", pieceBytes+maxHeaderBytes)
	if err != nil {
		return err
	}
	defer a.Close()
	f := newFrames(a)
	for h := from; ; h++ {
		frame, err := f.next(maxHeaderBytes)
		if errors.Is(err, io.EOF) && h > from {
			return nil
		}
		if err != nil {
			return wire("read header %d: %w", h, err)
		}
		header, err := block.DecodeHeader(frame)
		if err != nil || header.Height != h || h > to {
			return lie("header %d where %d should be, of %d to %d: %w", header.Height, h, from, to, errors.Join(err, errMalformed))
		}
		if err := take(header); err != nil {
			return err
		}
	}
}

// wire makes bytes that the protocol does not have a lie, and leaves a connection that failed what it is.
func wire(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	if errors.Is(err, errMalformed) || errors.Is(err, io.EOF) {
		return lie("%w", err)
	}
	return err
}

// Blocks yields the final blocks from one height to another, ascending and verified: each is signed by the processor and
// links to the one before. After an error, which is the last thing it yields, the caller may go on from there. CTerm is a
// member's word, otherwise 0.
func (c *Client) Blocks(ctx context.Context, from, to block.Height) iter.Seq2[block.Final, error] {
	return func(yield func(block.Final, error) bool) {
		var below block.Hash // of the last one that was yielded
		for next := max(from, 1); next <= to; {
			var got []block.Final
			err := c.try(ctx, nil, func(ctx context.Context, s *source) (err error) {
				got, err = c.verified(ctx, s, next, to, below)
				return err
			})
			if err != nil {
				yield(block.Final{}, fmt.Errorf("fetch block %d: %w", next, err))
				return
			}
			for _, f := range got {
				if !yield(f, nil) {
					return
				}
				below = f.Block.Hash()
				next++
			}
		}
	}
}

// verified fetches blocks of a range from a peer, as many as an answer has. What came before something went wrong counts.
func (c *Client) verified(ctx context.Context, s *source, from, to block.Height, below block.Hash) (got []block.Final, err error) {
	err = s.blocks(ctx, from, to, func(f block.Final) error {
		if err := c.verify(f, below); err != nil {
			return err
		}
		below = f.Block.Hash()
		got = append(got, f)
		return nil
	})
	if len(got) > 0 && err != nil {
		c.judge(ctx, s, err)
		return got, nil
	}
	return got, err
}

// verify checks a block that must link to the one below, if that is known.
func (c *Client) verify(f block.Final, below block.Hash) error {
	h := &f.Block.Header
	switch {
	case h.ChainID != c.cfg.ChainID || !block.VerifySignature(c.cfg.Key, f.Block.Hash(), f.Signature):
		return lie("block %d is not signed by the processor of this chain", h.Height)
	case !below.IsZero() && h.Parent != below, h.Height == 1 && h.Parent != c.cfg.Genesis:
		return lie("block %d does not link to the one below", h.Height)
	case h.Height == c.cfg.Pin.Height && f.Block.Hash() != c.cfg.Pin.Hash:
		return lie("block %d is %v: %w", h.Height, f.Block.Hash(), ErrPinned)
	}
	return nil
}
