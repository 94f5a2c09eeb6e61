package blockstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/blockstore/merkle"
)

var (
	// ErrWrongNode is returned by [Part.Add] for bytes that are not the wanted node's.
	ErrWrongNode = errors.New("not the node that its hash promises")
	// ErrIncomplete is returned by [Transfer.Finish] while some of the state is missing.
	ErrIncomplete = errors.New("some of the state is missing")
)

const (
	// laneBits is how many ids each part of a transfer has for itself.
	laneBits = 32
	// unsyncedBytes is how much of a transfer may be written without an fsync.
	unsyncedBytes = 32 << 20
)

// Transfer writes a state that comes from elsewhere, beside the chain and the states that the store has, piece by piece,
// in any order and by several goroutines. What it shares with the newest checkpoint is not written again. The end of it is a [Jump].
//
// It is made of parts: subtrees, each written from its top down to its leaves by one goroutine. A part that is complete
// is recorded and durable soon after; a crash loses the others. The next transfer finds what is recorded, whatever state
// it is for. The next [Store.SaveState] drops all of it instead.
//
// From its begin to [Transfer.Close] there are no checkpoints and there is no pruning: both wait.
type Transfer struct {
	s     *Store
	last  Checkpoint
	local *merkle.Map // of the newest checkpoint, nil if there is none
	base  merkle.NodeID

	mu       sync.Mutex
	lane     uint64 // next free one
	unsynced int
	checked  map[string]bool // records of an earlier run that were looked through, by position
	closed   bool
}

// record says that a subtree is stored.
type record struct {
	hash  merkle.Hash
	lane  uint64
	id    merkle.NodeID
	split bool // only the topmost node is in this lane; those below have records of their own, or are not new
}

func (r record) encode() []byte {
	b := append(make([]byte, 0, 49), r.hash[:]...)
	b = binary.BigEndian.AppendUint64(b, r.lane)
	b = binary.BigEndian.AppendUint64(b, uint64(r.id))
	if r.split {
		return append(b, 1)
	}
	return append(b, 0)
}

func decodeRecord(b []byte) (record, error) {
	if len(b) != 49 || b[48] > 1 {
		return record{}, errRecord
	}
	return record{
		hash: merkle.Hash(b[:32]), lane: binary.BigEndian.Uint64(b[32:]), id: merkle.NodeID(binary.BigEndian.Uint64(b[40:])),
		split: b[48] == 1,
	}, nil
}

func partKey(pos []byte) []byte { return append([]byte{spacePart}, pos...) }

// BeginTransfer begins a transfer, or goes on with one that was closed or crashed. It waits for a checkpoint that is being
// written. Close it.
func (s *Store) BeginTransfer() (*Transfer, error) {
	s.sideMu.Lock()
	t, err := s.beginTransfer()
	if err != nil {
		s.sideMu.Unlock()
		return nil, fmt.Errorf("begin transfer of state: %w", err)
	}
	return t, nil
}

func (s *Store) beginTransfer() (*Transfer, error) {
	last, ok := s.Checkpoint()
	t := &Transfer{s: s, last: last, base: max(last.NextNode, 1), checked: map[string]bool{}}
	if ok {
		var err error
		if t.local, err = merkle.Load(s, last.Root, last.RootNode, merkle.WithCacheBytes(4<<20)); err != nil {
			return nil, err
		}
	}
	var used []uint64
	var bad error
	err := scan(s.db, []byte{spacePart}, []byte{spacePart + 1}, func(_, value []byte) {
		r, err := decodeRecord(value)
		bad = errors.Join(bad, err)
		used = append(used, r.lane)
	})
	if err := errors.Join(err, bad); err != nil {
		return nil, err
	}
	slices.Sort(used)
	if len(used) > 0 {
		t.lane = used[len(used)-1] + 1
	}
	// What no record speaks of was cut off in the middle.
	w := &sideWrite{clear: append(t.gaps(used), [2][]byte{seqKey(spaceStale, last.Seq+1), {spaceStale + 1}})}
	return t, s.writeSide(w, false)
}

