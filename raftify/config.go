package raftify

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/raftify/core"
)

// ErrNoKey is returned by Validate when there is more than one peer and no key to encrypt and authenticate the
// gossip with: anybody who reached the port could then unseat the leader.
var ErrNoKey = errors.New("more than one peer needs an encrypt key")

// Bounds of a configuration; the wire format refuses anything beyond them.
const (
	maxMembers     = core.MaxMembers
	maxIDBytes     = 64
	maxAddrBytes   = 256
	maxPerformance = 100
)

// Config says who a node is, where it listens and whom it knows. It is a plain value; New checks it with Validate.
type Config struct {
	ID       core.NodeID
	BindAddr string // address or host name to listen on
	BindPort int    // UDP and TCP
	// AdvertiseAddr is what others reach this node at, a host or host:port; "" means this node's address in Peers, or
	// the bind address.
	AdvertiseAddr string
	PeerList      []string // gossip addresses, host:port, this node included
	// Peers are the ids and gossip addresses of the nodes that the operator knows, this one included. Where an address
	// differs from the one in the cluster's own configuration both are tried. A node whose own address is another one
	// than the cluster's configuration says has the leader change that. Empty: this node alone.
	Peers    []core.Peer
	MaxNodes int // most nodes that the operator means to run: automatic promotion ends at so many voters
	Expect   int // members of the first configuration: more than half of Peers
	// Encrypt is the key of the gossip: 16, 24 or 32 bytes (AES-128, -192, -256). It may be empty with a single peer.
	Encrypt []byte
	// EncryptAlso are further keys that are accepted from others, while the key is being changed; see Node.InstallKey.
	EncryptAlso [][]byte
	Performance int // 1 is the fastest; see TimingOf
	// Timing, when not nil, replaces what follows from Performance. It must be the same on all nodes.
	Timing         *core.Timing
	KickAfter      time.Duration // silence after which an automatic demotion may be considered (PROTOCOL R16); 0: never
	NeverBootstrap bool          // this node was in a cluster once and must only ever join one (PROTOCOL R26)
	LogLevel       string        // DEBUG, INFO, WARN or ERROR: the least that raftify and its gossip log
}

// DefaultConfig returns the configuration of a node that is alone on loopback. ID is left to the caller.
func DefaultConfig() Config {
	return Config{
		BindAddr: "127.0.0.1", BindPort: 7000, MaxNodes: 3, Expect: 1, Performance: 1,
		KickAfter: 10 * time.Minute, LogLevel: "WARN",
	}
}

// Timings returns the durations in force.
func (c *Config) Timings() core.Timing {
	if c.Timing != nil {
		return *c.Timing
	}
	return TimingOf(c.Performance)
}

// Validate reports every problem of the configuration, joined. It reads no file and asks no network.
func (c *Config) Validate() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if err := checkID(c.ID); err != nil {
		add("id: %w", err)
	}
	if c.BindAddr == "" || strings.ContainsAny(c.BindAddr, " /") {
		add("bind_addr is %q: must be an address or host name without a port", c.BindAddr)
	}
	if c.BindPort < 1 || c.BindPort > 65535 {
		add("bind_port is %d: must be within [1, 65535]", c.BindPort)
	}
	if c.AdvertiseAddr != "" {
		if err := checkAddr(c.advertised()); err != nil {
			add("advertise_addr: %w", err)
		}
	}
	for i, a := range c.PeerList {
		if err := checkAddr(a); err != nil {
			add("peer_list[%d]: %w", i, err)
		}
	}
	errs = append(errs, c.validatePeers()...)
	n := max(len(c.Peers), 1)
	if c.MaxNodes < n || c.MaxNodes > maxMembers {
		add("max_nodes is %d: must be within [%d, %d], the peers and what the wire carries", c.MaxNodes, n, maxMembers)
	}
	if 2*c.Expect <= n || c.Expect > n {
		add("expect is %d: must be more than half of the %d peers and at most all", c.Expect, n)
	}
	switch {
	case len(c.Encrypt) == 0:
		if c.manyPeers() {
			add("encrypt is empty with %d peers: %w", max(n, len(c.PeerList)), ErrNoKey)
		}
	case !keySize(len(c.Encrypt)):
		add("encrypt has %d bytes: must be 16, 24 or 32", len(c.Encrypt))
	}
	for i, k := range c.EncryptAlso {
		if !keySize(len(k)) || len(c.Encrypt) == 0 {
			add("encrypt: further key %d has %d bytes: must be 16, 24 or 32, beside a first key", i+1, len(k))
		}
	}
	if c.Performance < 1 || c.Performance > maxPerformance {
		add("performance is %d: must be within [1, %d]", c.Performance, maxPerformance)
	}
	if err := c.Timings().Validate(); err != nil {
		add("timing: %w", err)
	}
	if c.KickAfter < 0 {
		add("kick_after is %v: must not be negative; 0 switches automatic demotion off", c.KickAfter)
	}
	if _, err := parseLevel(c.LogLevel); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// keySize reports whether a gossip key may have n bytes: AES-128, -192 or -256.
