package chain

import (
	"math/big"
	"math/rand/v2"
	"testing"
)

var two256 = new(big.Int).Lsh(big.NewInt(1), 256)

func toBig(a Amount) *big.Int {
	n, ok := new(big.Int).SetString(a.String(), 10)
	if !ok {
		panic("not decimal: " + a.String())
	}
	return n
}

// randomBig draws numbers of all lengths, with many zero and all-one limbs.
func randomBig(r *rand.Rand) *big.Int {
	n := new(big.Int)
	for range r.IntN(5) {
		n.Lsh(n, 64)
		switch r.IntN(4) {
		case 0:
			n.Or(n, new(big.Int).SetUint64(1<<64-1))
		case 1:
		default:
			n.Or(n, new(big.Int).SetUint64(r.Uint64()>>r.IntN(64)))
		}
	}
	return n
}

func TestAmountAgreesWithBig(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		x, y := randomBig(r), randomBig(r)
		a, errA := ParseAmount(x.String())
		b, errB := ParseAmount(y.String())
		if (errA == nil) != (x.Cmp(two256) < 0) || (errB == nil) != (y.Cmp(two256) < 0) {
			t.Fatalf("parse %s: %v, %s: %v", x, errA, y, errB)
		}
		if errA != nil || errB != nil {
			continue
		}
		if a.String() != x.String() {
			t.Fatalf("%s printed as %s", x, a)
		}
		if a.Cmp(b) != x.Cmp(y) {
			t.Fatalf("%s cmp %s = %d", x, y, a.Cmp(b))
		}
		sum, ok := a.Add(b)
		if want := new(big.Int).Add(x, y); ok != (want.Cmp(two256) < 0) || (ok && toBig(sum).Cmp(want) != 0) {
			t.Fatalf("%s + %s = %s, %v", x, y, sum, ok)
		}
		diff, ok := a.Sub(b)
		if want := new(big.Int).Sub(x, y); ok != (want.Sign() >= 0) || (ok && toBig(diff).Cmp(want) != 0) {
			t.Fatalf("%s - %s = %s, %v", x, y, diff, ok)
		}
		enc := a.appendBytes(nil)
		if len(enc) != 1+len(x.Bytes()) || string(enc[1:]) != string(x.Bytes()) {
			t.Fatalf("%s as bytes %x", x, enc)
		}
		if back, ok := amountFromBytes(enc[1:]); !ok || back != a {
			t.Fatalf("%x read as %s, %v", enc, back, ok)
		}
	}
}

func TestParseAmount(t *testing.T) {
	largest := new(big.Int).Sub(two256, big.NewInt(1)).String()
	for text, good := range map[string]bool{
		"0": true, "1": true, "18446744073709551616": true, largest: true, two256.String(): false,
		"": false, "-1": false, "+1": false, " 1": false, "1 ": false, "01": false, "00": false, "1e3": false, "1.0": false,
		"1_000": false, "0x1": false, "٣": false, "9" + largest: false,
		"1000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000": false,
	} {
		a, err := ParseAmount(text)
		if (err == nil) != good || (good && a.String() != text) {
			t.Errorf("%q: %s, %v", text, a, err)
		}
	}
}
