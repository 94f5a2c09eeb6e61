package chain

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/blockstore/merkle"
)

func kinds(verdicts []Verdict) []VerdictKind {
	ks := make([]VerdictKind, len(verdicts))
	for i, v := range verdicts {
		ks[i] = v.Kind
	}
	return ks
}

func TestBuildJudgesEachCandidate(t *testing.T) {
	ws := newWallets(3)
	e, s := newChain(t, testGenesis(ws))
	txs := mustParse(t, e,
		ws[0].transfer(0, ws[1].pub, "400"),
		ws[0].transfer(1, ws[1].pub, "601"),  // overspend
		ws[0].transfer(1, ws[2].pub, "600"),  // takes the nonce that the overspend did not
		ws[1].transfer(1, ws[0].pub, "1"),    // ahead
		ws[1].transfer(0, ws[0].pub, "1400"), // spends what came in within this block
		ws[0].transfer(1, ws[1].pub, "1"),    // behind
		ws[2].messages(0, 0, transferJSON(ws[0].pub, "silver", "1")),
		ws[2].messages(0, 0, transferJSON(ws[0].pub, "gold", "1")),
	)
	b, next, verdicts := mustBuild(t, e, s, txs...)
	want := []VerdictKind{
		VerdictIncluded, VerdictRejected, VerdictIncluded, VerdictAhead, VerdictIncluded, VerdictBehind,
		VerdictRejected, VerdictRejected,
	}
	if got := kinds(verdicts); !slices.Equal(got, want) {
		t.Fatalf("verdicts %v, want %v", got, want)
	}
	for i, index := range map[int]int{0: 0, 2: 1, 4: 2} {
		if verdicts[i].Index != index || b.Txs[index] != txs[i].Raw() {
			t.Errorf("candidate %d: index %d, want %d", i, verdicts[i].Index, index)
		}
	}
	if v := verdicts[3]; v.Err.Kind != BadNonce || v.Err.ExpectedNonce != 0 {
		t.Errorf("ahead: %+v", v.Err)
	}
	if v := verdicts[5]; v.Err.Kind != BadNonce || v.Err.ExpectedNonce != 2 {
		t.Errorf("behind: %+v", v.Err)
	}
	for i, text := range map[int]string{
		1: "holds 600 native, 601 are needed", 6: `unknown asset "silver"`, 7: "holds 0 gold, 1 are needed",
	} {
		if v := verdicts[i]; v.Err.Kind != Rejected || !strings.Contains(v.Err.Message, text) {
			t.Errorf("candidate %d: %v, want %q", i, v.Err, text)
		}
	}
	for i, amount := range []string{"1400", "0", "1600"} {
		if got := balance(t, next, ws[i].pub, NativeAsset); got != amount {
			t.Errorf("wallet %d holds %s, want %s", i, got, amount)
		}
	}
	if a, _ := next.Account(ws[0].pub); a.Nonce != 2 {
		t.Errorf("nonce %d, want 2", a.Nonce)
	}
	if a, _ := s.Account(ws[0].pub); a.Nonce != 0 || a.Balances[NativeAsset] != "1000" {
		t.Errorf("the parent state changed: %+v", a)
	}

	h := b.Header
	if h.Height != 1 || h.Parent != s.BlockHash() || h.ChainID != "test" || h.Proposer != "node1" || h.Term != 3 ||
		h.TimeMs != s.TimeMs()+10 || h.StateRoot != next.Root() || h.ChainVersion != LedgerVersion {
		t.Errorf("header %+v", h)
	}
	if next.Height() != 1 || next.BlockHash() != b.Hash() || next.TimeMs() != h.TimeMs {
		t.Errorf("state at %d %s %d", next.Height(), next.BlockHash(), next.TimeMs())
	}
	// A second executor has never seen these transactions.
	applied, err := newExecutor(t, testGenesis(ws)).Apply(s, b)
	if err != nil {
		t.Fatal(err)
	}
	if applied.Root() != next.Root() || applied.BlockHash() != b.Hash() {
		t.Error("Apply reached another state than Build")
	}
}

