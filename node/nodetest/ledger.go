package nodetest

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/replication"
)

// maxAccounts bounds the accounts of the ledger: one for each client.
const maxAccounts = 8

// state is what the ledger's transactions change: the next nonce of each account. Its root binds the history too.
type state struct {
	next [maxAccounts]uint64
	root block.Hash
}

// purse is one transaction: account and nonce. It is valid exactly once, after the nonce before it.
type purse struct {
	account uint8
	nonce   uint64
}

func (p purse) tx() *block.Tx {
	return &block.Tx{Payload: binary.BigEndian.AppendUint64([]byte{p.account}, p.nonce)}
}

func parsePurse(tx *block.Tx) (purse, bool) {
	if len(tx.Payload) != 9 || tx.Payload[0] >= maxAccounts {
		return purse{}, false
	}
	return purse{tx.Payload[0], binary.BigEndian.Uint64(tx.Payload[1:])}, true
}

func (s state) apply(p purse) (state, bool) {
	if s.next[p.account] != p.nonce {
		return s, false
	}
	s.next[p.account]++
	return s, true
}

// seal computes the root after the transactions of txRoot were applied to a state with root parent.
func (s state) seal(parent, txRoot block.Hash) state {
	var b [64 + 8*maxAccounts]byte
	copy(b[:], parent[:])
	copy(b[32:], txRoot[:])
	for i, n := range s.next {
		binary.BigEndian.PutUint64(b[64+8*i:], n)
	}
	s.root = sha256.Sum256(b[:])
	return s
}

// ledger is the reference executor and knows every block that any node ever built. Execution is a pure function of
// the chain, so each block is executed once however many nodes execute it.
type ledger struct {
	blocks map[block.Hash]*block.Block
	after  map[block.Hash]state
	valid  map[block.Hash]bool // the header's state root is right and every transaction valid
	zero   replication.Ref
}

func newLedger() *ledger {
	s := state{}.seal(block.Hash{}, block.Hash{})
	g := block.New(block.Header{ChainID: "sim", ChainVersion: "1", StateRoot: s.root}, nil)
	return &ledger{
		blocks: map[block.Hash]*block.Block{g.Hash(): g},
		after:  map[block.Hash]state{g.Hash(): s},
		valid:  map[block.Hash]bool{g.Hash(): true},
		zero:   replication.Ref{Hash: g.Hash()},
	}
}

// execute returns whether the block is right. Its parent must be known.
func (l *ledger) execute(b *block.Block) bool {
	h := b.Hash()
	if v, ok := l.valid[h]; ok {
		return v
	}
	parent, ok := l.after[b.Header.Parent]
	if !ok {
		return false
	}
	s, good := parent, true
	for _, tx := range b.Txs {
		p, known := parsePurse(tx)
		if known {
			s, known = s.apply(p)
		}
		good = good && known
	}
	s = s.seal(parent.root, b.Header.TxRoot)
	l.blocks[h], l.after[h], l.valid[h] = b, s, good && s.root == b.Header.StateRoot
	return l.valid[h]
}

// build makes a block of those pending transactions that are valid on parent. With wrong its state root is not what
// others compute.
func (l *ledger) build(h block.Header, pending []purse, limit int, wrong bool) *block.Block {
	parent := l.after[h.Parent]
	s := parent
	var txs []*block.Tx
	for _, p := range pending {
		if next, ok := s.apply(p); ok && len(txs) < limit {
			s = next
			txs = append(txs, p.tx())
		}
	}
	if len(txs) == 0 {
		return nil
	}
	s = s.seal(parent.root, block.TxRoot(txs))
	h.StateRoot = s.root
	if wrong {
		h.StateRoot[0] ^= 1
	}
	b := block.New(h, txs)
	l.execute(b)
	return b
}

// at returns the block of height h in the chain that ends at ref.
func (l *ledger) at(ref replication.Ref, h block.Height) (replication.Ref, bool) {
	return ancestor(l.blocks, ref, h)
}

// ancestor returns the block of height h in the chain of blocks that ends at ref; false when one is missing between.
func ancestor(blocks map[block.Hash]*block.Block, ref replication.Ref, h block.Height) (replication.Ref, bool) {
	for ref.Height > h {
		b := blocks[ref.Hash]
		if b == nil {
			return replication.Ref{}, false
		}
		ref = replication.Ref{Height: ref.Height - 1, Hash: b.Header.Parent}
	}
	return ref, ref.Height == h
}
