//go:build unix

package raftify

import (
	"os"

	"golang.org/x/sys/unix"
)

// lockFile takes the advisory lock that the kernel drops when the file is closed, by a crash at the latest.
func lockFile(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }
