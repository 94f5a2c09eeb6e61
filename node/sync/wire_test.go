package sync

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/baton-ha/baton/blockstore/block"
)

func someHeader(h block.Height) signedHeader {
	head := block.Header{ChainID: "test", Height: h, ChainVersion: "1", Proposer: "node1", Term: 4, TimeMs: -1}
	return signedHeader{Header: head, hash: head.Hash(), sig: block.Signature{1, 2}, cterm: 9}
}

func TestPositions(t *testing.T) {
	for _, text := range []string{"", "0", "f", "0123456789abcdef", strings.Repeat("a", maxNibbles)} {
		if p, err := parsePosition(text); err != nil || p.String() != text {
			t.Errorf("%q: %q, %v", text, p, err)
		}
	}
	for _, text := range []string{"g", "A", " ", "0x1", "1\n", strings.Repeat("a", maxNibbles+1)} {
		if p, err := parsePosition(text); !errors.Is(err, errMalformed) {
			t.Errorf("%q: %q, %v", text, p, err)
		}
	}
}

// Whatever bytes there are, decoding ends, bounded, and what is accepted has one form.
func FuzzStates(f *testing.F) {
	tip := someHeader(9)
	f.Add((&states{chainID: "test", genesis: block.Hash{1}}).encode())
	f.Add((&states{chainID: "test", tip: &tip, list: []signedHeader{someHeader(8), someHeader(7)}}).encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := decodeStates(bytes.NewReader(data))
		if err != nil {
			if !errors.Is(err, errMalformed) {
				t.Fatal(err)
			}
			return
		}
		if again := s.encode(); !bytes.Equal(again, data) {
			t.Fatalf("%x became %x", data, again)
		}
		if len(s.list) > maxStates {
			t.Fatal(len(s.list))
		}
	})
}

func FuzzFinal(f *testing.F) {
	b := block.New(someHeader(3).Header, []*block.Tx{block.SignTx(processor, []byte("hello"))})
	frame := appendFinal(nil, block.Final{Block: b, Signature: block.Signature{7}, CTerm: 5})
	f.Add(frame[4:])
	f.Fuzz(func(t *testing.T, data []byte) {
		final, err := decodeFinal(data)
		if err != nil {
			if !errors.Is(err, errMalformed) {
				t.Fatal(err)
			}
			return
		}
		if again := appendFinal(nil, final); !bytes.Equal(again[4:], data) {
			t.Fatalf("%x became %x", data, again[4:])
		}
	})
}

// No frame is longer than was allowed, none is taken for whole that is not, and memory follows what has arrived.
func FuzzFrames(f *testing.F) {
	f.Add(appendFrame(appendFrame(nil, []byte("one")), nil), 10)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1}, 1<<20)
	f.Fuzz(func(t *testing.T, data []byte, limit int) {
		limit = min(max(limit, 0), maxNodeBytes)
		var again []byte
		r := newFrames(bytes.NewReader(data))
		for {
			frame, err := r.next(limit)
			if cap(r.buf) > 4*len(data)+(128<<10) {
				t.Fatalf("%d bytes of memory for %d", cap(r.buf), len(data))
			}
			if errors.Is(err, io.EOF) {
				if !bytes.Equal(again, data) {
					t.Fatalf("%x became %x", data, again)
				}
				return
			}
			if err != nil {
				if !errors.Is(err, errMalformed) {
					t.Fatal(err)
				}
				return
			}
			if len(frame) > limit {
				t.Fatalf("%d bytes, at most %d were allowed", len(frame), limit)
			}
			again = appendFrame(again, frame)
		}
	})
}
