package chain

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/blockstore/merkle"
)

// verifiedGeneration sizes the memory of checked signatures: at most twice this many, some 100 bytes each.
const verifiedGeneration = 1 << 15

// ErrBadApp is returned by [New] when an App cannot be used: a bad or repeated name or code version, or no message type.
var ErrBadApp = errors.New("bad app")

// Executor turns transactions into blocks and blocks into states. It has no state of the chain: the same arguments
// give the same result. It is safe for concurrent use.
type Executor struct {
	genesis  *Genesis
	codes    []*code
	verified *verifiedSet
}

// New returns an executor for the chain of g, which is copied, with one App per code version. Errors are
// [ErrBadGenesis], [ErrBadApp], or [ErrNoCode] if no App can execute block 1.
func New(g *Genesis, apps ...App) (*Executor, error) {
	if err := g.Validate(); err != nil {
		return nil, err
	}
	e := &Executor{genesis: g.clone(), verified: newVerifiedSet(verifiedGeneration)}
	for _, app := range apps {
		c := &code{app: app, types: slices.Clone(app.MessageTypes())}
		switch name, version := app.Name(), app.CodeVersion(); {
		case !validName(name) || !validName(version):
			return nil, fmt.Errorf("%w: name %q, code version %q", ErrBadApp, name, version)
		case len(c.types) == 0:
			return nil, fmt.Errorf("%w: %s %s knows no message type", ErrBadApp, name, version)
		case e.codeFor(version) != nil:
			return nil, fmt.Errorf("%w: two of code version %q", ErrBadApp, version)
		}
		e.codes = append(e.codes, c)
	}
	if e.codeFor(g.ChainVersion) == nil {
		return nil, fmt.Errorf("%w: %q", ErrNoCode, g.ChainVersion)
	}
	return e, nil
}

// codeFor returns the code of a chain version, nil if there is none.
func (e *Executor) codeFor(version string) *code {
	for _, c := range e.codes {
		if c.app.CodeVersion() == version {
			return c
		}
	}
	return nil
}

// CodeVersions returns the chain versions that this executor can execute, in the order given to [New].
func (e *Executor) CodeVersions() []string {
	versions := make([]string, len(e.codes))
	for i, c := range e.codes {
		versions[i] = c.app.CodeVersion()
	}
	return versions
}

// GenesisSource returns a hash of all that [Executor.Genesis] makes block 0 of: the content of the genesis and which App
// adds to it. It takes a fraction of the time.
func (e *Executor) GenesisSource() [32]byte {
	h := sha256.New()
	var field []byte
	put := func(b []byte) {
		field = append(binary.BigEndian.AppendUint64(field[:0], uint64(len(b))), b...)
		_, _ = h.Write(field) // never fails
	}
	app := e.codeFor(e.genesis.ChainVersion).app
	put([]byte("baton/genesis/source/v1"))
	put([]byte(app.Name()))
	put([]byte(app.CodeVersion()))
	e.genesis.params(func(_, value []byte) { put(value) }) // the same ones in the same order for every genesis
	for _, k := range e.genesis.accounts() {
		a := e.genesis.account(k)
		put(k[:])
		put(a.encode())
	}
	return [32]byte(h.Sum(nil))
}

// Genesis returns block 0 and the state after it. Both are a pure function of the genesis content; everything in that
// content is in the state, so the block's hash covers it. Later states made from this one read stored nodes from
// store, which nothing is read from yet, and have the options. An error comes from the App.
func (e *Executor) Genesis(store merkle.NodeStore, opts ...merkle.Option) (*block.Block, *State, error) {
	g := e.genesis
	base, err := merkle.Empty(store, opts...).Update(genesisChanges(g))
	if err != nil {
		return nil, nil, fmt.Errorf("genesis state: %w", err)
	}
	p, err := readParams(base)
	if err != nil {
		return nil, nil, fmt.Errorf("genesis state: %w", err)
	}
	timeMs := g.Created.UnixMilli()
	o, app := newOverlay(base), e.codeFor(g.ChainVersion).app
	if err := app.Genesis(&Context{o: o, app: app.Name(), timeMs: timeMs}, e.genesis.clone()); err != nil {
		return nil, nil, fmt.Errorf("genesis of app %s: %w", app.Name(), err)
	}
	if o.err != nil {
		return nil, nil, fmt.Errorf("genesis of app %s: %w", app.Name(), o.err)
	}
	tree, err := o.commit()
	if err != nil {
		return nil, nil, err
	}
	b := block.New(block.Header{
		ChainID: g.ChainID, TimeMs: timeMs, ChainVersion: g.ChainVersion, StateRoot: block.Hash(tree.Root()),
	}, nil)
	return b, &State{blockHash: b.Hash(), timeMs: timeMs, tree: tree, params: p}, nil
}

