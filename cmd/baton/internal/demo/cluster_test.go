package demo

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/baton-ha/baton/node/client"
)

func assertCleanLog(t *testing.T, path, text string) {
	t.Helper()
	for _, bad := range []string{"DATA RACE", "panic:", "fatal error:", "invariant"} {
		if i := strings.Index(text, bad); i >= 0 {
			t.Errorf("%s: %.3000s", path, text[i:])
		}
	}
}

// All processes of the cluster are killed in mid-stream, five times in a row: what was acknowledged was written by a
// majority, and each start must take up what the one before was in the middle of.
func TestNothingIsLostWhenAllNodesAreKilledAtOnce(t *testing.T) {
	r := newRig(t, 6)
	r.t.start(r.ctx)
	for range 5 {
		r.awaitAcks(30)
		before := r.w.height()
		r.c.killAll()
		restarted := time.Now()
		acked := r.t.firstAfter(restarted)
		r.ok(r.c.startAll())
		t.Logf("acknowledged again after %v", r.awaitFirst(restarted, acked))
		r.awaitHigher(before) // the chain goes on above what it was, and what that was settle judges
	}
	r.settle()
	r.ok(r.c.stopAll(r.ctx, r.w.leaderNow))
	r.ok(r.c.verifyFolders())
}

// SIGTERM is no fault: the leader hands over, ends with status 0, and nobody sees more than a pause.
func TestTerminatedLeaderHandsOver(t *testing.T) {
	r := newRig(t, 6)
	r.t.start(r.ctx)
	var height client.Height
	for range 2 {
		r.awaitAcks(20)
		id, term, err := r.w.awaitLeader(r.ctx, 0)
		r.ok(err)
		n, told := r.c.byID(id), time.Now()
		acked := r.t.firstAfter(told)
		took, err := n.running().terminate(r.ctx, patience)
		if err != nil {
			t.Errorf("%s: %v", id, err)
		}
		gap := r.awaitFirst(told, acked)
		next, _, err := r.w.awaitLeader(r.ctx, term)
		r.ok(err)
		t.Logf("%s ended after %v, %s leads, first new payment acknowledged after %v, longest pause %v",
			id, took, next, gap, r.t.longestPause(told, told.Add(gap)))
		if next == id {
			t.Errorf("%s leads and was ended", id)
		}
		height = r.w.height()
		started := time.Now()
		_, err = r.c.start(n)
		r.ok(err)
		r.ok(r.w.awaitHeight(r.ctx, n, height, started))
	}
	r.settle()
}

// A stopped cluster goes on with the block after the last one, on the same chain, and the nonces go on too.
func TestRestartContinuesFromTheLastBlock(t *testing.T) {
	r := newRig(t, 4)
	r.t.start(r.ctx)
	r.awaitAcks(30)
	before := r.settle().chains[0]
	r.ok(r.c.stopAll(r.ctx, r.w.leaderNow))
	r.ok(r.c.verifyFolders())

	started := time.Now()
	r.ok(r.c.startAll())
	r.ok(r.w.awaitLevel(r.ctx, started))
	if _, _, err := r.w.awaitLeader(r.ctx, 0); err != nil {
		t.Fatal(err)
	}
	if h := r.w.height(); h != before.Height {
		t.Errorf("height was %d before the restart and is %d after it", before.Height, h)
	}
	r.t.again()
	r.t.start(r.ctx)
	r.awaitAcks(10)
	after := r.settle().chains[0]
	if after.Height <= before.Height || !slices.Equal(after.hashes[:len(before.hashes)], before.hashes) {
		t.Errorf("the chain of height %d is not a continuation of that of height %d", after.Height, before.Height)
	}
	r.ok(r.c.stopAll(r.ctx, r.w.leaderNow))
	r.ok(r.c.verifyFolders())
}
