package merkle

import (
	"encoding/binary"
	"sync"
)

// defaultCacheBytes bounds a tree's cache of stored nodes unless an option says otherwise.
const defaultCacheBytes = 64 << 20

const (
	cacheShards = 16
	// segmentBytes is the size of a segment in a cache that is large enough for some.
	segmentBytes = 128 << 10
	// entryHeadBytes stand before a record in its segment: its id and its length.
	entryHeadBytes = 12
	// segmentHeadBytes is what a segment takes besides its content.
	segmentHeadBytes = 64
)

// cache keeps stored nodes' bytes by id, bounded in bytes; it is sharded by id, so that concurrent readers seldom meet. In
// memory of a garbage-collected program millions of small nodes would cost twice their size and the collector's time. So
// they lie one behind the other in segments, which are written once and dropped as a whole, and the index has no pointers.
//
// A segment that is full joins one of two queues, the oldest goes first. What was read from the store is on probation: it
// is dropped unless it was used again, so that a walk over all nodes leaves the others where they are. What a checkpoint
// wrote, and what passed probation, gets another round as long as it is used. What an update replaced is forgotten at once;
// its room comes free with its segment; what else is in a segment that is mostly such room gets another round.
type cache struct{ shards [cacheShards]cacheShard }

type cacheShard struct {
	mu    sync.Mutex
	index index
	probe queue // of what was read
	main  queue
	limit int64 // of what index and queues take
	size  int   // of a segment
}

// place says where an entry stands. Segments are numbered in each queue.
type place struct {
	segment uint32
	at      uint32 // in the segment, in bytes, above three bits
}

const (
	placeUsed = 1 << iota // since it was put there
	placeMain             // in that queue
	placeBits = iota
)

func (p place) offset() int { return int(p.at >> placeBits) }

// queue is a row of segments; all but the last are full.
type queue struct {
	first    uint32 // number of segments[0]
	segments []*segment
	bytes    int64
}

type segment struct {
	content []byte // its capacity never changes, so that slices of it stay what they are
	dead    int    // bytes of entries that were forgotten
}

func newCache(limitBytes int64) *cache {
	c := &cache{}
	for i := range c.shards {
		s := &c.shards[i]
		s.limit = limitBytes / cacheShards
		s.size = int(min(segmentBytes, s.limit/16))
	}
	return c
}

// get returns the bytes of a node, which nobody may change, or nil. They keep their segment in memory.
func (c *cache) get(id NodeID) []byte {
	s := &c.shards[id%cacheShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.index.get(id)
	if at == nil {
		return nil
	}
	at.place.at |= placeUsed
	return s.segmentOf(at.place).entry(at.place.offset())
}

// put adds a copy of a node's bytes unless it is there or takes too much of a shard. fresh says that a checkpoint wrote it
// just now.
func (c *cache) put(id NodeID, rec []byte, fresh bool) {
	s := &c.shards[id%cacheShards]
	need := entryHeadBytes + len(rec)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.index.get(id) != nil || int64(max(s.size, need)+segmentHeadBytes) > s.limit/2 {
		return
	}
	q := &s.probe
	if fresh {
		q = &s.main
	}
	for !s.fits(q, need) {
		if !s.evict() {
			return
		}
	}
	s.add(q, id, rec)
}

// forget drops a node that an update replaced. Older maps may still ask for it, and read it from the store then.
func (c *cache) forget(id NodeID) {
	s := &c.shards[id%cacheShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if at := s.index.get(id); at != nil {
		seg := s.segmentOf(at.place)
		seg.dead += entryHeadBytes + len(seg.entry(at.place.offset()))
		s.index.del(id)
	}
}

// bytes returns what the entries cost, all together.
func (c *cache) bytes() (sum int64) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		sum += s.bytes()
		s.mu.Unlock()
	}
	return sum
}

func (c *cache) limit() int64 { return cacheShards * c.shards[0].limit }

func (s *cacheShard) segmentOf(p place) *segment {
	q := &s.probe
	if p.at&placeMain != 0 {
		q = &s.main
	}
	return q.segments[p.segment-q.first]
}

// entry returns the record at an offset.
func (g *segment) entry(at int) []byte {
	size := int(binary.BigEndian.Uint32(g.content[at+8:]))
	from := at + entryHeadBytes
	return g.content[from : from+size : from+size]
}

func (s *cacheShard) bytes() int64 {
	table, _ := s.index.bytes()
	return table + s.probe.bytes + s.main.bytes
}

// fits reports whether there is room for one more entry of need bytes in a queue. The table never takes more than half of
// the shard, since it does not shrink.
func (s *cacheShard) fits(q *queue, need int) bool {
	now, next := s.index.bytes()
	room := s.limit - s.bytes() - (next - now)
	if last := q.last(); last == nil || cap(last.content)-len(last.content) < need {
		room -= int64(max(s.size, need) + segmentHeadBytes)
	}
	return room >= 0 && next <= s.limit/2
}

func (q *queue) last() *segment {
	if len(q.segments) == 0 {
		return nil
	}
	return q.segments[len(q.segments)-1]
}

// add puts an entry, which is not there, at the end of a queue.
func (s *cacheShard) add(q *queue, id NodeID, rec []byte) {
	last, need := q.last(), entryHeadBytes+len(rec)
	if last == nil || cap(last.content)-len(last.content) < need {
		last = &segment{content: make([]byte, 0, max(s.size, need))}
		q.segments = append(q.segments, last)
		q.bytes += last.cost()
	}
	p := place{segment: q.first + uint32(len(q.segments)-1), at: uint32(len(last.content)) << placeBits}
	if q == &s.main {
		p.at |= placeMain
	}
	last.content = binary.BigEndian.AppendUint64(last.content, uint64(id))
	last.content = binary.BigEndian.AppendUint32(last.content, uint32(len(rec)))
	last.content = append(last.content, rec...)
	s.index.set(id, p)
}

func (g *segment) cost() int64 { return int64(cap(g.content) + segmentHeadBytes) }

// evict drops the oldest segment of one queue, and moves what deserves it to the end of the main one. It makes some room,
// or takes the use of some entries away, so that calling it again does. It reports false if there is no segment.
func (s *cacheShard) evict() bool {
	q, isMain := &s.main, true
	if len(s.main.segments) == 0 || s.probe.bytes > s.limit/8 {
		q, isMain = &s.probe, false
	}
	if len(q.segments) == 0 {
		return false
	}
	seg, number := q.segments[0], q.first
	q.segments[0] = nil
	q.segments, q.first = q.segments[1:], q.first+1
	q.bytes -= seg.cost()
	stay := isMain && seg.dead >= len(seg.content)/2
	for at := 0; at < len(seg.content); {
		id, rec := NodeID(binary.BigEndian.Uint64(seg.content[at:])), seg.entry(at)
		if have := s.index.get(id); have != nil {
			p := have.place
			if p.segment == number && p.offset() == at && (p.at&placeMain != 0) == isMain {
				s.index.del(id)
				if stay || p.at&placeUsed != 0 {
					s.add(&s.main, id, rec)
				}
			}
		}
		at += entryHeadBytes + len(rec)
	}
	return true
}
