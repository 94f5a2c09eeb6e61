package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// errDied is returned, wrapped, when a node's process ended without being told to.
var errDied = errors.New("ended unexpectedly")

// spawner starts processes from one thread: on Linux a child's life is bound to the thread that started it, and threads
// come and go with Go's scheduler.
type spawner struct {
	work chan func()
}

func newSpawner() *spawner {
	s := &spawner{work: make(chan func())}
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		for f := range s.work {
			f()
		}
	}()
	return s
}

func (s *spawner) start(cmd *exec.Cmd) error {
	done := make(chan error, 1)
	s.work <- func() { done <- cmd.Start() }
	return <-done
}

// close ends the thread. All processes must have ended.
func (s *spawner) close() { close(s.work) }

// process is one run of one node: its supervisor, which looks after the process of the node itself.
type process struct {
	cmd   *exec.Cmd
	pid   int
	told  atomic.Bool // it was told to end
	ended chan struct{}
	err   error // of the exit; valid once ended is closed
}

// launch starts `baton run` with its log appended to logFile. onDeath is called, in a goroutine of its own, when the
// process ends without being told to.
func (s *spawner) launch(binary, config, logFile string, onDeath func(p *process)) (*process, error) {
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()                                                                               //nolint:errcheck // the child has its own copy of the descriptor
	p := &process{cmd: exec.Command(binary, "run", "--config", config), ended: make(chan struct{})} //nolint:noctx // it outlives any request
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = childAttr()
	if err := s.start(p.cmd); err != nil {
		return nil, err
	}
	p.pid = p.cmd.Process.Pid
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
		if !p.told.Load() {
			onDeath(p)
		}
	}()
	return p, nil
}

func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// kill ends p, the node's own process and its supervisor, with SIGKILL and returns when the supervisor is gone.
func (p *process) kill() {
	p.told.Store(true)
	killAll(p.cmd.Process)
	<-p.ended
}

// terminate asks p to end with SIGTERM and returns how long it took, with its exit error. A process that takes longer
// than patience is killed.
func (p *process) terminate(ctx context.Context, patience time.Duration) (time.Duration, error) {
	start := time.Now()
	p.told.Store(true)
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-p.ended:
		return time.Since(start), p.err
	case <-ctx.Done():
		p.kill()
		return time.Since(start), fmt.Errorf("pid %d did not end within %v of SIGTERM: %w", p.pid, patience, ctx.Err())
	}
}

// tailBytes is how much of a log's end is shown.
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
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
