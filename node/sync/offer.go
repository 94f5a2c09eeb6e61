package sync

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/baton-ha/baton/blockstore/block"
)

// Offer is a state that peers have, verified: the chain, the processor's signature over the block and the pin.
type Offer struct {
	// Final is the block whose state it is. Its CTerm is the greatest that a member gave for the block's height, 0 if none
	// did: others' word does not count.
	Final block.Final
	// TipHeight is the highest final height that anybody showed, with a signature.
	TipHeight block.Height
	// Peers are the names of those that have the state, sorted.
	Peers []string

	exact bool // no other state will do
}

// within is how far below the newest state one that several peers have is taken instead.
const within = 1000

// offerTimeout is how long a peer may take to say what it has.
const offerTimeout = 10 * time.Second

// candidate is a state that somebody has.
type candidate struct {
	signedHeader
	peers []string
}

// Newest returns the newest state that peers have; of those at most a thousand blocks below the newest one rather one that
// several have. It returns ErrNoPeer, ErrPinned, ErrForked, or ctx's error.
func (c *Client) Newest(ctx context.Context) (Offer, error) { return c.offer(ctx, 0) }

// At returns the state after the block at exactly this height, if a peer has it; otherwise the newest one below it, whose
// next blocks lead there; if nobody has that, the first one above. Errors are those of Newest.
func (c *Client) At(ctx context.Context, height block.Height) (Offer, error) {
	return c.offer(ctx, max(height, 1))
}

// Tip returns the highest final height that anybody shows, with a signature. It returns ErrNoPeer when nobody has a final
// block, ErrForked, or ctx's error. There may be no state to transfer all the same: of a short chain none is stored.
func (c *Client) Tip(ctx context.Context) (block.Height, error) {
	_, tip, err := c.candidates(ctx, 0)
	if err == nil && tip == 0 {
		err = c.noPeer()
	}
	if err != nil {
		return 0, fmt.Errorf("ask for the newest block: %w", err)
	}
	return tip, nil
}

func (c *Client) offer(ctx context.Context, at block.Height) (Offer, error) {
	o, err := c.findOffer(ctx, at)
	if err != nil {
		return Offer{}, fmt.Errorf("find a state: %w", err)
	}
	o.exact = at > 0
	return o, nil
}

func (c *Client) findOffer(ctx context.Context, at block.Height) (Offer, error) {
	all, tip, err := c.candidates(ctx, at)
	if err != nil {
		return Offer{}, err
	}
	var pinned error
	for len(all) > 0 {
		i := choose(all, at)
		o, err := c.confirm(ctx, all[i])
		if err == nil {
			o.TipHeight = tip
			return o, nil
		}
		if ctx.Err() != nil {
			return Offer{}, err
		}
		if errors.Is(err, ErrPinned) {
			pinned = err
		}
		all = slices.Delete(all, i, i+1)
	}
	if pinned != nil {
		return Offer{}, pinned
	}
	return Offer{}, c.noPeer()
}

// candidates asks all peers what they have. The result is in the order of heights, the greatest first.
func (c *Client) candidates(ctx context.Context, at block.Height) (out []*candidate, tip block.Height, err error) {
	var mu sync.Mutex
	byHeight := map[block.Height]*candidate{}
	var forked error
	see := func(h signedHeader) *candidate {
		have := byHeight[h.Height]
		if have == nil {
			have = &candidate{signedHeader: h}
			have.cterm = 0 // not just anybody's
			byHeight[h.Height] = have
		}
		if have.hash != h.hash {
			forked = fmt.Errorf("%w: %d is %v and %v", ErrForked, h.Height, have.hash, h.hash)
		}
		return have
	}
	err = c.each(ctx, func(ctx context.Context, s *source) error {
		ctx, cancel := context.WithTimeout(ctx, offerTimeout)
		defer cancel()
		got, err := s.states(ctx, &c.cfg, at)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		if got.tip != nil {
			tip = max(tip, got.tip.Height)
			see(*got.tip)
		}
		for _, h := range got.list {
			have := see(h)
			if s.Member {
				have.cterm = max(have.cterm, h.cterm)
			}
			have.peers = append(have.peers, s.Name)
		}
		return nil
	})
	if err := errors.Join(err, forked); err != nil {
		return nil, 0, err
	}
	for _, cand := range byHeight {
		if len(cand.peers) > 0 {
			slices.Sort(cand.peers)
			out = append(out, cand)
		}
	}
	slices.SortFunc(out, func(a, b *candidate) int { return cmp.Compare(b.Height, a.Height) })
	return out, tip, nil
}

// choose returns which of the candidates, the highest first, to take: the newest one, or the one for a height.
func choose(all []*candidate, at block.Height) int {
	if at > 0 {
		i := slices.IndexFunc(all, func(cand *candidate) bool { return cand.Height <= at })
		if i < 0 {
			return len(all) - 1
		}
		return i
	}
	for i, cand := range all {
		if cand.Height+within < all[0].Height {
			break
		}
		if len(cand.peers) > 1 {
			return i
		}
	}
	return 0
}

// confirm makes an offer of a candidate: it is held against the pin, and its block is fetched.
func (c *Client) confirm(ctx context.Context, cand *candidate) (Offer, error) {
	if err := c.checkPin(ctx, cand); err != nil {
		return Offer{}, err
	}
	o := Offer{Peers: cand.peers}
	err := c.try(ctx, cand.peers, func(ctx context.Context, s *source) error {
		return s.blocks(ctx, cand.Height, cand.Height, func(f block.Final) error {
			if f.Block.Hash() != cand.hash {
				return lie("block %d is %v, not %v", cand.Height, f.Block.Hash(), cand.hash)
			}
			o.Final = block.Final{Block: f.Block, Signature: cand.sig, CTerm: cand.cterm}
			return nil
		})
	})
	return o, err
}
