package block_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/baton-ha/baton/blockstore/block"
)

func testKey(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func sample() *block.Block {
	key := testKey(7)
	txs := []*block.Tx{
		block.SignTx(key, []byte(`{"chain_id":"test","nonce":0}`)),
		block.SignTx(key, []byte(`{"chain_id":"test","nonce":1}`)),
	}
	return block.New(block.Header{
		ChainID: "test", Height: 42, Parent: block.Hash{1, 2, 3}, TimeMs: 1700000000123, ChainVersion: "1",
		StateRoot: block.Hash{4, 5, 6}, Proposer: "node1", Term: 9,
	}, txs)
}

func genesis() *block.Block {
	return block.New(block.Header{ChainID: "test", ChainVersion: "1", TimeMs: 1700000000000, StateRoot: block.Hash{9}}, nil)
}

// The constants hold the format in place for ever: when this test fails, the code is wrong, not the test.
func TestGolden(t *testing.T) {
	b := sample()
	key := testKey(7)
	for _, c := range []struct{ name, got, want string }{
		{"tx hash", b.Txs[0].Hash().String(), "1804865ac13ef0ee3eae0d068e4dff8579846d20843d3e6058f54ba1aba1c609"},
		{"tx root", b.Header.TxRoot.String(), "52548d394038625c45b4e533276e30c7e33c99440cee4d39fc4832888afc06cf"},
		{"hash", b.Hash().String(), "33ce8a06b624fe6f5edc7773226bbbab71d664a95bc56b7e91661c0a52e1a712"},
		{"genesis", genesis().Hash().String(), "c46d65154f4e2f9f76fbaf23fe2d07742c4198a7f7f5efb2eae0279c808fa018"},
		{"signature", block.Sign(key, b.Hash()).String(), "4eee8e7f26c9bd2182a1c328d8a3bff6034393fe2e83847feac5b88a0950c8746b5be05eaf46a09df4e8f84f97d79141b180b728e00da86d54fece6eb0746205"},
		{"encoded", fmt.Sprintf("%x", genesis().Encode()), "01" + "01000474657374000000000000000000000000000000000000000000000000000000000000000000000000000000000000018bcfe5680000013109000000000000000000000000000000000000000000000000000000000000000000000000000000000034ba1e4df5a2d1dd3c2cd332a28dcdbce6d5c4581423237996da7618871b58b300000000"},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, c.got, c.want)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	key := testKey(1)
	for i := range 200 {
		txs := make([]*block.Tx, rng.IntN(8))
		for j := range txs {
			payload := make([]byte, rng.IntN(300))
			for k := range payload {
				payload[k] = byte(rng.Uint32())
			}
			txs[j] = block.SignTx(key, payload)
		}
		b := block.New(block.Header{
			ChainID: strings.Repeat("c", rng.IntN(block.MaxStringBytes+1)), Height: block.Height(rng.Uint64()),
			TimeMs: int64(rng.Uint64()), ChainVersion: "v", Proposer: strings.Repeat("é", rng.IntN(100)), Term: rng.Uint64(),
		}, txs)
		enc := b.Encode()
		if len(enc) != b.Size() {
			t.Fatalf("block %d: Size %d, encoded %d", i, b.Size(), len(enc))
		}
		got, err := block.Decode(enc)
		if err != nil {
			t.Fatal(err)
		}
		if got.Hash() != b.Hash() || got.Header != b.Header || !bytes.Equal(got.Encode(), enc) || len(got.Txs) != len(txs) {
			t.Fatalf("block %d came back different", i)
		}
		for j, tx := range got.Txs {
			if !bytes.Equal(tx.Payload, txs[j].Payload) || tx.Signature != txs[j].Signature || tx.Hash() != txs[j].Hash() {
				t.Fatalf("block %d: transaction %d came back different", i, j)
			}
			if !tx.Verify(key.Public().(ed25519.PublicKey)) {
				t.Fatalf("block %d: transaction %d no longer verifies", i, j)
			}
		}
	}
}

// Whatever part of a block changes, its hash does.
func TestHashCoversEverything(t *testing.T) {
	base := sample()
	key := testKey(7)
	change := map[string]func(h *block.Header, txs []*block.Tx){
		"chain id":      func(h *block.Header, _ []*block.Tx) { h.ChainID = "other" },
		"height":        func(h *block.Header, _ []*block.Tx) { h.Height++ },
		"parent":        func(h *block.Header, _ []*block.Tx) { h.Parent[31]++ },
		"time":          func(h *block.Header, _ []*block.Tx) { h.TimeMs++ },
		"chain version": func(h *block.Header, _ []*block.Tx) { h.ChainVersion = "2" },
		"state root":    func(h *block.Header, _ []*block.Tx) { h.StateRoot[0]++ },
		"proposer":      func(h *block.Header, _ []*block.Tx) { h.Proposer = "node2" },
		"term":          func(h *block.Header, _ []*block.Tx) { h.Term++ },
		"tx payload":    func(_ *block.Header, txs []*block.Tx) { txs[0] = block.SignTx(key, []byte("x")) },
		"tx order":      func(_ *block.Header, txs []*block.Tx) { txs[0], txs[1] = txs[1], txs[0] },
		"tx signature": func(_ *block.Header, txs []*block.Tx) {
			sig := txs[0].Signature
			sig[0] ^= 1
			txs[0] = &block.Tx{Payload: txs[0].Payload, Signature: sig}
		},
		"text border": func(h *block.Header, _ []*block.Tx) { h.ChainVersion, h.Proposer = "1n", "ode1" },
	}
	seen := map[block.Hash]string{base.Hash(): "unchanged"}
	for name, fn := range change {
		h, txs := base.Header, append([]*block.Tx(nil), base.Txs...)
		fn(&h, txs)
		got := block.New(h, txs).Hash()
		if other, dup := seen[got]; dup {
			t.Errorf("%s hashes like %s", name, other)
		}
		seen[got] = name
	}
}

func TestDecodeRefuses(t *testing.T) {
	enc := sample().Encode()
	edit := func(fn func(b []byte) []byte) []byte { return fn(append([]byte(nil), enc...)) }
	huge := edit(func(b []byte) []byte { binary.BigEndian.PutUint16(b[2:], 60000); return b })
	count := edit(func(b []byte) []byte {
		h := sample().Header
		at := 1 + (1 + 6 + 8 + 32 + 8 + 32 + 8 + 32) + len(h.ChainID) + len(h.ChainVersion) + len(h.Proposer)
		binary.BigEndian.PutUint32(b[at:], block.MaxTxs)
		return b
	})
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"empty":            {nil, block.ErrMalformed},
		"trailing":         {append(append([]byte(nil), enc...), 0), block.ErrMalformed},
		"cut":              {enc[:len(enc)-1], block.ErrMalformed},
		"encoding version": {edit(func(b []byte) []byte { b[0] = 2; return b }), block.ErrMalformed},
		"header version":   {edit(func(b []byte) []byte { b[1] = 2; return b }), block.ErrMalformed},
		"text length":      {huge, block.ErrTooLarge},
		"count":            {count, block.ErrMalformed},
		"not UTF-8":        {edit(func(b []byte) []byte { b[4] = 0xff; return b }), block.ErrMalformed},
		"signature":        {edit(func(b []byte) []byte { b[len(b)-1] ^= 1; return b }), block.ErrMalformed},
		"too large":        {make([]byte, block.MaxBlockBytes+1), block.ErrTooLarge},
	} {
		if _, err := block.Decode(c.data); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

func TestNewHoldsLimits(t *testing.T) {
	for name, fn := range map[string]func(){
		"text":    func() { block.New(block.Header{ChainID: strings.Repeat("x", block.MaxStringBytes+1)}, nil) },
		"UTF-8":   func() { block.New(block.Header{Proposer: "\xff"}, nil) },
		"payload": func() { block.New(block.Header{}, []*block.Tx{{Payload: make([]byte, block.MaxPayloadBytes+1)}}) },
		"txs":     func() { block.New(block.Header{}, make([]*block.Tx, block.MaxTxs+1)) },
		"size": func() {
			tx := &block.Tx{Payload: make([]byte, block.MaxPayloadBytes)}
			block.New(block.Header{}, []*block.Tx{tx, tx, tx, tx, tx, tx, tx, tx})
		},
		"literal": func() { (&block.Block{}).Hash() },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("did not panic")
				}
			}()
			fn()
		})
	}
}

