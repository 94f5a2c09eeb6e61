package config

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"strconv"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node"
)

// Sync is the sync section: how a node that has nothing, or is far behind, catches up, and what it serves to such others.
type Sync struct {
	// Mode is "state" (take over the newest state that others offer, and follow from there), "block" (execute every block
	// from genesis on), "archive" (so, and keep all blocks and states) or "from:HEIGHT" (take over the state at that height,
	// and execute what comes after it).
	Mode string `json:"mode"`
	// Pin is a block that the chain is known to have. What contradicts it is refused.
	Pin Pin `json:"pin"`
	// Listen is the address and port of a read-only listener from which nodes that are no members catch up. Empty: none.
	Listen string `json:"listen"`
	// Rate is how many bytes a second the node serves to all others together; 0 is no limit. It may change while the node runs.
	Rate int `json:"rate"`
	// Sources are the URLs of such listeners elsewhere, which are asked beside the members.
	Sources []string `json:"sources"`
}

// Pin is the sync.pin section.
type Pin struct {
	// Height is the block's; 0 pins nothing.
	Height int `json:"height"`
	// Hash is the block's, 64 hex digits.
	Hash string `json:"hash"`
}

// minSyncRate is less than what anybody could catch up with.
const minSyncRate = 64 << 10

func (s *Sync) validate(p *problems) {
	if _, _, err := node.ParseSyncMode(s.Mode); err != nil {
		p.add("sync.mode", s.Mode, "state, block, archive or from:HEIGHT, a height of at least 1")
	}
	switch {
	case s.Pin.Height < 0:
		p.add("sync.pin.height", s.Pin.Height, "a height of at least 1, or 0 for no pin")
	case s.Pin.Height == 0 && s.Pin.Hash != "":
		p.add("sync.pin.height", s.Pin.Height, "the height of the block that sync.pin.hash names")
	case s.Pin.Height > 0:
		if h, err := block.ParseHash(s.Pin.Hash); err != nil || h.IsZero() {
			p.add("sync.pin.hash", s.Pin.Hash, "the 64 hex digits of a block's hash")
		}
	}
	if s.Listen != "" {
		if err := checkAddr(s.Listen, false); err != nil {
			p.add("sync.listen", s.Listen, "%v, or nothing", err)
		}
	}
	if s.Rate != 0 {
		p.inRange("sync.rate", s.Rate, minSyncRate, math.MaxInt32)
	}
	seen := map[string]bool{}
	for i, source := range s.Sources {
		field := fmt.Sprintf("sync.sources[%d]", i)
		if err := CheckSource(source); err != nil {
			p.add(field, source, "%v", err)
		}
		if seen[source] {
			p.add(field, source, "each source once")
		}
		seen[source] = true
	}
}

// CheckSource reports what is wrong with the URL of one who serves, as it stands in sync.sources.
func CheckSource(source string) error {
	u, err := url.Parse(source)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return errors.New("an http or https URL, such as http://10.0.0.1:7003")
	}
	return nil
}

// listeners checks that the read-only listener has an address of its own.
func (s *Sync) listeners(p *problems, c *Config) {
	if s.Listen == "" {
		return
	}
	for _, other := range []struct{ name, addr string }{
		{"raftify.bind_port", net.JoinHostPort(c.Raftify.BindAddr, strconv.Itoa(c.Raftify.BindPort))},
		{"peer.listen", c.Peer.Listen},
		{"api.listen", c.API.Listen},
	} {
		if overlap(s.Listen, other.addr) {
			p.add("sync.listen", s.Listen, "another port than %s", other.name)
		}
	}
}

// Node is the section as the node takes it. It must be valid.
func (s *Sync) Node() (node.Sync, error) {
	mode, from, err := node.ParseSyncMode(s.Mode)
	if err != nil {
		return node.Sync{}, fmt.Errorf("sync.mode: %w", err)
	}
	out := node.Sync{Mode: mode, From: from, Listen: s.Listen, Rate: s.Rate, Sources: s.Sources}
	if s.Pin.Height > 0 {
		hash, err := block.ParseHash(s.Pin.Hash)
		if err != nil {
			return node.Sync{}, fmt.Errorf("sync.pin.hash: %w", err)
		}
		out.Pin = node.Pin{Height: block.Height(s.Pin.Height), Hash: hash} //nolint:gosec // checked to be positive
	}
	return out, nil
}
