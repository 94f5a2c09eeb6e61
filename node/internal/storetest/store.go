package storetest

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/blockstore"
)

// Dir is where the store is in its file system.
const Dir = "data"

// Key returns a key that is the same for the same seed.
func Key(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

// Open opens the store in a file system. It is closed when the test ends, if it is not yet.
func Open(tb testing.TB, fs vfs.FS) *blockstore.Store {
	tb.Helper()
	s, err := blockstore.Open(blockstore.Options{Dir: Dir, FS: fs, Logger: zerolog.Nop(), CacheBytes: 4 << 20})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, blockstore.ErrClosed) {
			tb.Error(err)
		}
	})
	return s
}

// Write writes a batch and waits until it is stored.
func Write(tb testing.TB, s *blockstore.Store, b blockstore.Batch) {
	tb.Helper()
	done := make(chan error, 1)
	s.Enqueue(b, func(err error) { done <- err })
	if err := <-done; err != nil {
		tb.Fatal(err)
	}
}
