package raftify

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func openStore(t *testing.T, dir string) *FileStore {
	t.Helper()
	s, err := OpenFileStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func saveWait(s Store, b []byte) error {
	done := make(chan error, 1)
	s.Save(b, func(err error) { done <- err })
	return <-done
}

func TestFileStoreKeepsTheNewest(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	s := openStore(t, dir)
	if b, err := s.Load(); b != nil || err != nil {
		t.Fatalf("empty folder: %x, %v", b, err)
	}
	order := make(chan int, 200)
	for i := range 200 {
		s.Save([]byte{byte(i)}, func(err error) {
			if err != nil {
				t.Error(err)
			}
			order <- i
		})
	}
	for i := range 200 {
		if got := <-order; got != i {
			t.Fatalf("completion %d came at place %d", got, i)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := saveWait(s, []byte{1}); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("save after close: %v", err)
	}
	b, err := openStore(t, dir).Load()
	if err != nil || !bytes.Equal(b, []byte{199}) {
		t.Errorf("after reopening: %x, %v", b, err)
	}
}

func TestFileStoreCloseWritesWhatIsQueued(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	saved := make(chan error, 1)
	s.Save([]byte("last"), func(err error) { saved <- err })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-saved; err != nil {
		t.Fatal(err)
	}
	if b, err := openStore(t, dir).Load(); err != nil || string(b) != "last" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestFileStoreLocksItsFolder(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	if _, err := OpenFileStore(dir); !errors.Is(err, ErrLocked) {
		t.Fatalf("second store on one folder: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	openStore(t, dir)
}

func TestFileStoreNoticesDamage(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	if err := saveWait(s, []byte("the state")); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, voteFile)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, b []byte) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		var bad *CorruptionError
		if got, err := s.Load(); !errors.As(err, &bad) || !errors.Is(err, ErrMalformed) {
			t.Fatalf("%s: %q, %v", what, got, err)
		}
	}
	for i := range whole {
		flipped := bytes.Clone(whole)
		flipped[i] ^= 0x10
		check("flipped bit", flipped)
		check("cut", whole[:i])
	}
	check("longer", append(bytes.Clone(whole), 0))
	check("zeros", make([]byte, len(whole)))
}

func TestFileStoreFailureIsFinal(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	s := openStore(t, dir)
	if err := saveWait(s, []byte("a")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := saveWait(s, []byte("b")); err == nil {
		t.Fatal("saved into a folder that is gone")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := saveWait(s, []byte("c")); err == nil {
		t.Fatal("a write after a failed one was reported durable")
	}
}

func TestLeftoverTempIsNoState(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, voteTemp), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, dir)
	if b, err := s.Load(); b != nil || err != nil {
		t.Fatalf("%q, %v", b, err)
	}
	if err := saveWait(s, []byte("x")); err != nil {
		t.Fatal(err)
	}
}
