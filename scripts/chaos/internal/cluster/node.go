package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/baton-ha/baton/scripts/chaos/internal/sandbox"
)

// Node is one member of the cluster. Its methods may be called by any goroutine.
type Node struct {
	ID     string
	Index  int
	Host   *sandbox.Host
	Dir    string // of its files
	Config string
	API    string
	Log    string
	Trace  string

	disk string // where its disk is mounted
	size int64  // of the disk, in bytes

	c *Cluster

	mu      sync.Mutex
	run     *process
	excused bool
	starts  int
}

// process is one run of a node.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
	err   error // valid once ended is closed
	told  bool  // guarded by the node's mu
}

var (
	// ErrRunning is returned when a node that runs is started.
	ErrRunning = errors.New("the node runs already")
	// ErrStopped is returned when a process that is needed does not run.
	ErrStopped = errors.New("the node does not run")
)

// Start starts the node's process.
func (n *Node) Start() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.run != nil {
		return fmt.Errorf("start %s: %w", n.ID, ErrRunning)
	}
	log, err := os.OpenFile(n.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // the child has its own copy of the descriptor
	args := []string{"run", "--config", n.Config}
	if n.c.trace {
		args = append(args, "--trace", n.Trace)
	}
	p := &process{cmd: exec.Command(n.c.opts.Binary, args...), ended: make(chan struct{})} //nolint:noctx // ended by signals
	p.cmd.Env = append(append(os.Environ(), n.c.opts.Env...), "BATON_CLOCK="+n.clockFile(), "BATON_DISK="+n.illnessFile())
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := n.Host.Start(p.cmd); err != nil {
		return fmt.Errorf("start %s: %w", n.ID, err)
	}
	n.run = p
	n.starts++
	go n.wait(p)
	return nil
}

func (n *Node) wait(p *process) {
	p.err = p.cmd.Wait()
	n.mu.Lock()
	told, excused := p.told, n.excused
	if n.run == p {
		n.run = nil
	}
	n.mu.Unlock()
	if !told {
		n.c.mu.Lock()
		n.c.exits = append(n.c.exits, Exit{
			At: time.Now(), Node: n.ID, Excused: excused, Why: fmt.Sprintf("%v: %s", p.err, tail(n.Log, 3)),
		})
		n.c.mu.Unlock()
	}
	close(p.ended)
}

// Excuse says that the node's process may end by itself from now on (its disk is ill), or may not again.
func (n *Node) Excuse(on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.excused = on
}

// Running reports whether the node's process is there, stopped by a signal or not.
func (n *Node) Running() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.run != nil
}

// Starts returns how many times the node was started.
func (n *Node) Starts() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.starts
}

func (n *Node) tell() *process {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.run != nil {
		n.run.told = true
	}
	return n.run
}

// Kill ends the node with SIGKILL, worker and supervisor, and returns when it is gone.
func (n *Node) Kill() {
	p := n.tell()
	if p == nil {
		return
	}
	for _, pid := range tree(p.cmd.Process.Pid) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	<-p.ended
}

