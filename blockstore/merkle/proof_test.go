package merkle

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// proofMap returns a map of keys that are prefixes of one another, half of it stored.
func proofMap(tb testing.TB, n int) (*Map, *rand.Rand) {
	tb.Helper()
	rng := rand.New(rand.NewPCG(5, 5))
	store := newMemStore()
	m := Empty(store, WithCacheBytes(0))
	for i := range n {
		m = mustUpdate(tb, m, Change{Key: randomKey(rng), Value: fmt.Appendf(nil, "%d", i)})
		if i == n/2 {
			m = store.checkpoint(tb, m)
		}
	}
	return m, rng
}

func TestProof(t *testing.T) {
	m, rng := proofMap(t, 100)
	present := 0
	for range 500 {
		key := randomKey(rng)
		want, wantOK, err := m.Get(key)
		if err != nil {
			t.Fatal(err)
		}
		proof, err := m.Prove(key)
		if err != nil {
			t.Fatal(err)
		}
		got, ok, err := VerifyProof(m.Root(), key, proof)
		if err != nil || ok != wantOK || !bytes.Equal(got, want) {
			t.Fatalf("proof for %x says %x %v %v, want %x %v", key, got, ok, err, want, wantOK)
		}
		if ok {
			present++
		}
		if n := len(proof); n > 2*len(key)+1 {
			t.Fatalf("%d nodes for a key of %d bytes", n, len(key))
		}
		other := Hash{1}
		for name, bad := range map[string]struct {
			root  Hash
			proof [][]byte
		}{
			"another root":    {other, proof},
			"the last is cut": {m.Root(), proof[:len(proof)-1]},
			"one is repeated": {m.Root(), append(slices.Clone(proof), proof[len(proof)-1])},
			"the first is in": {m.Root(), append(slices.Clone(proof), proof[0])},
			"empty state":     {EmptyRoot(), proof},
			"longer than any": {m.Root(), slices.Repeat(proof, MaxProofNodes)},
		} {
			if v, ok, err := VerifyProof(bad.root, key, bad.proof); !errors.Is(err, ErrBadProof) {
				t.Fatalf("%s: %x %v %v", name, v, ok, err)
			}
		}
	}
	if present < 50 || present > 450 {
		t.Errorf("%d of 500 keys were there", present)
	}
}

func TestProofOfNothing(t *testing.T) {
	m := Empty(nil)
	proof, err := m.Prove([]byte("k"))
	if err != nil || len(proof) != 0 {
		t.Fatal(proof, err)
	}
	if _, ok, err := VerifyProof(m.Root(), []byte("k"), proof); ok || err != nil {
		t.Fatal(ok, err)
	}
	if _, _, err := VerifyProof(Hash{}, []byte("k"), nil); !errors.Is(err, ErrBadProof) {
		t.Fatal(err)
	}
	for _, key := range [][]byte{nil, make([]byte, MaxKeyBytes+1)} {
		if _, err := m.Prove(key); !errors.Is(err, ErrKeySize) {
			t.Error(err)
		}
		if _, _, err := VerifyProof(m.Root(), key, nil); !errors.Is(err, ErrKeySize) {
			t.Error(err)
		}
	}
}

// An odd place for a value, which no map of ours makes, proves nothing even under a root that somebody chose for it.
func TestProofOfMisplacedNode(t *testing.T) {
	enc := encoded(&draft{path: pathOf(1), has: true})
	if _, _, err := VerifyProof(HashNode(enc), []byte{0x12}, [][]byte{enc}); !errors.Is(err, ErrBadProof) {
		t.Fatal(err)
	}
}

// Whatever bytes are offered, what they are accepted for is true.
func FuzzVerifyProof(f *testing.F) {
	m, rng := proofMap(f, 60)
	for range 20 {
		key := randomKey(rng)
		proof, err := m.Prove(key)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(key, bytes.Join(proof, nil), len(proof[0]), len(proof))
		f.Add(randomKey(rng), bytes.Join(proof, nil), len(proof[0]), len(proof))
	}
	f.Fuzz(func(t *testing.T, key, all []byte, first, count int) {
		if count < 0 || count > 50 {
			return
		}
		// The first node, then as many more as decode from what is left.
		var proof [][]byte
		for range count {
			_, size, err := cutNode(all)
			if err != nil {
				if first >= 0 && first <= len(all) {
					proof = append(proof, all[:first])
				}
				break
			}
			proof = append(proof, all[:size])
			all = all[size:]
		}
		value, ok, err := VerifyProof(m.Root(), key, proof)
		if err != nil {
			if !errors.Is(err, ErrBadProof) && !errors.Is(err, ErrKeySize) {
				t.Fatalf("unnamed error %v", err)
			}
			return
		}
		if want, wantOK, err := m.Get(key); err != nil || ok != wantOK || !bytes.Equal(value, want) {
			t.Fatalf("proved %x = %x %v, it is %x %v, %v", key, value, ok, want, wantOK, err)
		}
	})
}

// encoded returns the bytes of a node that a draft describes.
func encoded(d *draft) []byte {
	buf, size := d.encode(nil)
	return buf[:size]
}

// again encodes what was decoded, part by part.
func again(r record) []byte {
	var d draft
	d.replace(&node{record: r})
	return encoded(&d)
}

func FuzzDecodeNode(f *testing.F) {
	m, _ := proofMap(f, 40)
	if _, err := m.Seal().Save(1, func(id NodeID, rec []byte) error { f.Add(rec, uint64(id)); return nil }); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0x0f}, uint64(1))
	f.Add([]byte{1, 0x80, 0, 1, 0, 0, 0}, uint64(1))
	f.Fuzz(func(t *testing.T, rec []byte, id uint64) {
		if r, err := decodeNode(rec); err == nil {
			if !bytes.Equal(again(r), rec) {
				t.Fatal("accepted bytes have a second form")
			}
		} else if !errors.Is(err, errNode) {
			t.Fatalf("unnamed error %v", err)
		}
		r, hashed, err := decodeStored(rec, NodeID(id))
		if err != nil {
			if !errors.Is(err, errNode) {
				t.Fatalf("unnamed error %v", err)
			}
			return
		}
		n := node{record: r}
		if !bytes.Equal(n.encodeStored(NodeID(id)), rec) || !bytes.Equal(again(r), rec[:hashed]) {
			t.Fatal("accepted bytes have a second form")
		}
	})
}
