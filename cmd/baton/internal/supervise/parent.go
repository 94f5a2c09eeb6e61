package supervise

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// Parent is whoever looks after this process, to whom it says how it is: a supervisor, or the service manager itself if
// there is one. Its methods are safe for concurrent use.
type Parent struct {
	pid  int
	quit func() // ends the process at once

	mu      sync.Mutex
	out     io.Writer // nil: there is no supervisor
	targets []string
	in      io.ReadCloser
	reloads chan struct{}
}

// Alone is the parent of a process without a supervisor: it speaks to the service manager, if there is one.
func Alone() *Parent { return &Parent{} }

// Attach is the parent of a worker. quit is called when the worker has been told to stop and then loses its supervisor:
// nobody wants to wait any more.
func Attach(quit func()) (*Parent, error) {
	out, in := os.NewFile(toSupervisor, "to supervisor"), os.NewFile(fromSupervisor, "from supervisor")
	for _, f := range []*os.File{out, in} {
		if info, err := f.Stat(); err != nil || info.Mode()&os.ModeNamedPipe == 0 {
			return nil, fmt.Errorf("no supervisor: descriptors %d and %d are not its pipes", toSupervisor, fromSupervisor)
		}
	}
	return &Parent{pid: os.Getppid(), quit: quit, out: out, in: in, reloads: make(chan struct{}, 1)}, nil
}

// PID is the supervisor's process id, 0 without one.
func (p *Parent) PID() int { return p.pid }

// Context returns a context that ends when the supervisor says so, or is gone.
func (p *Parent) Context(ctx context.Context) context.Context {
	if p.in == nil {
		return ctx
	}
	ctx, stop := context.WithCancel(ctx)
	go func() {
		lines := bufio.NewReader(p.in)
		line, err := lines.ReadString('\n')
		for err == nil && line == reloadLine {
			select {
			case p.reloads <- struct{}{}:
			default: // one that waits is as good as two
			}
			line, err = lines.ReadString('\n')
		}
		stop()
		if err == nil {
			_, _ = io.Copy(io.Discard, p.in)
			p.quit()
		}
	}()
	return ctx
}

// Reloads delivers a value when the supervisor says that the configuration is to be read again. It does so from Context
// on; without a supervisor never.
func (p *Parent) Reloads() <-chan struct{} { return p.reloads }

// Reloading says that the node reads its configuration again. Ready says that it has done so.
func (p *Parent) Reloading() error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return fmt.Errorf("monotonic clock: %w", err)
	}
	return p.say(message{Reloading: now.Nano() / 1000})
}

// Level says how this process logs from now on: the supervisor does alike.
func (p *Parent) Level(level, format string) error {
	return p.say(message{Level: &Level{Level: level, Format: format}})
}

// Hello says that this process has become a node. It must come before anything else. An error means that the supervisor
// is gone.
func (p *Parent) Hello(h Hello) error { return p.say(message{Hello: &h}) }

// Targets says whom to tell of this process's death. It says nothing while they stay the same.
func (p *Parent) Targets(addrs []string) error {
	p.mu.Lock()
	same := p.targets != nil && slices.Equal(p.targets, addrs)
	p.targets = slices.Clone(addrs)
	p.mu.Unlock()
	if same || len(addrs) == 0 {
		return nil
	}
	return p.say(message{Targets: addrs})
}

// Ready says that the node serves.
func (p *Parent) Ready() error { return p.say(message{Ready: true}) }

// Stopping says that the node hands over and closes.
func (p *Parent) Stopping() error { return p.say(message{Stopping: true}) }

// Turned says that the node's owner loop has taken a turn.
func (p *Parent) Turned() error { return p.say(message{Turned: true}) }

func (p *Parent) say(m message) error {
	if p.out == nil {
		switch {
		case m.Ready:
			NotifySystemd("READY=1")
		case m.Stopping:
			NotifySystemd("STOPPING=1")
		case m.Turned:
			NotifySystemd("WATCHDOG=1")
		case m.Reloading != 0:
			NotifySystemd(reloadingState(m.Reloading))
		}
		return nil
	}
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("tell the supervisor: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := p.out.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("tell the supervisor: %w", err)
	}
	return nil
}

// NotifySystemd passes a state on to the service manager. Without one it does nothing; that it does not listen is its own
// affair.
func NotifySystemd(state string) {
	_, _ = daemon.SdNotify(false, state)
}
