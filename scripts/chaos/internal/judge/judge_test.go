package judge

import (
	"strings"
	"testing"
	"time"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/client"
	"github.com/baton-ha/baton/scripts/chaos/internal/load"
)

// scene is a chain of one payment a block between the two accounts of one group, and its honest history.
type scene struct {
	accounts []load.Account
	fund     map[string]uint64
	chain    *Chain
	ops      []load.Op
}

func newScene() *scene {
	s := &scene{fund: map[string]uint64{}, chain: &Chain{txs: map[block.Hash]position{}, hashes: []block.Hash{{}}}}
	for _, name := range []string{"aaaaaaaa", "bbbbbbbb"} {
		s.accounts = append(s.accounts, load.Account{Pub: name})
		s.fund[name] = load.StartBalance
	}
	return s
}

// pay puts a payment of 1 from account 0 to 1 into the next block; it lasted from call to end.
func (s *scene) pay(call, end time.Duration) *load.Op {
	n := len(s.chain.order)
	hash := block.Hash{byte(n + 1)}
	at := position{block.Height(n + 1), 0}
	s.chain.hashes = append(s.chain.hashes, block.Hash{0xff, byte(n + 1)})
	s.chain.txs[hash] = at
	s.chain.order = append(s.chain.order, entry{at, hash, s.accounts[0].Pub, s.accounts[1].Pub, 1, uint64(n)})
	s.chain.Height = at.height
	s.ops = append(s.ops, load.Op{
		Kind: load.Transfer, To: 1, Amount: 1, Nonce: uint64(n), Hash: hash, Call: call, Return: end, Outcome: load.Done,
		Receipt: client.Receipt{Hash: hash, Height: at.height, BlockHash: s.chain.hashes[at.height]},
	})
	return &s.ops[len(s.ops)-1]
}

// read reads account 1 at a height.
func (s *scene) read(call, end time.Duration, height uint64) *load.Op {
	s.ops = append(s.ops, load.Op{
		Client: 9, Kind: load.Read, Account: 1, Call: call, Return: end, Outcome: load.Done,
		GotBalance: load.StartBalance + height, GotHeight: height,
	})
	return &s.ops[len(s.ops)-1]
}

func (s *scene) verdicts() map[string]*Verdict {
	return map[string]*Verdict{
		"receipts":  s.chain.Receipts(s.ops, nil),
		"witness":   s.chain.Witness(s.ops, s.accounts, s.fund),
		"porcupine": Linearizable(s.ops, 1, 2, s.chain, 10*time.Second),
	}
}

// caught requires that exactly the named checks fail.
func (s *scene) caught(t *testing.T, want ...string) {
	t.Helper()
	for name, v := range s.verdicts() {
		if got := v.Result == Fail; got != strings.Contains(strings.Join(want, " "), name) || v.Result == Cut {
			t.Errorf("%s: %s %q", name, v.Result, v.Violations)
		}
	}
}

func TestAnHonestHistoryPasses(t *testing.T) {
	s := newScene()
	s.pay(0, 10)
	s.read(12, 20, 1)
	s.pay(15, 40)
	s.read(16, 18, 1)
	s.read(41, 45, 2)
	s.caught(t)
}

func TestALostPaymentIsFound(t *testing.T) {
	s := newScene()
	op := s.pay(0, 10)
	delete(s.chain.txs, op.Hash)
	s.chain.order = nil
	s.caught(t, "receipts")
}

func TestAMovedPaymentIsFound(t *testing.T) {
	s := newScene()
	s.pay(0, 10).Receipt.BlockHash = block.Hash{1}
	s.caught(t, "receipts")
}

func TestARefusedPaymentInTheChainIsFound(t *testing.T) {
	s := newScene()
	s.pay(0, 10).Outcome = load.Refused
	s.caught(t, "receipts")
}

func TestAStrangerIsFound(t *testing.T) {
	s := newScene()
	s.pay(0, 10)
	s.ops = nil
	s.caught(t, "receipts")
}

func TestAStaleReadIsFound(t *testing.T) {
	s := newScene()
	s.pay(0, 10)
	s.read(11, 20, 0)
	s.caught(t, "witness", "porcupine")
}

func TestReadsThatGoBackAreFound(t *testing.T) {
	s := newScene()
	s.pay(0, 100)
	s.read(11, 20, 1)
	s.read(21, 30, 0)
	s.caught(t, "witness", "porcupine")
}

func TestAReadOfAnotherStateIsFound(t *testing.T) {
	s := newScene()
	s.pay(0, 10)
	s.read(20, 30, 1).GotBalance++
	s.caught(t, "witness", "porcupine")
}

func TestOrderAgainstRealTimeIsFound(t *testing.T) {
	s := newScene()
	s.pay(50, 60)
	s.pay(0, 10)
	s.caught(t, "witness", "porcupine")
}

// A payment without an answer may have taken effect or not.
func TestAPaymentWithoutAnAnswer(t *testing.T) {
	s := newScene()
	s.pay(0, 10)
	op := s.pay(20, 90)
	op.Outcome = load.Unknown
	s.read(30, 40, 1)
	s.read(50, 60, 2)
	s.caught(t)
}

func TestOverspendingAndNoncesAreFound(t *testing.T) {
	v := NewVerdict("", "")
	l := newLedger(map[string]uint64{"a": 5})
	l.apply(v, entry{from: "a", to: "b", amount: 6})
	l.apply(v, entry{from: "a", to: "b", amount: 0, nonce: 7})
	if len(v.Violations) != 3 { // the account stays below zero
		t.Errorf("violations are %q", v.Violations)
	}
}
