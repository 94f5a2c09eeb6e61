package peer

import (
	"context"
	"errors"
	"sync"
)

// frameCostBytes is what a waiting frame costs beside its bytes, so that empty frames are bounded too.
const frameCostBytes = 64

// queue holds the frames that wait for one connection's writer. Any number of producers, one consumer. A frame counts
// against the bounds until the writer has released it, so that the batch in the writer's hands is bounded as well.
type queue struct {
	maxBytes, maxFrames int

	mu     sync.Mutex
	frames []frame
	bytes  int
	count  int
	closed bool
	space  chan struct{} // closed at the next release; nil while nobody waits

	wake chan struct{} // holds a token while frames may be waiting
}

func newQueue(maxBytes, maxFrames int) *queue {
	return &queue{maxBytes: maxBytes, maxFrames: maxFrames, wake: make(chan struct{}, 1)}
}

func cost(f *frame) int { return f.size() + frameCostBytes }

// push queues f or returns ErrQueueFull or, once closed, ErrNotConnected. It never blocks.
func (q *queue) push(f frame) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.pushLocked(f)
}

func (q *queue) pushLocked(f frame) error {
	if q.closed {
		return ErrNotConnected
	}
	if q.count+1 > q.maxFrames || q.bytes+cost(&f) > q.maxBytes {
		return ErrQueueFull
	}
	q.count++
	q.bytes += cost(&f)
	q.frames = append(q.frames, f)
	q.poke()
	return nil
}

// pass counts f in as push does, but leaves it to the caller, who has to release it, if no other frame is waiting or
// being written; otherwise f is queued.
func (q *queue) pass(f *frame) (alone bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.count > 0 || cost(f) > q.maxBytes {
		return false, q.pushLocked(*f)
	}
	q.count++
	q.bytes += cost(f)
	return true, nil
}

// poke wakes the writer though no frame may be waiting.
func (q *queue) poke() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// pushWait is push that waits for room until ctx ends, then returning ctx's error, or the queue is closed.
func (q *queue) pushWait(ctx context.Context, f frame) error {
	for {
		q.mu.Lock()
		err := q.pushLocked(f)
		if !errors.Is(err, ErrQueueFull) {
			q.mu.Unlock()
			return err
		}
		if q.space == nil {
			q.space = make(chan struct{})
		}
		space := q.space
		q.mu.Unlock()
		select {
		case <-space:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// take returns all waiting frames, in order, and keeps spare as the next backing array.
func (q *queue) take(spare []frame) []frame {
	q.mu.Lock()
	defer q.mu.Unlock()
	batch := q.frames
	q.frames = spare[:0]
	return batch
}

// release gives back the room of a frame that take returned.
func (q *queue) release(f *frame) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	q.count--
	q.bytes -= cost(f)
	invariant(q.count >= 0, "queue released more frames than it held")
	invariant(q.bytes >= 0, "queue released more bytes than it held")
	q.wakeWaitersLocked()
}

func (q *queue) wakeWaitersLocked() {
	if q.space != nil {
		close(q.space)
		q.space = nil
	}
}

// close drops what waits, lets every waiter go, and returns the number of frames that were not released.
func (q *queue) close() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	lost := q.count
	q.closed = true
	q.frames, q.bytes, q.count = nil, 0, 0
	q.wakeWaitersLocked()
	return lost
}

// held returns the bytes counted against the bound now.
func (q *queue) held() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes
}
