package chain

import (
	"sync"

	"github.com/baton-ha/baton/blockstore/block"
)

// verifiedKey names a checked signature. The hash covers the payload and so the sender; it does not cover the
// signature, which therefore stands beside it.
type verifiedKey struct {
	hash      block.Hash
	signature block.Signature
}

// verifiedSet remembers the newest good signatures: at least generation of them, at most twice as many. Two
// generations age it without a list: a full one becomes the old one, and what the old one still held is forgotten.
// It is safe for concurrent use.
type verifiedSet struct {
	mu         sync.Mutex
	generation int
	young, old map[verifiedKey]struct{}
}

func newVerifiedSet(generation int) *verifiedSet {
	return &verifiedSet{generation: generation, young: make(map[verifiedKey]struct{})}
}

// has reports whether the signature is remembered; one asked for stays longer.
func (s *verifiedSet) has(k verifiedKey) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.young[k]; ok {
		return true
	}
	if _, ok := s.old[k]; ok {
		s.addLocked(k)
		return true
	}
	return false
}

func (s *verifiedSet) add(k verifiedKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addLocked(k)
}

func (s *verifiedSet) addLocked(k verifiedKey) {
	if len(s.young) >= s.generation {
		s.old, s.young = s.young, make(map[verifiedKey]struct{})
	}
	s.young[k] = struct{}{}
}
