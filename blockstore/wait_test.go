package blockstore

import (
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/baton-ha/baton/blockstore/block"
)

func TestCanWait(t *testing.T) {
	blocks, height, term := chain(1), block.Height(1), uint64(1)
	for _, c := range []struct {
		name  string
		batch Batch
		want  bool
	}{
		{"commit", Batch{Commit: commitTo(blocks[1], 1, 1), NoSync: true}, true},
		{"signature", Batch{Signed: signed(blocks[1]), NoSync: true}, true},
		{"both", Batch{Commit: commitTo(blocks[1], 1, 1), Signed: signed(blocks[1]), NoSync: true}, true},
		{"commit with an fsync", Batch{Commit: commitTo(blocks[1], 1, 1)}, false},
		{"append", Batch{Append: blocks[1:], NoSync: true}, false},
		{"cut", Batch{Cut: &height, NoSync: true}, false},
		{"synced", Batch{Synced: &term, NoSync: true}, false},
		{"nacked", Batch{Nacked: &term, NoSync: true}, false},
		{"election", Batch{Election: []byte("x"), NoSync: true}, false},
		{"nodes", Batch{side: &sideWrite{set: []pair{{}}}, NoSync: true}, false},
		{"checkpoint", Batch{side: &sideWrite{checkpoint: &Checkpoint{}}, NoSync: true}, false},
	} {
		if got := c.batch.canWait(); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// noTimer keeps what can wait from being written for its own sake.
func noTimer(s *Store) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.overdue = true
}

// Commits and signatures are written in one group with the batch that comes after them, in order.
func TestCommitWaitsForCompany(t *testing.T) {
	s := mustOpen(t, vfs.NewMem())
	blocks := chain(2)
	write(t, s, Batch{Append: blocks[:2]})
	noTimer(s)
	before := s.Stats().Groups
	var order []string
	note := func(what string) func(error) {
		return func(err error) {
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
			order = append(order, what)
		}
	}
	s.Enqueue(Batch{Commit: commitTo(blocks[1], 1, 1), NoSync: true}, note("commit"))
	s.Enqueue(Batch{Signed: signed(blocks[1]), NoSync: true}, note("signature"))
	if c := s.Committed(); c.Height != 0 {
		t.Errorf("committed %d before the next batch", c.Height)
	}
	write(t, s, Batch{Append: blocks[2:]})
	if got := s.Stats().Groups - before; got != 1 {
		t.Errorf("%d groups, want 1", got)
	}
	if len(order) != 2 || order[0] != "commit" || order[1] != "signature" {
		t.Errorf("answers: %v", order)
	}
	if f, err := s.Final(1); err != nil || f.Block.Hash() != blocks[1].Hash() {
		t.Errorf("final 1: %v", err)
	}
}

// What waits is written without company as well.
func TestCommitIsWrittenAlone(t *testing.T) {
	s := mustOpen(t, vfs.NewMem())
	blocks := chain(1)
	write(t, s, Batch{Append: blocks})
	for range 2 { // the timer can be started again
		write(t, s, Batch{Commit: commitTo(blocks[1], 1, 1), NoSync: true})
	}
	if c := s.Committed(); c.Height != 1 {
		t.Errorf("committed %d", c.Height)
	}
}

func TestCloseWritesWhatWaits(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, fs)
	blocks := chain(1)
	write(t, s, Batch{Append: blocks})
	noTimer(s)
	answer := make(chan error, 1)
	s.Enqueue(Batch{Commit: commitTo(blocks[1], 1, 1), NoSync: true}, func(err error) { answer <- err })
	if err := s.Close(); err != nil && !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	if err := <-answer; err != nil {
		t.Errorf("commit: %v", err)
	}
	if c := mustOpen(t, fs).Committed(); c.Height != 1 {
		t.Errorf("committed %d after a restart", c.Height)
	}
}
