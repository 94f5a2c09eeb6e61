package archive

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/zstd"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
)

// Open opens the archive of a range of some node's chain: what [Export] writes. A range that has nothing is [ErrNothing], one
// whose blocks are gone [blockstore.ErrPruned].
type Open func(ctx context.Context, r Range) (io.ReadCloser, error)

// Pipe returns what opens archives of a source.
func Pipe(src Source, key ed25519.PublicKey) Open {
	return func(ctx context.Context, r Range) (io.ReadCloser, error) {
		p, err := newPlan(src, r)
		if err != nil {
			return nil, fmt.Errorf("export: %w", err)
		}
		in, out := io.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			buf := bufio.NewWriterSize(out, frameBytes)
			_, err := p.write(ctx, buf, src, key)
			if err == nil {
				err = buf.Flush()
			}
			out.CloseWithError(err)
		}()
		return &piped{in, done}, nil
	}
}

// piped is an archive that is written while it is read. Its source is not used after Close.
type piped struct {
	*io.PipeReader
	done <-chan struct{}
}

func (p *piped) Close() error {
	err := p.PipeReader.Close()
	<-p.done
	return err
}

// Export adds what the set does not have: blocks from the end of what is there on, or from r.From on if that is set, which
// also replaces what is there. With r.State it adds a stored state and then the blocks that are missing. All that it stores
// was verified under key. Objects are stored one after the other, in ascending order, each whole or not at all, so an export
// that was cut off leaves the beginning of what it would have stored, and the next one goes on from there.
//
// Exporters may overlap: the chain has one block a height, so objects of the same name say the same. A set that is ahead of
// the node is no error.
func (s *Set) Export(ctx context.Context, open Open, key ed25519.PublicKey, r Range) (Summary, error) {
	x, err := s.index(ctx)
	if err != nil {
		return Summary{}, fmt.Errorf("export: %w", err)
	}
	u := &uploader{set: s, ctx: ctx, key: key}
	u.sum.Genesis = s.genesis
	if u.enc, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false)); err != nil {
		return Summary{}, fmt.Errorf("compress: %w", err)
	}
	if r.State {
		err = u.state(open, &x, r)
	} else if from := r.From; from > 0 {
		err = u.blocks(open, Range{From: from, To: r.To})
	} else if end := x.end(); r.To == 0 || end < r.To {
		err = u.blocks(open, after(end, r.To))
		if errors.Is(err, ErrNothing) && r.To == 0 && !x.empty() {
			err = nil
		}
		if errors.Is(err, blockstore.ErrPruned) && end > 0 {
			err = fmt.Errorf("it ends with block %d: export the state with it (--state): %w", end, err)
		}
	}
	if err != nil {
		return u.sum, fmt.Errorf("export: %w", err)
	}
	return u.sum, nil
}

// after is the blocks above h, or from the first one on if h is 0.
func after(h, to block.Height) Range {
	if h == 0 {
		return Range{To: to}
	}
	return Range{From: h + 1, To: to}
}

type uploader struct {
	set *Set
	ctx context.Context //nolint:containedctx // of one call
	key ed25519.PublicKey
	enc *zstd.Encoder
	sum Summary

	head  Header // of what is read
	below block.Hash
}

// read opens an archive and checks that it is of this chain.
func (u *uploader) read(open Open, r Range) (*Reader, func(), error) {
	body, err := open(u.ctx, r)
	if err != nil {
		return nil, nil, err
	}
	a, err := NewReader(bufio.NewReaderSize(body, frameBytes))
	if err != nil {
		return nil, nil, errors.Join(err, body.Close())
	}
	done := func() {
		a.Close()
		body.Close() //nolint:errcheck // only read from
	}
	if u.head = a.Header(); u.head.Genesis != u.set.genesis {
		done()
		return nil, nil, fmt.Errorf("%w: it is of chain %q with genesis %v", ErrRefused, u.head.ChainID, u.head.Genesis)
	}
	u.sum.ChainID, u.below = u.head.ChainID, block.Hash{}
	return a, done, nil
}

// check reports a block that was not signed or does not follow the one before.
func (u *uploader) check(e Entry) error {
	b := e.Block
	if !u.below.IsZero() && b.Header.Parent != u.below || !block.VerifySignature(u.key, b.Hash(), e.Signature) {
		return fmt.Errorf("%w: block %d is not the one that was signed there", ErrRefused, b.Header.Height)
	}
	u.below = b.Hash()
	return nil
}

// exporter returns one that writes frames from number n on.
func (u *uploader) exporter(w io.Writer, n uint32) *exporter {
	return &exporter{ctx: u.ctx, frames: &frames{w: w, n: n, enc: u.enc}}
}

