package raftify

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// sender sends datagrams from a socket without ever waiting, whoever else uses it. Safe for concurrent use, but for Close.
type sender struct {
	file *os.File // a descriptor of its own for the same socket
	fd   int
	six  bool // the socket's addresses are those of IPv6
}

// newSender returns nil, and no error, where that cannot be done.
func newSender(udp *net.UDPConn) (*sender, error) {
	f, err := udp.File()
	if err != nil {
		return nil, fmt.Errorf("socket for datagrams: %w", err)
	}
	s := &sender{file: f}
	raw, err := f.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { s.fd = int(fd) })
	}
	if err == nil {
		var family int
		family, err = unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
		s.six = family == unix.AF_INET6
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("socket for datagrams: %w", err), f.Close())
	}
	return s, nil
}

// send sends b. Not ok: to is an address that only the network stack of Go can make out.
func (s *sender) send(b []byte, to netip.AddrPort) (ok bool, err error) {
	var sa unix.Sockaddr
	switch {
	case s == nil || to.Addr().Zone() != "" || !s.six && !to.Addr().Unmap().Is4():
		return false, nil
	case s.six:
		sa = &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	default:
		sa = &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().Unmap().As4()}
	}
	for {
		err = unix.Sendto(s.fd, b, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, sa)
		if !errors.Is(err, unix.EINTR) {
			return true, err
		}
	}
}

func (s *sender) Close() error {
	if s == nil {
		return nil
	}
	return s.file.Close()
}
