package sync

import (
	"errors"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/baton-ha/baton/blockstore/block"
)

// Of several states the newest one counts; one that two peers have is taken rather than one that a single peer has, and
// that is a little newer.
func TestNewest(t *testing.T) {
	w := newWorld(t, 3)
	w.add(accounts(10, 1, 0), 0, 1, 2) // 1
	w.add(accounts(10, 1, 1), 0, 1)    // 2
	w.add(accounts(10, 1, 2), 0)       // 3
	w.add(accounts(10, 1, 3))          // 4
	a, b, c := w.peer("a", w.server(0)), w.peer("b", w.server(1)), w.peer("c", w.server(2))
	for _, q := range []struct {
		peers []Peer
		want  block.Height
		from  string
	}{
		{[]Peer{c}, 1, "c"},
		{[]Peer{a, c}, 1, "a c"},
		{[]Peer{a}, 3, "a"},
		{[]Peer{a, b, c}, 2, "a b"},
		{[]Peer{a, a}, 3, "a"}, // one name is one peer
	} {
		o, err := NewClient(w.config(q.peers...)).Newest(t.Context())
		if err != nil || o.Final.Block.Header.Height != q.want || strings.Join(o.Peers, " ") != q.from || o.TipHeight != 4 {
			t.Errorf("%v: %+v, %v", q, o, err)
		}
		if o.Final.Block != nil && !block.VerifySignature(public(processor), o.Final.Block.Hash(), o.Final.Signature) {
			t.Errorf("%v: signature %v", q, o.Final.Signature)
		}
	}
	cl := NewClient(w.config(a, b, c))
	for at, want := range map[block.Height]block.Height{1: 1, 2: 2, 3: 3, 4: 3, 100: 3} {
		if o, err := cl.At(t.Context(), at); err != nil || o.Final.Block.Header.Height != want {
			t.Errorf("at %d: %+v, %v", at, o, err)
		}
	}
	for more := true; more; {
		var err error
		if more, err = w.nodes[0].store.PruneState(2, 100); err != nil {
			t.Fatal(err)
		}
	}
	if o, err := NewClient(w.config(a)).At(t.Context(), 1); err != nil || o.Final.Block.Header.Height != 2 {
		t.Errorf("only above: %+v, %v", o, err)
	}
	for _, none := range [][]Peer{nil, {{Name: "x", URL: "http://127.0.0.1:1"}}} {
		if o, err := NewClient(w.config(none...)).Newest(t.Context()); !errors.Is(err, ErrNoPeer) {
			t.Errorf("%+v, %v", o, err)
		}
	}
}

// fork makes another chain on the same genesis, signed with the same key.
func fork(t *testing.T, n int) *world {
	t.Helper()
	w := newWorld(t, 1)
	for i := range n {
		w.add(accounts(20, 77, uint64(i)), 0)
	}
	return w
}

// A pinned block decides which chain is believed: what is not linked to it is refused, also when the processor's own key
// signed it.
func TestPin(t *testing.T) {
	w := newWorld(t, 1)
	for i := range 6 {
		w.add(accounts(10, 1, uint64(i)), 0)
	}
	other := fork(t, 7)
	a, b := w.peer("a", w.server(0)), w.peer("b", other.server(0))
	for h := range block.Height(7) {
		pin := Pin{h, w.blocks[h].Hash()}
		cfg := w.config(a)
		cfg.Pin = pin
		c := NewClient(cfg)
		for range 2 { // the second time only what is new is looked at
			if o, err := c.Newest(t.Context()); err != nil || o.Final.Block.Header.Height != 6 {
				t.Fatalf("pin %d: %+v, %v", h, o, err)
			}
		}
		if o, err := c.At(t.Context(), 2); err != nil || o.Final.Block.Header.Height != 2 {
			t.Errorf("pin %d, at 2: %+v, %v", h, o, err)
		}
		if h == 0 {
			continue
		}
		cfg = w.config(b)
		cfg.Pin = pin
		if o, err := NewClient(cfg).Newest(t.Context()); !errors.Is(err, ErrPinned) {
			t.Errorf("pin %d, another chain: %+v, %v", h, o, err)
		}
		if o, err := NewClient(cfg).At(t.Context(), 2); !errors.Is(err, ErrPinned) {
			t.Errorf("pin %d, another chain at 2: %+v, %v", h, o, err)
		}
	}
	// A pin that nobody's blocks lead to, because there are none any more, is not known to be contradicted, and refused.
	store := w.nodes[0].store
	for more := true; more; {
		var err error
		if more, err = store.PruneBlocks(5, 5); err != nil {
			t.Fatal(err)
		}
	}
	cfg := w.config(a)
	cfg.Pin = Pin{2, w.blocks[2].Hash()}
	if o, err := NewClient(cfg).Newest(t.Context()); !errors.Is(err, ErrPinned) {
		t.Errorf("%+v, %v", o, err)
	}
	cfg.Pin = Pin{5, w.blocks[5].Hash()}
	if _, err := NewClient(cfg).Newest(t.Context()); err != nil {
		t.Error(err)
	}
}

