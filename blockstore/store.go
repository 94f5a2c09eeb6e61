package blockstore

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"
)

// defaultCacheBytes is used when Options.CacheBytes is 0.
const defaultCacheBytes = 64 << 20

// Options configure a Store.
type Options struct {
	// Dir is the data folder. It is made if it is not there.
	Dir string
	// FS is the file system; nil is the disk.
	FS vfs.FS
	// Logger takes what is worth telling a person.
	Logger zerolog.Logger
	// CacheBytes bounds the memory for recent blocks and for Pebble's own cache, half each; 0 is 64 MiB.
	CacheBytes int64
	// Fatal is called once, in its own goroutine, with the first write or sync error (R24). The store is of no use
	// afterwards but for reading; the process is expected to end.
	Fatal func(error)

	ringBytes int           // of a mirror of the mark file that is made; 0 is the constant
	logLag    time.Duration // as the constant, for 0
}

// Store is the durable side of a node: blocks, their index, the state's nodes and the hard state of both layers. All
// methods are safe for concurrent use. Writes go through Enqueue; reads see what has been written and, unless the batch
// said NoSync, synced.
type Store struct {
	opts  Options
	db    *pebble.DB
	mark  *markFile
	log   *logSync
	lock  *pebble.Lock
	cache *pebble.Cache

	state  atomic.Pointer[state]
	recent *recent
	stats  stats

	sideMu     sync.Mutex // held by the one checkpoint or step of pruning that is under way
	pieceBytes int        // as the constant; less in tests

	mu      sync.Mutex
	queue   []item
	closing bool
	overdue bool          // a timer runs that wakes the writer for what can wait
	wake    chan struct{} // holds one token when there is something for the writer

	// pen is held by whoever writes and answers: the writer, or after a failure what relieved it.
	pen        sync.Mutex
	hand       []item        // taken from the queue and not answered; guarded by pen
	relieved   bool          // the writer's work is over, its hand taken; guarded by pen
	writerDone chan struct{} // closed when all is written and answered

	failOnce sync.Once
	failErr  error         // set before failed is closed
	failed   chan struct{} // closed at the first failure
}

// item is one Enqueue.
type item struct {
	batch Batch
	done  func(error)
}

// Open opens the folder, checks that the end of the chain is what it was and starts the writer. It returns [ErrInUse]
// when somebody has the folder open and a [*CorruptionError] when its content contradicts itself. When Open returns,
// all that can be read from the store is durable, whatever the last run left unsynced.
func Open(o Options) (*Store, error) {
	if o.FS == nil {
		o.FS = disk()
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = defaultCacheBytes
	}
	if o.ringBytes == 0 {
		o.ringBytes = ringBytes
	}
	if o.logLag == 0 {
		o.logLag = logLag
	}
	s := &Store{
		opts:       o,
		recent:     newRecent(o.CacheBytes / 2),
		pieceBytes: pieceBytes,
		wake:       make(chan struct{}, 1),
		writerDone: make(chan struct{}),
		failed:     make(chan struct{}),
	}
	lock, err := lockFolder(o.FS, o.Dir)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", o.Dir, err)
	}
	s.lock = lock
	if err := s.open(); err != nil {
		if isDamage(err) {
			err = fmt.Errorf("%w; %s", err, newFolderHint)
		}
		return nil, fmt.Errorf("open store %s: %w", o.Dir, err)
	}
	go s.log.run()
	go s.write()
	go s.relieve()
	return s, nil
}

// open opens the locked folder. After an error it is closed again and unlocked, unless a write failed: then Pebble is
// stuck in it for good.
func (s *Store) open() error {
	s.cache = pebble.NewCache(s.opts.CacheBytes - s.opts.CacheBytes/2)
	defer s.cache.Unref()
	fs := &failstop{FS: s.opts.FS, report: s.fail, failed: s.failed}
	popts := pebbleOptions(fs, s.cache, s.opts.Logger, s.fail)
	popts.Lock = s.lock
	type result struct {
		db   *pebble.DB
		mark *markFile
		err  error
	}
	opened := make(chan result, 1)
	go func() { // a failed write leaves it waiting for ever
		db, mark, err := openBoth(popts, s.opts.Dir, s.opts.ringBytes, s.opts.Logger)
		opened <- result{db, mark, err}
	}()
	select {
	case r := <-opened:
		if r.err != nil {
			if pebble.IsCorruptionError(r.err) {
				r.err = &CorruptionError{Op: "open", Err: r.err}
			}
			return errors.Join(r.err, s.lock.Close())
		}
		s.db, s.mark = r.db, r.mark
	case <-s.failed:
		return s.failure()
	}
	if err := s.load(); err != nil {
		return errors.Join(err, s.closeFolder())
	}
	s.log = newLogSync(s.db, s.opts.logLag, s.state.Load().seq, s.fail, s.failed)
	return s.failure()
}

