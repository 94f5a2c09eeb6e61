package demo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

const (
	portStep = 10 // as `baton init` lays them out
	loopback = "127.0.0.1"
	// Ports are looked for below those that Linux hands to outgoing connections, so that none is taken while a node is
	// down.
	firstPort, lastPort = 20000, 32000
)

// errPortTaken is returned, wrapped, when a port that was asked for is in use.
var errPortTaken = errors.New("is in use")

// findPorts returns a base port from which all ports of n nodes are free at this moment.
func findPorts(ctx context.Context, n int) (int, error) {
	var err error
	for range 100 {
		base := firstPort + rand.IntN((lastPort-firstPort)/portStep-n)*portStep
		if err = portsFree(ctx, base, n); err == nil {
			return base, nil
		}
	}
	return 0, fmt.Errorf("no free ports between %d and %d: %w", firstPort, lastPort, err)
}

// portsFree checks that all ports of n nodes from base on are free: gossip in both protocols, peer and API.
func portsFree(ctx context.Context, base, n int) error {
	var lc net.ListenConfig
	for i := range n {
		for offset := range 3 {
			port := base + portStep*i + offset
			addr := net.JoinHostPort(loopback, strconv.Itoa(port))
			l, err := lc.Listen(ctx, "tcp", addr)
			if err != nil {
				return fmt.Errorf("port %d %w: %w", port, errPortTaken, err)
			}
			_ = l.Close()
			if offset > 0 {
				continue
			}
			p, err := lc.ListenPacket(ctx, "udp", addr)
			if err != nil {
				return fmt.Errorf("port %d %w: %w", port, errPortTaken, err)
			}
			_ = p.Close()
		}
	}
	return nil
}
