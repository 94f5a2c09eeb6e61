package chain

import (
	"fmt"
	"maps"
	"math/big"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/baton-ha/baton/blockstore/block"
)

// naive is a second ledger, written without regard to speed or to how the first one works: it copies everything
// before each transaction.
type naive struct {
	nonces   map[PublicKey]uint64
	balances map[PublicKey]map[string]*big.Int
	assets   map[string]bool
}

func newNaive(g *Genesis) *naive {
	n := &naive{map[PublicKey]uint64{}, map[PublicKey]map[string]*big.Int{}, map[string]bool{NativeAsset: true}}
	for k, byAsset := range g.Balances {
		n.balances[k] = map[string]*big.Int{}
		for asset, a := range byAsset {
			n.balances[k][asset] = toBig(a)
			n.assets[asset] = true
		}
	}
	return n
}

func (n *naive) copy() *naive {
	c := &naive{maps.Clone(n.nonces), map[PublicKey]map[string]*big.Int{}, n.assets}
	for k, byAsset := range n.balances {
		c.balances[k] = map[string]*big.Int{}
		for asset, a := range byAsset {
			c.balances[k][asset] = new(big.Int).Set(a)
		}
	}
	return c
}

func (n *naive) of(k PublicKey, asset string) *big.Int {
	if n.balances[k] == nil {
		n.balances[k] = map[string]*big.Int{}
	}
	if n.balances[k][asset] == nil {
		n.balances[k][asset] = new(big.Int)
	}
	return n.balances[k][asset]
}

// run returns the ledger after a transaction and whether it is included.
func (n *naive) run(p plan) (*naive, bool) {
	if n.nonces[p.from] != p.nonce {
		return n, false
	}
	c := n.copy()
	for _, t := range p.transfers {
		from, to := c.of(p.from, t.Asset), c.of(t.To, t.Asset)
		if !c.assets[t.Asset] || from.Cmp(toBig(t.Amount)) < 0 {
			return n, false
		}
		from.Sub(from, toBig(t.Amount))
		to.Add(to, toBig(t.Amount))
	}
	c.nonces[p.from]++
	return c, true
}

func (n *naive) account(k PublicKey) Account {
	a := Account{Nonce: n.nonces[k], Balances: map[string]string{}}
	for asset, v := range n.balances[k] {
		if v.Sign() > 0 {
			a.Balances[asset] = v.String()
		}
	}
	return a
}

// plan is a transaction before it is written down.
type plan struct {
	from      PublicKey
	nonce     uint64
	transfers []Transfer
}

func (p plan) sign(w wallet) *block.Tx {
	list := ""
	for i, t := range p.transfers {
		if i > 0 {
			list += ","
		}
		list += transferJSON(t.To, t.Asset, t.Amount.String())
	}
	return w.messages(p.nonce, 0, list)
}

