package demo

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api/wire"
	"github.com/baton-ha/baton/node/chain"
	"github.com/baton-ha/baton/node/client"
)

func seedKey(n byte) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = n
	return ed25519.NewKeyFromSeed(seed)
}

// fakeChain is a small chain with the book that belongs to it.
type fakeChain struct {
	processor, payer ed25519.PrivateKey
	blocks           []*block.Block
	book             *book
}

// newFakeChain makes height blocks of two transactions each.
func newFakeChain(height int) *fakeChain {
	f := &fakeChain{processor: seedKey(1), payer: seedKey(2)}
	f.book = &book{pub: f.processor.Public().(ed25519.PublicKey), promised: map[block.Hash]promise{}}
	f.add()
	f.book.block0 = f.blocks[0].Hash()
	for h := range height {
		f.add(f.tx(2*h), f.tx(2*h+1))
		f.promise(h+1, 0)
		f.promise(h+1, 1)
	}
	return f
}

func (f *fakeChain) tx(n int) *block.Tx {
	return block.SignTx(f.payer, fmt.Appendf(nil, "payment %d", n))
}

func (f *fakeChain) add(txs ...*block.Tx) {
	h := block.Header{ChainID: "test", Height: block.Height(len(f.blocks)), ChainVersion: "1", Proposer: "node1", Term: 1}
	if len(f.blocks) > 0 {
		h.Parent = f.blocks[len(f.blocks)-1].Hash()
	}
	f.blocks = append(f.blocks, block.New(h, txs))
}

func (f *fakeChain) promise(height, index int) {
	b := f.blocks[height]
	f.book.promised[b.Txs[index].Hash()] = promise{
		receipt: client.Receipt{
			Hash: b.Txs[index].Hash(), Height: block.Height(height), Index: uint32(index), BlockHash: b.Hash(),
		},
		payer: chain.PublicKey(f.payer.Public().(ed25519.PublicKey)),
	}
}

// wire is the chain as a node would show it.
func (f *fakeChain) wire() []*wire.Block {
	var out []*wire.Block
	for _, b := range f.blocks {
		sig := block.Sign(f.processor, b.Hash())
		out = append(out, wire.NewBlock(block.Final{Block: b, Signature: sig}, [32]byte(f.book.pub)))
	}
	return out
}

