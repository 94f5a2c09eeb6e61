//go:build !linux

package demo

import (
	"os"
	"syscall"
)

// childAttr has nothing to set: only Linux ends a child with its parent.
func childAttr() *syscall.SysProcAttr { return nil }

// killAll kills a child; what it started ends by itself when it notices.
func killAll(p *os.Process) { _ = p.Kill() }

// killOne kills one process, whoever's child it is.
func killOne(pid int) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	return p.Kill()
}
