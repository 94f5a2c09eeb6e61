package node

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/node/archive"
	"github.com/baton-ha/baton/node/chain"
	"github.com/baton-ha/baton/raftify/core"
)

// importInto makes node i's data folder, in a new place, of an archive.
func (c *cluster) importInto(i int, data []byte, finish bool) {
	c.t.Helper()
	c.cfgs[i].DataDir = filepath.Join(c.t.TempDir(), "imported")
	c.cfgs[i].StateDir = filepath.Join(c.t.TempDir(), "state")
	if err := os.MkdirAll(c.cfgs[i].StateDir, 0o700); err != nil {
		c.t.Fatal(err)
	}
	store, err := blockstore.Open(blockstore.Options{Dir: c.cfgs[i].DataDir, Logger: zerolog.Nop()})
	if err != nil {
		c.t.Fatal(err)
	}
	ex, err := chain.New(c.genesis, chain.Ledger{})
	if err != nil {
		c.t.Fatal(err)
	}
	im, err := archive.NewImporter(c.t.Context(), store, ex, archive.Limits{CheckpointEvery: 10, CheckpointBytes: 1 << 20, StateCacheBytes: 1 << 20})
	if err == nil {
		err = im.Read(c.t.Context(), bytes.NewReader(data))
	}
	if err == nil && finish {
		_, err = im.Finish(false)
	}
	if err := errors.Join(err, store.Close()); err != nil {
		c.t.Fatal(err)
	}
}

// What a running node exports, all of its chain or its end with the state, is a newcomer's folder: refused while the import
// is not complete, without a vote at first, never one that founds a cluster, and then a voter like any other.
func TestImportedNodeJoins(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.startAll()
	lead := c.leader()
	var nonce uint64
	for ; nonce < 25; nonce++ {
		c.submit(lead, nonce)
	}
	for _, state := range []bool{false, true} {
		who := (c.leader() + 1) % 3
		old := c.nodes[who].raft.Status().Inc
		c.until("it has caught up", func() bool { return c.nodes[who].finals.height() >= 25 })
		c.until("a state is stored", func() bool { _, ok := c.nodes[who].store.Checkpoint(); return ok })
		file := c.export(who, state)
		if err := c.nodes[who].Export(t.Context(), io.Discard, 1<<40, 0, state); err == nil {
			t.Error("blocks of the future were exported")
		}
		c.stop(who)
		c.importInto(who, file, false)
		if n, err := New(c.cfgs[who]); !errors.Is(err, blockstore.ErrImporting) {
			t.Errorf("half an import: %v", err)
			if err == nil {
				_ = n.Close()
			}
		}
		c.importInto(who, file, true)
		c.start(who)
		if h := c.nodes[who].finals.height(); h < 20 {
			t.Errorf("it begins at %d", h)
		}
		c.until("the new incarnation votes", func() bool {
			m, _ := c.config().Member(core.NodeID(c.cfgs[who].ID))
			return m.Voter && m.Inc != old
		})
		c.submit(who, nonce)
		nonce++
		if base := c.nodes[who].store.Base(); (base > 1) != state {
			t.Errorf("state %v: base %d", state, base)
		}
	}
	c.until("all nodes have one state", func() bool {
		first := c.nodes[0].State()
		for _, n := range c.nodes[1:] {
			if st := n.State(); st.Height() != first.Height() || st.Root() != first.Root() {
				return false
			}
		}
		return true
	})
}

// export asks for an archive, again while the newest signatures are not stored yet.
func (c *cluster) export(i int, state bool) []byte {
	c.t.Helper()
	var file bytes.Buffer
	want := c.nodes[i].finals.height()
	c.until("all of it is exported", func() bool {
		file.Reset()
		if err := c.nodes[i].Export(c.t.Context(), &file, 0, want, state); err != nil {
			return false
		}
		a, err := archive.NewReader(bytes.NewReader(file.Bytes()))
		if err != nil {
			c.t.Fatal(err)
		}
		defer a.Close()
		return a.Header().To == want
	})
	return file.Bytes()
}

// Alone, a folder that was imported to join something founds nothing.
func TestImportedNodeFoundsNothing(t *testing.T) {
	c := newCluster(t, 1, nil)
	c.startAll()
	c.submit(0, 0)
	file := c.export(0, false)
	c.stop(0)
	c.importInto(0, file, true)
	n, err := New(c.cfgs[0])
	if err != nil {
		t.Fatal(err)
	}
	if n.store.Import() != blockstore.ImportedJoins || n.finals.height() != 1 {
		t.Errorf("import %d, height %d", n.store.Import(), n.finals.height())
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	// For that it must be said so.
	store, err := blockstore.Open(blockstore.Options{Dir: c.cfgs[0].DataDir, Logger: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(store.SetImport(blockstore.ImportedFounds), store.Close()); err != nil {
		t.Fatal(err)
	}
	c.start(0)
	c.leader()
	c.submit(0, 1)
}
