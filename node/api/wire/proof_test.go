package wire

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/blockstore/merkle"
)

var (
	proofKey  = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, ed25519.SeedSize))
	otherSeed = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, ed25519.SeedSize))
)

func publicOf(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

// proofOf proves key under a signed block whose state has the keys k0 to k99.
func proofOf(tb testing.TB, key string, height block.Height) *StateProof {
	tb.Helper()
	var changes []merkle.Change
	for i := range 100 {
		changes = append(changes, merkle.Change{Key: fmt.Appendf(nil, "k%d", i), Value: fmt.Appendf(nil, "v%d", i)})
	}
	m, err := merkle.Empty(nil).Update(changes)
	if err != nil {
		tb.Fatal(err)
	}
	txs := []*block.Tx{block.SignTx(proofKey, []byte("x"))}
	b := block.New(block.Header{ChainID: "test", Height: height, StateRoot: m.Root(), Proposer: "n", Term: 3}, txs)
	nodes, err := m.Prove([]byte(key))
	if err != nil {
		tb.Fatal(err)
	}
	value, ok, err := m.Get([]byte(key))
	if err != nil {
		tb.Fatal(err)
	}
	f := block.Final{Block: b, Signature: block.Sign(proofKey, b.Hash())}
	return NewStateProof(f, [32]byte(publicOf(proofKey)), []byte(key), value, ok, nodes)
}

func TestStateProof(t *testing.T) {
	for key, want := range map[string]string{"k7": "v7", "k": "", "k7x": "", "z": ""} {
		data, err := json.Marshal(proofOf(t, key, 5))
		if err != nil {
			t.Fatal(err)
		}
		p, account, entry, err := ReadProof(data)
		if err != nil || account != nil || entry != nil {
			t.Fatal(err)
		}
		if err := p.Verify(publicOf(proofKey)); err != nil || string(p.Value) != want || p.Present != (want != "") {
			t.Errorf("%s: %q %t %v", key, p.Value, p.Present, err)
		}
		if err := p.Verify(publicOf(otherSeed)); !errors.Is(err, ErrBlockSignature) {
			t.Errorf("%s under another key: %v", key, err)
		}
	}
}

// Each thing that a proof states is bound: changed, it is noticed.
func TestStateProofIsBound(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(p *StateProof)
		want error
	}{
		"key":           {func(p *StateProof) { p.Key = []byte("k8") }, ErrBadProof},
		"no key":        {func(p *StateProof) { p.Key = nil }, ErrBadProof},
		"value":         {func(p *StateProof) { p.Value = []byte("v8") }, ErrBadProof},
		"absent":        {func(p *StateProof) { p.Present, p.Value = false, nil }, ErrBadProof},
		"node":          {func(p *StateProof) { p.Nodes[len(p.Nodes)-1][3] ^= 1 }, ErrBadProof},
		"nodes":         {func(p *StateProof) { p.Nodes = p.Nodes[1:] }, ErrBadProof},
		"no nodes":      {func(p *StateProof) { p.Nodes = nil }, ErrBadProof},
		"state root":    {func(p *StateProof) { p.Header.StateRoot[0] ^= 1 }, ErrBlockHash},
		"height":        {func(p *StateProof) { p.Header.Height++ }, ErrBlockHash},
		"parent":        {func(p *StateProof) { p.Header.ParentHash[0] ^= 1 }, ErrBlockHash},
		"time":          {func(p *StateProof) { p.Header.Time++ }, ErrBlockHash},
		"chain":         {func(p *StateProof) { p.Header.ChainID = "other" }, ErrBlockHash},
		"version":       {func(p *StateProof) { p.Header.ChainVersion = "2" }, ErrBlockHash},
		"proposer":      {func(p *StateProof) { p.Header.Proposer = "m" }, ErrBlockHash},
		"long proposer": {func(p *StateProof) { p.Header.Proposer = string(make([]byte, 300)) }, ErrBadBlock},
		"term":          {func(p *StateProof) { p.Header.Term++ }, ErrBlockHash},
		"tx root":       {func(p *StateProof) { p.Header.TxRoot[0] ^= 1 }, ErrBlockHash},
		"tx count":      {func(p *StateProof) { p.Header.TxCount++ }, ErrBlockHash},
		"block hash":    {func(p *StateProof) { p.BlockHash[0] ^= 1 }, ErrBlockHash},
		"signature":     {func(p *StateProof) { p.Signature = block.Signature{1}.String() }, ErrBlockSignature},
		"half of it":    {func(p *StateProof) { p.Signature = p.Signature[:64] }, ErrBadBlock},
		"none":          {func(p *StateProof) { p.Signature = "" }, ErrUnsigned},
	} {
		p := proofOf(t, "k7", 5)
		c.edit(p)
		if err := p.Verify(publicOf(proofKey)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if err := proofOf(t, "k7", 0).Verify(publicOf(proofKey)); !errors.Is(err, ErrUnsigned) {
		t.Errorf("genesis: %v", err)
	}
}

func TestReadProof(t *testing.T) {
	p := proofOf(t, "k7", 5)
	e := StateEntry{Key: p.Key, Present: true, Value: p.Value, Height: 5, Proof: p}
	for name, v := range map[string]any{"entry": e, "account": Account{PublicKey: "k", Proof: p}} {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		got, account, entry, err := ReadProof(data)
		if err != nil || got == nil || (account != nil) != (name == "account") || (entry != nil) != (name == "entry") {
			t.Errorf("%s: %v %v %v %v", name, got, account, entry, err)
		}
		if entry != nil && entry.Check() != nil {
			t.Error(entry.Check())
		}
	}
	for name, edit := range map[string]func(e *StateEntry){
		"no proof": func(e *StateEntry) { e.Proof = nil },
		"key":      func(e *StateEntry) { e.Key = []byte("k8") },
		"value":    func(e *StateEntry) { e.Value = []byte("v8") },
		"absent":   func(e *StateEntry) { e.Present = false },
		"height":   func(e *StateEntry) { e.Height = 6 },
	} {
		bad := e
		edit(&bad)
		if err := bad.Check(); !errors.Is(err, ErrBadProof) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, bad := range []string{
		"", "x", "{}", "[]", `{"proof":null}`, `{"public_key":"k"}`, `{"header":3}`, `{"proof":{"key":"zz"}}`, `{"key":"aa","proof":null}`,
	} {
		if p, _, _, err := ReadProof([]byte(bad)); !errors.Is(err, ErrBadProof) {
			t.Errorf("%q: %v %v", bad, p, err)
		}
	}
}

// Whatever JSON is offered, what Verify accepts is signed and true.
func FuzzStateProof(f *testing.F) {
	for _, key := range []string{"k7", "k", "z"} {
		data, err := json.Marshal(proofOf(f, key, 5))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, _, _, err := ReadProof(data)
		if err != nil {
			if !errors.Is(err, ErrBadProof) {
				t.Fatalf("unnamed error %v", err)
			}
			return
		}
		if p.Verify(publicOf(proofKey)) != nil {
			return
		}
		want := proofOf(t, string(p.Key), 5)
		if p.Present != want.Present || !bytes.Equal(p.Value, want.Value) || p.Header != want.Header {
			t.Fatalf("accepted %+v, true is %+v", p, want)
		}
	})
}