// inspectAll gives the blocks out two at a time.
func inspectAll(t *testing.T, b *book, blocks []*wire.Block) (*Chain, *findings) {
	t.Helper()
	c, f, err := b.inspect("node1", true, func(from block.Height) ([]*wire.Block, error) {
		rest := blocks[min(int(from), len(blocks)):]
		return rest[:min(2, len(rest))], nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return c, f
}

func TestInspectAcceptsAGoodChain(t *testing.T) {
	f := newFakeChain(5)
	c, found := inspectAll(t, f.book, f.wire())
	if len(found.problems) > 0 {
		t.Errorf("problems: %q", found.problems)
	}
	if c.Height != 5 || c.Transactions != 10 || c.Signatures != 5 || c.TipHash != f.blocks[5].Hash() {
		t.Errorf("chain is %+v", c)
	}
}

// What is wrong with a chain must be seen: an auditor that finds nothing proves nothing.
func TestInspectFinds(t *testing.T) {
	for name, tt := range map[string]struct {
		harm  func(f *fakeChain, shown *[]*wire.Block)
		want  string
		count func(f *findings) int
	}{
		"a lost block": {
			harm: func(_ *fakeChain, shown *[]*wire.Block) { *shown = (*shown)[:3] },
			want: "is in no block", count: func(f *findings) int { return f.lost },
		},
		"a transaction that stands twice": {
			harm: func(f *fakeChain, shown *[]*wire.Block) { f.add(f.tx(0)); *shown = f.wire() },
			want: "for the second time", count: func(f *findings) int { return f.duplicated },
		},
		"a receipt that names another place": {
			harm: func(f *fakeChain, _ *[]*wire.Block) {
				p := f.book.promised[f.tx(0).Hash()]
				p.receipt.Index = 1
				f.book.promised[f.tx(0).Hash()] = p
			},
			want: "was acknowledged as number 1 of block 1", count: func(f *findings) int { return f.misplaced },
		},
		"a receipt that names another block": {
			harm: func(f *fakeChain, _ *[]*wire.Block) {
				p := f.book.promised[f.tx(0).Hash()]
				p.receipt.BlockHash = f.blocks[2].Hash()
				f.book.promised[f.tx(0).Hash()] = p
			},
			want: "was acknowledged as", count: func(f *findings) int { return f.misplaced },
		},
		"a transaction that nobody sent": {
			harm: func(f *fakeChain, shown *[]*wire.Block) { f.add(f.tx(99)); *shown = f.wire() },
			want: "which no client had acknowledged", count: func(f *findings) int { return f.strangers },
		},
		"a block that another key signed": {
			harm: func(f *fakeChain, shown *[]*wire.Block) {
				(*shown)[2].Signature = block.Sign(f.payer, f.blocks[2].Hash()).String()
			},
			want: "signature is not the processor's",
		},
		"a block without a signature": {
			harm: func(_ *fakeChain, shown *[]*wire.Block) { (*shown)[2].Signature = "" },
			want: "not signed",
		},
		"a changed transaction": {
			harm: func(_ *fakeChain, shown *[]*wire.Block) { (*shown)[2].Transactions[0].Payload += " " },
			want: "do not match its hash",
		},
		"a changed header": {
			harm: func(_ *fakeChain, shown *[]*wire.Block) { (*shown)[2].Time++ },
			want: "do not match its hash",
		},
		"a block on another parent": {
			harm: func(f *fakeChain, shown *[]*wire.Block) {
				h := f.blocks[5].Header
				h.Parent = f.blocks[3].Hash()
				f.blocks[5] = block.New(h, f.blocks[5].Txs)
				*shown = f.wire()
			},
			want: "names parent",
		},
		"another genesis": {
			harm: func(f *fakeChain, _ *[]*wire.Block) { f.book.block0 = f.blocks[1].Hash() },
			want: "not that of the genesis file",
		},
		"a transaction that its payer did not sign": {
			harm: func(f *fakeChain, shown *[]*wire.Block) {
				f.blocks = f.blocks[:5]
				good := f.tx(8)
				bad := *block.SignTx(f.processor, good.Payload)
				f.add(&bad, f.tx(9))
				f.promise(5, 0)
				f.promise(5, 1)
				*shown = f.wire()
			},
			want: "is not signed by its payer",
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeChain(5)
			shown := f.wire()
			tt.harm(f, &shown)
			_, found := inspectAll(t, f.book, shown)
			if !strings.Contains(strings.Join(found.problems, "\n"), tt.want) {
				t.Errorf("found %q, want %q", found.problems, tt.want)
			}
			if tt.count != nil && tt.count(found) == 0 {
				t.Error("was not counted")
			}
		})
	}
}

func TestInspectRefusesOtherBlocksThanAskedFor(t *testing.T) {
	f := newFakeChain(3)
	_, _, err := f.book.inspect("node1", false, func(block.Height) ([]*wire.Block, error) { return f.wire()[1:], nil })
	if err == nil || !strings.Contains(err.Error(), "asked for block 0, was given block 1") {
		t.Errorf("error is %v", err)
	}
}

func TestCompareSeesAFork(t *testing.T) {
	chains := func(heights ...int) (out []*Chain) {
		for i, h := range heights {
			c, _ := inspectAll(t, newFakeChain(h).book, newFakeChain(h).wire())
			c.ID = fmt.Sprint("node", i+1)
			out = append(out, c)
		}
		return out
	}
	var f findings
	if !compare(chains(4, 4, 4), &f) || len(f.problems) > 0 {
		t.Errorf("equal chains: %q", f.problems)
	}
	if compare(chains(4, 4, 3), &f) || !strings.Contains(f.problems[0], "has 5 blocks, node3 has 4") {
		t.Errorf("a short chain: %q", f.problems)
	}
	f = findings{}
	forked := chains(4, 4, 4)
	forked[1].hashes[2] = forked[1].hashes[1]
	if compare(forked, &f) || !strings.Contains(f.problems[0], "fork: at height 2") {
		t.Errorf("a fork: %q", f.problems)
	}
}

func TestInspectAccount(t *testing.T) {
	want := final{pub: chain.PublicKey{1}, nonce: 3, balance: 70}
	for _, tt := range []struct {
		nonce          uint64
		balance        string
		nonces, wealth bool
	}{
		{3, "70", false, false},
		{4, "70", true, false},
		{3, "71", false, true},
		{3, "", false, true},
	} {
		var f findings
		(&book{}).inspectAccount("node1", want, wire.Account{
			Nonce: tt.nonce, Balances: map[string]string{"native": tt.balance},
		}, &f)
		if f.wrongNonce != tt.nonces || f.wrongBalance != tt.wealth || (len(f.problems) > 0) != (tt.nonces || tt.wealth) {
			t.Errorf("%+v: %+v", tt, f)
		}
	}
}

func TestMeasures(t *testing.T) {
	var at []time.Time
	start := time.Now()
	for _, milli := range []int{0, 10, 30, 100, 110} {
		at = append(at, start.Add(time.Duration(milli)*time.Millisecond))
	}
	for _, tt := range []struct{ from, to, want int }{
		{0, 200, 70}, {0, 25, 20}, {40, 60, 70}, {105, 200, 10}, {120, 200, 0},
	} {
		got := longestPause(at, start.Add(time.Duration(tt.from)*time.Millisecond), start.Add(time.Duration(tt.to)*time.Millisecond))
		if got != time.Duration(tt.want)*time.Millisecond {
			t.Errorf("longest pause from %d to %d is %v, want %d ms", tt.from, tt.to, got, tt.want)
		}
	}
	sorted := make([]time.Duration, 200)
	for i := range sorted {
		sorted[i] = time.Duration(i + 1)
	}
	if !slices.IsSorted(sorted) || percentile(sorted, 50) != 100 || percentile(sorted, 99) != 198 ||
		percentile(sorted, 100) != 200 || percentile(sorted[:1], 50) != 1 || percentile(nil, 99) != 0 {
		t.Errorf("percentiles are %v, %v, %v", percentile(sorted, 50), percentile(sorted, 99), percentile(sorted, 100))
	}
}

func TestOptions(t *testing.T) {
	if err := DefaultOptions().Validate(); err != nil {
		t.Error(err)
	}
	for want, opts := range map[string]Options{
		"--nodes is 4":      {Nodes: 4, Duration: time.Second, Clients: 2},
		"--kills is -1":     {Nodes: 3, Kills: -1, Duration: time.Second, Clients: 2},
		"--duration is 0s":  {Nodes: 3, Clients: 2},
		"--clients is 1":    {Nodes: 3, Duration: time.Second, Clients: 1},
		"--base-port is 80": {Nodes: 3, Duration: time.Second, Clients: 2, BasePort: 80},
	} {
		if err := opts.Validate(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("error is %v, want %s alone", err, want)
		}
	}
}

func TestScreen(t *testing.T) {
	var out strings.Builder
	s := &Screen{Out: &out}
	s.begin()
	s.event(red, "one")
	s.hint("not shown")
	s.status("two")
	s.wipe()
	if text := out.String(); strings.ContainsAny(text, "\x1b\r") || strings.Count(text, "\n") != 2 || strings.Contains(text, "not") {
		t.Errorf("plain: %q", text)
	}
	out.Reset()
	s.Terminal, s.Colour = true, true
	s.status("three")
	s.event(red, "four")
	if text := out.String(); !strings.Contains(text, "three\x1b[0m\r\x1b[K") || !strings.Contains(text, "\x1b[31mfour\x1b[0m\n") {
		t.Errorf("terminal: %q", text)
	}
	if got := s.history(); len(got) != 2 || got[1].Text != "four" {
		t.Errorf("events are %+v", got)
	}
	if group(1) != "1" || group(1234567) != "1,234,567" || group(100) != "100" {
		t.Error("numbers are not grouped")
	}
}
