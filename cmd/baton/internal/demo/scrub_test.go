package demo

import (
	be "encoding/binary"
	"errors"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// metric is a whole number that a node tells of itself, -1 while it does not listen.
func (r *rig) metric(n *node, name string) int {
	r.Helper()
	req, err := http.NewRequestWithContext(r.ctx, http.MethodGet, r.c.urls(slices.Index(r.c.nodes, n))[0]+"/metrics", http.NoBody)
	r.ok(err)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return -1
	}
	defer resp.Body.Close() //nolint:errcheck // only read from
	text, err := io.ReadAll(resp.Body)
	r.ok(err)
	found := regexp.MustCompile(`(?m)^` + name + ` (\d+)$`).FindSubmatch(text)
	if found == nil {
		return -1
	}
	count, err := strconv.Atoi(string(found[1]))
	r.ok(err)
	return count
}

// repaired is what a node says that it has repaired since its start.
func (r *rig) repaired(n *node) int { return r.metric(n, "baton_repaired_total") }

// pause lets a moment pass before a condition is looked at again.
func (r *rig) pause() {
	r.Helper()
	select {
	case <-time.After(20 * time.Millisecond):
	case <-r.ctx.Done():
		r.ok(r.ctx.Err())
	}
}

// The disk of a killed node rots. It comes back, and while the cluster works it finds the damage by itself and repairs it
// from the others: in the end every folder is whole.
func TestRottenDiskIsRepairedUnderLoad(t *testing.T) {
	t.Setenv("BATON_SCRUB_INTERVAL", "1s")
	r := newRig(t, 4)
	r.t.start(r.ctx)
	r.awaitAcks(60)
	n := r.killed(1, false)[0]
	key := func(space byte, h uint64) []byte { return be.BigEndian.AppendUint64([]byte{space}, h) }
	var db *pebble.DB
	for begun := time.Now(); db == nil; { // the worker outlives its supervisor by a moment, and holds the folder
		var err error
		if db, err = pebble.Open(n.data, &pebble.Options{FormatMajorVersion: pebble.FormatWALSyncChunks}); err == nil {
			break
		}
		if time.Since(begun) > patience {
			t.Fatal(err)
		}
		r.pause()
	}
	r.ok(errors.Join(
		db.Set(key('b', 2), []byte("nonsense"), pebble.Sync), db.DeleteRange(key('b', 3), key('b', 6), pebble.Sync),
		db.Delete(key('s', 7), pebble.Sync), db.Set(key('h', 8), make([]byte, 32), pebble.Sync), db.Close(),
	))
	r.restart(n)
	for begun := time.Now(); r.repaired(n) < 6; {
		if time.Since(begun) > patience {
			t.Fatalf("%d blocks repaired", r.repaired(n))
		}
		r.pause()
	}
	r.awaitAcks(20)
	r.settle()
	r.ok(r.c.stopAll(r.ctx, r.w.leaderNow))
	r.ok(r.c.verifyFolders())
}
