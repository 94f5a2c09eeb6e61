//go:build !linux

package raftify

import (
	"errors"
	"time"
)

// goFirst would have the calling thread go before others.
func goFirst() (how string, err error) { return "", errors.ErrUnsupported }

// waiter has one goroutine wait.
type waiter struct{ token chan struct{} }

func newWaiter() (*waiter, error) { return &waiter{make(chan struct{}, 1)}, nil }

// wait returns after d, for ever if that is negative, or when it was woken.
func (w *waiter) wait(d time.Duration) {
	if d < 0 {
		<-w.token
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-w.token:
	case <-t.C:
	}
}

// wake ends the wait of this moment, or else the next. Safe for concurrent use.
func (w *waiter) wake() {
	select {
	case w.token <- struct{}{}:
	default:
	}
}

func (w *waiter) close() {}
