package node

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/baton-ha/baton/raftify"
	"github.com/baton-ha/baton/raftify/core"
)

// The marker records, outside the data folder, that this node was once in a cluster (PROTOCOL R26), and the newest start
// of its folder: one that comes back older than that was restored from a backup, and has forgotten what it promised.

// marker is the path of the marker, "" for none.
func (n *Node) marker() string {
	if n.cfg.StateDir == "" {
		return ""
	}
	return filepath.Join(n.cfg.StateDir, n.cfg.ID+".member")
}

func (n *Node) marked() bool {
	m := n.marker()
	if m == "" {
		return false
	}
	_, err := os.Stat(m)
	return err == nil
}

const startLine = "incarnation %s start %d"

// mark writes the marker: when this node becomes a member, and at each of its starts.
func (n *Node) mark(inc core.Inc, boot uint64) error {
	m := n.marker()
	if m == "" {
		return nil
	}
	text := fmt.Sprintf("%s was a member of chain %s; with an empty data folder it joins and never bootstraps\n"+startLine+"\n",
		n.cfg.ID, n.cfg.Genesis.ChainID, hex.EncodeToString(inc[:]), boot)
	if err := replaceFile(m, text); err != nil {
		return fmt.Errorf("record that this node is a member of a cluster: %w", err)
	}
	return nil
}

// markLater is mark for the owner loop, which does no I/O.
func (n *Node) markLater() {
	s := n.raft.Status()
	n.wg.Go(func() {
		if err := n.mark(s.Inc, s.Boot); err != nil {
			n.log.Error().Err(err).Msg("no marker")
		}
	})
}

// replaceFile puts a file in another's place, durably, so that a crash leaves one or the other.
func replaceFile(path, text string) error {
	f, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// checkMarker refuses a data folder that this node has outgrown. It is called before the start is counted, which would
// let a restored folder catch up by being started often enough.
func (n *Node) checkMarker() error {
	raw := n.store.Election()
	if raw == nil || n.marker() == "" {
		return nil // an empty folder is a newcomer's
	}
	text, err := os.ReadFile(n.marker())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("marker: %w", err)
	}
	hs, err := raftify.DecodeState(raw)
	if err != nil {
		return fmt.Errorf("stored election state: %w", err)
	}
	var inc string
	var boot uint64
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, startLine, &inc, &boot); err == nil {
			break
		}
	}
	if inc == hex.EncodeToString(hs.Inc[:]) && hs.Boot < boot {
		return fmt.Errorf("%w: it has seen %d starts and %s says that there were %d; empty it, and the node comes back as a newcomer",
			ErrOldFolder, hs.Boot, n.marker(), boot)
	}
	return nil
}