func TestBuildOfNothingIsTheParent(t *testing.T) {
	ws := newWallets(2)
	e, s := newChain(t, testGenesis(ws))
	b, next, verdicts := mustBuild(t, e, s, mustParse(t, e, ws[0].transfer(4, ws[1].pub, "1"))...)
	if b != nil || next != s || verdicts[0].Kind != VerdictAhead {
		t.Errorf("block %v, verdicts %v", b, verdicts)
	}
}

func TestMessagesTakeEffectAllOrNone(t *testing.T) {
	ws := newWallets(3)
	e, s := newChain(t, testGenesis(ws))
	pay := func(amounts ...string) string {
		var list []string
		for _, a := range amounts {
			list = append(list, transferJSON(ws[1].pub, NativeAsset, a))
		}
		return strings.Join(list, ",")
	}
	txs := mustParse(t, e,
		ws[0].messages(0, 0, pay("300", "300", "401")), // the last one fails
		ws[0].messages(0, 0, pay("300", "300", "400")),
	)
	b, next, verdicts := mustBuild(t, e, s, txs...)
	if got := kinds(verdicts); !slices.Equal(got, []VerdictKind{VerdictRejected, VerdictIncluded}) {
		t.Fatalf("verdicts %v", got)
	}
	if !strings.Contains(verdicts[0].Err.Message, "message 2") {
		t.Errorf("reason %q", verdicts[0].Err.Message)
	}
	if got := balance(t, next, ws[1].pub, NativeAsset); got != "2000" {
		t.Errorf("payee holds %s", got)
	}
	// What a rejected transaction touched must leave no trace: the same block without it has the same root.
	_, alone, _ := mustBuild(t, e, s, txs[1])
	if alone.Root() != next.Root() {
		t.Error("a rejected transaction left a trace in the state")
	}
	if len(b.Txs) != 1 {
		t.Errorf("%d transactions", len(b.Txs))
	}
}

func TestTransferToOneself(t *testing.T) {
	ws := newWallets(1)
	e, s := newChain(t, testGenesis(ws))
	_, next, verdicts := mustBuild(t, e, s, mustParse(t, e,
		ws[0].transfer(0, ws[0].pub, "1000"), ws[0].transfer(1, ws[0].pub, "1001"))...)
	if got := kinds(verdicts); !slices.Equal(got, []VerdictKind{VerdictIncluded, VerdictRejected}) {
		t.Fatalf("verdicts %v", got)
	}
	if a, _ := next.Account(ws[0].pub); a.Nonce != 1 || a.Balances[NativeAsset] != "1000" {
		t.Errorf("%+v", a)
	}
}

func TestMaxHeight(t *testing.T) {
	ws := newWallets(2)
	e, s := newChain(t, testGenesis(ws))
	pay := transferJSON(ws[1].pub, NativeAsset, "1")
	_, s, verdicts := mustBuild(t, e, s, mustParse(t, e, ws[0].messages(0, 1, pay))...) // height 1: its last chance
	if verdicts[0].Kind != VerdictIncluded {
		t.Fatalf("at max_height: %+v", verdicts[0])
	}
	_, _, verdicts = mustBuild(t, e, s, mustParse(t, e, ws[0].messages(1, 1, pay), ws[0].messages(1, 0, pay))...)
	if v := verdicts[0]; v.Kind != VerdictRejected || v.Err.Kind != Rejected {
		t.Errorf("past max_height: %+v", v)
	}
	if verdicts[1].Kind != VerdictIncluded {
		t.Errorf("max_height 0 means no limit: %+v", verdicts[1])
	}
}

func TestBlockTimeNeverFalls(t *testing.T) {
	ws := newWallets(2)
	e, s := newChain(t, testGenesis(ws))
	b, _, _, err := e.Build(s, BuildSpec{NowMs: s.TimeMs() - 5000}, mustParse(t, e, ws[0].transfer(0, ws[1].pub, "1")))
	if err != nil || b.Header.TimeMs != s.TimeMs() {
		t.Errorf("time %d after %d, %v", b.Header.TimeMs, s.TimeMs(), err)
	}
}

