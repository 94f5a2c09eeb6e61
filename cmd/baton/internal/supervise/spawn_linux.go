package supervise

import "syscall"

// workerAttr has the kernel send SIGTERM to a worker when the thread that started it, and with it the supervisor, ends.
func workerAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} }
