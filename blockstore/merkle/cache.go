package merkle

import "sync"

// defaultCacheBytes bounds a tree's cache of decoded nodes unless an option says otherwise.
const defaultCacheBytes = 64 << 20

const cacheShards = 16

// cache keeps decoded stored nodes by id, bounded in bytes. It is sharded by id, so that concurrent readers seldom meet,
// and the node that was not used for the longest time goes first: a checkpoint gives most nodes near the root new ids, and
// the old ones must make room.
type cache struct{ shards [cacheShards]cacheShard }

type cacheShard struct {
	mu      sync.Mutex
	entries map[NodeID]*cacheEntry
	ring    cacheEntry // next is the newest entry, prev the oldest
	bytes   int64
	limit   int64
}

type cacheEntry struct {
	id         NodeID
	node       *node
	prev, next *cacheEntry
}

func newCache(limitBytes int64) *cache {
	c := &cache{}
	for i := range c.shards {
		s := &c.shards[i]
		s.entries = make(map[NodeID]*cacheEntry)
		s.limit = limitBytes / cacheShards
		s.ring.prev, s.ring.next = &s.ring, &s.ring
	}
	return c
}

func (c *cache) get(id NodeID) *node {
	s := &c.shards[id%cacheShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[id]
	if e == nil {
		return nil
	}
	e.unlink()
	s.link(e)
	return e.node
}

// put adds a node unless it is there or takes more than a shard may hold.
func (c *cache) put(id NodeID, n *node) {
	s := &c.shards[id%cacheShards]
	cost := n.cost()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries[id] != nil || cost > s.limit {
		return
	}
	for s.bytes+cost > s.limit { // so there is an entry
		old := s.ring.prev
		old.unlink()
		delete(s.entries, old.id)
		s.bytes -= old.node.cost()
	}
	e := &cacheEntry{id: id, node: n}
	s.entries[id] = e
	s.link(e)
	s.bytes += cost
}

// link makes e the newest entry.
func (s *cacheShard) link(e *cacheEntry) {
	e.prev, e.next = &s.ring, s.ring.next
	e.prev.next, e.next.prev = e, e
}

func (e *cacheEntry) unlink() { e.prev.next, e.next.prev = e.next, e.prev }