func TestSignatures(t *testing.T) {
	key, other := testKey(1), testKey(2)
	pub := key.Public().(ed25519.PublicKey)
	h := sample().Hash()
	sig := block.Sign(key, h)
	if !block.VerifySignature(pub, h, sig) || block.Sign(key, h) != sig {
		t.Error("own signature refused or not deterministic")
	}
	if block.VerifySignature(pub, block.Hash{1}, sig) || block.VerifySignature(other.Public().(ed25519.PublicKey), h, sig) ||
		block.VerifySignature(nil, h, sig) {
		t.Error("wrong hash, key or no key accepted")
	}
	// A block hash signed as a transaction is no block signature.
	if tx := block.SignTx(key, h[:]); block.VerifySignature(pub, h, tx.Signature) {
		t.Error("transaction signature accepted for a block")
	}
	tx := block.SignTx(key, []byte("payload"))
	if !tx.Verify(pub) || tx.Verify(nil) || tx.Verify(other.Public().(ed25519.PublicKey)) {
		t.Error("transaction signature misjudged")
	}
}

func TestText(t *testing.T) {
	h := sample().Hash()
	sig := block.Sign(testKey(1), h)
	out, err := json.Marshal(map[string]any{"h": h, "s": sig})
	if err != nil {
		t.Fatal(err)
	}
	var in struct {
		H block.Hash
		S block.Signature
	}
	if err := json.Unmarshal(out, &in); err != nil || in.H != h || in.S != sig {
		t.Fatalf("%s came back as %v %v: %v", out, in.H, in.S, err)
	}
	for _, bad := range []string{"", "00", strings.Repeat("0", 63), strings.Repeat("0", 65), strings.Repeat("g", 64)} {
		if _, err := block.ParseHash(bad); !errors.Is(err, block.ErrBadHex) {
			t.Errorf("ParseHash(%q): %v", bad, err)
		}
		if _, err := block.ParseSignature(bad + bad); !errors.Is(err, block.ErrBadHex) {
			t.Errorf("ParseSignature(%q): %v", bad+bad, err)
		}
	}
	if !(block.Hash{}).IsZero() || h.IsZero() || !(block.Signature{}).IsZero() || sig.IsZero() {
		t.Error("IsZero")
	}
}

