package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// marker tells a process that it is the inside. It is an environment variable because arguments are the user's.
const marker = "BATON_CHAOS_INSIDE"

// ErrUnavailable is returned, wrapped, when this machine or user cannot make a sandbox.
var ErrUnavailable = errors.New("no sandbox can be made here: it takes Linux, root (or user namespaces) and /dev/net/tun")

// Inside reports whether this process is the first one of a sandbox. [Prepare] must then be called before anything else.
func Inside() bool { return os.Getenv(marker) != "" && os.Getpid() == 1 }

// Enter runs this program with the same arguments inside a new sandbox and returns its exit status. When ctx ends the
// inside is asked to stop (SIGTERM); a second signal of the user kills it. Blocks until the inside has ended.
func Enter(ctx context.Context) (int, error) {
	self, err := os.Executable()
	if err != nil {
		return 1, fmt.Errorf("find this program's own file: %w", err)
	}
	cmd := exec.Command(self, os.Args[1:]...) //nolint:noctx // it is asked to stop, not killed, when ctx ends
	cmd.Env = append(os.Environ(), marker+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = attributes()
	// The inside is bound to this thread: it dies with it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return 1, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	again := make(chan os.Signal, 2)
	signal.Notify(again, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(again)
	ended := make(chan struct{})
	go func() {
		select {
		case <-ctx.Done():
			_ = cmd.Process.Signal(syscall.SIGTERM)
		case <-ended:
			return
		}
		for {
			select {
			case <-again:
				_ = cmd.Process.Kill()
			case <-ended:
				return
			}
		}
	}()
	err = cmd.Wait()
	close(ended)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case errors.As(err, &exit) && exit.Exited():
		return exit.ExitCode(), nil
	default:
		return 1, fmt.Errorf("the run ended: %w", err)
	}
}

func attributes() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
	}
	if uid := os.Getuid(); uid != 0 {
		attr.Cloneflags |= unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return attr
}

// Prepare makes the inside usable: mounts of its own that do not spread, and a /proc of its own processes. Call it once,
// first.
func Prepare() error {
	if err := os.Unsetenv(marker); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("%w: make mounts private: %w", ErrUnavailable, err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("%w: mount /proc: %w", ErrUnavailable, err)
	}
	if err := up("lo"); err != nil {
		return fmt.Errorf("%w: loopback: %w", ErrUnavailable, err)
	}
	return nil
}