// KillSoon is Kill without waiting: for a process that cannot die before its disk answers.
func (n *Node) KillSoon() {
	if p := n.tell(); p != nil {
		for _, pid := range tree(p.cmd.Process.Pid) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// Signal sends a signal to the node's processes, worker and supervisor.
func (n *Node) Signal(sig syscall.Signal) error {
	n.mu.Lock()
	p := n.run
	n.mu.Unlock()
	if p == nil {
		return fmt.Errorf("%v to %s: %w", sig, n.ID, ErrStopped)
	}
	for _, pid := range tree(p.cmd.Process.Pid) {
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("%v to pid %d of %s: %w", sig, pid, n.ID, err)
		}
	}
	return nil
}

// Worker returns the pid of the node's worker, 0 when the node has no supervisor or does not run.
func (n *Node) Worker() int {
	n.mu.Lock()
	p := n.run
	n.mu.Unlock()
	if p == nil {
		return 0
	}
	if all := tree(p.cmd.Process.Pid); len(all) > 1 {
		return all[len(all)-1]
	}
	return 0
}

// KillWorker kills the worker alone: its supervisor has to start another one. False when there is no supervisor.
func (n *Node) KillWorker() bool {
	pid := n.Worker()
	return pid != 0 && syscall.Kill(pid, syscall.SIGKILL) == nil
}

// KillSupervisor kills the supervisor alone; its worker must not outlive it. False when there is none.
func (n *Node) KillSupervisor() bool {
	if n.Worker() == 0 {
		return false
	}
	p := n.tell()
	if p == nil {
		return false
	}
	_ = syscall.Kill(p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.ended
	return true
}

// Terminate asks the node to end with SIGTERM and returns how long that took. It must end with status 0; one that takes
// longer than patience is killed.
func (n *Node) Terminate(patience time.Duration) (time.Duration, error) {
	p := n.tell()
	if p == nil {
		return 0, fmt.Errorf("terminate %s: %w", n.ID, ErrStopped)
	}
	start := time.Now()
	_ = syscall.Kill(p.cmd.Process.Pid, syscall.SIGTERM)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-p.ended:
		if p.err != nil {
			return time.Since(start), fmt.Errorf("%s, asked to end, ended with %w: %s", n.ID, p.err, tail(n.Log, 2))
		}
		return time.Since(start), nil
	case <-timer.C:
		n.Kill()
		return time.Since(start), fmt.Errorf("%s did not end within %v of SIGTERM", n.ID, patience)
	}
}

// tree returns a process and its descendants, parents first.
func tree(pid int) []int {
	children := map[int][]int{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return []int{pid}
	}
	for _, e := range entries {
		child, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // it has ended meanwhile
		}
		f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(f) < 2 || f[0] == "Z" || f[0] == "X" {
			continue
		}
		if parent, err := strconv.Atoi(f[1]); err == nil {
			children[parent] = append(children[parent], child)
		}
	}
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// Reap takes away what ended and has nobody else to wait for it: workers whose supervisor was killed. This program is
// the first process of its sandbox, so that they are its own.
func (c *Cluster) Reap() {
	mine := map[int]bool{}
	for _, n := range c.Nodes {
		n.mu.Lock()
		if n.run != nil {
			mine[n.run.cmd.Process.Pid] = true
		}
		n.mu.Unlock()
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || mine[pid] {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		if f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])); len(f) > 1 && f[0] == "Z" && f[1] == "1" &&
			bytes.Contains(stat, []byte("(baton)")) {
			_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
		}
	}
}

// tailBytes is how much of a log's end is looked at.
const tailBytes = 4096

// tail returns the last lines of a log file.
func tail(path string, lines int) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close() //nolint:errcheck // only read from
	size, err := f.Seek(0, 2)
	if err != nil {
		return err.Error()
	}
	buf := make([]byte, min(size, tailBytes))
	if _, err := f.ReadAt(buf, size-int64(len(buf))); err != nil {
		return err.Error()
	}
	all := strings.Split(string(bytes.TrimRight(buf, "\n")), "\n")
	return strings.Join(all[max(0, len(all)-lines):], " | ")
}

// Warp has the node's wall clock and its clock of sleep differ from the machine's: only for programs built with the tag
// `faults`, which read this file every few milliseconds.
func (n *Node) Warp(wall, asleep time.Duration) error {
	return replace(n.clockFile(), fmt.Sprintf("%d %d\n", int64(wall), int64(asleep)))
}

// Sicken has the node's disk misbehave as blockstore's file system of builds with the tag `faults` knows it; "" heals it.
func (n *Node) Sicken(how string) error { return replace(n.illnessFile(), how) }

func (n *Node) illnessFile() string { return filepath.Join(n.Dir, "illness") }

// replace writes a file so that nobody reads half of it.
func replace(path, text string) error {
	if err := os.WriteFile(path+".next", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".next", path)
}

func (n *Node) clockFile() string { return filepath.Join(n.Dir, "clock") }
