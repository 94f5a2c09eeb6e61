package sandbox

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Card is one end of a network card: each Read returns one IPv4 packet that the host sent, each Write hands it one.
type Card struct {
	*os.File
	Addr netip.Addr
}

// MTU is that of all cards, in bytes: Ethernet's.
const MTU = 1500

// Host is a network namespace with one card. Processes are started in it one at a time, by any goroutine.
type Host struct {
	Addr netip.Addr
	card *Card
	work chan func()
}

// NewHost makes a host whose address is the one given, on a /24. Its packets are the caller's to carry.
func NewHost(addr netip.Addr) (*Host, error) {
	h := &Host{Addr: addr, work: make(chan func())}
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			made <- fmt.Errorf("%w: network namespace: %w", ErrUnavailable, err)
			return
		}
		var err error
		if h.card, err = newCard(addr); err == nil {
			err = up("lo")
		}
		made <- err
		if err != nil {
			return
		}
		for f := range h.work {
			f()
		}
	}()
	if err := <-made; err != nil {
		return nil, fmt.Errorf("host %v: %w", addr, err)
	}
	return h, nil
}

// Home gives the sandbox's first namespace, in which this program's own sockets are, a card of its own.
func Home(addr netip.Addr) (*Card, error) {
	card, err := newCard(addr)
	if err != nil {
		return nil, fmt.Errorf("own card %v: %w", addr, err)
	}
	return card, nil
}

// Card returns the other end of the host's card.
func (h *Host) Card() *Card { return h.card }

// Start starts cmd in the host, in a process group of its own. It dies with this program.
func (h *Host) Start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid, cmd.SysProcAttr.Pdeathsig = true, syscall.SIGKILL
	done := make(chan error, 1)
	h.work <- func() { done <- cmd.Start() }
	return <-done
}

// Close ends the host's thread, and with it all processes of the host, and takes its card away.
func (h *Host) Close() error {
	close(h.work)
	return h.card.Close()
}

// newCard makes a card in the calling thread's namespace.
func newCard(addr netip.Addr) (*Card, error) {
	const name = "eth0"
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: /dev/net/tun: %w", ErrUnavailable, err)
	}
	req, err := unix.NewIfreq(name)
	if err == nil {
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err == nil {
		err = configure(name, addr)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: make a card: %w", ErrUnavailable, err), unix.Close(fd))
	}
	return &Card{File: os.NewFile(uintptr(fd), "tun "+addr.String()), Addr: addr}, nil
}

func configure(name string, addr netip.Addr) error {
	return withSocket(func(fd int) error {
		for _, step := range []struct {
			what uint
			addr netip.Addr
		}{{unix.SIOCSIFADDR, addr}, {unix.SIOCSIFNETMASK, netip.AddrFrom4([4]byte{255, 255, 255, 0})}} {
			req, err := unix.NewIfreq(name)
			if err != nil {
				return err
			}
			if err := req.SetInet4Addr(step.addr.AsSlice()); err != nil {
				return err
			}
			if err := unix.IoctlIfreq(fd, step.what, req); err != nil {
				return fmt.Errorf("address: %w", err)
			}
		}
		return setUp(fd, name)
	})
}

// up switches an interface of the calling thread's namespace on.
func up(name string) error {
	return withSocket(func(fd int) error { return setUp(fd, name) })
}

func setUp(fd int, name string) error {
	req, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req); err != nil {
		return fmt.Errorf("switch %s on: %w", name, err)
	}
	return nil
}

func withSocket(f func(fd int) error) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	return errors.Join(f(fd), unix.Close(fd))
}
