package blockstore

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/baton-ha/baton/blockstore/block"
)

// mark is what a vote reports: the own chain is, up to the tip, a prefix of the chain of synced's leader.
type mark struct {
	synced uint64
	height block.Height
	tip    block.Hash
}

// less compares marks as reports are compared: by term, then by height.
func (m mark) less(o mark) bool {
	if m.synced != o.synced {
		return m.synced < o.synced
	}
	return m.height < o.height
}

const markBytes = 8 + 8 + 32

func (m mark) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, m.synced)
	b = binary.BigEndian.AppendUint64(b, uint64(m.height))
	return append(b, m.tip[:]...)
}

// readMark reads the first markBytes of b.
func readMark(b []byte) mark {
	return mark{
		synced: binary.BigEndian.Uint64(b), height: block.Height(binary.BigEndian.Uint64(b[8:])), tip: block.Hash(b[16:48]),
	}
}

// folderID names a data folder for its whole life, so that a mark of another folder is not taken for its own.
type folderID [16]byte

// change is one group as Pebble has it: a batch in Pebble's encoding, and the number of the group.
type change struct {
	seq  uint64
	repr []byte
}

// markRecord is what the mark file gets before a group is acknowledged: the mark, both layers' hard state and the groups since
// the record before it.
type markRecord struct {
	folder folderID
	ring   uint32 // bytes of a mirror
	at     uint32 // where the record stands in a mirror
	turn   uint64 // grows by one a record
	since  uint64 // turn of the first record since the folder was opened
	// The record stands for all groups up to seq. Those before first were durable in the log before it was written.
	seq, first uint64
	mark       mark
	nacked     uint64
	election   []byte
	// groups is how many groups it has a copy of, the last of which is seq. It is 0 when they were durable in the log before.
	groups uint32
	// changes are those copies; what was read back may lack some.
	changes []change
}

const (
	recordMagic   = "batonmrk"
	recordVersion = 2
	sumBytes      = 8
	// recordFixed is what stands before the election's hard state.
	recordFixed = len(recordMagic) + 4 + len(folderID{}) + 4 + 4 + 8 + 8 + 8 + 8 + markBytes + 8 + 4 + 4 + 4
	// changeFixed stands before each change.
	changeFixed = 8 + 4 + 4
	// pageBytes is what records are a multiple of, in place and length: a multiple of any disk's sector, so that writing one
	// never touches what another one stands in.
	pageBytes = 4096
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	errMark    = errors.New("malformed record")
	errVersion = errors.New("unknown version")
)

// encode appends the record to b and fills its last page with zeros:
//
//	magic || u32 version || folder || u32 ring || u32 at || u64 turn || u64 since || u64 seq || u64 first || u64 synced ||
//	u64 height || tip || u64 nacked || u32 groups || u32 bytes of groups || u32 bytes of election || election ||
//	first 8 bytes of the SHA-256 of all that || groups, each u64 seq || u32 bytes || u32 CRC-32C || batch
//
// A group's checksum is over its number, its length and the batch.
func (r *markRecord) encode(b []byte) []byte {
	size := 0
	for _, c := range r.changes {
		size += changeFixed + len(c.repr)
	}
	start := len(b)
	b = append(b, recordMagic...)
	b = binary.BigEndian.AppendUint32(b, recordVersion)
	b = append(b, r.folder[:]...)
	b = binary.BigEndian.AppendUint32(b, r.ring)
	b = binary.BigEndian.AppendUint32(b, r.at)
	for _, v := range []uint64{r.turn, r.since, r.seq, r.first} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	b = r.mark.append(b)
	b = binary.BigEndian.AppendUint64(b, r.nacked)
	for _, v := range []int{len(r.changes), size, len(r.election)} {
		b = binary.BigEndian.AppendUint32(b, uint32(v))
	}
	b = append(b, r.election...)
	hash := sha256.Sum256(b[start:])
	b = append(b, hash[:sumBytes]...)
	for _, c := range r.changes {
		b = binary.BigEndian.AppendUint64(b, c.seq)
		b = binary.BigEndian.AppendUint32(b, uint32(len(c.repr)))
		b = binary.BigEndian.AppendUint32(b, c.sum())
		b = append(b, c.repr...)
	}
	return append(b, make([]byte, markRecordSize(len(r.election), size)-(len(b)-start))...)
}

