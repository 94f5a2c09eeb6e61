package raftify

import (
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/go-sockaddr"
	"github.com/hashicorp/memberlist"
)

const (
	packetBufferBytes = 64 << 10
	receiveQueueBytes = 2 << 20 // asked of the kernel, which may give less
	acceptRetry       = 50 * time.Millisecond
)

// sockets is the port of the gossip, UDP and TCP, for memberlist. The election's own datagrams and death notices, which
// lack the gossip's encryption, arrive there too: they are taken out before memberlist sees them.
type sockets struct {
	tcp     *net.TCPListener
	udp     *net.UDPConn
	packets chan *memberlist.Packet
	streams chan net.Conn
	own     map[string]func([]byte) // by what a packet begins with; called by the reader, the bytes are the function's own
	sender  *sender
	log     *log.Logger
	done    chan struct{}
	once    sync.Once
	wg      sync.WaitGroup
}

var _ memberlist.NodeAwareTransport = (*sockets)(nil)

func listen(addr netip.AddrPort, own map[string]func([]byte), l *log.Logger) (*sockets, error) {
	s := &sockets{
		packets: make(chan *memberlist.Packet, 64), streams: make(chan net.Conn), own: own, log: l, done: make(chan struct{}),
	}
	var err error
	if s.tcp, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(addr)); err != nil {
		return nil, err
	}
	if s.udp, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr)); err != nil {
		return nil, errors.Join(err, s.tcp.Close())
	}
	if s.sender, err = newSender(s.udp); err != nil {
		return nil, errors.Join(err, s.udp.Close(), s.tcp.Close())
	}
	for size := receiveQueueBytes; size > 0; size /= 2 {
		if s.udp.SetReadBuffer(size) == nil {
			break
		}
	}
	s.wg.Go(s.read)
	s.wg.Go(s.accept)
	return s, nil
}

func (s *sockets) read() {
	buf := make([]byte, packetBufferBytes)
	for {
		n, from, err := s.udp.ReadFromUDPAddrPort(buf)
		at := time.Now()
		if err != nil {
			if s.over(acceptRetry) {
				return
			}
			continue
		}
		b := append([]byte(nil), buf[:n]...)
		if n == 0 || s.taken(b) {
			continue
		}
		select {
		case s.packets <- &memberlist.Packet{Buf: b, From: net.UDPAddrFromAddrPort(from), Timestamp: at}:
		case <-s.done:
			return
		}
	}
}

// taken hands a packet to whoever has a use for it; false: it is memberlist's.
func (s *sockets) taken(b []byte) bool {
	for prefix, take := range s.own {
		if len(b) >= len(prefix) && string(b[:len(prefix)]) == prefix {
			take(b)
			return true
		}
	}
	return false
}

// send sends a datagram without waiting. Not ok: it can be sent only by waiting, see wait.
func (s *sockets) send(b []byte, to netip.AddrPort) (ok bool, err error) { return s.sender.send(b, to) }

// wait sends a datagram as soon as there is room for it.
func (s *sockets) wait(b []byte, to netip.AddrPort) error {
	_, err := s.udp.WriteToUDPAddrPort(b, to)
	return err
}

func (s *sockets) accept() {
	for {
		conn, err := s.tcp.Accept()
		if err != nil {
			if s.over(acceptRetry) {
				return
			}
			s.log.Printf("[ERR] raftify: accept: %v", err)
			continue
		}
		select {
		case s.streams <- conn:
		case <-s.done:
			_ = conn.Close()
			return
		}
	}
}

// over waits a moment after an error and reports whether the sockets were closed.
func (s *sockets) over(wait time.Duration) bool {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-s.done:
		return true
	case <-t.C:
		return false
	}
}

// FinalAdvertiseAddr is part of memberlist's Transport.
func (s *sockets) FinalAdvertiseAddr(ip string, port int) (net.IP, int, error) {
	if ip != "" {
		a, err := netip.ParseAddr(ip)
		if err != nil {
			return nil, 0, fmt.Errorf("advertised address: %w", err)
		}
		return a.Unmap().AsSlice(), port, nil
	}
	bound := s.tcp.Addr().(*net.TCPAddr)
	if !bound.IP.IsUnspecified() {
		return bound.IP, bound.Port, nil
	}
	private, err := sockaddr.GetPrivateIP()
	if err != nil || private == "" {
		return nil, 0, errors.Join(errors.New("no private address found: set advertise_addr"), err)
	}
	return net.ParseIP(private), bound.Port, nil
}

// WriteTo is part of memberlist's Transport.
func (s *sockets) WriteTo(b []byte, addr string) (time.Time, error) {
	return s.WriteToAddress(b, memberlist.Address{Addr: addr})
}

// WriteToAddress is part of memberlist's NodeAwareTransport.
func (s *sockets) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	to, err := netip.ParseAddrPort(a.Addr)
	if err != nil {
		u, err := net.ResolveUDPAddr("udp", a.Addr)
		if err != nil {
			return time.Time{}, err
		}
		to = u.AddrPort()
	}
	_, err = s.udp.WriteToUDPAddrPort(b, to)
	return time.Now(), err
}

// PacketCh is part of memberlist's Transport.
func (s *sockets) PacketCh() <-chan *memberlist.Packet { return s.packets }

// StreamCh is part of memberlist's Transport.
func (s *sockets) StreamCh() <-chan net.Conn { return s.streams }

// DialTimeout is part of memberlist's Transport.
func (s *sockets) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return s.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// DialAddressTimeout is part of memberlist's NodeAwareTransport.
func (s *sockets) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return net.DialTimeout("tcp", a.Addr, timeout) //nolint:noctx // memberlist hands no context over
}

// Shutdown is part of memberlist's Transport. It waits for the readers.
func (s *sockets) Shutdown() error {
	var err error
	s.once.Do(func() {
		close(s.done)
		err = errors.Join(s.tcp.Close(), s.udp.Close(), s.sender.Close())
	})
	s.wg.Wait()
	return err
}