func TestBuildKeepsItsLimits(t *testing.T) {
	ws := newWallets(3)
	e, s := newChain(t, testGenesis(ws))
	small := mustParse(t, e, ws[0].transfer(0, ws[1].pub, "1"), ws[1].transfer(0, ws[2].pub, "1"))
	padded := strings.Repeat(" ", 2000)
	large := mustParse(t, e, ws[2].sign(fmt.Sprintf(`{"chain_id":"test","public_key":"%s","nonce":0,"messages":[%s]%s}`,
		ws[2].pub, transferJSON(ws[0].pub, NativeAsset, "1"), padded)))[0]
	build := func(spec BuildSpec, txs ...*Tx) (*block.Block, []Verdict) {
		b, _, verdicts, err := e.Build(s, spec, txs)
		if err != nil {
			t.Fatal(err)
		}
		return b, verdicts
	}
	one, _ := build(BuildSpec{}, small[0])

	for _, c := range []struct {
		name string
		spec BuildSpec
		txs  []*Tx
		want []VerdictKind
	}{
		{"transactions", BuildSpec{MaxTxs: 1}, small, []VerdictKind{VerdictIncluded, VerdictNoRoom}},
		{"exact bytes", BuildSpec{MaxBytes: one.Size()}, small[:1], []VerdictKind{VerdictIncluded}},
		{"a byte too few", BuildSpec{MaxBytes: one.Size() - 1}, small[:1], []VerdictKind{VerdictRejected}},
		{
			"a large one closes the block",
			BuildSpec{MaxBytes: one.Size() + 1000},
			[]*Tx{small[0], large, small[1]},
			[]VerdictKind{VerdictIncluded, VerdictNoRoom, VerdictNoRoom},
		},
		{
			"what never fits does not",
			BuildSpec{MaxBytes: one.Size() + 1000},
			[]*Tx{large, small[0]},
			[]VerdictKind{VerdictRejected, VerdictIncluded},
		},
	} {
		b, verdicts := build(c.spec, c.txs...)
		if got := kinds(verdicts); !slices.Equal(got, c.want) {
			t.Errorf("%s: verdicts %v, want %v", c.name, got, c.want)
		}
		for _, v := range verdicts {
			if v.Kind == VerdictRejected && v.Err.Kind != TooLarge {
				t.Errorf("%s: %v", c.name, v.Err)
			}
		}
		if b != nil && c.spec.MaxBytes > 0 && (b.Size() > c.spec.MaxBytes || b.Size() != len(b.Encode())) {
			t.Errorf("%s: block of %d bytes", c.name, b.Size())
		}
	}
	if _, _, _, err := e.Build(s, BuildSpec{Proposer: strings.Repeat("x", 1000)}, small); err == nil {
		t.Error("a proposer that no header can hold was accepted")
	}
}

