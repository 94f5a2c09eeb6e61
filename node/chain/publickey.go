package chain

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
)

// ErrBadPublicKey is returned when a text is not 64 hex digits.
var ErrBadPublicKey = errors.New("not a public key of 64 hex digits")

// PublicKey is an Ed25519 public key; it also names the account that it controls.
type PublicKey [ed25519.PublicKeySize]byte

// ParsePublicKey reads 64 hex digits of either case; anything else is [ErrBadPublicKey].
func ParsePublicKey(s string) (PublicKey, error) { return parsePublicKey([]byte(s)) }

func parsePublicKey(s []byte) (PublicKey, error) {
	var k PublicKey
	if len(s) != hex.EncodedLen(len(k)) {
		return PublicKey{}, ErrBadPublicKey
	}
	if _, err := hex.Decode(k[:], s); err != nil {
		return PublicKey{}, ErrBadPublicKey
	}
	return k, nil
}

// String returns the 64 lower-case hex digits.
func (k PublicKey) String() string { return hex.EncodeToString(k[:]) }

// MarshalText returns the 64 lower-case hex digits.
func (k PublicKey) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, k[:]), nil }

// UnmarshalText reads what [ParsePublicKey] reads.
func (k *PublicKey) UnmarshalText(text []byte) error {
	parsed, err := parsePublicKey(text)
	if err != nil {
		return err
	}
	*k = parsed
	return nil
}
