package blockstore

import (
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/blockstore/block"
)

// Where writes are gone from the middle and the log's end is there, as with a rotten manifest, a vote or a refusal must not
// be gone in silence with them.
func TestHoleTakesNoPromise(t *testing.T) {
	for key, old := range map[string][]byte{metaElection: []byte("term 4, vote a"), metaNacked: encodeUint64(2), "": nil} {
		disk := killed(t, acked(chain(5))...)
		cache := pebble.NewCache(1 << 20)
		db, err := pebble.Open(testDir, pebbleOptions(disk, cache, zerolog.Nop(), func(err error) { t.Error(err) }))
		if err != nil {
			t.Fatal(err)
		}
		if key != "" {
			err = db.Set([]byte(key), old, pebble.Sync)
		}
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
		cache.Unref()
		if key != "" {
			refused(t, disk, "not those in the mark")
		} else if rep, err := VerifyDir(disk, testDir, testPub(), block.Hash{}); err != nil || !rep.OK() {
			t.Errorf("nothing is wrong: %v %v", rep.Problems, err)
		}
	}
}
