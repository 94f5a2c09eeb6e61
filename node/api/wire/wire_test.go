package wire_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api/wire"
)

func key(seed byte) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, 32)) }

func pub(seed byte) ed25519.PublicKey { return key(seed).Public().(ed25519.PublicKey) }

// sample returns a block as a client has it, through JSON.
func sample(t *testing.T, height block.Height) *wire.Block {
	t.Helper()
	built := block.New(block.Header{
		ChainID: "test", Height: height, Parent: block.Hash{1}, TimeMs: 1700000000123, ChainVersion: "1",
		StateRoot: block.Hash{2}, Proposer: "node1", Term: 9,
	}, []*block.Tx{block.SignTx(key(3), []byte("{\"a\":\"<é\u2028\"}")), block.SignTx(key(3), []byte("b"))})
	data, err := json.Marshal(wire.NewBlock(block.Final{
		Block: built, Signature: block.Sign(key(1), built.Hash()),
	}, [32]byte(pub(1))))
	if err != nil {
		t.Fatal(err)
	}
	b := new(wire.Block)
	if err := json.Unmarshal(data, b); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestVerify(t *testing.T) {
	if err := sample(t, 5).Verify(pub(1)); err != nil {
		t.Fatal(err)
	}
	if err := sample(t, 5).Verify(pub(2)); !errors.Is(err, wire.ErrBlockSignature) {
		t.Errorf("another key: %v", err)
	}
	if err := sample(t, 0).Verify(pub(1)); !errors.Is(err, wire.ErrUnsigned) {
		t.Errorf("genesis: %v", err)
	}
	changes := map[string]struct {
		change func(*wire.Block)
		want   error
	}{
		"height":       {func(b *wire.Block) { b.Height++ }, wire.ErrBlockHash},
		"hash":         {func(b *wire.Block) { b.Hash[0]++ }, wire.ErrBlockHash},
		"parent":       {func(b *wire.Block) { b.ParentHash[0]++ }, wire.ErrBlockHash},
		"time":         {func(b *wire.Block) { b.Time++ }, wire.ErrBlockHash},
		"chain":        {func(b *wire.Block) { b.ChainID = "other" }, wire.ErrBlockHash},
		"version":      {func(b *wire.Block) { b.ChainVersion = "2" }, wire.ErrBlockHash},
		"state root":   {func(b *wire.Block) { b.StateRoot[0]++ }, wire.ErrBlockHash},
		"proposer":     {func(b *wire.Block) { b.Proposer = "node2" }, wire.ErrBlockHash},
		"term":         {func(b *wire.Block) { b.Term++ }, wire.ErrBlockHash},
		"payload":      {func(b *wire.Block) { b.Transactions[0].Payload += " " }, wire.ErrBlockHash},
		"tx hash":      {func(b *wire.Block) { b.Transactions[0].Hash[0]++ }, wire.ErrBlockHash},
		"tx signature": {func(b *wire.Block) { b.Transactions[0].Signature[0]++ }, wire.ErrBlockHash},
		"tx dropped":   {func(b *wire.Block) { b.Transactions = b.Transactions[1:] }, wire.ErrBlockHash},
		"tx order": {func(b *wire.Block) {
			b.Transactions[0], b.Transactions[1] = b.Transactions[1], b.Transactions[0]
		}, wire.ErrBlockHash},
		"signature": {func(b *wire.Block) { b.Signature = strings.Repeat("00", 64) }, wire.ErrBlockSignature},
		"no hex":    {func(b *wire.Block) { b.Signature = "x" }, wire.ErrBadBlock},
		"unsigned":  {func(b *wire.Block) { b.Signature = "" }, wire.ErrUnsigned},
		"long text": {func(b *wire.Block) { b.Proposer = strings.Repeat("x", 1<<17) }, wire.ErrBadBlock},
		"many":      {func(b *wire.Block) { b.Transactions = make([]wire.Tx, block.MaxTxs+1) }, wire.ErrBadBlock},
		// Who is named as the signer is not covered, and not believed.
		"signer": {func(b *wire.Block) { b.Signer = "someone" }, nil},
	}
	for name, c := range changes {
		b := sample(t, 5)
		c.change(b)
		if err := b.Verify(pub(1)); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	// Every field of the JSON is among the changes above, or is a hash of them.
	if fields := reflect.TypeFor[wire.Block]().NumField(); fields != 12 {
		t.Errorf("a block has %d fields now: does its hash cover the new one?", fields)
	}
}

func TestEvent(t *testing.T) {
	for _, e := range []wire.Event{
		{Block: &wire.BlockEvent{Height: 3, Hash: block.Hash{1}, Time: 5, Proposer: "n", TxCount: 2}},
		{Leader: &wire.LeaderEvent{Leader: "node2", Term: 7}},
		{TxFailed: &wire.TxFailedEvent{Hash: block.Hash{2}, Code: wire.CodeRejected, Message: "no"}},
		{Member: &wire.MemberEvent{ID: "node3", Change: "dead", Voter: true}},
	} {
		data, err := json.Marshal(e.Data())
		if err != nil {
			t.Fatal(err)
		}
		got, err := wire.ParseEvent(e.Type(), data)
		if err != nil || !reflect.DeepEqual(got, e) {
			t.Errorf("%s came back as %+v, %v", e.Type(), got, err)
		}
		if _, err := wire.ParseEvent(e.Type(), []byte("{")); err == nil {
			t.Errorf("%s: broken data accepted", e.Type())
		}
	}
	if _, err := wire.ParseEvent("later", []byte("{}")); !errors.Is(err, wire.ErrUnknownEvent) {
		t.Errorf("unknown type: %v", err)
	}
	if e := (wire.Event{}); e.Type() != "" || e.Data() != nil {
		t.Error("an empty event has a type")
	}
}

func TestError(t *testing.T) {
	zero := uint64(0)
	e := &wire.Error{Status: 409, Code: wire.CodeBadNonce, Message: "m", ExpectedNonce: &zero}
	data, err := json.Marshal(e.Body())
	if want := `{"error":{"code":"bad_nonce","message":"m","expected_nonce":0}}`; err != nil || string(data) != want {
		t.Errorf("got %s %v, want %s", data, err, want)
	}
	if got := e.Error(); got != "m (bad_nonce, status 409, expected nonce 0)" {
		t.Error(got)
	}
}
