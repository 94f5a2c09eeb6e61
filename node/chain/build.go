package chain

import (
	"fmt"

	"github.com/baton-ha/baton/blockstore/block"
)

// BuildSpec says what a block to be built shall be like.
type BuildSpec struct {
	// Proposer and Term go into the header.
	Proposer string
	Term     uint64
	// NowMs is the proposer's clock in Unix milliseconds. The block's time is never below its parent's.
	NowMs int64
	// MaxBytes bounds the encoded block and MaxTxs its transactions; zero, or more than the format allows, means what
	// the format allows.
	MaxBytes int
	MaxTxs   int
}

// VerdictKind says what became of a candidate.
type VerdictKind uint8

// The kinds of a [Verdict]. Zero is none of them.
const (
	// VerdictIncluded: it is in the block.
	VerdictIncluded VerdictKind = iota + 1
	// VerdictRejected: it cannot be included on this state.
	VerdictRejected
	// VerdictAhead: an earlier nonce of its account is missing; it may be included later.
	VerdictAhead
	// VerdictBehind: its nonce is used, by this transaction itself or by another one.
	VerdictBehind
	// VerdictNoRoom: the block was full; it was not looked at.
	VerdictNoRoom
)

// Verdict says what became of one candidate of [Executor.Build].
type Verdict struct {
	Kind VerdictKind
	// Index is its place in the block if it is included.
	Index int
	// Err says why not, with [VerdictRejected]; with [VerdictAhead] and [VerdictBehind] it is a [BadNonce] that carries
	// the expected nonce.
	Err *TxError
}

// Build executes candidates in their order on top of parent and returns a block of those that can be included, the
// state after it, and a verdict for each candidate. If none is included the block is nil and the state is parent. The
// first candidate that does not fit closes the block, so that a large one is not overtaken for ever.
//
// An error comes from the node store, or is [ErrNoCode], or says that the spec cannot make a block; no candidate is
// judged then.
func (e *Executor) Build(
	parent *State, spec BuildSpec, candidates []*Tx,
) (*block.Block, *State, []Verdict, error) {
	header := block.Header{
		ChainID: parent.params.chainID, Height: parent.height + 1, Parent: parent.blockHash,
		TimeMs: max(spec.NowMs, parent.timeMs), ChainVersion: parent.params.chainVersion,
		Proposer: spec.Proposer, Term: spec.Term,
	}
	if len(spec.Proposer) > block.MaxStringBytes {
		return nil, nil, nil, fmt.Errorf("build block %d: proposer of %d bytes", header.Height, len(spec.Proposer))
	}
	r, err := e.start(parent, header.TimeMs)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("build block %d: %w", header.Height, err)
	}
	a := &assembly{run: r, room: roomFor(spec, header)}
	verdicts := make([]Verdict, len(candidates))
	for i, tx := range candidates {
		if verdicts[i], err = a.add(tx); err != nil {
			return nil, nil, nil, fmt.Errorf("build block %d: %w", header.Height, err)
		}
	}
	if len(a.txs) == 0 {
		return nil, parent, verdicts, nil
	}
	next, err := r.finish()
	if err != nil {
		return nil, nil, nil, fmt.Errorf("build block %d: %w", header.Height, err)
	}
	header.StateRoot = next.Root()
	b := block.New(header, a.txs)
	next.blockHash = b.Hash()
	return b, next, verdicts, nil
}

// room is what is left of a block's limits.
type room struct{ bytes, txs int }

func roomFor(spec BuildSpec, header block.Header) room {
	left := room{bytes: block.MaxBlockBytes, txs: block.MaxTxs}
	if spec.MaxBytes > 0 {
		left.bytes = min(left.bytes, spec.MaxBytes)
	}
	if spec.MaxTxs > 0 {
		left.txs = min(left.txs, spec.MaxTxs)
	}
	left.bytes -= block.New(header, nil).Size()
	return left
}

// assembly is a block being put together.
type assembly struct {
	run    *run
	room   room
	txs    []*block.Tx
	closed bool
}

func (a *assembly) add(tx *Tx) (Verdict, error) {
	if a.closed {
		return Verdict{Kind: VerdictNoRoom}, nil
	}
	kind, fault, err := a.run.check(tx)
	if err != nil {
		return Verdict{}, err
	}
	if kind != VerdictIncluded {
		return Verdict{Kind: kind, Err: fault}, nil
	}
	if tx.Size() > a.room.bytes || a.room.txs == 0 {
		if len(a.txs) == 0 { // not even alone
			return Verdict{Kind: VerdictRejected, Err: txErrorf(TooLarge, "the transaction is larger than a block")}, nil
		}
		a.closed = true
		return Verdict{Kind: VerdictNoRoom}, nil
	}
	fault, err = a.run.execute(tx)
	if err != nil {
		return Verdict{}, err
	}
	if fault != nil {
		return Verdict{Kind: VerdictRejected, Err: fault}, nil //nolint:nilerr // the fault is the verdict, no failure to build
	}
	a.txs = append(a.txs, tx.raw)
	a.room.bytes -= tx.Size()
	a.room.txs--
	return Verdict{Kind: VerdictIncluded, Index: len(a.txs) - 1}, nil
}
