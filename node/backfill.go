package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/replication"
)

// backfill brings the blocks below the place that this node jumped to, newest first, as far down as retention keeps
// blocks: beside the work, slowly, from whichever member has them. Nothing is trusted but the hashes: the lowest block that
// is here names its parent. The signatures are this node's own, as it is a processor: there can be no others (R12). What is
// there is durable soon, and a restart goes on from it.
type backfill struct {
	n     *Node
	batch block.Height // blocks asked for at a time
}

const (
	backfillLook  = time.Second
	backfillAgain = 10 * time.Second // after nobody had them
	backfillBatch = 256
	backfillRate  = 16 << 20 // bytes per second: until it has them, the cluster has these blocks once less
	fetchPatience = 5 * time.Second
)

// errNothingBelow is returned when no member that can be reached has what is missing.
var errNothingBelow = errors.New("no member has the blocks below")

func (b *backfill) run(ctx context.Context) {
	b.batch = backfillBatch
	timer := time.NewTimer(backfillLook)
	defer timer.Stop()
	said := block.Height(0)
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		wait := backfillLook
		if base, low := b.n.store.Base(), b.lowest(); b.n.store.ReceiptBase() == base && base > low {
			if said == 0 {
				said = base
				b.n.log.Info().Uint64("from", uint64(base)).Uint64("down_to", uint64(low)).Msg("filling in the blocks below the state that was taken over")
			}
			bytes, err := b.step(ctx, base, low)
			switch {
			case err == nil:
				wait = time.Duration(bytes) * time.Second / backfillRate
			case ctx.Err() != nil:
				return
			default:
				b.n.mender.found(err)
				b.n.log.Debug().Err(err).Uint64("base", uint64(base)).Msg("fill in older blocks")
				wait = backfillAgain
			}
			if now := b.n.store.Base(); now <= low && said > 0 {
				b.n.log.Info().Uint64("base", uint64(now)).Msg("the blocks below the state that was taken over are here")
				said = 0
			}
		}
		timer.Reset(wait)
	}
}

// lowest is the lowest block that retention keeps.
func (b *backfill) lowest() block.Height {
	if keep := b.n.cfg.Retention.Blocks; keep > 0 {
		return max(below(b.n.finals.height(), keep-1), 1)
	}
	return 1
}

// step fills in one batch, and returns how many bytes that were.
func (b *backfill) step(ctx context.Context, base, low block.Height) (int, error) {
	above, err := b.n.store.Block(base)
	if err != nil {
		return 0, err //nolint:wrapcheck // says all
	}
	err = errNothingBelow
	for _, id := range b.n.link.Connected() {
		var blocks []replication.Certified
		if blocks, err = b.ask(ctx, id, base, low, above.Header.Parent); err != nil {
			b.n.log.Debug().Err(err).Str("peer", id).Uint64("below", uint64(base)).Msg("ask for older blocks")
			continue
		}
		size := 0
		finals := make([]block.Final, len(blocks))
		for i, c := range blocks {
			hash := c.Block.Hash()
			finals[i] = block.Final{Block: c.Block, Signature: block.Sign(b.n.cfg.ProcessorKey, hash), CTerm: uint64(c.CTerm)}
			size += c.Block.Size() + blockCost
		}
		if err := b.n.cfg.Sync.Pin.checkAll(finals); err != nil {
			b.n.fail(err)
			return 0, err
		}
		if err := b.n.store.FillBelow(finals); !errors.Is(err, blockstore.ErrNotBelow) {
			return size, err //nolint:wrapcheck // says all
		}
	}
	return 0, err
}

// ask fetches, from one member, blocks that lead up to the one with this hash below base: as many as fit in an answer, and
// at least as many as that member has.
func (b *backfill) ask(ctx context.Context, id string, base, low block.Height, parent block.Hash) ([]replication.Certified, error) {
	from := max(low, base-min(base-1, b.batch))
	for {
		blocks, err := b.fetch(ctx, id, from, replication.Ref{Height: base - 1, Hash: parent})
		if gone := (*replication.PrunedError)(nil); errors.As(err, &gone) && from < gone.Base && gone.Base < base {
			from = gone.Base
			continue
		}
		if err != nil {
			return nil, err
		}
		for len(blocks) > 0 && blocks[len(blocks)-1].Block.Header.Height >= base {
			blocks = blocks[:len(blocks)-1]
		}
		if n := len(blocks); n > 0 && blocks[n-1].Block.Header.Height == base-1 {
			if blocks[n-1].Block.Hash() != parent {
				return nil, fmt.Errorf("%s has another block %d", id, base-1)
			}
			b.batch = min(2*b.batch, backfillBatch)
			return blocks, nil
		}
		if from >= base-1 {
			return nil, fmt.Errorf("%s answered without block %d", id, base-1)
		}
		// They did not fit in one answer.
		b.batch = max((base-from)/2, 1)
		from = base - b.batch
	}
}

func (b *backfill) fetch(ctx context.Context, id string, from block.Height, to replication.Ref) ([]replication.Certified, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchPatience)
	defer cancel()
	n := b.n
	answer, err := n.link.Request(ctx, id, reqFetch, encodeFetch(replication.Fetch{From: from, To: to}, n.raft.Status().ClusterID))
	if err != nil {
		return nil, err //nolint:wrapcheck // says all
	}
	return replication.DecodeCertified(answer) //nolint:wrapcheck // says all
}
