package chain

import (
	"fmt"
	"testing"

	"github.com/baton-ha/baton/blockstore/block"
)

func BenchmarkParse(b *testing.B) {
	ws := newWallets(2)
	e := newExecutor(b, testGenesis(ws))
	raw := ws[0].transfer(0, ws[1].pub, "5")
	raw.Hash()
	b.Run("without-signature", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, fault := e.decode(raw); fault != nil {
				b.Fatal(fault)
			}
		}
	})
	b.Run("signature", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if !raw.Verify(ws[0].pub[:]) {
				b.Fatal("bad signature")
			}
		}
	})
}

const benchTxs = 512

// benchBlock returns an executor, a state with many accounts and 512 payments between them.
func benchBlock(b *testing.B) (*Executor, *State, []*block.Tx) {
	b.Helper()
	ws := newWallets(benchTxs)
	g := testGenesis(ws)
	for i := range 50_000 { // a state of some depth
		g.Balances[PublicKey{byte(i), byte(i >> 8), byte(i >> 16), 0xaa}] = map[string]Amount{NativeAsset: NewAmount(1)}
	}
	e, s := newChain(b, g)
	raw := make([]*block.Tx, benchTxs)
	for i, w := range ws {
		raw[i] = w.transfer(0, ws[(i*7+1)%len(ws)].pub, "1")
	}
	return e, s, raw
}

func reportTxs(b *testing.B) {
	b.Helper()
	b.ReportMetric(float64(b.N)*benchTxs/b.Elapsed().Seconds(), "tx/s")
}

func BenchmarkBuild(b *testing.B) {
	e, s, raw := benchBlock(b)
	txs := mustParse(b, e, raw...)
	b.ReportAllocs()
	for b.Loop() {
		blk, _, _, err := e.Build(s, BuildSpec{}, txs)
		if err != nil || len(blk.Txs) != benchTxs {
			b.Fatal(err)
		}
	}
	reportTxs(b)
}

func BenchmarkApply(b *testing.B) {
	e, s, raw := benchBlock(b)
	blk, _, _ := mustBuild(b, e, s, mustParse(b, e, raw...)...)
	for _, seen := range []bool{true, false} {
		b.Run(fmt.Sprintf("seen=%v", seen), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !seen {
					e.verified = newVerifiedSet(verifiedGeneration)
				}
				if _, err := e.Apply(s, blk); err != nil {
					b.Fatal(err)
				}
			}
			reportTxs(b)
		})
	}
}