func keySize(n int) bool { return n == 16 || n == 24 || n == 32 }

func (c *Config) validatePeers() []error {
	var errs []error
	seen := map[core.NodeID]bool{}
	for i, p := range c.Peers {
		if err := checkID(p.ID); err != nil {
			errs = append(errs, fmt.Errorf("peers[%d]: %w", i, err))
		}
		if err := checkAddr(p.Addr); err != nil {
			errs = append(errs, fmt.Errorf("peers[%d] (%s): %w", i, p.ID, err))
		}
		if seen[p.ID] {
			errs = append(errs, fmt.Errorf("peers[%d]: id %q is there twice", i, p.ID))
		}
		seen[p.ID] = true
	}
	if len(c.Peers) > 0 && !seen[c.ID] {
		errs = append(errs, fmt.Errorf("peers: this node, %q, must be among them", c.ID))
	}
	if len(c.PeerList) > maxMembers {
		errs = append(errs, fmt.Errorf("peer_list has %d entries: must be at most %d", len(c.PeerList), maxMembers))
	}
	return errs
}

// manyPeers reports whether this node is meant to talk to others.
func (c *Config) manyPeers() bool { return max(len(c.Peers), len(c.PeerList)) > 1 }

// needsGossip reports whether the gossip port is opened. A node that is alone may have a key, so that the cluster can
// grow; without one it has nobody to talk to.
func (c *Config) needsGossip() bool { return c.manyPeers() || len(c.Encrypt) > 0 }

// bound is the bind address with its port.
func (c *Config) bound() string { return net.JoinHostPort(c.BindAddr, strconv.Itoa(c.BindPort)) }

// advertised is AdvertiseAddr with a port.
func (c *Config) advertised() string {
	if _, _, err := net.SplitHostPort(c.AdvertiseAddr); err == nil {
		return c.AdvertiseAddr
	}
	return net.JoinHostPort(strings.Trim(c.AdvertiseAddr, "[]"), strconv.Itoa(c.BindPort))
}

// addr is what others reach this node at.
func (c *Config) addr() string {
	if c.AdvertiseAddr != "" {
		return c.advertised()
	}
	for _, p := range c.Peers {
		if p.ID == c.ID {
			return p.Addr
		}
	}
	return c.bound()
}

// peers returns Peers, or this node alone.
func (c *Config) peers() []core.Peer {
	if len(c.Peers) > 0 {
		return c.Peers
	}
	return []core.Peer{{ID: c.ID, Addr: c.addr()}}
}

func checkID(id core.NodeID) error {
	if id == "" || len(id) > maxIDBytes {
		return fmt.Errorf("id %q has %d bytes: must have 1 to %d", id, len(id), maxIDBytes)
	}
	for _, r := range string(id) {
		if r <= ' ' || r > '~' {
			return fmt.Errorf("id %q: must be printable ASCII without spaces", id)
		}
	}
	return nil
}

func checkAddr(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("address %q: must be host:port", addr)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 || host == "" || strings.ContainsAny(host, " /") {
		return fmt.Errorf("address %q: must be host:port with a port within [1, 65535]", addr)
	}
	if len(addr) > maxAddrBytes {
		return fmt.Errorf("address %q has %d bytes: must have at most %d", addr, len(addr), maxAddrBytes)
	}
	return nil
}

// parseLevel turns the level of a raftify.json into zerolog's.
func parseLevel(s string) (zerolog.Level, error) {
	switch strings.ToUpper(s) {
	case "DEBUG":
		return zerolog.DebugLevel, nil
	case "INFO":
		return zerolog.InfoLevel, nil
	case "", "WARN":
		return zerolog.WarnLevel, nil
	case "ERR", "ERROR":
		return zerolog.ErrorLevel, nil
	}
	return zerolog.NoLevel, fmt.Errorf("log_level is %q: must be DEBUG, INFO, WARN or ERROR", s)
}
