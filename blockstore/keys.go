package blockstore

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/blockstore/merkle"
)

// Key spaces. Heights are big-endian, so that iteration is in chain order. doc.go has the table.
const (
	spaceBlock      = 'b' // height -> hash || encoded block
	spaceCTerm      = 'c' // height -> u64
	spaceHash       = 'h' // height -> hash
	spaceHeight     = 'i' // block hash -> height
	spaceCheckpoint = 'k' // u64 seq -> checkpoint
	spaceMeta       = 'm' // name -> record
	spaceNode       = 'n' // u64 node id -> stored node
	spaceStale      = 'o' // u64 seq of a checkpoint || u32 chunk -> ids of nodes that it no longer has
	spacePart       = 'p' // position of a part of a transfer of state -> where it is stored
	spaceSignature  = 's' // height -> signature
	spaceTx         = 't' // transaction hash -> height || u32 index
	spaceTxs        = 'x' // height of a pruned block -> hashes of its transactions
)

const (
	metaFormat     = "mformat"
	metaElection   = "melection"
	metaNacked     = "mnacked"
	metaCommit     = "mcommit"
	metaSigner     = "msigner"
	metaCheckpoint = "mcheckpoint"
	metaFolder     = "mfolder"
	metaPosition   = "mposition"
	metaBase       = "mbase"
	metaImport     = "mimport"
	metaDamage     = "mdamage"
	metaGenesis    = "mgenesis"
)

// formatVersion is the value of metaFormat: the version of the key spaces and records in this file.
const formatVersion = 4

var errRecord = errors.New("malformed record")

func heightKey(space byte, h block.Height) []byte {
	return binary.BigEndian.AppendUint64([]byte{space}, uint64(h))
}

func hashKey(space byte, h [32]byte) []byte {
	return append([]byte{space}, h[:]...)
}

// seqKey is the key of a checkpoint or a node: numbers in big-endian, so that what was written together lies together.
func seqKey(space byte, seq uint64) []byte { return binary.BigEndian.AppendUint64([]byte{space}, seq) }

// staleKey is the key of one chunk of what a checkpoint no longer has.
func staleKey(seq uint64, chunk uint32) []byte {
	return binary.BigEndian.AppendUint32(seqKey(spaceStale, seq), chunk)
}

// encodeIDs writes ascending node ids as differences.
func encodeIDs(ids []merkle.NodeID) []byte {
	b, last := make([]byte, 0, 3*len(ids)), merkle.NodeID(0)
	for _, id := range ids {
		invariant(id > last, "stale node %d after %d", id, last)
		b = binary.AppendUvarint(b, uint64(id-last))
		last = id
	}
	return b
}

// decodeIDs reads what encodeIDs wrote.
func decodeIDs(b []byte) ([]merkle.NodeID, error) {
	ids, last := make([]merkle.NodeID, 0, len(b)), merkle.NodeID(0)
	for len(b) > 0 {
		above, size := binary.Uvarint(b)
		if size <= 0 || above == 0 || size > 1 && b[size-1] == 0 || above > math.MaxUint64-uint64(last) {
			return nil, errRecord
		}
		last += merkle.NodeID(above)
		ids = append(ids, last)
		b = b[size:]
	}
	return ids, nil
}

// bases say from where on blocks and receipts are still there; genesis always is.
type bases struct{ blocks, receipts block.Height }

func (b bases) encode() []byte {
	return binary.BigEndian.AppendUint64(encodeUint64(uint64(b.blocks)), uint64(b.receipts))
}

func decodeBases(b []byte) (bases, error) {
	if len(b) != 16 {
		return bases{}, errRecord
	}
	return bases{block.Height(binary.BigEndian.Uint64(b)), block.Height(binary.BigEndian.Uint64(b[8:]))}, nil
}

// encodeHashes writes hashes one after the other.
func encodeHashes(hashes []block.Hash) []byte {
	b := make([]byte, 0, len(hashes)*block.HashBytes)
	for _, h := range hashes {
		b = append(b, h[:]...)
	}
	return b
}

func decodeHashes(b []byte) ([]block.Hash, error) {
	if len(b)%block.HashBytes != 0 {
		return nil, errRecord
	}
	hashes := make([]block.Hash, 0, len(b)/block.HashBytes)
	for ; len(b) > 0; b = b[block.HashBytes:] {
		hashes = append(hashes, block.Hash(b))
	}
	return hashes, nil
}

// keyHeight returns the height in a key of a height space.
func keyHeight(key []byte) (block.Height, error) {
	if len(key) != 9 {
		return 0, errRecord
	}
	return block.Height(binary.BigEndian.Uint64(key[1:])), nil
}

// position says up to where the store's own chain reaches, and how far it is in the order of groups. Every group writes
// it.
type position struct {
	seq  uint64 // of the group
	from uint64 // the groups before this one were durable when it was written
	mark mark
	// claim is what was asserted before and cannot be shown any more, nil for nothing.
	claim *mark
}

const positionBytes = 8 + 8 + markBytes + 1 + markBytes + 8

