package blockstore

import (
	"bytes"
	"testing"

	"github.com/baton-ha/baton/blockstore/block"
)

// Whatever bytes a record has, its decoder answers an error or a value that has these bytes.
func FuzzRecords(f *testing.F) {
	b := child(genesis(), "fuzz", 2)
	f.Add(mark{seq: 3, synced: 2, height: 1, tip: b.Hash()}.encode())
	f.Add(commitTo(b, 4, 1).encode())
	f.Add(Checkpoint{Height: 1, Hash: b.Hash()}.encode())
	f.Add(ref{height: 1, hash: b.Hash()}.encode())
	f.Add(txRef{height: 1, index: 2}.encode())
	f.Add(encodeUint64(7))
	f.Add(encodeBlock(b))
	f.Fuzz(func(t *testing.T, rec []byte) {
		same := func(name string, enc []byte, err error) {
			if err == nil && !bytes.Equal(enc, rec) {
				t.Errorf("%s accepts %x but means %x", name, rec, enc)
			}
		}
		m, err := decodeMark(rec)
		same("mark", m.encode(), err)
		c, err := decodeCommit(rec)
		same("commit", c.encode(), err)
		cp, err := decodeCheckpoint(rec)
		same("checkpoint", cp.encode(), err)
		r, err := decodeRef(rec)
		same("ref", r.encode(), err)
		x, err := decodeTxRef(rec)
		same("txRef", x.encode(), err)
		n, err := decodeUint64(rec)
		same("uint64", encodeUint64(n), err)
		h, err := decodeHash(rec)
		same("hash", h[:], err)
		s, err := decodeSignature(rec)
		same("signature", s[:], err)
		if blk, err := decodeBlock(b.Header.Height, rec); err == nil {
			same("block", encodeBlock(blk), nil)
		}
		if _, err := keyHeight(rec); (err == nil) != (len(rec) == 9) {
			t.Errorf("keyHeight(%x): %v", rec, err)
		}
	})
}

// A mark proves itself: no flipped bit goes unnoticed.
func TestMarkChecksum(t *testing.T) {
	good := mark{seq: 5, synced: 9, height: 77, tip: block.Hash{1}}.encode()
	for i := range len(good) * 8 {
		bad := bytes.Clone(good)
		bad[i/8] ^= 1 << (i % 8)
		if _, err := decodeMark(bad); err == nil {
			t.Errorf("bit %d", i)
		}
	}
}
