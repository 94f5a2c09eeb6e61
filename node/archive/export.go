package archive

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/blockstore/merkle"
)

// Source is what is exported from: a [blockstore.Store] or a [blockstore.Reader].
type Source interface {
	merkle.NodeStore
	Committed() blockstore.Commit
	Base() block.Height
	Block(h block.Height) (*block.Block, error)
	Final(h block.Height) (block.Final, error)
	Checkpoints() ([]blockstore.Checkpoint, error)
}

// Range says what to export.
type Range struct {
	// From is the first height, 0 for the first one that is there. With State it is the least: the export begins at the
	// first stored state from there on.
	From block.Height
	// To is the last height, 0 for the newest final one.
	To block.Height
	// State exports the state after the first block as well, so that the import needs nothing below it. With From 0 it is
	// the newest stored one.
	State bool
}

var (
	// ErrNothing is returned when there is no final block in the range.
	ErrNothing = errors.New("no final block in that range")
	// ErrNoState is returned when no state is stored in the range.
	ErrNoState = errors.New("no state is stored in that range")
)

// Summary says what was exported or imported.
type Summary struct {
	Header
	// Blocks, Transactions and Nodes are how much it was, Bytes how long the archive is.
	Blocks, Transactions, Nodes uint64
	Bytes                       int64
}

// plan is a range of a source made exact.
type plan struct {
	head  Header
	state blockstore.Checkpoint // with head.State
}

// newPlan finds out what of a range is there.
func newPlan(src Source, r Range) (p plan, err error) {
	genesis, err := src.Block(0)
	if err != nil {
		return p, err
	}
	p.head = Header{ChainID: genesis.Header.ChainID, Genesis: genesis.Hash(), From: max(r.From, 1), To: r.To, State: r.State}
	if p.head.To, err = newest(src, r.To); err != nil {
		return p, err
	}
	base := max(src.Base(), 1)
	switch {
	case r.State:
		cps, err := src.Checkpoints()
		if err != nil {
			return p, err
		}
		found := false
		for _, cp := range cps {
			if cp.Height >= max(p.head.From, base) && cp.Height <= p.head.To && (!found || r.From == 0) {
				p.state, p.head.From, found = cp, cp.Height, true
			}
		}
		if !found {
			return p, fmt.Errorf("%w (%d to %d)", ErrNoState, max(p.head.From, base), p.head.To)
		}
	case p.head.From < base && r.From > 0:
		return p, fmt.Errorf("block %d: the first one that is there is %d: %w", r.From, base, blockstore.ErrPruned)
	case p.head.From < base:
		return p, fmt.Errorf("blocks below %d are gone, and without them nobody can execute the rest: export the state with it (--state): %w",
			base, blockstore.ErrPruned)
	}
	if p.head.To < p.head.From {
		return p, fmt.Errorf("%w: from %d to %d", ErrNothing, p.head.From, p.head.To)
	}
	return p, nil
}

// newest returns the highest final height up to limit, 0 for no limit. The newest committed blocks may lack signatures.
func newest(src Source, limit block.Height) (block.Height, error) {
	top := src.Committed().Height
	if limit > top {
		return 0, fmt.Errorf("%w: the newest is %d", ErrNothing, top)
	}
	if limit > 0 {
		top = limit
	}
	for ; top > 0; top-- {
		_, err := src.Final(top)
		if err == nil {
			return top, nil
		}
		if !errors.Is(err, blockstore.ErrNotFinal) {
			return 0, err
		}
	}
	return 0, ErrNothing
}

// Export writes an archive. Everything is checked on the way (signatures under key, links, state nodes): a source that is
// damaged is an error, such as a [*blockstore.CorruptionError], and what was written until then is no whole archive. It
// stops early when ctx ends.
func Export(ctx context.Context, w io.Writer, src Source, key ed25519.PublicKey, r Range) (Summary, error) {
	p, err := newPlan(src, r)
	if err != nil {
		return Summary{}, fmt.Errorf("export: %w", err)
	}
	return p.write(ctx, w, src, key)
}