func TestConcurrentHash(t *testing.T) {
	b := sample()
	fresh := &block.Tx{Payload: []byte("p")}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if b.Hash() != sample().Hash() || fresh.Hash() != (&block.Tx{Payload: []byte("p")}).Hash() {
				t.Error("different hash")
			}
		})
	}
	wg.Wait()
}

func FuzzDecode(f *testing.F) {
	f.Add(sample().Encode())
	f.Add(genesis().Encode())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := block.Decode(data)
		if err != nil {
			if !errors.Is(err, block.ErrMalformed) && !errors.Is(err, block.ErrTooLarge) {
				t.Fatalf("unnamed error %v", err)
			}
			return
		}
		if !bytes.Equal(b.Encode(), data) {
			t.Fatal("accepted bytes have a second form")
		}
		if rebuilt := block.New(b.Header, b.Txs); rebuilt.Hash() != b.Hash() {
			t.Fatal("decoded block is not the one that New makes")
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	key := testKey(1)
	txs := make([]*block.Tx, 1000)
	for i := range txs {
		txs[i] = block.SignTx(key, fmt.Appendf(nil, "%0200d", i))
	}
	enc := block.New(block.Header{}, txs).Encode()
	b.SetBytes(int64(len(enc)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := block.Decode(enc); err != nil {
			b.Fatal(err)
		}
	}
}
