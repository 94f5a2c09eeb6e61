package sync

import (
	"context"
	"errors"
	"fmt"

	"github.com/baton-ha/baton/blockstore/block"
)

// checkPin finds out whether a block is on one chain with the pinned one: by the headers between the two, whose links only
// the true ones have. It returns ErrPinned when it is not, or when nobody has these headers.
func (c *Client) checkPin(ctx context.Context, cand *candidate) error {
	c.mu.Lock()
	anchor := c.anchor
	c.mu.Unlock()
	if anchor == (Pin{}) {
		return nil
	}
	low, high := anchor, Pin{cand.Height, cand.hash}
	if high.Height < low.Height {
		low, high = high, low
	}
	if err := c.linked(ctx, low, high, cand.peers); err != nil {
		if ctx.Err() != nil {
			return err
		}
		// Its causes are told, and not wrapped: it is not for want of peers that nothing is offered.
		return fmt.Errorf("%w: block %d (%v) is not shown to be on one chain with %d (%v): %s",
			ErrPinned, cand.Height, cand.hash, anchor.Height, anchor.Hash, err.Error())
	}
	if cand.Height > anchor.Height {
		c.mu.Lock()
		c.anchor = Pin{cand.Height, cand.hash}
		c.mu.Unlock()
	}
	return nil
}

var errUnlinked = errors.New("they are two blocks of one height")

// linked returns nil when a chain of headers leads from one block up to another. The upper one's own header is among those
// that are fetched, so that its hash holds all of them.
func (c *Client) linked(ctx context.Context, low, high Pin, peers []string) error {
	if low.Height == high.Height {
		if low.Hash != high.Hash {
			return errUnlinked
		}
		return nil
	}
	// Nobody's headers are believed before the last one turns out to be the right one; they are one peer's, therefore.
	return c.try(ctx, peers, func(ctx context.Context, s *source) error {
		below, next := low.Hash, low.Height+1
		for next <= high.Height {
			err := s.headers(ctx, next, high.Height, func(h block.Header) error {
				if h.Parent != below {
					return lie("header %d does not link to the one below", h.Height)
				}
				below, next = h.Hash(), h.Height+1
				return nil
			})
			if err != nil {
				return err
			}
		}
		if below != high.Hash {
			return lie("the headers from %d lead to another block %d", low.Height, high.Height)
		}
		return nil
	})
}
