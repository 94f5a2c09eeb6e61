package node

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/baton-ha/baton/node/api/wire"
	"github.com/baton-ha/baton/raftify/core"
)

func TestReigns(t *testing.T) {
	start := time.UnixMilli(1_000_000)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	var r reigns
	r.note("", 0, at(0))
	r.note("", 1, at(5)) // terms without a leader are one span
	r.note("a", 2, at(10))
	r.note("a", 2, at(20)) // nothing new
	r.note("", 2, at(30))
	r.note("", 4, at(35))
	r.note("", 3, at(36)) // an older term is no news
	r.note("b", 4, at(40))
	r.note("b", 6, at(50)) // the same leader, elected again
	got := r.all("x", at(100))
	want := []wire.LeaderSpan{
		{Leader: "", Term: 1, From: 1_000_000, Micros: 10_000},
		{Leader: "a", Term: 2, From: 1_000_010, Micros: 20_000},
		{Leader: "", Term: 4, From: 1_000_030, Micros: 10_000},
		{Leader: "b", Term: 4, From: 1_000_040, Micros: 10_000},
		{Leader: "b", Term: 6, From: 1_000_050, Micros: 50_000},
	}
	if got.Node != "x" || got.Time != 1_000_100 || got.Dropped != 0 || !reflect.DeepEqual(got.Spans, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestReignsAreBounded(t *testing.T) {
	var r reigns
	for i := range keepReigns + 10 {
		r.note(fmt.Sprint(i%2), core.Term(i), time.UnixMilli(int64(i)))
	}
	got := r.all("x", time.UnixMilli(1000))
	if len(got.Spans) != keepReigns || got.Dropped != 10 || got.Spans[0].Term != 10 || got.Spans[keepReigns-1].Micros != 1_000*(1000-int64(keepReigns)-9) {
		t.Errorf("%d spans, %d dropped, first %+v, last %+v", len(got.Spans), got.Dropped, got.Spans[0], got.Spans[len(got.Spans)-1])
	}
	if cap(r.spans) > 4*keepReigns {
		t.Errorf("room for %d spans", cap(r.spans))
	}
}
