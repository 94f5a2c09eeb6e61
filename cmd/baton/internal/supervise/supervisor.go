package supervise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"
)

const (
	minBackoff = 100 * time.Millisecond
	maxBackoff = 4 * time.Second // a dead worker is back within 5 s
	// livedLong is after how long a worker's death is no longer one of a row.
	livedLong = 30 * time.Second
	// lastWords is how long a supervisor that is about to end goes on telling of its worker's death.
	lastWords = 50 * time.Millisecond
)

// Options are what a supervisor is made of.
type Options struct {
	// Command starts the worker: a program and its arguments. It must Attach to its supervisor.
	Command []string
	// Env is added to the environment of the worker.
	Env []string
	// Stdout and Stderr are the worker's; with an *os.File the worker writes to it directly.
	Stdout, Stderr io.Writer
	// Logger makes the logger once the worker has said how to log; before, nothing is logged.
	Logger func(level, format string) zerolog.Logger
	// Reload, if not nil, delivers a value when the worker is to read its configuration again.
	Reload <-chan os.Signal
	// Notify passes a state on to the service manager, as sd_notify takes it.
	Notify func(state string)
}

// Run starts the worker, starts it again when it is killed, and returns the exit status to end with when it has ended for
// good; err is set only when there was no worker to say what is wrong. When ctx ends, the worker is told to stop. The
// caller's goroutine is locked to its thread for ever: a worker's life is bound to the thread that started it.
func Run(ctx context.Context, opt Options) (status int, err error) {
	runtime.LockOSThread()
	s := &supervisor{opt: opt, log: zerolog.Nop()}
	wait := time.Duration(0)
	for {
		begun := time.Now()
		end, err := s.once(ctx)
		if err != nil {
			return 1, err
		}
		if end.final(ctx) {
			limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
			end.told(limit)
			cancel()
			return end.status(), nil
		}
		if time.Since(begun) >= livedLong {
			wait = 0
		}
		wait = min(max(2*wait, minBackoff), maxBackoff)
		s.log.Warn().Int("pid", end.pid).Stringer("end", end.state).Dur("after", wait).Msg("the worker died: the others were told, it is started again")
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done(): // the next worker would be stopped at once
			timer.Stop()
			return 0, nil
		}
	}
}

type supervisor struct {
	opt Options
	mu  sync.Mutex
	log zerolog.Logger
}

// ending is how a worker ended.
type ending struct {
	pid   int
	state *os.ProcessState
	lived bool // it became a node
	told  func(ctx context.Context)
}

func (e *ending) signal() (syscall.Signal, bool) {
	ws, ok := e.state.Sys().(syscall.WaitStatus)
	return ws.Signal(), ok && ws.Signaled()
}

// final reports whether there is nothing to start again: a worker that says what is wrong with its configuration would say
// so again, and one that ends with status 1 has seen something that it must not go on with.
func (e *ending) final(ctx context.Context) bool {
	_, killed := e.signal()
	code := e.state.ExitCode()
	return ctx.Err() != nil || code == 0 || code == 1 || !e.lived && !killed
}

// status is what a shell would report.
func (e *ending) status() int {
	if sig, ok := e.signal(); ok {
		return 128 + int(sig)
	}
	return e.state.ExitCode()
}

// once runs one worker to its end.
func (s *supervisor) once(ctx context.Context) (*ending, error) {
	hear, say, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("pipe: %w", err)
	}
	defer hear.Close() //nolint:errcheck // only read from
	listen, tell, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("pipe: %w", err), say.Close())
	}
	defer tell.Close()                                          //nolint:errcheck // its end is a message by itself
	cmd := exec.Command(s.opt.Command[0], s.opt.Command[1:]...) //nolint:noctx // it is told to stop, and hands over first
	cmd.Stdout, cmd.Stderr = s.opt.Stdout, s.opt.Stderr
	cmd.Env = append(cmd.Environ(), s.opt.Env...)
	cmd.ExtraFiles = []*os.File{say, listen}
	cmd.SysProcAttr = workerAttr()
	err = cmd.Start()
	_, _ = say.Close(), listen.Close() // the worker has its own
	if err != nil {
		return nil, fmt.Errorf("start the worker: %w", err)
	}

	w := &will{}
	lived := false
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		err := readMessages(hear, func(m message) {
			if m.Hello != nil {
				lived = true
				s.mu.Lock()
				s.log = s.opt.Logger(m.Hello.LogLevel, m.Hello.LogFormat)
				s.mu.Unlock()
				w.write(m.Hello.Notice)
			}
			s.relay(ctx, w, m)
		})
		if err != nil {
			s.logger().Error().Err(err).Msg("the worker is not understood")
			_, _ = io.Copy(io.Discard, hear)
		}
	}()
	exited := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-s.opt.Reload:
				_, _ = io.WriteString(tell, reloadLine)
			case <-ctx.Done():
				_, _ = io.WriteString(tell, stopLine)
				return
			case <-exited:
				return
			}
		}
	}()

	err = cmd.Wait()
	told := w.publish() // before anything else: this is what it is for
	close(exited)
	<-stopped
	<-heard
	if cmd.ProcessState == nil {
		return nil, fmt.Errorf("wait for the worker: %w", err)
	}
	return &ending{pid: cmd.Process.Pid, state: cmd.ProcessState, lived: lived, told: told}, nil
}

func (s *supervisor) logger() *zerolog.Logger {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &s.log
}

// relay acts on what a worker says.
func (s *supervisor) relay(ctx context.Context, w *will, m message) {
	switch {
	case m.Targets != nil:
		w.aim(ctx, m.Targets)
	case m.Ready:
		s.opt.Notify("READY=1")
	case m.Stopping:
		s.opt.Notify("STOPPING=1")
	case m.Turned:
		s.opt.Notify("WATCHDOG=1")
	case m.Reloading != 0:
		s.opt.Notify(reloadingState(m.Reloading))
	case m.Level != nil:
		s.mu.Lock()
		s.log = s.opt.Logger(m.Level.Level, m.Level.Format)
		s.mu.Unlock()
	}
}

// reloadingState is what systemd wants to hear (Type=notify, and notify-reload of its version 253 and later).
func reloadingState(monotonicUsec int64) string {
	return fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", monotonicUsec)
}
