package merkle

import "sync"

// defaultCacheBytes bounds a tree's cache of decoded nodes unless an option says otherwise.
const defaultCacheBytes = 64 << 20

const cacheShards = 16

// cache keeps decoded stored nodes by id, bounded in bytes. It is sharded by id, so that concurrent
// readers seldom meet, and evicts by second chance.
type cache struct{ shards [cacheShards]cacheShard }

type cacheShard struct {
	mu      sync.Mutex
	entries map[NodeID]*cacheEntry
	clock   []*cacheEntry // ring of all entries
	hand    int
	bytes   int64
	limit   int64
}

type cacheEntry struct {
	id   NodeID
	node *node
	used bool
}

func newCache(limitBytes int64) *cache {
	c := &cache{}
	for i := range c.shards {
		c.shards[i].entries = make(map[NodeID]*cacheEntry)
		c.shards[i].limit = limitBytes / cacheShards
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
	e.used = true
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
	for s.bytes+cost > s.limit {
		s.evict()
	}
	e := &cacheEntry{id: id, node: n}
	s.entries[id] = e
	s.clock = append(s.clock, e)
	s.bytes += cost
}

// evict drops the first entry from the hand on that was not used since the hand last passed. There is one: bytes > 0.
func (s *cacheShard) evict() {
	for {
		if s.hand >= len(s.clock) {
			s.hand = 0
		}
		e := s.clock[s.hand]
		if e.used {
			e.used = false
			s.hand++
			continue
		}
		last := len(s.clock) - 1
		s.clock[s.hand] = s.clock[last]
		s.clock[last] = nil
		s.clock = s.clock[:last]
		delete(s.entries, e.id)
		s.bytes -= e.node.cost()
		return
	}
}
