package raftify

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// ErrLocked is returned by OpenFileStore when another process, or another FileStore of this one, has the folder open.
var ErrLocked = errors.New("folder is in use")

// CorruptionError says that the vote file is there but not what was written. A node must not start with it: it may
// have voted. Its folder is to be replaced as a whole, which makes it a newcomer.
type CorruptionError struct {
	Path string
	Err  error
}

// Error names the file and the damage.
func (e *CorruptionError) Error() string {
	return fmt.Sprintf("vote file %s is damaged: %v", e.Path, e.Err)
}

// Unwrap returns what was found.
func (e *CorruptionError) Unwrap() error { return e.Err }

const (
	voteFile  = "vote"
	voteTemp  = "vote.tmp"
	voteLock  = "lock"
	voteMagic = "baton/vote/v1\n"
)

// FileStore is a Store for those who use raftify alone: one file that is replaced as a whole. Writes that are queued
// while one is under way are served by one more, of the newest state. Safe for concurrent use.
type FileStore struct {
	dir  string
	lock *os.File

	mu     sync.Mutex
	queue  []saveRequest
	wake   chan struct{}
	closed bool
	done   chan struct{}
	err    error // the writer's: the first failure is final
}

type saveRequest struct {
	state []byte
	done  func(error)
}

// OpenFileStore opens the folder, making it if need be, and locks it. Close it after the node that uses it.
func OpenFileStore(dir string) (*FileStore, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open vote folder: %w", err)
	}
	if err := syncDir(filepath.Dir(filepath.Clean(dir))); err != nil {
		return nil, fmt.Errorf("open vote folder: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, voteLock), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open vote folder: %w", err)
	}
	if err := lockFile(lock); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %s: %w", ErrLocked, dir, err), lock.Close())
	}
	s := &FileStore{dir: dir, lock: lock, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go s.write()
	return s, nil
}

// Load returns the stored state, nil if nothing was ever stored, and a *CorruptionError for anything else than what
// Save wrote.
func (s *FileStore) Load() ([]byte, error) {
	path := filepath.Join(s.dir, voteFile)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("load vote file: %w", err)
	}
	raw, err := io.ReadAll(io.LimitReader(f, MaxStateBytes+1024))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("load vote file: %w", err)
	}
	state, err := openSealed(raw)
	if err != nil {
		return nil, &CorruptionError{Path: path, Err: err}
	}
	return state, nil
}

// Save implements Store.
func (s *FileStore) Save(state []byte, done func(error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		go done(fmt.Errorf("save vote file: %w", fs.ErrClosed))
		return
	}
	s.queue = append(s.queue, saveRequest{state, done})
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Close writes what is queued, stops the writer and unlocks the folder.
func (s *FileStore) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		<-s.done
		return nil
	}
	s.closed = true
	close(s.wake)
	s.mu.Unlock()
	<-s.done
	return s.lock.Close()
}

func (s *FileStore) write() {
	defer close(s.done)
	for range s.wake {
		s.flush()
	}
	s.flush()
}

func (s *FileStore) flush() {
	s.mu.Lock()
	batch := s.queue
	s.queue = nil
	s.mu.Unlock()
	if len(batch) == 0 {
		return
	}
	if s.err == nil {
		s.err = s.replace(seal(batch[len(batch)-1].state))
	}
	for _, r := range batch {
		r.done(s.err)
	}
}

// replace writes the file next to the old one, syncs it, and puts it in the old one's place.
func (s *FileStore) replace(b []byte) error {
	temp := filepath.Join(s.dir, voteTemp)
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("save vote file: %w", err)
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("save vote file: %w", err)
	}
	if err := os.Rename(temp, filepath.Join(s.dir, voteFile)); err != nil {
		return fmt.Errorf("save vote file: %w", err)
	}
	if err := syncDir(s.dir); err != nil {
		return fmt.Errorf("save vote file: %w", err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// seal wraps a state in the layout of the vote file: magic, length (4 bytes, big endian), state, SHA-256 of it all.
func seal(state []byte) []byte {
	b := append([]byte(voteMagic), binary.BigEndian.AppendUint32(nil, uint32(len(state)))...)
	b = append(b, state...)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

func openSealed(raw []byte) ([]byte, error) {
	head := len(voteMagic) + 4
	if len(raw) < head+sha256.Size || string(raw[:len(voteMagic)]) != voteMagic {
		return nil, fmt.Errorf("%w: %d bytes that are no vote file", ErrMalformed, len(raw))
	}
	n := int64(binary.BigEndian.Uint32(raw[len(voteMagic):]))
	if n > MaxStateBytes || n != int64(len(raw)-head-sha256.Size) {
		return nil, fmt.Errorf("%w: length %d in a file of %d bytes", ErrMalformed, n, len(raw))
	}
	body := raw[:head+int(n)]
	if sum := sha256.Sum256(body); !bytes.Equal(sum[:], raw[len(body):]) {
		return nil, fmt.Errorf("%w: checksum", ErrMalformed)
	}
	return bytes.Clone(body[head:]), nil
}
