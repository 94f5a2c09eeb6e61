package block

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
)

// Height is a block's position in the chain. Genesis is 0, the first signed block is 1.
type Height uint64

// HashBytes is the length of a [Hash] in bytes.
const HashBytes = 32

// SignatureBytes is the length of a [Signature] in bytes.
const SignatureBytes = 64

// ErrBadHex is returned when a text is not the hex form of a hash or signature: wrong length or other characters.
var ErrBadHex = errors.New("not the expected number of hex digits")

// Hash is a SHA-256 digest: of a header, a payload, a transaction list or a state node.
type Hash [HashBytes]byte

// String returns the 64 lower-case hex digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// IsZero reports whether all bytes are zero, which stands for "no hash" (genesis's parent).
func (h Hash) IsZero() bool { return h == Hash{} }

// MarshalText returns the 64 lower-case hex digits.
func (h Hash) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h[:]), nil }

// UnmarshalText reads 64 hex digits; anything else is [ErrBadHex].
func (h *Hash) UnmarshalText(text []byte) error {
	parsed, err := ParseHash(string(text))
	if err != nil {
		return err
	}
	*h = parsed
	return nil
}

// ParseHash reads 64 hex digits of either case; anything else is [ErrBadHex].
func ParseHash(s string) (Hash, error) {
	var h Hash
	if err := decodeHex(h[:], s); err != nil {
		return Hash{}, fmt.Errorf("parse hash: %w", err)
	}
	return h, nil
}

// Signature is an Ed25519 signature.
type Signature [SignatureBytes]byte

// String returns the 128 lower-case hex digits.
func (s Signature) String() string { return hex.EncodeToString(s[:]) }

// IsZero reports whether all bytes are zero, which stands for "not signed"; it is no valid signature.
func (s Signature) IsZero() bool { return s == Signature{} }

// MarshalText returns the 128 lower-case hex digits.
func (s Signature) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, s[:]), nil }

// UnmarshalText reads 128 hex digits; anything else is [ErrBadHex].
func (s *Signature) UnmarshalText(text []byte) error {
	parsed, err := ParseSignature(string(text))
	if err != nil {
		return err
	}
	*s = parsed
	return nil
}

// ParseSignature reads 128 hex digits of either case; anything else is [ErrBadHex].
func ParseSignature(text string) (Signature, error) {
	var s Signature
	if err := decodeHex(s[:], text); err != nil {
		return Signature{}, fmt.Errorf("parse signature: %w", err)
	}
	return s, nil
}

// decodeHex fills dst from exactly 2*len(dst) hex digits. The text is not repeated in the error: it may be long.
func decodeHex(dst []byte, s string) error {
	if len(s) != hex.EncodedLen(len(dst)) {
		return fmt.Errorf("%w: want %d, got %d characters", ErrBadHex, hex.EncodedLen(len(dst)), len(s))
	}
	if _, err := hex.Decode(dst, []byte(s)); err != nil {
		return fmt.Errorf("%w: %w", ErrBadHex, err)
	}
	return nil
}

// signDomain separates a block signature from every other use of the processor key.
const signDomain = "baton/block/v1\n"

// Sign signs a block hash with the processor key. The result is a pure function of its arguments. Only committed
// blocks may be signed (PROTOCOL.md R12); the caller sees to that.
func Sign(key ed25519.PrivateKey, h Hash) Signature {
	return Signature(ed25519.Sign(key, signedBytes(h)))
}

// VerifySignature reports whether sig is the signature of a block hash under pub. A key of the wrong length is false.
func VerifySignature(pub ed25519.PublicKey, h Hash, sig Signature) bool {
	return len(pub) == ed25519.PublicKeySize && ed25519.Verify(pub, signedBytes(h), sig[:])
}

func signedBytes(h Hash) []byte {
	buf := make([]byte, 0, len(signDomain)+HashBytes)
	return append(append(buf, signDomain...), h[:]...)
}
