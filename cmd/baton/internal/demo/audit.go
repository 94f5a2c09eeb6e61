package demo

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"runtime"
	"sync"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api/wire"
	"github.com/baton-ha/baton/node/chain"
	"github.com/baton-ha/baton/node/client"
)

// maxProblems bounds how many problems are spelled out.
const maxProblems = 20

// findings are what is wrong, with the counts that a report names.
type findings struct {
	lost, duplicated, misplaced, strangers int
	wrongNonce, wrongBalance               bool
	more                                   int // problems beyond those that are spelled out
	problems                               []string
}

func (f *findings) add(format string, args ...any) {
	if len(f.problems) < maxProblems {
		f.problems = append(f.problems, fmt.Sprintf(format, args...))
	} else {
		f.more++
	}
}

func (f *findings) merge(other *findings) {
	// A payment that several nodes lost is lost once.
	f.lost, f.duplicated = max(f.lost, other.lost), max(f.duplicated, other.duplicated)
	f.misplaced, f.strangers = max(f.misplaced, other.misplaced), max(f.strangers, other.strangers)
	f.wrongNonce, f.wrongBalance = f.wrongNonce || other.wrongNonce, f.wrongBalance || other.wrongBalance
	f.more += other.more
	for _, p := range other.problems {
		f.add("%s", p)
	}
}

// book is what the clients know: what they signed, what they were promised, and what it must come to.
type book struct {
	pub      ed25519.PublicKey // of the processor, from genesis
	block0   block.Hash
	promised map[block.Hash]promise
	accounts []final
}

// promise is the receipt of one payment.
type promise struct {
	receipt client.Receipt
	payer   chain.PublicKey
}

// final is how an account must stand at the end.
type final struct {
	pub     chain.PublicKey
	nonce   uint64
	balance uint64
}

// book writes down what the payments of an ended traffic come to.
func (c *cluster) book(t *traffic) *book {
	b := &book{pub: c.pub(), block0: c.block0, promised: map[block.Hash]promise{}}
	for _, a := range t.accounts {
		b.accounts = append(b.accounts, final{pub: a.pub, nonce: uint64(len(a.payments)), balance: startBalance})
	}
	for i, a := range t.accounts {
		for _, p := range a.payments {
			b.promised[p.receipt.Hash] = promise{receipt: p.receipt, payer: a.pub}
			b.accounts[i].balance -= p.amount
			b.accounts[p.to].balance += p.amount
		}
	}
	return b
}

// Chain is what was fetched from one node, and checked.
type Chain struct {
	ID           string       `json:"id"`
	Height       block.Height `json:"height"`
	TipHash      block.Hash   `json:"tip_hash"`
	StateRoot    block.Hash   `json:"state_root"`
	Transactions int          `json:"transactions"`
	// Signatures is how many blocks carry a signature that is good under the processor key.
	Signatures int `json:"signatures_verified"`

	hashes []block.Hash // by height
}

// inspect reads one node's whole chain with next, which returns blocks in ascending order and none at the end, and
// checks it against the book. With payers it also verifies the signature of every transaction.
func (b *book) inspect(id string, payers bool, next func(from block.Height) ([]*client.Block, error)) (*Chain, *findings, error) {
	c, f := &Chain{ID: id}, &findings{}
	seen := make(map[block.Hash]bool, len(b.promised))
	for {
		blocks, err := next(block.Height(len(c.hashes)))
		if err != nil {
			return nil, nil, fmt.Errorf("blocks of %s from height %d on: %w", id, len(c.hashes), err)
		}
		if len(blocks) == 0 {
			break
		}
		for _, bl := range blocks {
			if want := block.Height(len(c.hashes)); bl.Height != want {
				return nil, nil, fmt.Errorf("%s: asked for block %d, was given block %d", id, want, bl.Height)
			}
			b.inspectBlock(c, f, bl)
			for i := range bl.Transactions {
				b.inspectTx(c, f, bl, i, seen)
			}
			if payers {
				b.inspectPayers(c, f, bl)
			}
		}
	}
	for hash, p := range b.promised {
		if !seen[hash] {
			f.lost++
			f.add("%s: transaction %s was acknowledged in block %d and is in no block", id, hash, p.receipt.Height)
		}
	}
	return c, f, nil
}

func (b *book) inspectBlock(c *Chain, f *findings, bl *client.Block) {
	if bl.Height == 0 {
		if got, err := bl.Recompute(); err != nil || got != b.block0 {
			f.add("%s: block 0 is not that of the genesis file", c.ID)
		}
	} else {
		if err := client.VerifyBlock(bl, b.pub); err != nil {
			f.add("%s: %v", c.ID, err)
		} else {
			c.Signatures++
		}
		if parent := c.hashes[bl.Height-1]; bl.ParentHash != parent {
			f.add("%s: block %d names parent %s, before it stands %s", c.ID, bl.Height, bl.ParentHash, parent)
		}
	}
	c.hashes = append(c.hashes, bl.Hash)
	c.Height, c.TipHash, c.StateRoot = bl.Height, bl.Hash, bl.StateRoot
}

