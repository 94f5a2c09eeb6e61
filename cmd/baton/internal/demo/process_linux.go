package demo

import (
	"os"
	"syscall"
)

// childAttr puts a child into a process group of its own and lets it die with the thread that started it.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// killAll kills a child that childAttr made and all that it started. The only error is that they have ended.
func killAll(p *os.Process) { _ = syscall.Kill(-p.Pid, syscall.SIGKILL) }

// killOne kills one process, whoever's child it is.
func killOne(pid int) error { return syscall.Kill(pid, syscall.SIGKILL) }