// newFolderHint ends each error that says that a folder can no longer vouch for what this node once asserted.
const newFolderHint = "this folder cannot vouch any more for what this node promised: empty it, and the node comes back as a " +
	"newcomer that gets everything from the others"

// openBoth opens Pebble and the mark file.
func openBoth(popts *pebble.Options, dir string, ring int, log zerolog.Logger) (*pebble.DB, *markFile, error) {
	found, err := readMarks(popts.FS, dir)
	if err != nil {
		return nil, nil, err
	}
	db, err := pebble.Open(dir, popts)
	if err != nil {
		return nil, nil, err
	}
	mark, err := join(db, popts.FS, dir, found, ring, log)
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return db, mark, nil
}

// closeFolder closes the database and lets go of the folder; a failed file system is not waited for.
func (s *Store) closeFolder() error {
	closed := make(chan error, 1)
	go func() { closed <- errors.Join(s.db.Close(), s.mark.file.Close(), s.lock.Close()) }()
	select {
	case err := <-closed:
		return err
	case <-s.failed:
		return s.failure()
	}
}

// lockFolder makes the folder and takes its lock.
func lockFolder(fs vfs.FS, dir string) (*pebble.Lock, error) {
	if err := makeFolder(fs, dir); err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	lock, err := pebble.LockDirectory(dir, fs)
	switch {
	case err == nil:
		return lock, nil
	case errors.Is(err, os.ErrPermission), errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("lock: %w", err)
	default:
		return nil, fmt.Errorf("%w: %w", ErrInUse, err)
	}
}

// makeFolder makes dir and whatever is missing above it, and syncs the folders that got an entry.
func makeFolder(fs vfs.FS, dir string) error {
	if _, err := fs.Stat(dir); err == nil {
		return nil
	}
	parent := fs.PathDir(dir)
	if parent == dir {
		return nil
	}
	if err := makeFolder(fs, parent); err != nil {
		return err
	}
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return syncFolder(fs, parent)
}

func syncFolder(fs vfs.FS, dir string) error {
	f, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Enqueue hands a batch to the writer, in order, and returns at once. done, which may be nil, is called in the order
// of the batches, one at a time: with nil after the fsync that covers the batch (or, with NoSync, after it was applied),
// with [ErrFailed] from the first failure on. It should return soon, and may call Enqueue. The caller bounds what it
// has in flight.
func (s *Store) Enqueue(b Batch, done func(error)) {
	if done == nil {
		done = func(error) {}
	}
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		go done(ErrClosed) // the writer may have ended, and the caller may hold locks
		return
	}
	s.queue = append(s.queue, item{batch: b.clone(), done: done})
	soon, start := !b.canWait(), false
	if !soon && !s.overdue {
		s.overdue, start = true, true
	}
	s.mu.Unlock()
	switch {
	case soon:
		s.wakeWriter()
	case start:
		time.AfterFunc(maxWait, s.writeOverdue)
	}
}

// maxWait is how long a batch that can wait does so at most for company.
const maxWait = 20 * time.Millisecond

// writeOverdue wakes the writer when nothing else did for a while.
func (s *Store) writeOverdue() {
	s.mu.Lock()
	s.overdue = false
	waiting := len(s.queue) > 0
	s.mu.Unlock()
	if waiting {
		s.wakeWriter()
	}
}

func (s *Store) wakeWriter() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Close writes what is queued, then closes the folder. After a failure the folder stays locked until the process ends.
// It must not be called from a done callback, and blocks while the disk does.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		<-s.writerDone
		return ErrClosed
	}
	s.closing = true
	s.mu.Unlock()
	s.wakeWriter()
	<-s.writerDone
	s.log.close()
	if err := s.failure(); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	if err := s.closeFolder(); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}

// fail records the first failure and tells the owner. It never blocks: it is called from under Pebble's locks.
func (s *Store) fail(cause error) {
	s.failOnce.Do(func() {
		s.failErr = fmt.Errorf("%w: %w", ErrFailed, cause)
		close(s.failed)
		s.opts.Logger.Error().Err(cause).Msg("store: write failed, nothing more is written")
		if s.opts.Fatal != nil {
			go s.opts.Fatal(s.failErr)
		}
	})
}

// failure returns ErrFailed with its cause after a failure, nil before.
func (s *Store) failure() error {
	select {
	case <-s.failed:
		return s.failErr
	default:
		return nil
	}
}