func (u *uploader) noteBlock(b *block.Block) {
	if h := b.Header.Height; u.sum.Blocks == 0 || h < u.sum.From {
		u.sum.From = h
	}
	u.sum.To = max(u.sum.To, b.Header.Height)
	u.sum.Blocks++
	u.sum.Transactions += uint64(len(b.Txs))
}

// blocks stores the blocks of a range.
func (u *uploader) blocks(open Open, r Range) error {
	a, done, err := u.read(open, r)
	if err != nil {
		return err
	}
	defer done()
	var (
		body bytes.Buffer
		e    *exporter
		from block.Height
		last block.Height
	)
	store := func() error {
		if e == nil {
			return nil
		}
		defer func() { e = nil }()
		return u.store(e, &body, span{from, last})
	}
	for {
		next, err := a.Next()
		if errors.Is(err, io.EOF) {
			return store()
		}
		if err != nil {
			return err
		}
		if next.Block == nil {
			return malformed("state in the wrong place")
		}
		if err := u.check(next); err != nil {
			return err
		}
		if last = next.Block.Header.Height; e == nil {
			body.Reset()
			e, from = u.exporter(&body, 1), last
		}
		e.sum.Blocks++
		if err := e.put(kindBlocks, next.Block.Encode(), next.Signature[:]); err != nil {
			return err
		}
		u.noteBlock(next.Block)
		if body.Len() >= u.set.objectBytes {
			if err := store(); err != nil {
				return err
			}
		}
	}
}

// store ends an archive of blocks, puts its header before it and stores it.
func (u *uploader) store(e *exporter, body *bytes.Buffer, r span) error {
	if err := e.end(); err != nil {
		return err
	}
	var head bytes.Buffer
	head.WriteString(magic)
	header := Header{ChainID: u.head.ChainID, Genesis: u.set.genesis, From: r.from, To: r.to}
	if err := u.exporter(&head, 0).frames.write(kindHeader, header.encode()); err != nil {
		return err
	}
	return u.put(u.set.blocksName(r), io.MultiReader(&head, body))
}

func (u *uploader) put(name string, r io.Reader) error {
	n, err := u.set.objects.Put(u.ctx, name, r)
	if err != nil {
		return fmt.Errorf("store %s: %w", name, err)
	}
	u.sum.Bytes += n
	u.set.log.Info().Str("object", name).Int64("bytes", n).Msg("stored")
	return nil
}

// state stores a state, unless it is there, and then the blocks that are missing.
func (u *uploader) state(open Open, x *index, r Range) error {
	a, done, err := u.read(open, r)
	if err != nil {
		return err
	}
	at, to := u.head.From, u.head.To
	if !u.head.State {
		done()
		return malformed("a state was asked for")
	}
	if !slices.Contains(x.states, at) || r.From > 0 {
		err = u.storeState(a)
	}
	done()
	if err != nil {
		return err
	}
	switch end := x.end(); {
	case end >= to:
		return nil
	case end > 0:
		// It also fills the gap, where the node has what is in it.
		if err = u.blocks(open, Range{From: end + 1, To: to}); !errors.Is(err, blockstore.ErrPruned) || end >= at {
			return err
		}
	}
	if at = x.reach(at); at >= to {
		return nil
	}
	return u.blocks(open, Range{From: at + 1, To: to})
}

// storeState stores the first block and the state after it, while they are read.
func (u *uploader) storeState(a *Reader) error {
	first, err := a.Next()
	if err != nil {
		return err
	}
	if err := u.check(first); err != nil {
		return err
	}
	in, out := io.Pipe()
	failed := make(chan error, 1)
	go func() {
		err := u.copyState(out, a, first)
		out.CloseWithError(err)
		failed <- err
	}()
	err = u.put(u.set.stateName(u.head.From), in)
	in.CloseWithError(err)
	if read := <-failed; read != nil && err == nil {
		return read
	}
	return err
}

func (u *uploader) copyState(w io.Writer, a *Reader, first Entry) error {
	e := u.exporter(w, 0)
	if _, err := io.WriteString(w, magic); err != nil {
		return err
	}
	header := Header{ChainID: u.head.ChainID, Genesis: u.set.genesis, From: u.head.From, To: u.head.From, State: true}
	if err := e.frames.write(kindHeader, header.encode()); err != nil {
		return err
	}
	e.sum.Blocks++
	if err := e.put(kindBlocks, first.Block.Encode(), first.Signature[:]); err != nil {
		return err
	}
	u.noteBlock(first.Block)
	for {
		next, err := a.Next()
		if errors.Is(err, io.EOF) || err == nil && next.Block != nil {
			return e.end()
		}
		if err != nil {
			return err
		}
		e.sum.Nodes++
		u.sum.Nodes++
		if err := e.put(kindState, next.Node); err != nil {
			return err
		}
	}
}
