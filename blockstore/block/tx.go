package block

import (
	"crypto/ed25519"
	"crypto/sha256"
	"sync/atomic"
)

const (
	txDomain  = "baton/tx/v1\n"
	txsDomain = "baton/txs/v1\n"
)

// Tx is a transaction exactly as its sender signed it. It is immutable after creation: no field may change once the Tx
// is shared, and the payload belongs to it. All methods are safe for concurrent use. Pass it by pointer.
type Tx struct {
	// Payload is the signed text, at most [MaxPayloadBytes].
	Payload []byte
	// Signature is the sender's, over the transaction domain line and the payload.
	Signature Signature

	hash atomic.Pointer[Hash]
}

// Hash returns the transaction's hash, which the signature is not part of. It is computed at the first call and kept.
func (t *Tx) Hash() Hash {
	if h := t.hash.Load(); h != nil {
		return *h
	}
	h := hashTx(t.Payload)
	t.hash.Store(&h) // two first callers store the same value
	return h
}

func hashTx(payload []byte) Hash {
	d := sha256.New()
	d.Write([]byte(txDomain))
	d.Write(payload)
	var h Hash
	d.Sum(h[:0])
	return h
}

// Verify reports whether the signature is pub's over this payload. A key of the wrong length is false.
func (t *Tx) Verify(pub ed25519.PublicKey) bool {
	return len(pub) == ed25519.PublicKeySize && ed25519.Verify(pub, txSignedBytes(t.Payload), t.Signature[:])
}

// SignTx makes a transaction of payload, which it keeps without copying, signed by key.
func SignTx(key ed25519.PrivateKey, payload []byte) *Tx {
	return &Tx{Payload: payload, Signature: Signature(ed25519.Sign(key, txSignedBytes(payload)))}
}

func txSignedBytes(payload []byte) []byte {
	buf := make([]byte, 0, len(txDomain)+len(payload))
	return append(append(buf, txDomain...), payload...)
}

// Size returns how many bytes the transaction takes in an encoded block.
func (t *Tx) Size() int { return 4 + len(t.Payload) + SignatureBytes }

// TxRoot returns the hash over an ordered transaction list that a header carries: each transaction's hash and
// signature. The root of no transactions is the hash of the domain line alone.
func TxRoot(txs []*Tx) Hash {
	d := sha256.New()
	d.Write([]byte(txsDomain))
	for _, tx := range txs {
		h := tx.Hash()
		d.Write(h[:])
		d.Write(tx.Signature[:])
	}
	var root Hash
	d.Sum(root[:0])
	return root
}
