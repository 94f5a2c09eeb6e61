//go:build !linux

package demo

import "syscall"

// childAttr has nothing to set: only Linux ends a child with its parent.
func childAttr() *syscall.SysProcAttr { return nil }
