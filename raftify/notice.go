package raftify

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/baton-ha/baton/raftify/core"
)

// A death notice is its own statement with a signature behind it:
//
//	15 bytes  "baton/death/v1\n": no other use of a node key signs bytes that begin so
//	1 + n     length of the id, the id
//	16        incarnation
//	8, 8      start number and session, big-endian
//	64        Ed25519 by the node's own key over all that stands before
//
// It goes to the gossip port as it is, in one UDP packet: whoever sends it has no gossip key. No packet of the gossip
// begins like it.
const (
	noticePrefix   = "baton/death/v1\n"
	noticeFixed    = len(noticePrefix) + 1 + len(core.Inc{}) + 8 + 8 + ed25519.SignatureSize
	maxNoticeBytes = noticeFixed + maxIDBytes
)

// SignDeath returns the death notice that d is, signed with the node's own key; d.Sig is not looked at. It is to be made
// by the node itself while it lives, and sent by whoever saw its process exit: from then on it is true for ever. Until
// then it is a secret. It panics if the id is longer than a Config allows.
func SignDeath(key ed25519.PrivateKey, d core.Death) []byte {
	b := encodeDeath(d)
	return append(b, ed25519.Sign(key, b)...)
}

// encodeDeath returns what is signed: the notice without its signature.
func encodeDeath(d core.Death) []byte {
	invariant(len(d.ID) <= maxIDBytes, "id of %d bytes", len(d.ID))
	b := []byte(noticePrefix)
	b = append(b, byte(len(d.ID)))
	b = append(b, d.ID...)
	b = append(b, d.Inc[:]...)
	b = binary.BigEndian.AppendUint64(b, d.Boot)
	return binary.BigEndian.AppendUint64(b, d.Session)
}

// ParseDeath reads what SignDeath wrote and refuses everything else with ErrMalformed. The signature is not checked:
// see VerifyDeath. The result shares no memory with b.
func ParseDeath(b []byte) (core.Death, error) {
	var d core.Death
	if len(b) < noticeFixed || len(b) > maxNoticeBytes || string(b[:len(noticePrefix)]) != noticePrefix {
		return d, fmt.Errorf("%w: no death notice in %d bytes", ErrMalformed, len(b))
	}
	n := int(b[len(noticePrefix)])
	b = b[len(noticePrefix)+1:]
	if n == 0 || len(b) != n+noticeFixed-len(noticePrefix)-1 {
		return d, fmt.Errorf("%w: death notice with an id of %d bytes", ErrMalformed, n)
	}
	d.ID = core.NodeID(b[:n])
	b = b[n:]
	b = b[copy(d.Inc[:], b):]
	d.Boot, d.Session = binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
	d.Sig = append([]byte(nil), b[16:]...)
	return d, nil
}

// VerifyDeath reports whether the owner of a key signed d.
func VerifyDeath(key ed25519.PublicKey, d core.Death) bool {
	return len(key) == ed25519.PublicKeySize && len(d.ID) > 0 && len(d.ID) <= maxIDBytes &&
		ed25519.Verify(key, encodeDeath(d), d.Sig)
}

// Death returns what the death notice of this very start says. A supervisor that is to send it gets it signed, as
// SignDeath returns it, over a pipe that nobody else can read. Safe for concurrent use.
func (n *Node) Death() core.Death { return n.death }

// notices checks death notices before the core sees them.
type notices struct {
	key func(core.NodeID) ed25519.PublicKey // nil: none is believed

	mu   sync.Mutex
	last core.Death // verified: requests for votes repeat it
}

// proven reports whether a notice concerns a member and was signed by it. A stranger who does not know the member's
// incarnation, which is random and travels encrypted, costs no more than a look at the configuration.
func (v *notices) proven(cfg core.Config, d core.Death) bool {
	m, ok := cfg.Member(d.ID)
	if !ok || m.Inc != d.Inc || v.key == nil {
		return false
	}
	v.mu.Lock()
	known := v.last.ID == d.ID && v.last.Inc == d.Inc && v.last.Boot == d.Boot && v.last.Session == d.Session &&
		bytes.Equal(v.last.Sig, d.Sig)
	v.mu.Unlock()
	if known {
		return true
	}
	if !VerifyDeath(v.key(d.ID), d) {
		return false
	}
	v.mu.Lock()
	v.last = d
	v.mu.Unlock()
	return true
}
