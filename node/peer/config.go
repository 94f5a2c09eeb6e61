package peer

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"time"
)

// Proto is the ALPN name of the protocol that this package speaks.
const Proto = "baton/1"

const (
	minFrameBytes = 4 << 10
	topFrameBytes = 1 << 30
	maxIDBytes    = 255 // an id's length is one byte in a hello
)

// Peer is another processor: where it is found and the one key that proves it.
type Peer struct {
	ID        string
	Addr      string // host:port that it listens on
	PublicKey ed25519.PublicKey
}

// Config says who this node is, who its peers are, and every bound of the link. Start from DefaultConfig.
type Config struct {
	ID     string             // this node's id, as its peers know it
	Listen string             // host:port to listen on; port 0 picks a free one (see Link.Addr)
	Key    ed25519.PrivateKey // this node's key
	Peers  []Peer             // may contain this node itself, which is skipped

	// ALPN has the other protocols served on the same listener, by ALPN name, to configured peers only. The function
	// runs on a goroutine of its own and owns the connection (a *tls.Conn whose handshake is done) until it returns;
	// then the connection is closed. Link.Close closes the connection and waits for the function. Not read after New.
	ALPN map[string]func(conn net.Conn, peerID string)

	MaxFrameBytes int // longest frame accepted or sent, its headers included
	QueueBytes    int // most bytes waiting on one connection; at least MaxFrameBytes and a little
	QueueFrames   int // most frames waiting on one connection
	MaxRequests   int // most requests in work for one peer, each way
	MaxConns      int // most incoming connections
	MaxHandshakes int // most incoming connections that have not proved a key yet; one more ends the oldest of them

	DialTimeout      time.Duration // for a TCP connection to be made
	HandshakeTimeout time.Duration // for TLS and the hello together, on either side
	IdleTimeout      time.Duration // silence after which a connection counts as dead; pings go out three times as often
	BackoffMin       time.Duration // wait before the first redial
	BackoffMax       time.Duration // wait between redials at most; a connection that lived as long resets the wait

	// Rand returns a number in [0, n) and spreads redials. It must be safe for concurrent use.
	Rand func(n int) int
}

// DefaultConfig returns the bounds for a cluster in one data centre. ID, Listen, Key and Peers are left to the caller.
func DefaultConfig() Config {
	return Config{
		MaxFrameBytes:    9 << 20,
		QueueBytes:       64 << 20,
		QueueFrames:      4096,
		MaxRequests:      256,
		MaxConns:         256,
		MaxHandshakes:    64,
		DialTimeout:      2 * time.Second,
		HandshakeTimeout: 3 * time.Second,
		IdleTimeout:      5 * time.Second,
		BackoffMin:       20 * time.Millisecond,
		BackoffMax:       time.Second,
		Rand:             rand.IntN,
	}
}

// MaxPayloadBytes is the longest payload that Send, Request and an answer can carry.
func (c Config) MaxPayloadBytes() int { return c.MaxFrameBytes - maxHeadBytes }

