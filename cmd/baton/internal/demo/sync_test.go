package demo

import (
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/baton-ha/baton/node/client"
)

// emptied kills a follower and takes its data folder away.
func (r *rig) emptied() *node {
	r.Helper()
	n := r.killed(1, false)[0]
	for begun := time.Now(); ; r.pause() { // the worker outlives its supervisor by a moment, and writes
		err := os.RemoveAll(n.data)
		if err == nil {
			break
		}
		if time.Since(begun) > patience {
			r.Fatal(err)
		}
	}
	return n
}

// jumps counts the states that a node has gone on from, over all its starts, by its log.
func (r *rig) jumps(n *node) int {
	r.Helper()
	log, err := os.ReadFile(n.log)
	r.ok(err)
	return strings.Count(string(log), "this node goes on from the state of this block")
}

// grow waits until the chain is so high that a newcomer takes a state over.
func (r *rig) grow(height client.Height) {
	r.Helper()
	r.ok(r.w.wait(r.ctx, "enough blocks", func(views map[string]view) bool {
		for _, v := range views {
			if v.err == nil && v.status.Height >= height {
				return true
			}
		}
		return false
	}))
}

// A node whose folder is emptied under load comes back by a state. Later it has the whole chain, as the others.
func TestEmptiedNodeComesBackByState(t *testing.T) {
	t.Setenv("BATON_STATE_CHECKPOINT_BLOCKS", "20")
	r := newRig(t, 6)
	r.t.start(r.ctx)
	r.grow(150)
	n := r.emptied()
	r.awaitAcks(30)
	began := time.Now()
	r.restart(n)
	r.awaitVoters(3)
	t.Logf("voted again after %v at height %d", time.Since(began), r.w.height())
	if r.jumps(n) == 0 {
		t.Errorf("%s executed all blocks", n.id)
	}
	r.awaitAcks(30)
	r.settle()
	r.awaitBase(n, whole)
	r.ok(r.c.stopAll(r.ctx, r.w.leaderNow))
	r.ok(r.c.verifyFolders())
}

// awaitBase waits until the chain of a node begins where it should.
func (r *rig) awaitBase(n *node, ok func(base int) bool) {
	r.Helper()
	for begun := time.Now(); ; r.pause() {
		base := r.metric(n, "baton_base_height")
		if base >= 0 && ok(base) {
			return
		}
		if time.Since(begun) > patience {
			r.Fatalf("the chain of %s begins at %d", n.id, base)
		}
	}
}

// whole is a chain that has all blocks, by the height that it begins at.
func whole(base int) bool { return base <= 1 }

func pruned(base int) bool { return !whole(base) }

// A node that is killed again and again while it takes a state over, and afterwards, ends with the same chain.
func TestKilledWhileItSyncs(t *testing.T) {
	t.Setenv("BATON_STATE_CHECKPOINT_BLOCKS", "20")
	r := newRig(t, 6)
	r.t.start(r.ctx)
	r.grow(150)
	n := r.emptied()
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	t.Logf("seed %d", seed)
	for range 6 {
		r.restart(n)
		alive := time.Duration(rng.IntN(1500)) * time.Millisecond
		select {
		case <-time.After(alive): // where it is then is what the test is about
		case <-r.ctx.Done():
			r.ok(r.ctx.Err())
		}
		n.process().kill()
		if rng.IntN(3) == 0 {
			r.awaitAcks(30)
		}
	}
	r.restart(n)
	r.awaitVoters(3)
	r.awaitAcks(30)
	r.settle()
	if r.jumps(n) == 0 {
		t.Errorf("%s executed all blocks", n.id)
	}
	r.awaitBase(n, whole)
	r.ok(r.c.stopAll(r.ctx, r.w.leaderNow))
	r.ok(r.c.verifyFolders())
}

// A node with an empty folder joins others that have pruned most of their blocks: nobody has what it lacks, and it follows.
func TestNewcomerAmongNodesThatPruned(t *testing.T) {
	t.Setenv("BATON_STATE_CHECKPOINT_BLOCKS", "100")
	t.Setenv("BATON_RETENTION_BLOCKS", "1000")
	t.Setenv("BATON_RETENTION_RECEIPTS", "1000")
	r := newRig(t, 6)
	r.t.start(r.ctx)
	r.grow(1300)
	n := r.emptied()
	for _, o := range r.survivors() {
		r.awaitBase(o, pruned)
	}
	began := time.Now()
	r.restart(n)
	r.awaitVoters(3)
	t.Logf("voted again after %v at height %d", time.Since(began), r.w.height())
	if r.jumps(n) == 0 {
		t.Errorf("%s did not take a state over", n.id)
	}
	r.awaitAcks(30)
	r.t.finish()
	r.ok(r.t.errs())
	r.ok(r.w.awaitLevel(r.ctx, time.Now()))
	r.ok(r.c.stopAll(r.ctx, r.w.leaderNow))
	r.ok(r.c.verifyFolders())
}
