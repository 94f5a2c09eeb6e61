package blockstore

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/blockstore/merkle"
)

// Whatever bytes a record has, its decoder answers an error or a value that has these bytes.
func FuzzRecords(f *testing.F) {
	b := child(genesis(), "fuzz", 2)
	at := mark{synced: 2, height: 1, tip: b.Hash()}
	f.Add(position{seq: 3, from: 2, mark: at}.encode())
	f.Add(position{seq: 3, from: 2, claim: &at}.encode())
	full := markRecord{ring: 1 << 16, at: 4096, turn: 6, since: 2, seq: 4, first: 3, mark: at, nacked: 9, election: []byte("hard")}
	full.changes = []change{{3, []byte("one")}, {4, nil}}
	f.Add(full.encode(nil))
	f.Add(commitTo(b, 4, 1).encode())
	f.Add(Checkpoint{Height: 1, Hash: b.Hash()}.encode())
	f.Add(ref{height: 1, hash: b.Hash()}.encode())
	f.Add(txRef{height: 1, index: 2}.encode())
	f.Add(encodeUint64(7))
	f.Add(encodeIDs([]merkle.NodeID{1, 5, 300, 1 << 40}))
	f.Add(encodeHashes([]block.Hash{{1}, {2}}))
	f.Add(bases{blocks: 5, receipts: 2}.encode())
	f.Add(encodeBlock(b))
	f.Fuzz(func(t *testing.T, rec []byte) {
		same := func(name string, enc []byte, err error) {
			if err == nil && !bytes.Equal(enc, rec) {
				t.Errorf("%s accepts %x but means %x", name, rec, enc)
			}
		}
		p, err := decodePosition(rec)
		same("position", p.encode(), err)
		if m, err := decodeMarkRecord(rec); err == nil && m.complete() {
			n := recordFixed + len(m.election) + sumBytes // what follows the last group is not its own
			for _, c := range m.changes {
				n += changeFixed + len(c.repr)
			}
			same("mark", append(m.encode(nil)[:n], rec[n:]...), nil)
		}
		c, err := decodeCommit(rec)
		same("commit", c.encode(), err)
		cp, err := decodeCheckpoint(rec)
		same("checkpoint", cp.encode(), err)
		r, err := decodeRef(rec)
		same("ref", r.encode(), err)
		x, err := decodeTxRef(rec)
		same("txRef", x.encode(), err)
		ids, err := decodeIDs(rec)
		same("ids", encodeIDs(ids), err)
		hashes, err := decodeHashes(rec)
		same("hashes", encodeHashes(hashes), err)
		base, err := decodeBases(rec)
		same("bases", base.encode(), err)
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

// A position and a slot of the mark file prove themselves: no flipped bit goes unnoticed.
func TestMarkChecksum(t *testing.T) {
	at := mark{synced: 9, height: 77, tip: block.Hash{1}}
	flip := func(name string, good []byte, decodes func([]byte) error) {
		if err := decodes(good); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i := range len(good) * 8 {
			bad := bytes.Clone(good)
			bad[i/8] ^= 1 << (i % 8)
			if decodes(bad) == nil {
				t.Errorf("%s: bit %d", name, i)
			}
		}
	}
	flip("position", position{seq: 5, from: 4, mark: at, claim: &at}.encode(), func(b []byte) error {
		_, err := decodePosition(b)
		return err
	})
	r := markRecord{
		folder: folderID{1, 2}, ring: 1 << 20, at: 8192, turn: 8, since: 3, seq: 7, first: 6, mark: at, nacked: 2,
		election: []byte("term and vote"), groups: 2, changes: []change{{6, []byte("group six")}, {7, []byte("group seven")}},
	}
	enc := r.encode(nil)
	if len(enc) != pageBytes || r.size() != len(enc) {
		t.Errorf("a record of %d bytes, size says %d", len(enc), r.size())
	}
	flip("record", bytes.TrimRight(enc, "\x00"), func(b []byte) error {
		got, err := decodeMarkRecord(b)
		if err == nil && !got.complete() {
			return errMark
		}
		return err
	})
	got, err := decodeMarkRecord(append(enc, 1, 2, 3))
	if err != nil || !reflect.DeepEqual(*got, r) {
		t.Errorf("a record came back as %+v, %v", got, err)
	}
	// A group that rots takes no other with it, unless it is its length that does.
	enc[bytes.Index(enc, []byte("six"))] ^= 1
	if got, err := decodeMarkRecord(enc); err != nil || len(got.changes) != 1 || got.changes[0].seq != 7 || got.complete() {
		t.Errorf("a record with one bad group came back as %+v, %v", got, err)
	}
}