func (c change) sum() uint32 {
	var head [8 + 4]byte
	binary.BigEndian.PutUint64(head[:], c.seq)
	binary.BigEndian.PutUint32(head[8:], uint32(len(c.repr)))
	return crc32.Update(crc32.Checksum(head[:], castagnoli), castagnoli, c.repr)
}

// markRecordSize is how many bytes a record takes with an election state of that length and groups of that many bytes.
func markRecordSize(election, groups int) int {
	return (recordFixed + election + sumBytes + groups + pageBytes - 1) / pageBytes * pageBytes
}

// size is how many bytes a whole record takes.
func (r *markRecord) size() int {
	n := 0
	for _, c := range r.changes {
		n += changeFixed + len(c.repr)
	}
	return markRecordSize(len(r.election), n)
}

// isMarkRecord tells in passing what is certainly no record.
func isMarkRecord(b []byte) bool {
	return len(b) >= recordFixed && string(b[:len(recordMagic)]) == recordMagic
}

// decodeMarkRecord reads a record from the front of b, which may go on behind it. Of the groups it keeps those that can be
// read; the error is about what comes before them. The record keeps parts of b.
func decodeMarkRecord(b []byte) (*markRecord, error) {
	if !isMarkRecord(b) {
		return nil, errMark
	}
	at := len(recordMagic)
	u32 := func() (v uint32) {
		v, at = binary.BigEndian.Uint32(b[at:]), at+4
		return v
	}
	u64 := func() (v uint64) {
		v, at = binary.BigEndian.Uint64(b[at:]), at+8
		return v
	}
	if v := u32(); v != recordVersion {
		return nil, fmt.Errorf("mark has version %d, this program knows %d: %w", v, recordVersion, errVersion)
	}
	var r markRecord
	at += copy(r.folder[:], b[at:])
	r.ring, r.at = u32(), u32()
	r.turn, r.since, r.seq, r.first = u64(), u64(), u64(), u64()
	r.mark = readMark(b[at:])
	at += markBytes
	r.nacked = u64()
	r.groups = u32()
	groups, election := uint64(u32()), uint64(u32())
	if uint64(recordFixed)+election+sumBytes > uint64(len(b)) {
		return nil, errMark
	}
	end := recordFixed + int(election)
	if election > 0 {
		r.election = b[recordFixed:end:end]
	}
	if hash := sha256.Sum256(b[:end]); string(hash[:sumBytes]) != string(b[end:end+sumBytes]) {
		return nil, errors.New("checksum mismatch")
	}
	if uint64(r.groups) > r.seq || r.first > r.seq+1 || r.since > r.turn {
		return nil, errMark
	}
	rest := b[end+sumBytes:]
	if groups < uint64(len(rest)) {
		rest = rest[:groups]
	}
	for next := r.seq - uint64(r.groups) + 1; next <= r.seq && len(rest) >= changeFixed; next++ {
		seq, n := binary.BigEndian.Uint64(rest), uint64(binary.BigEndian.Uint32(rest[8:]))
		if seq != next || n > uint64(len(rest)-changeFixed) {
			break // its length cannot be trusted
		}
		end := changeFixed + int(n)
		c := change{seq: seq, repr: rest[changeFixed:end:end]}
		if c.sum() == binary.BigEndian.Uint32(rest[12:]) {
			r.changes = append(r.changes, c)
		}
		rest = rest[end:]
	}
	return &r, nil
}

// complete reports whether all its groups are there.
func (r *markRecord) complete() bool { return len(r.changes) == int(r.groups) }
