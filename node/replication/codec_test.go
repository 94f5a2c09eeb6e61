package replication

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/raftify/core"
)

func sampleBlock(h block.Height, parent block.Hash) *block.Block {
	tx := &block.Tx{Payload: []byte(`{"nonce":1}`)}
	return block.New(block.Header{
		ChainID: "test", Height: h, Parent: parent, TimeMs: 5, ChainVersion: "1", Proposer: "n1", Term: 3,
	}, []*block.Tx{tx})
}

func sampleMessages() []Message {
	hdr := core.Header{
		ClusterID: core.ClusterID{1}, From: "n1", To: "n2", Inc: core.Inc{7}, Boot: 2, Session: 1 << 63, Term: 3,
	}
	b := sampleBlock(9, block.Hash{4})
	return []Message{
		{Type: MsgProp, Header: hdr, Ref: Ref{9, b.Hash()}, Block: b, Commit: Ref{8, block.Hash{4}}},
		{Type: MsgAck, Header: hdr, Ref: Ref{9, b.Hash()}, Resend: true},
		{Type: MsgNack, Header: hdr, Ref: Ref{9, b.Hash()}},
		{Type: MsgCommitted, Header: hdr, Ref: Ref{9, b.Hash()}, CTerm: 3},
	}
}

func TestMessageRoundTrip(t *testing.T) {
	for _, m := range sampleMessages() {
		b, err := EncodeMessage(&m)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeMessage(b)
		if err != nil {
			t.Fatalf("%v: %v", m.Type, err)
		}
		if m.Block != nil {
			if got.Block.Hash() != m.Block.Hash() {
				t.Fatalf("%v: block %v, want %v", m.Type, got.Block.Hash(), m.Block.Hash())
			}
			got.Block, m.Block = nil, nil
		}
		if !reflect.DeepEqual(got, m) {
			t.Fatalf("got %+v, want %+v", got, m)
		}
		for cut := range b {
			if _, err := DecodeMessage(b[:cut]); !errors.Is(err, ErrMalformed) {
				t.Fatalf("%v cut to %d bytes: %v", m.Type, cut, err)
			}
		}
		if _, err := DecodeMessage(append(bytes.Clone(b), 0)); !errors.Is(err, ErrMalformed) {
			t.Fatalf("%v with a trailing byte: %v", m.Type, err)
		}
	}
}

func TestDecodeDoesNotTrustLengths(t *testing.T) {
	// An array of 15 whose third field declares 4 GiB of bytes.
	b := []byte{0x9f, 0x01, 0x02, 0xc6, 0xff, 0xff, 0xff, 0xff, 1}
	if n := testing.AllocsPerRun(10, func() {
		if _, err := DecodeMessage(b); !errors.Is(err, ErrMalformed) {
			t.Fatal(err)
		}
	}); n > 100 {
		t.Fatalf("%v allocations", n)
	}
}

func TestPrunedOnTheWire(t *testing.T) {
	b, err := EncodePruned(&PrunedError{Base: 1 << 60})
	if err != nil {
		t.Fatal(err)
	}
	_, err = DecodeCertified(b)
	if gone := (*PrunedError)(nil); !errors.As(err, &gone) || gone.Base != 1<<60 {
		t.Errorf("got %v", err)
	}
	for _, bad := range [][]byte{append(b, 0), b[:len(b)-1]} {
		if _, err := DecodeCertified(bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("%x: %v", bad, err)
		}
	}
}

func FuzzDecodeMessage(f *testing.F) {
	for _, m := range sampleMessages() {
		b, err := EncodeMessage(&m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := DecodeMessage(b)
		if err != nil {
			return
		}
		again, err := EncodeMessage(&m)
		if err != nil {
			t.Fatal(err)
		}
		m2, err := DecodeMessage(again)
		if err != nil {
			t.Fatalf("decode of own encoding: %v", err)
		}
		m.Block, m2.Block = nil, nil
		if !reflect.DeepEqual(m, m2) {
			t.Fatalf("%+v became %+v", m, m2)
		}
	})
}

func FuzzDecodeCertified(f *testing.F) {
	one := sampleBlock(1, block.Hash{9})
	b, err := EncodeCertified([]Certified{{one, 4}, {sampleBlock(2, one.Hash()), 0}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := DecodeCertified(b)
		if err != nil {
			return
		}
		again, err := EncodeCertified(got)
		if err != nil {
			t.Fatal(err)
		}
		if got2, err := DecodeCertified(again); err != nil || len(got2) != len(got) {
			t.Fatalf("%d blocks became %d: %v", len(got), len(got2), err)
		}
	})
}