// TestRandomTransfers runs random transactions, most of them possible, through Build, Apply and the naive ledger.
func TestRandomTransfers(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 99))
			ws := newWallets(6)
			g := testGenesis(ws[:4])
			half, _ := ParseAmount(new(big.Int).Lsh(big.NewInt(1), 255).String()) // two such balances would overflow
			g.Balances[ws[1].pub]["huge"] = half
			assets := []string{NativeAsset, NativeAsset, "gold", "huge", "silver"}
			leader, state := newChain(t, g)
			follower, other := newChain(t, g)
			model := newNaive(g)
			verdictsSeen := map[VerdictKind]int{}
			for range 25 {
				var raw []*block.Tx
				var want []bool
				for range 1 + r.IntN(20) {
					w := ws[r.IntN(len(ws))]
					p := plan{from: w.pub, nonce: model.nonces[w.pub]}
					if r.IntN(8) == 0 {
						p.nonce = p.nonce + uint64(r.IntN(3)) - min(p.nonce, 1)
					}
					for range 1 + r.IntN(3) {
						asset := assets[r.IntN(len(assets))]
						if asset == "silver" && r.IntN(4) > 0 {
							asset = NativeAsset
						}
						amount := NewAmount(1 + r.Uint64N(400))
						if held := model.account(w.pub).Balances[asset]; held != "" && r.IntN(5) == 0 {
							amount, _ = ParseAmount(held) // all of it
						}
						p.transfers = append(p.transfers, Transfer{ws[r.IntN(len(ws))].pub, asset, amount})
					}
					next, included := model.run(p)
					model = next
					raw, want = append(raw, p.sign(w)), append(want, included)
				}
				b, next, verdicts, err := leader.Build(state, BuildSpec{NowMs: int64(r.Uint32())}, mustParse(t, leader, raw...))
				if err != nil {
					t.Fatal(err)
				}
				for i, v := range verdicts {
					verdictsSeen[v.Kind]++
					if (v.Kind == VerdictIncluded) != want[i] {
						t.Fatalf("verdict %+v %v on %s, the naive ledger says %v", v, v.Err, raw[i].Payload, want[i])
					}
				}
				if b != nil {
					decoded, err := block.Decode(b.Encode())
					if err != nil {
						t.Fatal(err)
					}
					if other, err = follower.Apply(other, decoded); err != nil {
						t.Fatal(err)
					}
					if other.Root() != next.Root() || other.BlockHash() != next.BlockHash() {
						t.Fatal("Apply reached another state than Build")
					}
				}
				state = next
				checkAgainst(t, g, ws, state, model)
			}
			for _, kind := range []VerdictKind{VerdictIncluded, VerdictRejected, VerdictAhead, VerdictBehind} {
				if verdictsSeen[kind] == 0 {
					t.Errorf("verdict %d was never given: the test tests too little", kind)
				}
			}
		})
	}
}

// checkAgainst compares all accounts with the naive ledger and the sums with what was issued.
func checkAgainst(t *testing.T, g *Genesis, ws []wallet, s *State, model *naive) {
	t.Helper()
	sums := map[string]Amount{}
	for _, w := range ws {
		a, err := s.Account(w.pub)
		if err != nil {
			t.Fatal(err)
		}
		if want := model.account(w.pub); !reflect.DeepEqual(a, want) {
			t.Fatalf("account %+v, the naive ledger has %+v", a, want)
		}
		for asset, text := range a.Balances {
			amount, err := ParseAmount(text)
			if err != nil {
				t.Fatal(err)
			}
			sum, ok := sums[asset].Add(amount)
			if !ok {
				t.Fatalf("%s overflows", asset)
			}
			sums[asset] = sum
		}
	}
	supply, _, _ := g.supply()
	if !reflect.DeepEqual(sums, supply) {
		t.Fatalf("sums %v, issued %v", sums, supply)
	}
}

// Blocks that hold the same payments in another order, or split otherwise, must end in the same accounts' root when
// the payments do not depend on each other.
func TestOrderOfIndependentTransactionsHasNoMeaning(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	ws := newWallets(60)
	e, genesis := newChain(t, testGenesis(ws))
	raw := make([]*block.Tx, len(ws))
	for i, w := range ws {
		raw[i] = w.transfer(0, ws[r.IntN(len(ws))].pub, fmt.Sprint(1+r.IntN(900)))
	}
	txs := mustParse(t, e, raw...)
	_, want, _ := mustBuild(t, e, genesis, txs...)
	for range 20 {
		r.Shuffle(len(txs), func(i, j int) { txs[i], txs[j] = txs[j], txs[i] })
		cut := 1 + r.IntN(len(txs)-1)
		_, first, _ := mustBuild(t, e, genesis, txs[:cut]...)
		_, got, _ := mustBuild(t, e, first, txs[cut:]...)
		if got.Root() != want.Root() {
			t.Fatal("another order, another root")
		}
	}
}