// Validate returns all that is wrong with c, joined, or nil. It looks at nothing but c.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	atLeast := func(field string, value, bound int) {
		if value < bound {
			bad("%s = %d: must be at least %d", field, value, bound)
		}
	}
	positive := func(field string, value time.Duration) {
		if value <= 0 {
			bad("%s = %v: must be positive", field, value)
		}
	}

	if problem := checkID(c.ID); problem != "" {
		bad("ID = %q: %s", c.ID, problem)
	}
	if err := checkAddr(c.Listen, 0); err != nil {
		bad("Listen = %q: %w", c.Listen, err)
	}
	if len(c.Key) != ed25519.PrivateKeySize {
		bad("Key: has %d bytes, must be an Ed25519 private key of %d bytes", len(c.Key), ed25519.PrivateKeySize)
	} else if err := checkPeers(c.ID, publicKey(c.Key), c.Peers); err != nil {
		errs = append(errs, err)
	}
	for _, name := range sortedKeys(c.ALPN) {
		switch {
		case name == Proto:
			bad("ALPN[%q]: is this package's own protocol", name)
		case name == "" || len(name) > 255:
			bad("ALPN[%q]: the name must have 1 to 255 bytes", name)
		case c.ALPN[name] == nil:
			bad("ALPN[%q]: is nil", name)
		}
	}

	if c.MaxFrameBytes < minFrameBytes || c.MaxFrameBytes > topFrameBytes {
		bad("MaxFrameBytes = %d: must be %d to %d", c.MaxFrameBytes, minFrameBytes, topFrameBytes)
	} else {
		atLeast("QueueBytes", c.QueueBytes, c.MaxFrameBytes+frameCostBytes)
	}
	atLeast("QueueFrames", c.QueueFrames, 1)
	atLeast("MaxRequests", c.MaxRequests, 1)
	atLeast("MaxHandshakes", c.MaxHandshakes, 1)
	atLeast("MaxConns", c.MaxConns, c.MaxHandshakes+2*len(c.Peers))
	positive("DialTimeout", c.DialTimeout)
	positive("HandshakeTimeout", c.HandshakeTimeout)
	positive("IdleTimeout", c.IdleTimeout)
	positive("BackoffMin", c.BackoffMin)
	if c.BackoffMax < c.BackoffMin {
		bad("BackoffMax = %v: must be at least BackoffMin = %v", c.BackoffMax, c.BackoffMin)
	}
	if c.Rand == nil {
		bad("Rand: is nil")
	}
	return errors.Join(errs...)
}

// checkPeers returns all that is wrong with a list of peers, from the view of the node self.
func checkPeers(self string, selfKey ed25519.PublicKey, peers []Peer) error {
	var errs []error
	ids := make(map[string]bool, len(peers))
	owner := map[string]string{string(selfKey): self}
	for i, p := range peers {
		where := fmt.Sprintf("Peers[%d] %q: ", i, p.ID)
		bad := func(format string, args ...any) {
			errs = append(errs, errors.New(where+fmt.Sprintf(format, args...)))
		}
		if problem := checkID(p.ID); problem != "" {
			bad("ID: %s", problem)
		}
		if ids[p.ID] {
			bad("ID: appears twice")
		}
		ids[p.ID] = true
		if err := checkAddr(p.Addr, 1); err != nil && p.ID != self {
			bad("Addr = %q: %v", p.Addr, err)
		}
		if len(p.PublicKey) != ed25519.PublicKeySize {
			bad("PublicKey: has %d bytes, must have %d", len(p.PublicKey), ed25519.PublicKeySize)
			continue
		}
		switch other, taken := owner[string(p.PublicKey)]; {
		case p.ID == self && !selfKey.Equal(p.PublicKey):
			bad("PublicKey: is not the key of this node")
		case taken && other != p.ID:
			bad("PublicKey: is also that of %q", other)
		default:
			owner[string(p.PublicKey)] = p.ID
		}
	}
	return errors.Join(errs...)
}

func checkID(id string) string {
	switch {
	case id == "":
		return "is empty"
	case len(id) > maxIDBytes:
		return fmt.Sprintf("has %d bytes, at most %d are allowed", len(id), maxIDBytes)
	}
	return ""
}

// checkAddr says what keeps addr from being host:port; a lowest port of 1 asks for an address that can be dialled.
func checkAddr(addr string, lowest int) error {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("must be host:port: %w", err)
	}
	if port, err := strconv.Atoi(text); err != nil || port < lowest || port > 65535 {
		return fmt.Errorf("port %q must be a number from %d to 65535", text, lowest)
	}
	if host == "" && lowest > 0 {
		return errors.New("has no host")
	}
	return nil
}

func publicKey(key ed25519.PrivateKey) ed25519.PublicKey {
	return ed25519.PublicKey(key[ed25519.PrivateKeySize-ed25519.PublicKeySize:])
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
