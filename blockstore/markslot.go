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

// slot is one of the two states of the mark file.
type slot struct {
	folder folderID
	turn   uint64 // grows by one a slot written; its lowest bit says where
	// The slot stands for all groups up to seq. Those before first were durable in the log before it was written.
	seq, first uint64
	mark       mark
	nacked     uint64
	election   []byte
	// whole says that changes are all the groups from first to seq, so that nothing is lost with the log's end.
	whole   bool
	changes []change
}

const (
	// slotBytes is the room of a slot, a multiple of any disk's sector.
	slotBytes   = 1 << 20
	slotMagic   = "batonmrk"
	slotVersion = 1
	sumBytes    = 8
	// slotFixed is what stands before the election's hard state.
	slotFixed = len(slotMagic) + 4 + len(folderID{}) + 8 + 8 + 8 + markBytes + 8 + 1 + 4 + 4 + 4
	// changeFixed stands before each change.
	changeFixed = 8 + 4
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	errSlot    = errors.New("malformed slot")
)

// encode appends the slot to b:
//
//	magic || u32 version || folder || u64 turn || u64 seq || u64 first || u64 synced || u64 height || tip || u64 nacked ||
//	u8 whole || u32 bytes of election || u32 bytes of changes || u32 CRC-32C of changes || election ||
//	first 8 bytes of the SHA-256 of all that || changes, each u64 seq || u32 bytes || batch
func (s *slot) encode(b []byte) []byte {
	size, sum := 0, uint32(0)
	var head [changeFixed]byte
	for _, c := range s.changes {
		size += changeFixed + len(c.repr)
		sum = crc32.Update(sum, castagnoli, c.head(&head))
		sum = crc32.Update(sum, castagnoli, c.repr)
	}
	start := len(b)
	b = append(b, slotMagic...)
	b = binary.BigEndian.AppendUint32(b, slotVersion)
	b = append(b, s.folder[:]...)
	for _, v := range []uint64{s.turn, s.seq, s.first} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	b = s.mark.append(b)
	b = binary.BigEndian.AppendUint64(b, s.nacked)
	whole := byte(0)
	if s.whole {
		whole = 1
	}
	b = append(b, whole)
	b = binary.BigEndian.AppendUint32(b, uint32(len(s.election)))
	b = binary.BigEndian.AppendUint32(b, uint32(size))
	b = binary.BigEndian.AppendUint32(b, sum)
	b = append(b, s.election...)
	hash := sha256.Sum256(b[start:])
	b = append(b, hash[:sumBytes]...)
	for _, c := range s.changes {
		b = append(b, c.head(&head)...)
		b = append(b, c.repr...)
	}
	return b
}

func (c change) head(b *[changeFixed]byte) []byte {
	binary.BigEndian.PutUint64(b[:], c.seq)
	binary.BigEndian.PutUint32(b[8:], uint32(len(c.repr)))
	return b[:]
}

// slotSize is how much of a slot's room an election state of that length and changes of that many bytes take.
func slotSize(election, changes int) int { return slotFixed + election + sumBytes + changes }

// decodeSlot reads a slot from the front of b. It keeps parts of b.
func decodeSlot(b []byte) (*slot, error) {
	if len(b) < slotFixed || string(b[:len(slotMagic)]) != slotMagic {
		return nil, errSlot
	}
	at := len(slotMagic)
	if v := binary.BigEndian.Uint32(b[at:]); v != slotVersion {
		return nil, fmt.Errorf("slot has version %d, this program knows %d", v, slotVersion)
	}
	at += 4
	var s slot
	at += copy(s.folder[:], b[at:])
	for _, v := range []*uint64{&s.turn, &s.seq, &s.first} {
		*v = binary.BigEndian.Uint64(b[at:])
		at += 8
	}
	s.mark = readMark(b[at:])
	at += markBytes
	s.nacked = binary.BigEndian.Uint64(b[at:])
	s.whole = b[at+8] == 1
	election, changes := uint64(binary.BigEndian.Uint32(b[at+9:])), uint64(binary.BigEndian.Uint32(b[at+13:]))
	sum := binary.BigEndian.Uint32(b[at+17:])
	if b[at+8] > 1 || uint64(slotFixed)+election+sumBytes+changes > uint64(len(b)) {
		return nil, errSlot
	}
	end := slotFixed + int(election)
	if election > 0 {
		s.election = b[slotFixed:end:end]
	}
	if hash := sha256.Sum256(b[:end]); string(hash[:sumBytes]) != string(b[end:end+sumBytes]) {
		return nil, errors.New("checksum mismatch")
	}
	rest := b[end+sumBytes : end+sumBytes+int(changes)]
	if crc32.Checksum(rest, castagnoli) != sum {
		return nil, errors.New("checksum mismatch in the groups")
	}
	for next := s.first; len(rest) > 0; next++ {
		if len(rest) < changeFixed {
			return nil, errSlot
		}
		n := uint64(binary.BigEndian.Uint32(rest[8:]))
		if binary.BigEndian.Uint64(rest) != next || n > uint64(len(rest)-changeFixed) {
			return nil, errSlot
		}
		end := changeFixed + int(n)
		s.changes = append(s.changes, change{seq: next, repr: rest[changeFixed:end:end]})
		rest = rest[end:]
	}
	if s.first > s.seq+1 || (s.whole && uint64(len(s.changes)) != s.seq+1-s.first) {
		return nil, errSlot
	}
	return &s, nil
}
