package chain

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
)

// The bytes are hashed into every state root: they may never change.
func TestAccountBytes(t *testing.T) {
	for _, c := range []struct {
		name string
		a    account
		want string
	}{
		{"nothing", account{}, "0100000000000000000000"},
		{"nonce", account{nonce: 258}, "0100000000000001020000"},
		{
			"holdings",
			account{nonce: 1, holdings: []holding{{"gold", NewAmount(1)}, {"native", NewAmount(0x1234)}}},
			"0100000000000000010002" + "04676f6c64" + "0101" + "066e6174697665" + "021234",
		},
	} {
		if got := hex.EncodeToString(c.a.encode()); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestDecodeAccountRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"empty":           "",
		"short":           "01000000000000000000",
		"version":         "0200000000000000000000",
		"trailing":        "010000000000000000000000",
		"count":           "010000000000000001ffff04676f6c640101",
		"cut":             "010000000000000001000104676f6c64",
		"no name":         "0100000000000000010001000101",
		"zero amount":     "010000000000000001000104676f6c6400",
		"leading zero":    "010000000000000001000104676f6c64020001",
		"out of order":    "01000000000000000100020162010101610101",
		"twice":           "01000000000000000100020161010101610101",
		"amount too long": "010000000000000001000101612101" + hex.EncodeToString(make([]byte, 32)),
	} {
		data, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		if a, err := decodeAccount(data); !errors.Is(err, ErrBadState) {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
}

func TestAccountSet(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var a account
	model := map[string]Amount{}
	for range 2000 {
		asset, amount := string(rune('a'+r.IntN(8))), NewAmount(r.Uint64N(3))
		before := a
		beforeBytes := a.encode()
		a.set(asset, amount)
		if !bytes.Equal(before.encode(), beforeBytes) {
			t.Fatal("set changed a copy")
		}
		model[asset] = amount
		for asset, want := range model {
			if a.balance(asset) != want {
				t.Fatalf("%s: %s, want %s", asset, a.balance(asset), want)
			}
		}
		back, err := decodeAccount(a.encode())
		if err != nil || !slices.Equal(back.holdings, a.holdings) {
			t.Fatalf("%+v read back as %+v, %v", a, back, err)
		}
	}
}

func FuzzDecodeAccount(f *testing.F) {
	f.Add((&account{}).encode())
	f.Add((&account{nonce: 7, holdings: []holding{{"gold", NewAmount(1)}, {"native", NewAmount(1 << 40)}}}).encode())
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 1, 'a', 1, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := decodeAccount(data)
		if err != nil {
			if !errors.Is(err, ErrBadState) {
				t.Errorf("%v", err)
			}
			return
		}
		if !bytes.Equal(a.encode(), data) {
			t.Errorf("%x is a second form of %x", data, a.encode())
		}
		if len(a.holdings) > len(data) {
			t.Errorf("%d holdings out of %d bytes", len(a.holdings), len(data))
		}
	})
}
