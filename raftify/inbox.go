package raftify

import (
	"sync"
	"time"

	"github.com/baton-ha/baton/raftify/core"
)

const (
	// maxPosts is how many posted functions may wait before those who post are slowed down.
	maxPosts = 1 << 16
	// postPatience is how long one call of Post waits for room at most. It then queues anyway: a completion that is lost
	// would stop the cluster, and one that waited for ever could, in a circle with the store's own queue.
	postPatience = 20 * time.Millisecond
	// maxInbound is how many messages may wait. The oldest are dropped: a newer heartbeat says all that an older one did.
	maxInbound = 4096
)

// input is one function for the owner loop; after runs once what the function caused was published and sent.
type input struct {
	fn    func(now core.Instant, c *core.Core)
	after func()
}

// inbox is what the owner loop has still to do. Any goroutine may add to it; only the loop takes.
type inbox struct {
	mu     sync.Mutex
	posts  fifo[input]
	msgs   fifo[core.Message]
	closed bool
	wake   chan struct{} // holds a token while there may be something to take
	room   chan struct{} // closed and replaced when a full queue of posts has room again
}

func newInbox() *inbox {
	return &inbox{wake: make(chan struct{}, 1), room: make(chan struct{})}
}

func (b *inbox) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// post queues in, after at most postPatience, and wakes the loop; false once the inbox is closed.
func (b *inbox) post(in input) bool {
	ok := b.put(in)
	if ok {
		b.signal()
	}
	return ok
}

// put is post without waking the loop.
func (b *inbox) put(in input) bool {
	b.mu.Lock()
	if !b.closed && b.posts.len() >= maxPosts {
		room := b.room
		b.mu.Unlock()
		patience := time.NewTimer(postPatience)
		select {
		case <-room:
		case <-patience.C:
		}
		patience.Stop()
		b.mu.Lock()
	}
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.posts.push(in)
	return true
}

// deliver queues a message without waking the loop; it reports whether an older one had to go for it.
func (b *inbox) deliver(m core.Message) (overflow bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	if b.msgs.len() >= maxInbound {
		b.msgs.pop()
		overflow = true
	}
	b.msgs.push(m)
	return overflow
}

// take moves up to cap(msgs) messages and cap(posts) functions out; both slices are overwritten.
func (b *inbox) take(msgs []core.Message, posts []input) ([]core.Message, []input) {
	b.mu.Lock()
	defer b.mu.Unlock()
	msgs, posts = msgs[:0], posts[:0]
	for len(msgs) < cap(msgs) && b.msgs.len() > 0 {
		msgs = append(msgs, b.msgs.pop())
	}
	full := b.posts.len() >= maxPosts
	for len(posts) < cap(posts) && b.posts.len() > 0 {
		posts = append(posts, b.posts.pop())
	}
	if full && b.posts.len() < maxPosts {
		close(b.room)
		b.room = make(chan struct{})
	}
	return msgs, posts
}

// close refuses everything from now on and forgets what is queued.
func (b *inbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.closed = true
		close(b.room)
		b.posts, b.msgs = fifo[input]{}, fifo[core.Message]{}
	}
}

// fifo is a queue on a slice that is compacted as it empties.
type fifo[T any] struct {
	items []T
	head  int
}

func (q *fifo[T]) len() int { return len(q.items) - q.head }
func (q *fifo[T]) push(v T) { q.items = append(q.items, v) }

func (q *fifo[T]) pop() T {
	var zero T
	v := q.items[q.head]
	q.items[q.head] = zero
	q.head++
	if 2*q.head >= len(q.items) {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	return v
}