// encode ends in a checksum, so that the record proves itself whatever lies below.
func (p position) encode() []byte {
	b := make([]byte, 0, positionBytes)
	b = binary.BigEndian.AppendUint64(b, p.seq)
	b = binary.BigEndian.AppendUint64(b, p.from)
	b = p.mark.append(b)
	if p.claim == nil {
		b = mark{}.append(append(b, 0))
	} else {
		b = p.claim.append(append(b, 1))
	}
	sum := sha256.Sum256(b)
	return append(b, sum[:8]...)
}

func decodePosition(b []byte) (position, error) {
	if len(b) != positionBytes {
		return position{}, errRecord
	}
	body := b[:positionBytes-8]
	if sum := sha256.Sum256(body); string(sum[:8]) != string(b[positionBytes-8:]) {
		return position{}, errors.New("checksum mismatch")
	}
	p := position{
		seq: binary.BigEndian.Uint64(body), from: binary.BigEndian.Uint64(body[8:]), mark: readMark(body[16:]),
	}
	claim := readMark(body[17+markBytes:])
	switch {
	case body[16+markBytes] == 1:
		p.claim = &claim
	case body[16+markBytes] != 0 || claim != mark{}:
		return position{}, errRecord
	}
	return p, nil
}

func decodeFolder(b []byte) (folderID, error) {
	if len(b) != len(folderID{}) {
		return folderID{}, errRecord
	}
	return folderID(b), nil
}

func (c Commit) encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(c.Height))
	b = append(b, c.Hash[:]...)
	b = binary.BigEndian.AppendUint64(b, c.CTerm)
	return binary.BigEndian.AppendUint64(b, uint64(c.From))
}

func decodeCommit(b []byte) (Commit, error) {
	if len(b) != 8+32+8+8 {
		return Commit{}, errRecord
	}
	return Commit{
		Height: block.Height(binary.BigEndian.Uint64(b)), Hash: block.Hash(b[8:40]),
		CTerm: binary.BigEndian.Uint64(b[40:]), From: block.Height(binary.BigEndian.Uint64(b[48:])),
	}, nil
}

// ref is a height and the hash there: the signer's record.
type ref struct {
	height block.Height
	hash   block.Hash
}

func (r ref) encode() []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(r.height)), r.hash[:]...)
}

func decodeRef(b []byte) (ref, error) {
	if len(b) != 8+32 {
		return ref{}, errRecord
	}
	return ref{height: block.Height(binary.BigEndian.Uint64(b)), hash: block.Hash(b[8:])}, nil
}

func (c Checkpoint) encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(c.Height))
	b = binary.BigEndian.AppendUint64(b, c.Seq)
	b = append(b, c.Hash[:]...)
	b = append(b, c.Root[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(c.RootNode))
	return binary.BigEndian.AppendUint64(b, uint64(c.NextNode))
}

func decodeCheckpoint(b []byte) (Checkpoint, error) {
	if len(b) != 8+8+32+32+8+8 {
		return Checkpoint{}, errRecord
	}
	return Checkpoint{
		Height: block.Height(binary.BigEndian.Uint64(b)), Seq: binary.BigEndian.Uint64(b[8:]),
		Hash: block.Hash(b[16:48]), Root: block.Hash(b[48:80]),
		RootNode: merkle.NodeID(binary.BigEndian.Uint64(b[80:])), NextNode: merkle.NodeID(binary.BigEndian.Uint64(b[88:])),
	}, nil
}

func encodeUint64(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }

func decodeUint64(b []byte) (uint64, error) {
	if len(b) != 8 {
		return 0, errRecord
	}
	return binary.BigEndian.Uint64(b), nil
}

func decodeHeight(b []byte) (block.Height, error) {
	v, err := decodeUint64(b)
	return block.Height(v), err
}

func decodeHash(b []byte) (block.Hash, error) {
	if len(b) != block.HashBytes {
		return block.Hash{}, errRecord
	}
	return block.Hash(b), nil
}

func decodeSignature(b []byte) (block.Signature, error) {
	if len(b) != block.SignatureBytes {
		return block.Signature{}, errRecord
	}
	return block.Signature(b), nil
}

// txRef says where a committed transaction stands.
type txRef struct {
	height block.Height
	index  uint32
}

func (r txRef) encode() []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(nil, uint64(r.height)), r.index)
}

func decodeTxRef(b []byte) (txRef, error) {
	if len(b) != 12 {
		return txRef{}, errRecord
	}
	return txRef{height: block.Height(binary.BigEndian.Uint64(b)), index: binary.BigEndian.Uint32(b[8:])}, nil
}

func encodeBlock(b *block.Block) []byte {
	h := b.Hash()
	enc := b.Encode()
	out := make([]byte, 0, len(h)+len(enc))
	return append(append(out, h[:]...), enc...)
}

// decodeBlock reads a block record and recomputes its hashes, which is its checksum.
func decodeBlock(h block.Height, rec []byte) (*block.Block, error) {
	if len(rec) < block.HashBytes {
		return nil, errRecord
	}
	b, err := block.Decode(rec[block.HashBytes:])
	if err != nil {
		return nil, err
	}
	if b.Hash() != block.Hash(rec) || b.Header.Height != h {
		return nil, errors.New("block is not the one that was stored here")
	}
	return b, nil
}
