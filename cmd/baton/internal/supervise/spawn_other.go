//go:build !linux

package supervise

import "syscall"

// workerAttr is nothing special: the worker notices the end of its supervisor by its pipe.
func workerAttr() *syscall.SysProcAttr { return nil }
