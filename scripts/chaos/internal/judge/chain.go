package judge

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/blockstore/merkle"
	"github.com/baton-ha/baton/node/chain"
	"github.com/baton-ha/baton/node/client"
)

// Source is one node's chain.
type Source struct {
	ID     string
	Client *client.Client
}

// position is where a transaction stands.
type position struct {
	height block.Height
	index  uint32
}

// Chain is the final chain of a run as the first node tells it, executed again.
type Chain struct {
	hashes []block.Hash // by height
	txs    map[block.Hash]position
	order  []entry // all transactions, in the order of the chain
	Height block.Height
	Txs    int
}

// entry is one payment of the chain.
type entry struct {
	at       position
	hash     block.Hash
	from, to string
	amount   uint64
	nonce    uint64
}

// ReadChains fetches all blocks of all nodes and judges that they are one chain, each block signed by the genesis's
// processor and reproduced by executing it again. It returns the chain and two verdicts, or an error when a node does not
// answer.
func ReadChains(ctx context.Context, g *chain.Genesis, nodes []Source) (*Chain, []*Verdict, error) {
	same := NewVerdict("one chain on all nodes, every block signed once", "I8 I10")
	roots := NewVerdict("executing the chain again gives every state root", "I17")
	c := &Chain{txs: map[block.Hash]position{}}
	signed := 0
	for i, n := range nodes {
		again, err := newReplay(g)
		if err != nil {
			return nil, nil, err
		}
		count := block.Height(0)
		err = eachBlock(ctx, n, func(b *client.Block) {
			if i == 0 {
				c.add(same, b)
				again.apply(roots, b)
			}
			if int(b.Height) >= len(c.hashes) {
				same.Fail("I8: %s has block %d, %s does not", n.ID, b.Height, nodes[0].ID)
			} else if c.hashes[b.Height] != b.Hash {
				same.Fail("I8: block %d is %s on %s and %s on %s", b.Height, c.hashes[b.Height], nodes[0].ID, b.Hash, n.ID)
			}
			if b.Height > 0 {
				if err := client.VerifyBlock(b, g.Processor.PublicKey[:]); err != nil {
					same.Fail("I10: %s: %v", n.ID, err)
				}
				signed++
			}
			count = b.Height
		})
		if err != nil {
			return nil, nil, err
		}
		if count != c.Height {
			same.Fail("I8: %s ends at height %d, %s at %d", nodes[0].ID, c.Height, n.ID, count)
		}
	}
	same.Say("%d blocks with %d transactions on %d nodes, %d signatures verified", c.Height, c.Txs, len(nodes), signed)
	roots.Say("%d blocks executed again", c.Height)
	return c, []*Verdict{same, roots}, nil
}

// fetchLimit is how many blocks are asked for at a time.
const fetchLimit = 500

func eachBlock(ctx context.Context, n Source, f func(*client.Block)) error {
	next := block.Height(0)
	for {
		blocks, err := n.Client.Blocks(ctx, next, fetchLimit)
		if err != nil {
			return fmt.Errorf("blocks of %s from %d on: %w", n.ID, next, err)
		}
		if len(blocks) == 0 {
			return nil
		}
		for _, b := range blocks {
			if b.Height != next {
				return fmt.Errorf("%s: asked for block %d, was given %d", n.ID, next, b.Height)
			}
			f(b)
			next++
		}
	}
}

// payload is what the load's transactions carry.
type payload struct {
	PublicKey string `json:"public_key"`
	Nonce     uint64 `json:"nonce"`
	Messages  []struct {
		To     string `json:"to"`
		Amount string `json:"amount"`
	} `json:"messages"`
}

// add takes the next block of the first node.
func (c *Chain) add(v *Verdict, b *client.Block) {
	if b.Height > 0 && b.ParentHash != c.hashes[b.Height-1] {
		v.Fail("I8: block %d names parent %s, before it stands %s", b.Height, b.ParentHash, c.hashes[b.Height-1])
	}
	c.hashes = append(c.hashes, b.Hash)
	c.Height = b.Height
	for i, tx := range b.Transactions {
		at := position{b.Height, uint32(i)}
		if old, twice := c.txs[tx.Hash]; twice {
			v.Fail("I16: transaction %s stands in blocks %d and %d", tx.Hash, old.height, b.Height)
		}
		c.txs[tx.Hash] = at
		c.Txs++
		var p payload
		if err := json.Unmarshal([]byte(tx.Payload), &p); err != nil || len(p.Messages) != 1 {
			v.Fail("I16: block %d has a transaction that nobody made: %.100s", b.Height, tx.Payload)
			continue
		}
		amount, err := strconv.ParseUint(p.Messages[0].Amount, 10, 64)
		if err != nil {
			v.Fail("I16: block %d has a transaction that nobody made: %.100s", b.Height, tx.Payload)
			continue
		}
		c.order = append(c.order, entry{at, tx.Hash, p.PublicKey, p.Messages[0].To, amount, p.Nonce})
	}
}

// replay executes blocks again, from genesis, with an executor that no node ran.
type replay struct {
	ex   *chain.Executor
	st   *chain.State
	zero *block.Block // genesis
}

func newReplay(g *chain.Genesis) (*replay, error) {
	ex, err := chain.New(g, chain.Ledger{})
	if err != nil {
		return nil, fmt.Errorf("execute again: %w", err)
	}
	zero, st, err := ex.Genesis(noStore{})
	if err != nil {
		return nil, fmt.Errorf("execute genesis again: %w", err)
	}
	return &replay{ex, st, zero}, nil
}

func (r *replay) apply(v *Verdict, w *client.Block) {
	if w.Height == 0 || r.st == nil {
		return
	}
	txs := make([]*block.Tx, len(w.Transactions))
	for i, tx := range w.Transactions {
		txs[i] = &block.Tx{Payload: []byte(tx.Payload), Signature: tx.Signature}
	}
	b := block.New(block.Header{
		ChainID: w.ChainID, Height: w.Height, Parent: w.ParentHash, TimeMs: w.Time, ChainVersion: w.ChainVersion,
		StateRoot: w.StateRoot, Proposer: w.Proposer, Term: w.Term,
	}, txs)
	st, err := r.ex.Apply(r.st, b)
	if err != nil {
		v.Fail("I17: block %d: %v", w.Height, err)
	}
	r.st = st
}

// ledger is the naive second implementation: plain integers.
type ledger struct {
	balance map[string]int64
	nonce   map[string]uint64
}

func newLedger(fund map[string]uint64) *ledger {
	l := &ledger{balance: map[string]int64{}, nonce: map[string]uint64{}}
	for key, amount := range fund {
		l.balance[key] = int64(amount)
	}
	return l
}

func (l *ledger) apply(v *Verdict, e entry) {
	if l.nonce[e.from] != e.nonce {
		v.Fail("I16: block %d: nonce %d of %.8s, expected %d", e.at.height, e.nonce, e.from, l.nonce[e.from])
	}
	l.nonce[e.from]++
	l.balance[e.from] -= int64(e.amount)
	l.balance[e.to] += int64(e.amount)
	if l.balance[e.from] < 0 {
		v.Fail("I16: block %d: %.8s has %d left", e.at.height, e.from, l.balance[e.from])
	}
}

// Money replays the chain's payments and compares every account of every node with the outcome.
func (c *Chain) Money(ctx context.Context, fund map[string]uint64, nodes []Source) (*Verdict, error) {
	v := NewVerdict("money is conserved, balances and nonces agree", "I16 I17")
	l := newLedger(fund)
	for _, e := range c.order {
		l.apply(v, e)
	}
	var have, want int64
	for key, amount := range fund {
		want += int64(amount)
		have += l.balance[key]
	}
	if have != want {
		v.Fail("I16: accounts hold %d, genesis gave %d", have, want)
	}
	for _, n := range nodes {
		for key := range fund {
			pub, err := chain.ParsePublicKey(key)
			if err != nil {
				return nil, err
			}
			acc, err := n.Client.Account(ctx, pub[:])
			if err != nil {
				return nil, fmt.Errorf("account %.8s of %s: %w", key, n.ID, err)
			}
			if acc.Nonce != l.nonce[key] || acc.Balances[client.NativeAsset] != strconv.FormatInt(l.balance[key], 10) {
				v.Fail("I17: %s says %.8s has %s after %d payments, the chain comes to %d after %d",
					n.ID, key, acc.Balances[client.NativeAsset], acc.Nonce, l.balance[key], l.nonce[key])
			}
		}
	}
	return v.Say("%d payments replayed with plain integers, %d accounts compared on %d nodes", len(c.order), len(fund), len(nodes)), nil
}

// sorted returns the positions' order: before, equal or after.
func (p position) compare(o position) int {
	if p.height != o.height {
		return int(min(max(int64(p.height)-int64(o.height), -1), 1))
	}
	return int(int64(p.index) - int64(o.index))
}

func sortBy[T any](s []T, cmp func(a, b T) int) { slices.SortStableFunc(s, cmp) }

// noStore holds nothing: the state is executed from genesis and stays in memory.
type noStore struct{}

func (noStore) Node(id merkle.NodeID) ([]byte, error) {
	return nil, fmt.Errorf("state node %d was never written", id)
}