func TestApplyRefusesBadBlocks(t *testing.T) {
	ws := newWallets(20)
	e, s := newChain(t, testGenesis(ws))
	raw := make([]*block.Tx, 0, len(ws))
	for i, w := range ws {
		raw = append(raw, w.transfer(0, ws[(i+1)%len(ws)].pub, "7"))
	}
	good, next, _ := mustBuild(t, e, s, mustParse(t, e, raw...)...)

	// A transaction whose signature is wrong though its hash is known as good.
	badSig := &block.Tx{Payload: raw[3].Payload, Signature: raw[3].Signature}
	badSig.Signature[5] ^= 1
	with := func(i int, tx *block.Tx) []*block.Tx {
		txs := slices.Clone(raw)
		txs[i] = tx
		return txs
	}
	header := func(change func(h *block.Header)) *block.Block {
		h := good.Header
		change(&h)
		return block.New(h, raw)
	}
	lying := *good
	lying.Header.TxRoot[0] ^= 1

	for name, c := range map[string]struct {
		b    *block.Block
		want error
		text string
	}{
		"chain":         {header(func(h *block.Header) { h.ChainID = "other" }), ErrInvalidBlock, `chain id "other"`},
		"height":        {header(func(h *block.Header) { h.Height++ }), ErrInvalidBlock, "height"},
		"parent":        {header(func(h *block.Header) { h.Parent[0] ^= 1 }), ErrInvalidBlock, "parent"},
		"time":          {header(func(h *block.Header) { h.TimeMs = s.TimeMs() - 1 }), ErrInvalidBlock, "time"},
		"version":       {header(func(h *block.Header) { h.ChainVersion = "2" }), ErrInvalidBlock, "chain version"},
		"tx root":       {&lying, ErrInvalidBlock, "hash to"},
		"empty":         {block.New(good.Header, nil), ErrInvalidBlock, "no transactions"},
		"root":          {header(func(h *block.Header) { h.StateRoot[0] ^= 1 }), ErrRootMismatch, ""},
		"missing tx":    {block.New(good.Header, raw[1:]), ErrRootMismatch, ""},
		"bad signature": {block.New(good.Header, with(3, badSig)), ErrInvalidBlock, "transaction 3: bad_signature"},
		"twice":         {block.New(good.Header, with(1, raw[0])), ErrInvalidBlock, "transaction 1: bad_nonce"},
		"malformed":     {block.New(good.Header, with(9, ws[9].sign("{}"))), ErrInvalidBlock, "transaction 9: malformed"},
		"ahead": {
			block.New(good.Header, with(9, ws[9].transfer(1, ws[0].pub, "1"))), ErrInvalidBlock, "transaction 9: bad_nonce",
		},
		"overspend": {
			block.New(good.Header, with(9, ws[9].transfer(0, ws[0].pub, "2000"))), ErrInvalidBlock,
			"transaction 9: rejected",
		},
	} {
		got, err := e.Apply(s, c.b)
		if got != nil || !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want %v with %q", name, err, c.want, c.text)
		}
	}

	_, err := e.Apply(s, header(func(h *block.Header) { h.StateRoot = block.Hash{7} }))
	var mismatch *RootMismatchError
	if !errors.As(err, &mismatch) || mismatch.Height != 1 || mismatch.Header != (block.Hash{7}) ||
		mismatch.Computed != next.Root() || errors.Is(err, ErrInvalidBlock) {
		t.Errorf("mismatch %+v", err)
	}
	if _, err := e.Apply(s, good); err != nil {
		t.Errorf("the good block: %v", err)
	}
	if _, err := e.Apply(next, good); !errors.Is(err, ErrInvalidBlock) {
		t.Errorf("the same block again: %v", err)
	}
}

func TestApplyDoesNotVerifyTwice(t *testing.T) {
	ws := newWallets(40)
	e, s := newChain(t, testGenesis(ws))
	raw := make([]*block.Tx, len(ws))
	for i, w := range ws {
		raw[i] = w.transfer(0, ws[0].pub, "1")
	}
	b, _, _ := mustBuild(t, e, s, mustParse(t, e, raw...)...)
	if !e.verified.has(verifiedKey{raw[7].Hash(), raw[7].Signature}) {
		t.Error("a parsed signature is not remembered")
	}
	forged := raw[7].Signature
	forged[0] ^= 1
	if e.verified.has(verifiedKey{raw[7].Hash(), forged}) {
		t.Error("another signature of the same payload is taken for verified")
	}
	other := newExecutor(t, testGenesis(ws))
	if _, err := other.Apply(s, b); err != nil {
		t.Fatal(err)
	}
	if !other.verified.has(verifiedKey{raw[39].Hash(), raw[39].Signature}) {
		t.Error("Apply does not remember what it verified")
	}
}

func TestVerifiedSetIsBounded(t *testing.T) {
	s := newVerifiedSet(100)
	key := func(i int) verifiedKey { return verifiedKey{hash: block.Hash{byte(i), byte(i >> 8)}} }
	for i := range 5000 {
		s.add(key(i))
		if !s.has(key(max(0, i-49))) { // 49 newer ones added, and 49 older ones asked for since
			t.Fatalf("%d forgotten after %d", i-49, i)
		}
		if n := len(s.young) + len(s.old); n > 200 {
			t.Fatalf("%d remembered", n)
		}
	}
	if s.has(key(1)) {
		t.Error("nothing is forgotten")
	}
}

