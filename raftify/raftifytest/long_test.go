package raftifytest_test

import (
	"flag"
	"testing"

	"github.com/baton-ha/baton/raftify/raftifytest"
	"github.com/baton-ha/baton/raftify/raftifytest/long"
)

const longRecord = "testdata/long.json"

var longFlag = flag.Duration("long", 0, "go on with the seeds of "+longRecord+" for so long")

// TestLong goes on with the million seeds, if asked to (make sim-long).
func TestLong(t *testing.T) {
	if *longFlag == 0 {
		return // TestLongRecord has looked at what there is
	}
	r, err := long.Continue(t.Context(), longRecord, "elections: raftifytest.RunSeed", 1_000_000, *longFlag, 1, func(seed uint64) long.Outcome {
		c, err := raftifytest.RunSeed(seed, nil, nil)
		o := long.Outcome{Steps: c.Steps, Simulated: c.Now(), Branches: c.Count}
		if err != nil {
			o.Violation = err.Error()
		}
		return o
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
	for _, c := range r.Complaints(1000, raftifytest.Branches()) {
		t.Error(c)
	}
}