// Two signed chains without a pin: nothing is believed.
func TestForked(t *testing.T) {
	w, other := newWorld(t, 1), fork(t, 3)
	for i := range 3 {
		w.add(accounts(10, 1, uint64(i)), 0)
	}
	c := NewClient(w.config(w.peer("a", w.server(0)), w.peer("b", other.server(0))))
	if o, err := c.Newest(t.Context()); !errors.Is(err, ErrForked) {
		t.Errorf("%+v, %v", o, err)
	}
}

// Blocks come verified and in order, from whoever has them.
func TestBlocks(t *testing.T) {
	w := newWorld(t, 2)
	for range 300 {
		w.add(nil)
	}
	cut := w.nodes[1].store
	if _, err := cut.SaveState(t.Context(), w.nodes[1].m, 300, w.tip().Hash()); err != nil {
		t.Fatal(err)
	}
	for more := true; more; {
		var err error
		if more, err = cut.PruneBlocks(200, 200); err != nil {
			t.Fatal(err)
		}
	}
	c := NewClient(w.config(w.peer("short", w.server(1)), w.peer("long", w.server(0))))
	next := block.Height(1)
	for f, err := range c.Blocks(t.Context(), 0, 300) {
		if err != nil {
			t.Fatal(err)
		}
		if f.Block.Hash() != w.blocks[next].Hash() || !block.VerifySignature(public(processor), f.Block.Hash(), f.Signature) {
			t.Fatalf("%d: %+v", next, f)
		}
		next++
	}
	if next != 301 {
		t.Errorf("up to %d", next)
	}
	for f, err := range c.Blocks(t.Context(), 250, 400) {
		if next = f.Block.Header.Height; err != nil || next == 260 {
			break
		}
	}
	if next != 260 {
		t.Errorf("stopped at %d", next)
	}
	last := block.Height(0)
	var failed error
	for f, err := range c.Blocks(t.Context(), 299, 302) {
		if failed = err; err == nil {
			last = f.Block.Header.Height
		}
	}
	if !errors.Is(failed, ErrNoPeer) || last != 300 {
		t.Errorf("up to %d: %v", last, failed)
	}
}

// Blocks that are not this chain's, or not in order, are refused, and what came before them counts.
func TestFaultyBlocks(t *testing.T) {
	w := newWorld(t, 1)
	for range 9 {
		w.add(nil)
	}
	for name, change := range map[string]func(b *block.Block, sig *block.Signature) *block.Block{
		"signature": func(b *block.Block, sig *block.Signature) *block.Block { sig[5] ^= 1; return b },
		"key": func(b *block.Block, sig *block.Signature) *block.Block {
			*sig = block.Sign(stranger, b.Hash())
			return b
		},
		"height": func(b *block.Block, sig *block.Signature) *block.Block {
			h := b.Header
			h.Height++
			return resigned(h, b, sig)
		},
		"parent": func(b *block.Block, sig *block.Signature) *block.Block {
			h := b.Header
			h.Parent[2] ^= 1
			return resigned(h, b, sig)
		},
		"chain": func(b *block.Block, sig *block.Signature) *block.Block {
			h := b.Header
			h.ChainID = "best"
			return resigned(h, b, sig)
		},
	} {
		for _, at := range []block.Height{1, 5} {
			h := rewritten(t, w, at, change)
			got := block.Height(0)
			var failed error
			for f, err := range NewClient(w.config(w.peer("bad", h))).Blocks(t.Context(), 1, 9) {
				if failed = err; err == nil {
					got = f.Block.Header.Height
				}
			}
			if !errors.Is(failed, ErrNoPeer) || got != at-1 {
				t.Errorf("%s of %d: up to %d, %v", name, at, got, failed)
			}
			got = 0
			for f, err := range NewClient(w.config(w.peer("bad", h), w.peer("good", w.server(0)))).Blocks(t.Context(), 1, 9) {
				if err != nil {
					t.Fatal(err)
				}
				if got++; f.Block.Hash() != w.blocks[got].Hash() {
					t.Errorf("%s of %d: %+v", name, at, f)
				}
			}
			if got != 9 {
				t.Errorf("%s of %d, and a good one: %d blocks", name, at, got)
			}
		}
	}
}

func resigned(h block.Header, b *block.Block, sig *block.Signature) *block.Block {
	b = block.New(h, b.Txs)
	*sig = block.Sign(processor, b.Hash())
	return b
}

// A chain without any stored state offers none.
func TestNoState(t *testing.T) {
	w := newWorld(t, 1)
	w.add(nil)
	c := NewClient(w.config(w.peer("a", w.server(0))))
	if o, err := c.Newest(t.Context()); !errors.Is(err, ErrNoPeer) {
		t.Errorf("%+v, %v", o, err)
	}
	if _, _, err := c.Transfer(t.Context(), w.newcomer(vfs.NewMem()), Offer{}); err == nil {
		t.Error("an empty offer was transferred")
	}
}