func TestLoadState(t *testing.T) {
	ws := newWallets(5)
	store := nodeMap{}
	e := newExecutor(t, testGenesis(ws))
	_, s, err := e.Genesis(store)
	if err != nil {
		t.Fatal(err)
	}
	b, s, _ := mustBuild(t, e, s, mustParse(t, e, ws[0].messages(0, 0, transferJSON(ws[3].pub, "gold", "5")))...)
	root := store.save(t, s.Map())

	loaded, err := LoadState(store, s.Root(), root, s.Height(), s.BlockHash(), s.TimeMs())
	if err != nil {
		t.Fatal(err)
	}
	if loaded.Height() != 1 || loaded.BlockHash() != b.Hash() || loaded.Root() != s.Root() || loaded.ChainID() != "test" ||
		loaded.ChainVersion() != LedgerVersion || loaded.TimeMs() != b.Header.TimeMs {
		t.Errorf("loaded %+v", loaded)
	}
	if g := testGenesis(ws); !bytes.Equal(loaded.ProcessorKey(), g.Processor.PublicKey[:]) ||
		loaded.Listeners().Quorum != 1 || !slices.Equal(loaded.Listeners().PublicKeys, g.Listeners.sorted()) ||
		loaded.Approvers().Quorum != 0 {
		t.Errorf("parameters %+v", loaded.params)
	}
	if got := balance(t, loaded, ws[3].pub, "gold"); got != "5" {
		t.Errorf("gold %s", got)
	}
	// Both go on from there in the same way.
	txs := mustParse(t, e, ws[1].transfer(0, ws[0].pub, "5"))
	_, a, _ := mustBuild(t, e, s, txs...)
	_, c, _ := mustBuild(t, e, loaded, txs...)
	if a.Root() != c.Root() {
		t.Error("the loaded state goes on differently")
	}
	if _, err := LoadState(store, block.Hash{1}, root, 1, b.Hash(), 0); err == nil {
		t.Error("a root that is not there was loaded")
	}
	if _, err := LoadState(store, block.Hash(merkle.EmptyRoot()), 0, 0, b.Hash(), 0); !errors.Is(err, ErrBadState) {
		t.Errorf("the empty state was loaded: %v", err)
	}
}

// A node that cannot read its state must not call a transaction or block bad.
func TestStoreErrorsAreNotVerdicts(t *testing.T) {
	ws := newWallets(30)
	store := nodeMap{}
	e := newExecutor(t, testGenesis(ws))
	_, s, err := e.Genesis(store)
	if err != nil {
		t.Fatal(err)
	}
	root := store.save(t, s.Map())
	txs := mustParse(t, e, ws[0].transfer(0, ws[1].pub, "5"))
	good, _, _ := mustBuild(t, e, s, txs...)

	broken, failed := &failingStore{nodes: store, err: errors.New("disk on fire")}, 0
	for left := 0; ; left++ {
		broken.left = 1000
		loaded, err := LoadState(broken, s.Root(), root, 0, s.BlockHash(), s.TimeMs())
		if err != nil {
			t.Fatal(err)
		}
		again, err := merkle.Load(broken, merkle.Hash(s.Root()), root, merkle.WithCacheBytes(0))
		if err != nil {
			t.Fatal(err)
		}
		loaded.tree = again
		broken.left = left
		_, _, _, buildErr := e.Build(loaded, BuildSpec{}, txs)
		broken.left = left
		_, applyErr := e.Apply(loaded, good)
		if buildErr == nil && applyErr == nil {
			break
		}
		failed++
		for _, err := range []error{buildErr, applyErr} {
			if err != nil && (!errors.Is(err, broken.err) || errors.Is(err, ErrInvalidBlock) ||
				errors.Is(err, ErrRootMismatch)) {
				t.Fatalf("after %d reads: %v", left, err)
			}
		}
	}
	if failed < 2 {
		t.Errorf("only %d reads could fail", failed)
	}
}

// nodeMap is a node store in memory.
type nodeMap map[merkle.NodeID][]byte

var errNoNode = errors.New("no such node")

func (m nodeMap) Node(id merkle.NodeID) ([]byte, error) {
	if enc, ok := m[id]; ok {
		return enc, nil
	}
	return nil, errNoNode
}

// save returns where the map's topmost node is.
func (m nodeMap) save(tb testing.TB, tree *merkle.Map) merkle.NodeID {
	tb.Helper()
	tree = tree.Seal()
	saved, err := tree.Save(merkle.NodeID(len(m)+1), func(id merkle.NodeID, rec []byte) error {
		m[id] = bytes.Clone(rec)
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	tree.MarkStored()
	return saved.Root
}

// failingStore fails after some reads.
type failingStore struct {
	nodes nodeMap
	left  int
	err   error
}

func (f *failingStore) Node(id merkle.NodeID) ([]byte, error) {
	if f.left--; f.left < 0 {
		return nil, f.err
	}
	return f.nodes.Node(id)
}
