package blockstore

import (
	"fmt"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

const (
	// logLag is how long a group stands in the log without being synced there, at most, if the disk keeps up.
	logLag = 200 * time.Millisecond
	// logPatience is how long a sync of the log takes before answers wait for it as well: a log that hangs is to be noticed
	// as a disk that does.
	logPatience = time.Second
)

// logSync has Pebble's log follow the mark: it syncs what is written there now and then, from a goroutine of its own.
// Safe for concurrent use.
type logSync struct {
	db     *pebble.DB
	lag    time.Duration
	fail   func(error)
	failed <-chan struct{}

	wake   chan struct{} // one token: there is something to sync
	urgent chan struct{} // one token: at once
	stop   chan struct{}
	ended  chan struct{}

	mu      sync.Mutex
	written uint64        // the newest group in the log
	synced  uint64        // the newest group that is there for good
	syncs   uint64        // how often
	began   time.Time     // of the sync under way, zero for none
	done    chan struct{} // closed at the end of the next sync
}

// newLogSync is told up to which group everything is durable.
func newLogSync(db *pebble.DB, lag time.Duration, synced uint64, fail func(error), failed <-chan struct{}) *logSync {
	return &logSync{
		db: db, lag: lag, fail: fail, failed: failed, written: synced, synced: synced,
		wake: make(chan struct{}, 1), urgent: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{}),
		done: make(chan struct{}),
	}
}

func token(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// wrote notes that the log has groups up to seq.
func (l *logSync) wrote(seq uint64) {
	l.mu.Lock()
	first := l.written == l.synced
	l.written = seq
	l.mu.Unlock()
	if first {
		token(l.wake)
	}
}

// hurry has what is written synced at once.
func (l *logSync) hurry() { token(l.urgent) }

// upTo returns the newest group that the log has for good.
func (l *logSync) upTo() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.synced
}

// count returns how often the log was synced.
func (l *logSync) count() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.syncs
}

// late reports whether a sync takes so long that nobody should be told meanwhile that all is well.
func (l *logSync) late() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.began.IsZero() && time.Since(l.began) > logPatience
}

// next returns what is closed at the end of the next sync.
func (l *logSync) next() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.done
}

// run syncs until close is called.
func (l *logSync) run() {
	defer close(l.ended)
	for closing := false; !closing; {
		select {
		case <-l.wake:
		case <-l.urgent:
			l.sync()
			continue
		case <-l.stop:
			closing = true
		}
		if !closing {
			timer := time.NewTimer(l.lag)
			select {
			case <-timer.C:
			case <-l.urgent:
			case <-l.stop:
				closing = true
			}
			timer.Stop()
		}
		l.sync()
	}
}

// sync syncs what is written now. In a failed file system it does not return.
func (l *logSync) sync() {
	l.mu.Lock()
	seq := l.written
	if seq == l.synced {
		l.mu.Unlock()
		return
	}
	l.began = time.Now() //nolint:forbidigo // how long a disk takes
	l.mu.Unlock()
	if err := l.flush(); err != nil {
		l.fail(err)
		return
	}
	l.mu.Lock()
	l.began = time.Time{}
	l.syncs++
	l.mu.Unlock()
	l.reached(seq)
}

// flush returns when all that is in the log is durable.
func (l *logSync) flush() (err error) {
	defer func() {
		if r := recover(); r != nil { // Pebble panics when its log cannot take a record
			err = fmt.Errorf("sync log: %v", r)
		}
	}()
	if err := l.db.LogData(nil, pebble.Sync); err != nil {
		return fmt.Errorf("sync log: %w", err)
	}
	return nil
}

// reached notes that the log has all groups up to seq for good.
func (l *logSync) reached(seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.written, l.synced = max(l.written, seq), max(l.synced, seq)
	close(l.done)
	l.done = make(chan struct{})
	if l.written > l.synced {
		token(l.wake)
	}
}

// close syncs all that is written and ends run; a failed file system is not waited for.
func (l *logSync) close() {
	close(l.stop)
	select {
	case <-l.ended:
	case <-l.failed:
	}
}