func (b *book) inspectTx(c *Chain, f *findings, bl *client.Block, i int, seen map[block.Hash]bool) {
	hash := bl.Transactions[i].Hash
	c.Transactions++
	if seen[hash] {
		f.duplicated++
		f.add("%s: transaction %s stands in block %d for the second time", c.ID, hash, bl.Height)
		return
	}
	seen[hash] = true
	p, known := b.promised[hash]
	if !known {
		f.strangers++
		f.add("%s: block %d has transaction %s, which no client had acknowledged", c.ID, bl.Height, hash)
		return
	}
	if r := p.receipt; r.Height != bl.Height || r.BlockHash != bl.Hash || r.Index != uint32(i) {
		f.misplaced++
		f.add("%s: transaction %s was acknowledged as number %d of block %d (%s) and is number %d of block %d (%s)",
			c.ID, hash, r.Index, r.Height, r.BlockHash, i, bl.Height, bl.Hash)
	}
}

// inspectPayers verifies the signatures of the transactions, on all processors.
func (b *book) inspectPayers(c *Chain, f *findings, bl *client.Block) {
	var wg sync.WaitGroup
	bad := make([]bool, len(bl.Transactions))
	workers := min(runtime.GOMAXPROCS(0), len(bl.Transactions))
	for w := range workers {
		wg.Go(func() {
			for i := w; i < len(bl.Transactions); i += workers {
				tx := bl.Transactions[i]
				p, known := b.promised[tx.Hash]
				signed := block.Tx{Payload: []byte(tx.Payload), Signature: tx.Signature}
				bad[i] = known && !signed.Verify(p.payer[:])
			}
		})
	}
	wg.Wait()
	for i, tx := range bl.Transactions {
		if bad[i] {
			f.add("%s: block %d: transaction %s is not signed by its payer", c.ID, bl.Height, tx.Hash)
		}
	}
}

// compare checks that all nodes have the same blocks and reports whether they do.
func compare(chains []*Chain, f *findings) bool {
	same := true
	for _, c := range chains[1:] {
		first := chains[0]
		for h := range min(len(first.hashes), len(c.hashes)) {
			if first.hashes[h] != c.hashes[h] {
				f.add("fork: at height %d %s has block %s and %s has %s", h, first.ID, first.hashes[h], c.ID, c.hashes[h])
				same = false
				break
			}
		}
		if len(first.hashes) != len(c.hashes) {
			f.add("%s has %d blocks, %s has %d", first.ID, len(first.hashes), c.ID, len(c.hashes))
			same = false
		}
	}
	return same
}

// blocksAtOnce is how many blocks are asked for in one request.
const blocksAtOnce = 256

// audit fetches everything from every node and judges it against the book. The nodes must be level and idle. It goes from
// node to node: all at once would take as long on a small machine, and keep the nodes from their heartbeats.
func (c *cluster) audit(ctx context.Context, t *traffic) (*verdict, error) {
	b, v := c.book(t), &verdict{}
	for i, n := range c.nodes {
		cl, err := c.only(n)
		if err != nil {
			return nil, err
		}
		// The signatures of transactions are part of what a block's hash covers: on one node is enough.
		chain, found, err := b.inspect(n.id, i == 0, func(from block.Height) ([]*client.Block, error) {
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			return cl.Blocks(ctx, from, blocksAtOnce)
		})
		if err == nil {
			err = b.inspectAccounts(ctx, n.id, cl, found)
		}
		if err != nil {
			return nil, err
		}
		v.chains = append(v.chains, chain)
		v.merge(found)
	}
	v.oneChain = compare(v.chains, &v.findings)
	return v, nil
}

// verdict is the outcome of an audit.
type verdict struct {
	findings
	chains   []*Chain
	oneChain bool
}

// inspectAccounts compares one node's accounts with the book.
func (b *book) inspectAccounts(ctx context.Context, id string, cl *client.Client, f *findings) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, want := range b.accounts {
		got, err := cl.AccountLocal(ctx, want.pub[:])
		if err != nil {
			return fmt.Errorf("account %s on %s: %w", want.pub, id, err)
		}
		b.inspectAccount(id, want, got, f)
	}
	return nil
}

func (b *book) inspectAccount(id string, want final, got wire.Account, f *findings) {
	if got.Nonce != want.nonce {
		f.wrongNonce = true
		f.add("%s: account %s has nonce %d, its client made %d payments", id, want.pub, got.Nonce, want.nonce)
	}
	if balance := got.Balances[client.NativeAsset]; balance != fmt.Sprint(want.balance) {
		f.wrongBalance = true
		f.add("%s: account %s has %s, the payments come to %d", id, want.pub, balance, want.balance)
	}
}
