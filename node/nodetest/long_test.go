package nodetest

import (
	"flag"
	"testing"

	"github.com/baton-ha/baton/raftify/raftifytest/long"
)

const longRecord = "testdata/long.json"

var flagLong = flag.Duration("long", 0, "go on with the seeds of "+longRecord+" for so long")

// TestLong goes on with the million seeds, if asked to (make sim-long).
func TestLong(t *testing.T) {
	if *flagLong == 0 {
		return
	}
	r, err := long.Continue(t.Context(), longRecord, "both layers: nodetest.Run", 1_000_000, *flagLong, 1, func(seed uint64) long.Outcome {
		x := Run(seed, Options{})
		return long.Outcome{Steps: uint64(x.Events), Simulated: x.VirtualTime, Branches: x.Branches, Violation: x.Violation}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d seeds, %d steps", r.Seeds, r.Steps)
}

// TestLongRecord: the record adds up, found nothing, and reached every rare branch.
func TestLongRecord(t *testing.T) {
	r, err := long.Load(longRecord)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Complaints(2000, rare) {
		t.Error(c)
	}
}
