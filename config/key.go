package config

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxKeyBytes bounds a key file.
const maxKeyBytes = 16 << 10

// keyType is the only type of key there is.
const keyType = "ed25519"

var (
	// ErrKeyReadable is returned when a file with a secret may be read by its group or by others.
	ErrKeyReadable = errors.New("key file may be read by others")
	// ErrKeyMismatch is returned when the public key of a key file is not that of its private key.
	ErrKeyMismatch = errors.New("public_key does not belong to private_key")
)

// keyFile is the JSON of a key file.
type keyFile struct {
	Type       string `json:"type"`
	PublicKey  string `json:"public_key"`
	PrivateKey string `json:"private_key"` // the 32-byte seed
}

// DecodeKey reads the bytes of a key file. The error never holds any of the private key.
func DecodeKey(data []byte) (ed25519.PrivateKey, error) {
	if len(data) > maxKeyBytes {
		return nil, fmt.Errorf("%w: at most %d bytes", ErrTooLarge, maxKeyBytes)
	}
	var f keyFile
	if err := decodeStrict(data, &f); err != nil {
		return nil, err
	}
	if f.Type != keyType {
		return nil, &FieldError{Field: "type", Value: f.Type, Want: keyType}
	}
	seed, err := hex.DecodeString(f.PrivateKey)
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, &FieldError{Field: "private_key", Value: "(hidden)", Want: "a seed of 64 hex digits"}
	}
	pub, err := ParsePublicKey(f.PublicKey)
	if err != nil {
		return nil, &FieldError{Field: "public_key", Value: f.PublicKey, Want: "64 hex digits"}
	}
	key := ed25519.NewKeyFromSeed(seed)
	if !bytes.Equal(pub, PublicKey(key)) {
		return nil, ErrKeyMismatch
	}
	return key, nil
}

// EncodeKey writes the bytes of key's file. They hold the secret.
func EncodeKey(key ed25519.PrivateKey) []byte {
	data, err := json.MarshalIndent(keyFile{
		Type:       keyType,
		PublicKey:  hex.EncodeToString(PublicKey(key)),
		PrivateKey: hex.EncodeToString(key.Seed()),
	}, "", "  ")
	invariant(err == nil, "key file: %v", err)
	return append(data, '\n')
}

// PublicKey is the public half of key.
func PublicKey(key ed25519.PrivateKey) ed25519.PublicKey {
	return ed25519.PublicKey(key[ed25519.PrivateKeySize-ed25519.PublicKeySize:])
}

// LoadKey reads the key file at path. A file that its group or others may read is refused with [ErrKeyReadable]. One
// that is encrypted is opened with the passphrase that the environment says, as it would override keys.passphrase.
func LoadKey(path string) (ed25519.PrivateKey, error) {
	return secretsOf(Passphrase(os.Getenv(EnvName("keys.passphrase")))).key(path)
}

// WriteKey creates the file path, mode 0600, with key in it and makes it durable. It never overwrites: a file that is
// there is an error that matches [os.ErrExist].
func WriteKey(path string, key ed25519.PrivateKey) error {
	return writeNew(path, EncodeKey(key), 0o600)
}

// forbidden is the permission bits that the file of a secret must not have. systemd gives a service its credentials by
// an access control list, whose mask shows as the bit of the group, in a folder that nobody else can enter.
func forbidden(path string) os.FileMode {
	if dir := os.Getenv(credentialsDir); dir != "" && filepath.Dir(path) == filepath.Clean(dir) {
		return 0o037
	}
	return 0o077
}

// readSecret reads a small file that only its owner may read.
func readSecret(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read from
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("key file %s: not a regular file", path)
	}
	if mode := info.Mode().Perm(); mode&forbidden(path) != 0 {
		return nil, fmt.Errorf("%w: %s has mode %04o; run chmod 600 %s", ErrKeyReadable, path, mode, path)
	}
	return readAll(f, path, maxKeyBytes)
}

// GossipKeys are the keys that raftify.encrypt holds or names, and nil when it is empty. The first is the one to encrypt
// with; the others are accepted from nodes that still use them, or already do. A file is relative to the folder of
// config.json, must be readable by its owner alone and may be encrypted.
func (c *Config) GossipKeys() ([][]byte, error) { return c.gossipKeys(c.secrets()) }

func (c *Config) gossipKeys(s *secrets) ([][]byte, error) {
	text := c.Raftify.Encrypt
	if text == "" {
		return nil, nil
	}
	path, isFile := strings.CutPrefix(text, filePrefix)
	if !isFile {
		keys, err := parseGossipKeys(text)
		if err != nil {
			return nil, fmt.Errorf("raftify.encrypt: %w", err)
		}
		return keys, nil
	}
	path = c.Resolve(path)
	data, err := s.read(path)
	if err != nil {
		return nil, fmt.Errorf("raftify.encrypt: %w", err)
	}
	keys, err := parseGossipKeys(string(data))
	if err != nil {
		return nil, fmt.Errorf("raftify.encrypt: key file %s: %w", path, err)
	}
	return keys, nil
}

// maxGossipKeys is how many keys may be known at once: one, and two while it is changed.
const maxGossipKeys = 4

// parseGossipKeys reads keys that are separated by commas or white space.
func parseGossipKeys(text string) ([][]byte, error) {
	var keys [][]byte
	for field := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\r' || r == '\n' }) {
		key, err := hex.DecodeString(field)
		if err != nil || (len(key) != 16 && len(key) != 24 && len(key) != 32) {
			return nil, errors.New("not a key of 32, 48 or 64 hex digits")
		}
		if slices.ContainsFunc(keys, func(k []byte) bool { return bytes.Equal(k, key) }) {
			return nil, errors.New("not different keys: one stands twice")
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 || len(keys) > maxGossipKeys {
		return nil, fmt.Errorf("not a key: %d keys, want 1 to %d of 32, 48 or 64 hex digits", len(keys), maxGossipKeys)
	}
	return keys, nil
}

// secrets reads the secrets that c names.
func (c *Config) secrets() *secrets { return &secrets{from: c.Keys.Passphrase, resolve: c.Resolve} }
