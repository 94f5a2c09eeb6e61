package node

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/baton-ha/baton/blockstore/block"
)

// SyncMode is how a node that has nothing, or is far behind, gets to where the others are. Zero is invalid.
type SyncMode uint8

// The ways to catch up.
const (
	// SyncState takes over the state of the newest final block that others offer, and follows by blocks from there.
	SyncState SyncMode = iota + 1
	// SyncBlock executes every block from genesis on.
	SyncBlock
	// SyncArchive is SyncBlock, and keeps all blocks and all states.
	SyncArchive
	// SyncFrom takes over the state of a given height, or the newest one below it, or else the first one above it that others
	// have, and executes every block from there on.
	SyncFrom
)

const syncFromPrefix = "from:"

// String returns the mode's name; of SyncFrom without its height.
func (m SyncMode) String() string {
	switch m {
	case SyncState:
		return "state"
	case SyncBlock:
		return "block"
	case SyncArchive:
		return "archive"
	case SyncFrom:
		return "from"
	}
	return fmt.Sprintf("SyncMode(%d)", uint8(m))
}

// ParseSyncMode reads "state", "block", "archive" or "from:HEIGHT". The height is 0 for all but the last.
func ParseSyncMode(text string) (SyncMode, block.Height, error) {
	for _, m := range []SyncMode{SyncState, SyncBlock, SyncArchive} {
		if text == m.String() {
			return m, 0, nil
		}
	}
	if digits, ok := strings.CutPrefix(text, syncFromPrefix); ok {
		if h, err := strconv.ParseUint(digits, 10, 64); err == nil && h > 0 {
			return SyncFrom, block.Height(h), nil
		}
	}
	return 0, 0, fmt.Errorf("%.40q: must be state, block, archive or from:HEIGHT with a height of at least 1", text)
}

// Pin is a block that is known, from a source that is trusted, to be in the chain. The zero value is none.
type Pin struct {
	Height block.Height
	Hash   block.Hash
}

// Sync says how a node catches up, and what it serves to others that do.
type Sync struct {
	Mode SyncMode
	// From is the height of SyncFrom.
	From block.Height
	// Pin, if set, stops the node when the chain that it has or is offered holds another block at that height.
	Pin Pin
	// Listen is the host:port of a read-only listener for nodes that are no members, "" for none.
	Listen string
	// Rate bounds the bytes per second that this node serves to all others together, 0: no bound.
	Rate int
	// Sources are the URLs of such listeners, asked beside the members.
	Sources []string
}

// DefaultSync takes state over and serves members.
func DefaultSync() Sync { return Sync{Mode: SyncState, Rate: 32 << 20} }

// minRate is less than what anybody could catch up with.
const minRate = 64 << 10

// Validate reports all that makes no sense.
func (s Sync) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("sync: "+format, args...)) }
	if s.Mode < SyncState || s.Mode > SyncFrom {
		bad("mode is %v: must be state, block, archive or from", s.Mode)
	}
	if (s.Mode == SyncFrom) != (s.From > 0) {
		bad("mode %v with height %d: from, and only from, has one of at least 1", s.Mode, s.From)
	}
	if (s.Pin.Height > 0) == s.Pin.Hash.IsZero() {
		bad("pin %d/%v: must have a height of at least 1 and a hash", s.Pin.Height, s.Pin.Hash)
	}
	if s.Listen != "" {
		if _, _, err := net.SplitHostPort(s.Listen); err != nil {
			bad("listen on %q: %w", s.Listen, err)
		}
	}
	if s.Rate != 0 && s.Rate < minRate {
		bad("rate of %d bytes per second: must be at least %d, or 0 for no bound", s.Rate, minRate)
	}
	for _, source := range s.Sources {
		if u, err := url.Parse(source); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
			bad("source %q: must be an http or https URL", source)
		}
	}
	return errors.Join(errs...)
}
