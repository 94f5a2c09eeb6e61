package raftify

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
	"sync"

	"github.com/hashicorp/memberlist"
)

// A message that fits one packet goes in a datagram of its own, beside memberlist's: on the way through memberlist it
// would pass three goroutines, and on a machine that is busy each of them waits for its turn. It is
//
//	15 bytes  "baton/raft/v1\n" and a zero byte: no packet of memberlist begins like it
//	          AES-256-GCM with a random nonce in front, under a key that is derived from the gossip key; the 15 bytes
//	          are authenticated as well
//
// Like every message of the election it may be lost, repeated, delayed and reordered, so nothing here keeps count.
const (
	datagramPrefix = "baton/raft/v1\n\x00"
	datagramInfo   = "baton raftify datagram v1"
)

// sealer encrypts and authenticates datagrams with the keys of a ring. Safe for concurrent use.
type sealer struct {
	ring *memberlist.Keyring

	mu    sync.Mutex
	aeads map[string]cipher.AEAD // by gossip key
}

func newSealer(ring *memberlist.Keyring) *sealer {
	return &sealer{ring: ring, aeads: map[string]cipher.AEAD{}}
}

func (s *sealer) aead(key []byte) (cipher.AEAD, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a, ok := s.aeads[string(key)]; ok {
		return a, nil
	}
	derived, err := hkdf.Key(sha256.New, key, nil, datagramInfo, 32)
	if err != nil {
		return nil, fmt.Errorf("derive datagram key: %w", err)
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, fmt.Errorf("datagram cipher: %w", err)
	}
	a, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("datagram cipher: %w", err)
	}
	if len(s.aeads) > 2*len(s.ring.GetKeys()) {
		clear(s.aeads) // keys that are gone
	}
	s.aeads[string(key)] = a
	return a, nil
}

// seal returns the datagram of a message, under the key in use.
func (s *sealer) seal(message []byte) ([]byte, error) {
	a, err := s.aead(s.ring.GetPrimaryKey())
	if err != nil {
		return nil, err
	}
	out := make([]byte, len(datagramPrefix), len(datagramPrefix)+len(message)+a.Overhead())
	copy(out, datagramPrefix)
	return a.Seal(out, nil, message, []byte(datagramPrefix)), nil
}

// open returns the message of a datagram that begins with the prefix, under any of the keys.
func (s *sealer) open(datagram []byte) ([]byte, error) {
	for _, key := range s.ring.GetKeys() {
		a, err := s.aead(key)
		if err != nil {
			return nil, err
		}
		if message, err := a.Open(nil, nil, datagram[len(datagramPrefix):], []byte(datagramPrefix)); err == nil {
			return message, nil
		}
	}
	return nil, fmt.Errorf("%w: a datagram under none of the keys", ErrMalformed)
}
