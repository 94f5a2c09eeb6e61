package node

import (
	"context"
	"sync"
)

// subscribers are channels that hear of something until they leave or all ends. The zero value has none. Safe for
// concurrent use.
type subscribers[T any] struct {
	mu     sync.Mutex
	subs   map[chan T]struct{}
	closed bool
}

// subscribe returns a channel with that much room, which is closed when ctx ends, when close is called, or by drop.
func (s *subscribers[T]) subscribe(ctx context.Context, room int) <-chan T {
	ch := make(chan T, room)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		close(ch)
		return ch
	}
	if s.subs == nil {
		s.subs = map[chan T]struct{}{}
	}
	s.subs[ch] = struct{}{}
	context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.drop(ch)
	})
	return ch
}

// drop closes a channel, once. Under the lock.
func (s *subscribers[T]) drop(ch chan T) {
	if _, ok := s.subs[ch]; ok {
		delete(s.subs, ch)
		close(ch)
	}
}

// each calls f with every channel, under the lock: nobody else sends meanwhile, and f must not wait.
func (s *subscribers[T]) each(f func(ch chan T)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ch := range s.subs {
		f(ch)
	}
}

func (s *subscribers[T]) some() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.subs) > 0
}

// close closes all channels, and those of later subscribers at once.
func (s *subscribers[T]) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for ch := range s.subs {
		s.drop(ch)
	}
}