func (p *plan) write(ctx context.Context, w io.Writer, src Source, key ed25519.PublicKey) (Summary, error) {
	counted := &countingWriter{w: w}
	f, err := newFrames(counted)
	if err != nil {
		return Summary{}, fmt.Errorf("export: %w", err)
	}
	e := exporter{ctx: ctx, src: src, key: key, frames: f, sum: Summary{Header: p.head}}
	if err := e.run(p); err != nil {
		return Summary{}, fmt.Errorf("export: %w", err)
	}
	e.sum.Bytes = counted.n
	return e.sum, nil
}

type exporter struct {
	ctx    context.Context //nolint:containedctx // of one call
	src    Source
	key    ed25519.PublicKey
	frames *frames
	sum    Summary
	kind   byte
	buf    []byte
	below  block.Hash
}

func (e *exporter) run(p *plan) error {
	if err := e.frames.write(kindHeader, p.head.encode()); err != nil {
		return err
	}
	for h := p.head.From; h <= p.head.To; h++ {
		if err := e.block(h); err != nil {
			return err
		}
		if h > p.head.From || !p.head.State {
			continue
		}
		if err := e.flush(); err != nil {
			return err
		}
		if err := e.state(p.state); err != nil {
			return err
		}
	}
	return e.end()
}

// end writes what is left and the end of the archive.
func (e *exporter) end() error {
	if err := e.flush(); err != nil {
		return err
	}
	end := binary.BigEndian.AppendUint64(nil, e.sum.Blocks)
	return e.frames.write(kindEnd, binary.BigEndian.AppendUint64(end, e.sum.Nodes))
}

func (e *exporter) block(h block.Height) error {
	if err := e.ctx.Err(); err != nil {
		return err
	}
	f, err := e.src.Final(h)
	if err != nil {
		return err
	}
	b := f.Block
	if !e.below.IsZero() && b.Header.Parent != e.below || !block.VerifySignature(e.key, b.Hash(), f.Signature) {
		return &blockstore.CorruptionError{Op: "export", Height: h, Err: errors.New("it is not the block that was signed there")}
	}
	e.below = b.Hash()
	e.sum.Blocks++
	e.sum.Transactions += uint64(len(b.Txs))
	return e.put(kindBlocks, b.Encode(), f.Signature[:])
}

func (e *exporter) state(c blockstore.Checkpoint) error {
	if b, err := e.src.Block(c.Height); err != nil || b.Header.StateRoot != c.Root || b.Hash() != c.Hash {
		return errors.Join(err, &blockstore.CorruptionError{Op: "export", Height: c.Height, Err: errors.New("the stored state is not this block's")})
	}
	m, err := merkle.Load(e.src, c.Root, c.RootNode, merkle.WithCacheBytes(0))
	if err != nil {
		return err
	}
	var stopped error
	err = m.Walk(nil, nil, func(_, enc []byte) bool {
		e.sum.Nodes++
		stopped = errors.Join(e.put(kindState, enc), e.ctx.Err())
		return stopped == nil
	})
	if err := errors.Join(err, stopped); err != nil {
		return err
	}
	return e.flush()
}

func (e *exporter) put(kind byte, entry []byte, more ...[]byte) error {
	if kind != e.kind || len(e.buf) > 0 && len(e.buf)+len(entry) > frameBytes {
		if err := e.flush(); err != nil {
			return err
		}
	}
	e.kind = kind
	e.buf = binary.BigEndian.AppendUint32(e.buf, uint32(len(entry)))
	e.buf = append(e.buf, entry...)
	for _, m := range more {
		e.buf = append(e.buf, m...)
	}
	return nil
}

func (e *exporter) flush() error {
	if len(e.buf) == 0 {
		return nil
	}
	err := e.frames.write(e.kind, e.buf)
	e.buf = e.buf[:0]
	return err
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}
