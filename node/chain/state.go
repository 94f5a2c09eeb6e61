package chain

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/blockstore/merkle"
)

// Prefixes and keys of the state; doc.go describes the values.
const (
	paramPrefix   = "c/"
	accountPrefix = "a/"
	supplyPrefix  = "s/"
	appPrefix     = "x/"

	keyChainID      = paramPrefix + "chain_id"
	keyChainVersion = paramPrefix + "chain_version"
	keyCreated      = paramPrefix + "created"
	keyProcessor    = paramPrefix + "processor"
	keyListeners    = paramPrefix + "listeners"
	keyApprovers    = paramPrefix + "approvers"
)

// AccountKey returns the key under which the state has an account.
func AccountKey(k PublicKey) []byte { return accountKey(k) }

func accountKey(k PublicKey) []byte {
	return append(append(make([]byte, 0, len(accountPrefix)+len(k)), accountPrefix...), k[:]...)
}

func appKey(app string, key []byte) []byte {
	full := make([]byte, 0, len(appPrefix)+len(app)+1+len(key))
	full = append(full, appPrefix...)
	full = append(full, app...)
	full = append(full, 0) // no name has a zero byte, so no App's keys are a prefix of another's
	return append(full, key...)
}

// params are the chain parameters, decoded.
type params struct {
	chainID      string
	chainVersion string
	processor    PublicKey
	listeners    SignerSet
	approvers    SignerSet
}

// State is the state of the chain after one block. It is an immutable snapshot, safe for concurrent use. Its accessors
// read from the node store where needed and pass its errors on.
type State struct {
	height    block.Height
	blockHash block.Hash
	timeMs    int64
	tree      *merkle.Map
	params    *params
}

// LoadState reopens the state after a block from its root, whose topmost node is stored as node. Errors come from the
// store, or are [ErrBadState].
func LoadState(
	store merkle.NodeStore, root block.Hash, node merkle.NodeID, height block.Height, blockHash block.Hash, timeMs int64,
	opts ...merkle.Option,
) (*State, error) {
	tree, err := merkle.Load(store, merkle.Hash(root), node, opts...)
	if err != nil {
		return nil, fmt.Errorf("load state of block %d: %w", height, err)
	}
	p, err := readParams(tree)
	if err != nil {
		return nil, fmt.Errorf("load state of block %d: %w", height, err)
	}
	return &State{height: height, blockHash: blockHash, timeMs: timeMs, tree: tree, params: p}, nil
}

// Height returns the height of the block.
func (s *State) Height() block.Height { return s.height }

// BlockHash returns the hash of the block.
func (s *State) BlockHash() block.Hash { return s.blockHash }

// TimeMs returns the time of the block in Unix milliseconds.
func (s *State) TimeMs() int64 { return s.timeMs }

// Root returns the state root, which the block's header has.
func (s *State) Root() block.Hash { return block.Hash(s.tree.Root()) }

// ChainID returns the chain's id.
func (s *State) ChainID() string { return s.params.chainID }

// ChainVersion returns the code version that executes the next block.
func (s *State) ChainVersion() string { return s.params.chainVersion }

// ProcessorKey returns the key that signs blocks.
func (s *State) ProcessorKey() ed25519.PublicKey { return bytes.Clone(s.params.processor[:]) }

// Listeners returns the bridge's listeners, keys sorted.
func (s *State) Listeners() SignerSet { return s.params.listeners.clone() }

// Approvers returns the approvers of upgrades, keys sorted.
func (s *State) Approvers() SignerSet { return s.params.approvers.clone() }

// Map returns the whole state, for checkpoints and proofs.
func (s *State) Map() *merkle.Map { return s.tree }

// Account returns an account; one that does not exist has nonce 0 and no balances.
func (s *State) Account(pub PublicKey) (Account, error) {
	a, err := readAccount(s.tree, pub)
	if err != nil {
		return Account{}, err
	}
	return a.public(), nil
}

// AppValue returns what an App stored under key, and whether there is something. The value must not be changed.
func (s *State) AppValue(app string, key []byte) ([]byte, bool, error) {
	v, ok, err := s.tree.Get(appKey(app, key))
	if err != nil {
		return nil, false, fmt.Errorf("read state: %w", err)
	}
	return v, ok, nil
}

func readAccount(tree *merkle.Map, pub PublicKey) (account, error) {
	data, ok, err := tree.Get(accountKey(pub))
	if err != nil {
		return account{}, fmt.Errorf("read account %s: %w", pub, err)
	}
	if !ok {
		return account{}, nil
	}
	a, err := decodeAccount(data)
	if err != nil {
		return account{}, fmt.Errorf("read account %s: %w", pub, err)
	}
	return a, nil
}

func readParams(tree *merkle.Map) (*params, error) {
	var values [5][]byte
	for i, key := range []string{keyChainID, keyChainVersion, keyProcessor, keyListeners, keyApprovers} {
		v, ok, err := tree.Get([]byte(key))
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", key, err)
		}
		if !ok {
			return nil, fmt.Errorf("%w: %s is missing", ErrBadState, key)
		}
		values[i] = v
	}
	p := &params{chainID: string(values[0]), chainVersion: string(values[1])}
	if len(values[2]) != len(p.processor) {
		return nil, fmt.Errorf("%w: %s has %d bytes", ErrBadState, keyProcessor, len(values[2]))
	}
	p.processor = PublicKey(values[2])
	var ok bool
	if p.listeners, ok = decodeSigners(values[3]); !ok {
		return nil, fmt.Errorf("%w: %s", ErrBadState, keyListeners)
	}
	if p.approvers, ok = decodeSigners(values[4]); !ok {
		return nil, fmt.Errorf("%w: %s", ErrBadState, keyApprovers)
	}
	return p, nil
}

const signersVersion = 1

func (s *SignerSet) clone() SignerSet { return SignerSet{s.Quorum, slices.Clone(s.PublicKeys)} }

// encode returns the bytes of a signer set leaf, as doc.go describes them.
func (s *SignerSet) encode() []byte {
	buf := make([]byte, 0, 1+4+len(s.PublicKeys)*len(PublicKey{}))
	buf = append(buf, signersVersion)
	buf = binary.BigEndian.AppendUint32(buf, uint32(s.Quorum))
	for _, k := range s.sorted() {
		buf = append(buf, k[:]...)
	}
	return buf
}

// decodeSigners reads the one form that encode writes.
func decodeSigners(data []byte) (SignerSet, bool) {
	const keyBytes = len(PublicKey{})
	if len(data) < 5 || data[0] != signersVersion || (len(data)-5)%keyBytes != 0 {
		return SignerSet{}, false
	}
	s := SignerSet{
		Quorum:     int(binary.BigEndian.Uint32(data[1:])),
		PublicKeys: make([]PublicKey, 0, (len(data)-5)/keyBytes),
	}
	for data = data[5:]; len(data) > 0; data = data[keyBytes:] {
		s.PublicKeys = append(s.PublicKeys, PublicKey(data[:keyBytes]))
	}
	return s, s.problem() == "" && slices.IsSortedFunc(s.PublicKeys, comparePublicKeys)
}
