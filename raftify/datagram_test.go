package raftify

import (
	"bytes"
	"errors"
	"testing"

	"github.com/hashicorp/memberlist"
)

func testSealer(t *testing.T, first string, more ...string) *sealer {
	t.Helper()
	var also [][]byte
	for _, k := range more {
		also = append(also, []byte(k))
	}
	ring, err := memberlist.NewKeyring(also, []byte(first))
	if err != nil {
		t.Fatal(err)
	}
	return newSealer(ring)
}

func TestDatagrams(t *testing.T) {
	const old, next = "0123456789abcdef", "ABCDEFGHIJKLMNOP"
	a, b := testSealer(t, old), testSealer(t, next, old)
	for _, message := range [][]byte{{1}, bytes.Repeat([]byte{7}, maxPacketBytes)} {
		d, err := a.seal(message)
		if err != nil {
			t.Fatal(err)
		}
		again, err := a.seal(message)
		if err != nil || bytes.Equal(d, again) {
			t.Errorf("the same bytes twice (%v)", err)
		}
		if len(d) > maxPacketBytes+64 {
			t.Errorf("%d bytes for a message of %d", len(d), len(message))
		}
		if got, err := b.open(d); err != nil || !bytes.Equal(got, message) {
			t.Errorf("opened %x: %v", got, err)
		}
		for _, i := range []int{len(datagramPrefix), len(d) / 2, len(d) - 1} {
			d[i] ^= 1
			if _, err := b.open(d); !errors.Is(err, ErrMalformed) {
				t.Errorf("byte %d is another: %v", i, err)
			}
			d[i] ^= 1
		}
		if _, err := b.open(d[:len(datagramPrefix)]); !errors.Is(err, ErrMalformed) {
			t.Errorf("nothing behind the prefix: %v", err)
		}
	}
	// The cluster goes over to another key: b uses it already, and a knows it when it is told.
	d, err := b.seal([]byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.open(d); !errors.Is(err, ErrMalformed) {
		t.Errorf("opened with a key that it does not have: %v", err)
	}
	if err := errors.Join(a.ring.AddKey([]byte(next)), a.ring.UseKey([]byte(next)), a.ring.RemoveKey([]byte(old))); err != nil {
		t.Fatal(err)
	}
	if _, err := a.open(d); err != nil {
		t.Error(err)
	}
	if d, err = a.seal([]byte("y")); err != nil {
		t.Fatal(err)
	}
	if _, err := testSealer(t, old).open(d); !errors.Is(err, ErrMalformed) {
		t.Errorf("still under the old key: %v", err)
	}
}
