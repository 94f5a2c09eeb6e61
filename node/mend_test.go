package node

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/raftify/core"
)

// at is a record of the store by space and number; its doc.go has the layout.
func at(space byte, n uint64) []byte { return binary.BigEndian.AppendUint64([]byte{space}, n) }

// damage edits a stopped node's folder behind its back.
func (c *cluster) damage(i int, edit func(db *pebble.DB) error) {
	c.t.Helper()
	db, err := pebble.Open(c.cfgs[i].DataDir, &pebble.Options{FormatMajorVersion: pebble.FormatWALSyncChunks})
	if err == nil {
		err = errors.Join(edit(db), db.Close())
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// filled is a cluster with some blocks on all nodes.
func filled(t *testing.T, size, blocks int, tune func(*Config)) (*cluster, int) {
	t.Helper()
	c := newCluster(t, size, tune)
	c.startAll()
	lead := c.leader()
	for nonce := range blocks {
		c.submit(lead, uint64(nonce))
	}
	c.settled()
	return c, (c.leader() + size - 1) % size
}

// whole reports whether a node's disk has every committed block as the chain has it.
func (n *testNode) whole(t *testing.T) bool {
	t.Helper()
	committed := n.store.Committed()
	want := committed.Hash
	for h := committed.Height; ; h-- {
		b, err := n.store.CheckBlock(h, want, n.signer[:])
		if err != nil {
			return false
		}
		if h == 0 {
			return true
		}
		want = b.Header.Parent
	}
}

// A node of a live cluster finds by itself what is damaged of its committed chain, gets it back, and is a voter all along.
func TestScrubRepairs(t *testing.T) {
	c, who := filled(t, 3, 25, func(cfg *Config) {
		cfg.Scrub = Scrub{Every: 20 * time.Millisecond, BytesPerSecond: 1 << 30}
	})
	inc := c.nodes[who].raft.Status().Inc
	b9, err := c.nodes[who].store.Block(9)
	if err != nil {
		t.Fatal(err)
	}
	tx := b9.Txs[0].Hash()
	c.stop(who)
	c.damage(who, func(db *pebble.DB) error {
		return errors.Join(
			db.Set(at('b', 3), []byte("nonsense"), pebble.Sync), db.DeleteRange(at('b', 5), at('b', 8), pebble.Sync),
			db.Delete(append([]byte{'t'}, tx[:]...), pebble.Sync), db.Set(at('s', 11), make([]byte, 64), pebble.Sync),
			db.Delete(at('h', 13), pebble.Sync), db.Delete(at('b', 0), pebble.Sync), db.Delete(at('s', 15), pebble.Sync),
		)
	})
	c.start(who)
	n := c.nodes[who]
	c.until("all of it is repaired", func() bool { return n.mender.repaired.Load() >= 9 && n.whole(t) })
	passes := n.scrubber.passes.Load()
	c.until("it is looked through again", func() bool { return n.scrubber.passes.Load() > passes+1 })
	if got := n.mender.repaired.Load(); got != 9 {
		t.Errorf("%d repairs", got)
	}
	c.settled()
	if m, _ := c.config().Member(core.NodeID(c.cfgs[who].ID)); !m.Voter || m.Inc != inc {
		t.Errorf("it became %+v", m)
	}
}

// What is damaged here is answered from a peer, and repaired by that alone. Without a peer it is 503, and never another
// block; the status says why.
func TestDamagedBlockIsNeverServed(t *testing.T) {
	c, who := filled(t, 3, 12, func(cfg *Config) { cfg.Scrub.Every = 0 })
	want, err := c.nodes[who].Final(t.Context(), 3)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		c.stop(i)
	}
	c.damage(who, func(db *pebble.DB) error { return db.DeleteRange(at('b', 2), at('b', 5), pebble.Sync) })
	c.start(who)
	n := c.nodes[who]
	for range 3 {
		var answer *api.Error
		if f, err := n.Final(t.Context(), 3); !errors.As(err, &answer) || answer.Status != 503 {
			t.Fatalf("alone: %+v %v", f, err)
		}
	}
	c.until("it says that it cannot repair it", func() bool { return strings.Contains(n.Status().Health, "no peer gave it") })
	if n.whole(t) || n.mender.repaired.Load() > 0 {
		t.Error("it was repaired from nothing")
	}
	for i := range 3 {
		if i != who {
			c.start(i)
		}
	}
	var got block.Final
	c.until("a peer has it", func() bool { got, err = n.Final(t.Context(), 3); return err == nil })
	if got.Block.Hash() != want.Block.Hash() || got.Signature != want.Signature {
		t.Errorf("served %v", got.Block.Header)
	}
	for h := range block.Height(13) {
		c.until("the block is served", func() bool { _, err := n.Final(t.Context(), h); return err == nil })
	}
	c.until("all of it is repaired", func() bool { return n.whole(t) })
	c.until("it says no more that it cannot", func() bool { return !strings.Contains(n.Status().Health, "no peer gave it") })
	c.settled()
}

// Damage that a pass finds while nobody can help is repaired when somebody can, and not only a pass later.
func TestScrubTriesAgain(t *testing.T) {
	c, who := filled(t, 3, 12, func(cfg *Config) { cfg.Scrub = Scrub{BytesPerSecond: 1 << 30} })
	for i := range 3 {
		c.stop(i)
	}
	c.damage(who, func(db *pebble.DB) error { return db.Set(at('b', 3), []byte("nonsense"), pebble.Sync) })
	c.start(who)
	n := c.nodes[who]
	if err := n.scrubber.blocks(t.Context()); !isDamage(err) {
		t.Fatalf("a pass over a damaged block: %v", err)
	}
	for i := range 3 {
		if i != who {
			c.start(i)
		}
	}
	c.until("it is repaired", func() bool { return n.whole(t) })
}

// A block that the start itself needs is fetched before the node takes part in anything.
func TestStartRepairsWhatItNeeds(t *testing.T) {
	c, who := filled(t, 3, 17, func(cfg *Config) { cfg.Limits.CheckpointEvery = 1000 })
	c.stop(who)
	c.damage(who, func(db *pebble.DB) error {
		return errors.Join(db.Set(at('b', 4), []byte("nonsense"), pebble.Sync),
			db.DeleteRange(at('b', 8), at('b', 11), pebble.Sync))
	})
	c.start(who)
	if n := c.nodes[who]; !n.whole(t) {
		t.Error("it started with damage")
	}
	c.submit(who, 17)
	c.settled()
}

// State that cannot be read, in the topmost node or deep below, is never used: the node goes back to an older stored state,
// or to genesis, and executes what follows.
func TestDamagedStateIsMadeAnew(t *testing.T) {
	for name, edit := range map[string]func(db *pebble.DB) error{
		"all of it":   func(db *pebble.DB) error { return db.DeleteRange([]byte{'n'}, []byte{'n' + 1}, pebble.Sync) },
		"the newest":  func(db *pebble.DB) error { return damageNewest(db) },
		"a first one": func(db *pebble.DB) error { return db.Set(at('n', 1), []byte("nonsense"), pebble.Sync) },
	} {
		t.Run(name, func(t *testing.T) {
			c, who := filled(t, 1, 35, func(cfg *Config) {
				cfg.Scrub = Scrub{Every: 10 * time.Millisecond, BytesPerSecond: 1 << 30}
			})
			want := c.nodes[who].State()
			stored := 0
			c.until("states are stored", func() bool {
				all, err := c.nodes[who].store.Checkpoints()
				stored = len(all)
				return err == nil && stored > 1
			})
			c.stop(who)
			c.damage(who, edit)
			for {
				n, err := New(c.cfgs[who])
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- n.Run(ctx) }()
				<-n.Started()
				if st := n.State(); st.Root() != want.Root() || st.Height() != want.Height() {
					t.Errorf("state %v at %d", st.Root(), st.Height())
				}
				passed := n.scrubber.passes.Load()
				for n.scrubber.passes.Load() < passed+2 && len(ended) == 0 {
					time.Sleep(time.Millisecond) //nolint:forbidigo // polling a condition
				}
				cancel()
				err = <-ended
				if errors.Is(err, ErrStateDamaged) {
					continue // it was found while the node ran: the next start mends it
				}
				if err != nil {
					t.Fatal(err)
				}
				break
			}
			c.start(who)
			cp, ok := c.nodes[who].store.Checkpoint()
			if ok {
				if err := c.nodes[who].store.CheckState(cp); err != nil {
					t.Error(err)
				}
			}
			c.submit(who, 35)
			c.settled()
		})
	}
}

// damageNewest damages the last state node.
func damageNewest(db *pebble.DB) error {
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte{'n'}, UpperBound: []byte{'n' + 1}})
	if err != nil {
		return err
	}
	if !it.Last() {
		return errors.Join(errors.New("no state is stored"), it.Close())
	}
	key := append([]byte{}, it.Key()...)
	return errors.Join(it.Close(), db.Set(key, []byte("nonsense"), pebble.Sync))
}