// genesisChanges returns the whole content of a genesis file as entries of the state.
func genesisChanges(g *Genesis) []merkle.Change {
	changes := make([]merkle.Change, 0, len(g.Balances)+16)
	put := func(key, value []byte) { changes = append(changes, merkle.Change{Key: key, Value: value}) }
	g.params(put)
	supply, fits, _ := g.supply()
	invariant(fits, "genesis was not validated")
	for _, asset := range slices.Sorted(maps.Keys(supply)) {
		put([]byte(supplyPrefix+asset), supply[asset].appendBytes(nil))
	}
	for _, k := range g.accounts() {
		a := g.account(k)
		put(accountKey(k), a.encode())
	}
	return changes
}

// params calls put for each chain parameter.
func (g *Genesis) params(put func(key, value []byte)) {
	put([]byte(keyChainID), []byte(g.ChainID))
	put([]byte(keyChainVersion), []byte(g.ChainVersion))
	put([]byte(keyCreated), []byte(g.Created.UTC().Format(time.RFC3339Nano)))
	put([]byte(keyProcessor), g.Processor.PublicKey[:])
	put([]byte(keyListeners), g.Listeners.encode())
	put([]byte(keyApprovers), g.Approvers.encode())
}

// run is one block under execution.
type run struct {
	parent *State
	code   *code
	o      *overlay
	height block.Height
	timeMs int64
}

func (e *Executor) start(parent *State, timeMs int64) (*run, error) {
	c := e.codeFor(parent.params.chainVersion)
	if c == nil {
		return nil, fmt.Errorf("%w: %q", ErrNoCode, parent.params.chainVersion)
	}
	return &run{parent: parent, code: c, o: newOverlay(parent.tree), height: parent.height + 1, timeMs: timeMs}, nil
}

// check judges a transaction's height and nonce without changing anything. A nil verdict error means that it is next.
func (r *run) check(tx *Tx) (VerdictKind, *TxError, error) {
	if tx.maxHeight != 0 && r.height > tx.maxHeight {
		return VerdictRejected, txErrorf(Rejected, "max_height %d has passed", tx.maxHeight), nil
	}
	cell, err := r.o.account(tx.sender)
	if err != nil {
		return 0, nil, err
	}
	kind := VerdictIncluded
	switch next := cell.account.nonce; {
	case tx.nonce > next:
		kind = VerdictAhead
	case tx.nonce < next:
		kind = VerdictBehind
	default:
		return kind, nil, nil
	}
	fault := txErrorf(BadNonce, "nonce %d, expected %d", tx.nonce, cell.account.nonce)
	fault.ExpectedNonce = cell.account.nonce
	return kind, fault, nil
}

// execute applies a transaction that check found to be next: all of it, or nothing.
func (r *run) execute(tx *Tx) (*TxError, error) {
	messages, fault := tx.messagesFor(r.code)
	if fault != nil {
		return fault, nil
	}
	r.o.begin()
	cell, err := r.o.account(tx.sender)
	if err != nil {
		return nil, err
	}
	invariant(cell.account.nonce == tx.nonce, "nonce %d executed at %d", tx.nonce, cell.account.nonce)
	r.o.change(cell).nonce++
	ctx := Context{o: r.o, app: r.code.app.Name(), sender: tx.sender, height: r.height, timeMs: r.timeMs}
	for i, m := range messages {
		err := r.code.app.Execute(&ctx, m)
		if r.o.err != nil { // not a verdict on the transaction: another node may be able to read its state
			return nil, r.o.err
		}
		if err != nil {
			r.o.rollback()
			if len(messages) > 1 {
				return txErrorf(Rejected, "message %d: %v", i, err), nil
			}
			return txErrorf(Rejected, "%v", err), nil
		}
	}
	return nil, nil
}

// finish returns the state after the block, except for the block's hash.
func (r *run) finish() (*State, error) {
	tree, err := r.o.commit()
	if err != nil {
		return nil, err
	}
	return &State{height: r.height, timeMs: r.timeMs, tree: tree, params: r.parent.params}, nil
}
