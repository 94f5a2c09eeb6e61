//go:build !linux

package raftify

import (
	"net"
	"net/netip"
)

// sender sends datagrams without ever waiting, which is known how to do on Linux only.
type sender struct{}

func newSender(*net.UDPConn) (*sender, error) { return nil, nil }

func (*sender) send([]byte, netip.AddrPort) (ok bool, err error) { return false, nil }

func (*sender) Close() error { return nil }