// gaps returns the ranges of node ids from the transfer's first on that are not in lanes, which are ascending.
func (t *Transfer) gaps(lanes []uint64) (out [][2][]byte) {
	from := t.base
	for _, lane := range lanes {
		if start := t.start(lane); start > from {
			out = append(out, [2][]byte{seqKey(spaceNode, uint64(from)), seqKey(spaceNode, uint64(start))})
		}
		from = t.start(lane + 1)
	}
	return append(out, [2][]byte{seqKey(spaceNode, uint64(from)), {spaceNode + 1}})
}

func (t *Transfer) start(lane uint64) merkle.NodeID { return t.base + merkle.NodeID(lane<<laneBits) }

// Close ends the transfer. What is recorded stays for the next one. Parts under way must have ended.
func (t *Transfer) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.closed = true
		t.s.sideMu.Unlock()
	}
}

// Local returns the newest checkpoint's state, with which the transfer shares what it can; nil when there is none.
func (t *Transfer) Local() *merkle.Map { return t.local }

// Have looks for a subtree by its position and hash: in the newest checkpoint, or among the recorded parts. What an
// earlier run recorded is read from the disk as a whole and checked first; what is damaged there is dropped.
func (t *Transfer) Have(pos []byte, hash merkle.Hash) (merkle.NodeID, bool, error) {
	if t.local != nil {
		h, id, ok, err := t.local.At(pos)
		if err != nil {
			return 0, false, err
		}
		if ok && h == hash && id > 0 {
			return id, true, nil
		}
	}
	r, ok, err := t.record(pos)
	if err != nil || !ok || r.hash != hash {
		return 0, false, err
	}
	t.mu.Lock()
	known := t.checked[string(pos)]
	t.mu.Unlock()
	if known {
		return r.id, true, nil
	}
	if err := merkle.Check(t.s, hash, r.id, len(pos)); err != nil {
		t.s.opts.Logger.Warn().Err(err).Msg("store: a piece of state that an earlier run transferred cannot be read; it is dropped")
		return 0, false, t.drop(pos, r)
	}
	t.know(pos)
	return r.id, true, nil
}

// Near reports whether anything is stored below a position, of whatever hash: in the newest checkpoint, or as recorded
// parts. Where there is, some of it may be what is wanted; where there is nothing, [Transfer.Have] finds nothing below.
func (t *Transfer) Near(pos []byte) (local, recorded bool, err error) {
	if t.local != nil {
		from, to := bounds(pos)
		if err := t.local.Range(from, to, func(_, _ []byte) bool { local = true; return false }); err != nil {
			return false, false, err
		}
	}
	n, err := countUpTo(t.s.db, append(partKey(pos), 0), append(partKey(pos), 0x10), 1)
	return local, n > 0, err
}

// bounds returns the range of keys that begin with these nibbles.
func bounds(pos []byte) (from, to []byte) {
	pack := func(pos []byte) []byte {
		key := make([]byte, (len(pos)+1)/2)
		for i, nibble := range pos {
			key[i/2] |= nibble << (4 * (1 - i%2))
		}
		return key
	}
	if len(pos) == 0 {
		return nil, nil
	}
	next := slices.Clone(pos)
	for last := len(next) - 1; last >= 0; last-- {
		if next[last]++; next[last] < 0x10 {
			return pack(pos), pack(next[:last+1])
		}
	}
	return pack(pos), nil
}

func (t *Transfer) know(pos []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.checked) > 1<<16 {
		clear(t.checked) // they can be checked again
	}
	t.checked[string(pos)] = true
}

func (t *Transfer) record(pos []byte) (record, bool, error) {
	r, err := read(t.s.db, "read part of a transfer", partKey(pos), decodeRecord)
	if errors.Is(err, ErrNotFound) {
		return record{}, false, nil
	}
	return r, err == nil, err
}

// drop forgets a part and what it stored.
func (t *Transfer) drop(pos []byte, r record) error {
	return t.s.writeSide(&sideWrite{clear: [][2][]byte{t.span(r.lane)}, del: [][]byte{partKey(pos)}}, false)
}

func (t *Transfer) span(lane uint64) [2][]byte {
	return [2][]byte{seqKey(spaceNode, uint64(t.start(lane))), seqKey(spaceNode, uint64(t.start(lane+1)))}
}

// Part begins the subtree with this hash at a position. End it with Commit or Abort. A split part is one whose children
// are all linked: they are parts of their own, or were there before.
func (t *Transfer) Part(pos []byte, hash merkle.Hash, split bool) *Part {
	return &Part{t: t, pos: slices.Clone(pos), hash: hash, split: split, wants: []wanted{{pos: slices.Clone(pos), hash: hash}}}
}

// write writes a piece. It waits for an fsync now and then.
func (t *Transfer) write(w *sideWrite, size int) error {
	t.mu.Lock()
	t.unsynced += size
	sync := t.unsynced >= unsyncedBytes
	if sync {
		t.unsynced = 0
	}
	t.mu.Unlock()
	return t.s.writeSide(w, sync)
}

// Finish returns the jump to a block whose state has been transferred: hand it to [Store.Enqueue] in a [Batch], then Close
// the transfer. It fails with ErrIncomplete when some of the state is missing. All parts must have ended.
func (t *Transfer) Finish(final block.Final) (*Jump, error) {
	j, err := t.finish(final)
	if err != nil {
		return nil, fmt.Errorf("finish transfer of state: %w", err)
	}
	return j, nil
}

func (t *Transfer) finish(final block.Final) (*Jump, error) {
	header := &final.Block.Header
	c := Checkpoint{
		Seq: t.last.Seq + 1, Height: header.Height, Hash: final.Block.Hash(), Root: header.StateRoot, NextNode: t.start(t.lane),
	}
	var used []uint64
	if root := merkle.Hash(c.Root); root != merkle.EmptyRoot() {
		id, ok, err := t.Have(nil, root)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, ErrIncomplete
		}
		c.RootNode = id
		if used, err = t.used(nil, root, nil); err != nil {
			return nil, err
		}
	}
	slices.Sort(used)
	state := &sideWrite{clear: append(t.gaps(used), [2][]byte{{spacePart}, {spacePart + 1}})}
	if err := t.stale(c); err != nil {
		return nil, err
	}
	// All that the jump stands on is durable before it.
	if err := t.s.writeSide(&sideWrite{}, true); err != nil {
		return nil, err
	}
	return &Jump{Final: final, checkpoint: c, state: state}, nil
}

// used gathers the lanes that the state at a position is in.
func (t *Transfer) used(pos []byte, hash merkle.Hash, lanes []uint64) ([]uint64, error) {
	r, ok, err := t.record(pos)
	if err != nil || !ok || r.hash != hash {
		return lanes, err // it is the checkpoint's
	}
	lanes = append(lanes, r.lane)
	if !r.split {
		return lanes, nil
	}
	stored, err := t.s.Node(r.id)
	if err != nil {
		return nil, err
	}
	node, err := merkle.ReadStored(stored, r.id, len(pos))
	if err != nil {
		return nil, err
	}
	for _, k := range node.Children {
		if lanes, err = t.used(node.Below(pos, k), k.Hash, lanes); err != nil {
			return nil, err
		}
	}
	return lanes, nil
}

// stale writes down which nodes of the last checkpoint the new state does not have.
func (t *Transfer) stale(c Checkpoint) error {
	if t.local == nil {
		return nil
	}
	next, err := merkle.Load(t.s, c.Root, c.RootNode, merkle.WithCacheBytes(4<<20))
	if err != nil {
		return err
	}
	var ids []merkle.NodeID
	chunk := uint32(0)
	flush := func() error {
		slices.Sort(ids)
		key, value := staleKey(c.Seq, chunk), encodeIDs(ids)
		chunk, ids = chunk+1, ids[:0]
		return t.write(&sideWrite{set: []pair{{key, value}}}, len(value))
	}
	err = t.local.Dropped(next, func(id merkle.NodeID) error {
		if ids = append(ids, id); len(ids) < chunkIDs {
			return nil
		}
		return flush()
	})
	if err == nil && len(ids) > 0 {
		err = flush()
	}
	return err
}

// Part is one subtree under way. One goroutine uses it.
type Part struct {
	t     *Transfer
	pos   []byte
	hash  merkle.Hash
	split bool
	lane  uint64
	next  merkle.NodeID // 0 before the first node is written
	wants []wanted      // the next one last
	open  []*frame      // nodes whose children are not all there, topmost first
	root  merkle.NodeID
	w     *sideWrite
	size  int
}

type wanted struct {
	pos  []byte
	hash merkle.Hash
}

// frame is a node that waits for its children's ids.
type frame struct {
	enc  []byte
	want int
	ids  []merkle.NodeID
}

// Want returns the position and hash of the node that is to be added next, in pre-order; false when the part is complete.
func (p *Part) Want() (pos []byte, hash merkle.Hash, ok bool) {
	if len(p.wants) == 0 {
		return nil, merkle.Hash{}, false
	}
	w := p.wants[len(p.wants)-1]
	return w.pos, w.hash, true
}

// Add takes the bytes of the wanted node. It returns ErrWrongNode, and changes nothing, if they are another one's.
func (p *Part) Add(enc []byte) error {
	pos, hash, ok := p.Want()
	if !ok || merkle.HashNode(enc) != hash {
		return ErrWrongNode
	}
	node, err := merkle.ReadNode(enc, len(pos))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrWrongNode, err)
	}
	p.wants = p.wants[:len(p.wants)-1]
	for _, k := range slices.Backward(node.Children) {
		p.wants = append(p.wants, wanted{node.Below(pos, k), k.Hash})
	}
	p.open = append(p.open, &frame{enc: bytes.Clone(enc), want: len(node.Children)})
	return p.settle()
}

// Link takes the wanted node, and all below it, as stored under id, as Have or another part's Commit returned it.
func (p *Part) Link(id merkle.NodeID) error {
	_, _, ok := p.Want()
	invariant(ok && id > 0, "link to node %d where nothing is wanted", id)
	p.wants = p.wants[:len(p.wants)-1]
	p.stored(id)
	return p.settle()
}

func (p *Part) stored(id merkle.NodeID) {
	if len(p.open) == 0 {
		p.root = id
		return
	}
	top := p.open[len(p.open)-1]
	top.ids = append(top.ids, id)
}

// settle writes the nodes whose children all have ids.
func (p *Part) settle() error {
	for len(p.open) > 0 {
		top := p.open[len(p.open)-1]
		if len(top.ids) < top.want {
			return nil
		}
		p.open = p.open[:len(p.open)-1]
		id, err := p.put(top)
		if err != nil {
			return err
		}
		p.stored(id)
	}
	return nil
}

// put writes one node.
func (p *Part) put(f *frame) (merkle.NodeID, error) {
	if p.next == 0 {
		p.t.mu.Lock()
		p.lane = p.t.lane
		p.t.lane++
		p.t.mu.Unlock()
		p.next, p.w = p.t.start(p.lane), &sideWrite{}
	}
	id := p.next
	invariant(id < p.t.start(p.lane+1), "a part of more than %d nodes", uint64(1)<<laneBits)
	p.next++
	rec := merkle.AppendStored(make([]byte, 0, len(f.enc)+4*len(f.ids)), f.enc, id, f.ids)
	p.w.set = append(p.w.set, pair{seqKey(spaceNode, uint64(id)), rec})
	if p.size += len(rec) + 9; p.size < p.t.s.pieceBytes {
		return id, nil
	}
	full, size := p.w, p.size
	p.w, p.size = &sideWrite{}, 0
	return id, p.t.write(full, size)
}

// Commit records the complete part and returns where its topmost node is stored. A part that was recorded at the same
// position is forgotten.
func (p *Part) Commit() (merkle.NodeID, error) {
	invariant(len(p.wants) == 0 && len(p.open) == 0 && p.root > 0, "commit of a part that lacks nodes")
	if p.next == 0 {
		return p.root, nil // nothing is new in it
	}
	old, ok, err := p.t.record(p.pos)
	if err != nil {
		return 0, err
	}
	if ok {
		p.w.clear = append(p.w.clear, p.t.span(old.lane))
	}
	r := record{hash: p.hash, lane: p.lane, id: p.root, split: p.split}
	p.w.set = append(p.w.set, pair{partKey(p.pos), r.encode()})
	if err := p.t.write(p.w, p.size); err != nil {
		return 0, fmt.Errorf("record part of a transfer: %w", err)
	}
	p.t.know(p.pos)
	return p.root, nil
}

// Abort drops what the part has written.
func (p *Part) Abort() error {
	if p.next == 0 {
		return nil
	}
	p.next, p.w = 0, nil
	return p.t.s.writeSide(&sideWrite{clear: [][2][]byte{p.t.span(p.lane)}}, false)
}
