package chain

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"github.com/baton-ha/baton/blockstore/block"
)

// wallet is a test account. Its key depends on its number only.
type wallet struct {
	key ed25519.PrivateKey
	pub PublicKey
}

func newWallet(n int) wallet {
	seed := sha256.Sum256(fmt.Appendf(nil, "wallet %d", n))
	key := ed25519.NewKeyFromSeed(seed[:])
	return wallet{key, PublicKey(key.Public().(ed25519.PublicKey))}
}

func newWallets(n int) []wallet {
	ws := make([]wallet, n)
	for i := range ws {
		ws[i] = newWallet(i)
	}
	return ws
}

func (w wallet) sign(payload string) *block.Tx { return block.SignTx(w.key, []byte(payload)) }

// transfer signs a payment of one message.
func (w wallet) transfer(nonce uint64, to PublicKey, amount string) *block.Tx {
	return w.messages(nonce, 0, transferJSON(to, NativeAsset, amount))
}

func (w wallet) messages(nonce, maxHeight uint64, messages string) *block.Tx {
	return w.sign(fmt.Sprintf(`{"chain_id":"test","public_key":"%s","nonce":%d,"messages":[%s],"max_height":%d}`,
		w.pub, nonce, messages, maxHeight))
}

func transferJSON(to PublicKey, asset, amount string) string {
	return fmt.Sprintf(`{"type":"transfer","to":"%s","asset":"%s","amount":"%s"}`, to, asset, amount)
}

var testCreated = time.Date(2026, 1, 2, 3, 4, 5, 678_900_000, time.UTC)

// testGenesis gives every wallet 1000 native and the first one 50 gold.
func testGenesis(ws []wallet) *Genesis {
	g := &Genesis{
		ChainID: "test", ChainVersion: LedgerVersion, Created: testCreated,
		Processor: Processor{PublicKey: newWallet(1_000_000).pub},
		Listeners: SignerSet{Quorum: 1, PublicKeys: []PublicKey{newWallet(1_000_001).pub, newWallet(1_000_002).pub}},
		Balances:  map[PublicKey]map[string]Amount{},
	}
	for i, w := range ws {
		g.Balances[w.pub] = map[string]Amount{NativeAsset: NewAmount(1000)}
		if i == 0 {
			g.Balances[w.pub]["gold"] = NewAmount(50)
		}
	}
	return g
}

func newExecutor(tb testing.TB, g *Genesis, apps ...App) *Executor {
	tb.Helper()
	if len(apps) == 0 {
		apps = []App{Ledger{}}
	}
	e, err := New(g, apps...)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

// newChain returns an executor and its genesis state.
func newChain(tb testing.TB, g *Genesis, apps ...App) (*Executor, *State) {
	tb.Helper()
	e := newExecutor(tb, g, apps...)
	_, s, err := e.Genesis(nil)
	if err != nil {
		tb.Fatal(err)
	}
	return e, s
}

func mustParse(tb testing.TB, e *Executor, raw ...*block.Tx) []*Tx {
	tb.Helper()
	txs := make([]*Tx, len(raw))
	for i := range raw {
		tx, err := e.Parse(raw[i])
		if err != nil {
			tb.Fatalf("parse %s: %v", raw[i].Payload, err)
		}
		txs[i] = tx
	}
	return txs
}

func mustBuild(tb testing.TB, e *Executor, s *State, txs ...*Tx) (*block.Block, *State, []Verdict) {
	tb.Helper()
	b, next, verdicts, err := e.Build(s, BuildSpec{Proposer: "node1", Term: 3, NowMs: s.TimeMs() + 10}, txs)
	if err != nil {
		tb.Fatal(err)
	}
	return b, next, verdicts
}

func balance(tb testing.TB, s *State, pub PublicKey, asset string) string {
	tb.Helper()
	a, err := s.Account(pub)
	if err != nil {
		tb.Fatal(err)
	}
	if v, ok := a.Balances[asset]; ok {
		return v
	}
	return "0"
}
