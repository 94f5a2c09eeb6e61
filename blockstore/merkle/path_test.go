package merkle

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// pathOf packs nibbles.
func pathOf(nibbles ...byte) path {
	p := path{}
	for _, n := range nibbles {
		p = join(p, n, path{})
	}
	return p
}

// Paths at all offsets do what slices of nibbles do.
func TestPathAgainstNibbles(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	for range 20_000 {
		key := make([]byte, 1+rng.IntN(6))
		for i := range key {
			key[i] = "\x00\x01\x10\x11\xff"[rng.IntN(5)]
		}
		all := nibbles(key)
		depth := rng.IntN(len(all) + 1)
		p, want := keyPath(key, depth), all[depth:]
		from := rng.IntN(len(want) + 1)
		to := from + rng.IntN(len(want)-from+1)
		p, want = p.cut(from, to), want[from:to]
		for _, q := range []path{p, p.clone()} {
			if !bytes.Equal(q.nibbles(), want) || int(q.len) != len(want) {
				t.Fatalf("path %x of %x, want %x", q.nibbles(), key, want)
			}
		}
		packed := pathOf(want...)
		if got := p.pack([]byte("x")); !bytes.Equal(got[1:], packed.packed) || got[0] != 'x' {
			t.Fatalf("%x packs to %x, want %x", want, got[1:], packed.packed)
		}
		other := randomKey(rng)
		at := rng.IntN(2*len(other) + 1)
		common, rest := 0, nibbles(other)[at:]
		for common < min(len(rest), len(want)) && rest[common] == want[common] {
			common++
		}
		if got := p.common(other, at); got != common {
			t.Fatalf("%x and %x from %d have %d nibbles in common, got %d", want, other, at, common, got)
		}
		if got, want := join(p, 7, keyPath(other, at)), append(append(bytes.Clone(want), 7), nibbles(other)[at:]...); !bytes.Equal(got.nibbles(), want) {
			t.Fatalf("joined to %x, want %x", got.nibbles(), want)
		}
	}
}
