package raftify

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// goFirst has the calling thread go before ordinary ones, as far as this process may. Threads that it starts do not.
func goFirst() (how string, err error) {
	realtime := unix.SchedAttr{
		Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: 1, Flags: unix.SCHED_FLAG_RESET_ON_FORK,
	}
	if err = unix.SchedSetAttr(0, &realtime, 0); err == nil {
		return "SCHED_RR 1", nil
	}
	err = fmt.Errorf("real-time priority: %w", err)
	if nice := unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), -20); nice != nil {
		return "", errors.Join(err, fmt.Errorf("nice: %w", nice))
	}
	return "nice -20", nil
}

// waiter has one thread wait, in the kernel alone: no other thread of the program has to run for it to go on.
type waiter struct{ fd int }

func newWaiter() (*waiter, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("event descriptor: %w", err)
	}
	return &waiter{fd}, nil
}

// wait returns after d, for ever if that is negative, or when it was woken.
func (w *waiter) wait(d time.Duration) {
	var limit *unix.Timespec
	if d >= 0 {
		ts := unix.NsecToTimespec(int64(d))
		limit = &ts
	}
	if n, err := unix.Ppoll([]unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}}, limit, nil); err == nil && n > 0 {
		var b [8]byte
		_, _ = unix.Read(w.fd, b[:])
	}
}

// wake ends the wait of this moment, or else the next. Safe for concurrent use.
func (w *waiter) wake() {
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], 1)
	_, _ = unix.Write(w.fd, b[:])
}

func (w *waiter) close() { _ = unix.Close(w.fd) }
