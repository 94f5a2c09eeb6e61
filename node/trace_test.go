package node

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/nodetest"
	"github.com/baton-ha/baton/node/replication"
	"github.com/baton-ha/baton/node/trace"
	"github.com/baton-ha/baton/raftify/core"
)

// sink keeps a trace. A node that is started again goes on in it.
type sink struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

// recorded runs three nodes with traces through payments, a handover and a restart of the leader.
func recorded(t *testing.T) ([]trace.Event, *block.Block, func(*block.Block) bool) {
	t.Helper()
	var sinks []*sink
	c := newCluster(t, 3, func(cfg *Config) {
		s := &sink{}
		sinks = append(sinks, s)
		cfg.Trace = trace.New(s, zerolog.Nop())
	})
	c.startAll()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	first := c.leader()
	c.load(ctx, []int{0, 1}, 10)
	c.lead((first + 1) % 3)
	c.load(ctx, []int{2, 3}, 10)
	leader := c.leader()
	c.stop(leader)
	c.leader()
	c.start(leader)
	c.load(ctx, []int{4, 5}, 10)
	blocks := c.settled()
	c.stopAll()
	var traces [][]trace.Event
	for _, s := range sinks {
		events, err := trace.Read(&s.buf)
		if err != nil {
			t.Fatal(err)
		}
		traces = append(traces, events)
	}
	valid := func(b *block.Block) bool { // the committed chain is what all nodes serve
		return int(b.Header.Height) < len(blocks) && blocks[b.Header.Height].Hash() == b.Hash()
	}
	return trace.Merge(traces...), blocks[0], valid
}

// The trace of real nodes is what the simulator's checker takes for a correct cluster; with a line changed it is not.
func TestTraceIsJudgedByTheCheckerOfTheSimulator(t *testing.T) {
	events, genesis, valid := recorded(t)
	judge := func(events []trace.Event) ([]string, nodetest.Coverage) {
		c := nodetest.NewChecker(genesis)
		c.Valid = valid
		count, err := nodetest.Replay(c, events)
		if err != nil {
			t.Fatal(err)
		}
		return c.Violations(), count
	}
	broken, count := judge(events)
	if len(broken) > 0 {
		t.Fatalf("%d violations, the first is %q", len(broken), broken[0])
	}
	for _, k := range []trace.Kind{
		trace.KindStart, trace.KindHard, trace.KindSend, trace.KindElected, trace.KindBlock, trace.KindWrite, trace.KindDurable,
		trace.KindProp, trace.KindAck, trace.KindTakeover, trace.KindCommitted, trace.KindCommit, trace.KindSigned, trace.KindLease,
	} {
		if count[k] == 0 {
			t.Errorf("no line tells of %q: %v", k, count)
		}
	}

	find := func(ok func(e trace.Event) bool) int {
		t.Helper()
		i := slices.IndexFunc(events, ok)
		if i < 0 {
			t.Fatal("no such line")
		}
		return i
	}
	last := func(k trace.Kind) int {
		t.Helper()
		for i, e := range slices.Backward(events) {
			if e.Kind == k && (e.Ref == nil || e.Ref.Height > 1) {
				return i
			}
		}
		t.Fatal("no such line")
		return 0
	}
	stranger := &trace.Ref{Height: 1, Hash: block.Hash{1}}
	tamper := map[string]struct {
		at     int
		change func(e *trace.Event, more func(trace.Event))
	}{
		"I1": {last(trace.KindElected), func(e *trace.Event, more func(trace.Event)) {
			again := *e
			for _, o := range events {
				if o.Kind == trace.KindStart && o.Node != e.Node {
					again.Node, again.Inc = o.Node, o.Inc
				}
			}
			more(again)
		}},
		"I2": {
			find(func(e trace.Event) bool {
				return e.Kind == trace.KindSend && e.Type == core.MsgVoteResp.String() && e.OK
			}),
			func(e *trace.Event, more func(trace.Event)) {
				again := *e
				again.To = "node9"
				more(again)
			},
		},
		"I3": {last(trace.KindAck), func(e *trace.Event, _ func(trace.Event)) { e.Term-- }},
		"I4": {last(trace.KindStart), func(e *trace.Event, _ func(trace.Event)) { *e.Synced = 0 }},
		"I5": {last(trace.KindTakeover), func(e *trace.Event, _ func(trace.Event)) { e.Ref = stranger }},
		"I6": {last(trace.KindProp), func(e *trace.Event, _ func(trace.Event)) { e.Ref = stranger }},
		"I7": {last(trace.KindAck), func(e *trace.Event, _ func(trace.Event)) {
			e.Ref = &trace.Ref{Height: e.Ref.Height + 7, Hash: e.Ref.Hash}
		}},
		"I8": {last(trace.KindCommitted), func(e *trace.Event, _ func(trace.Event)) {
			e.Ref = &trace.Ref{Height: e.Ref.Height, Hash: block.Hash{1}}
		}},
		"I10": {find(func(e trace.Event) bool { return e.Kind == trace.KindStart }), func(*trace.Event, func(trace.Event)) {}},
		"I12": {last(trace.KindCommit), func(e *trace.Event, more func(trace.Event)) {
			back := *e
			back.Ref = &trace.Ref{Height: e.Ref.Height - 1, Hash: e.Ref.Hash}
			more(back)
		}},
		"I15": {
			find(func(e trace.Event) bool { return e.Kind == trace.KindLease && e.Left > 0 }),
			func(e *trace.Event, more func(trace.Event)) {
				other := *e
				for _, o := range events {
					if o.Kind == trace.KindStart && o.Node != e.Node {
						other.Node, other.Inc, other.Boot = o.Node, o.Inc, o.Boot
					}
				}
				more(other)
			},
		},
	}
	for want, change := range tamper {
		t.Run(want, func(t *testing.T) {
			bad := slices.Clone(events)
			if want == "I10" { // nothing ever became durable
				bad = slices.DeleteFunc(bad, func(e trace.Event) bool { return e.Kind == trace.KindDurable })
			} else {
				e := bad[change.at]
				if e.Synced != nil {
					synced := *e.Synced
					e.Synced = &synced
				}
				var after []trace.Event
				change.change(&e, func(more trace.Event) { after = append(after, more) })
				bad[change.at] = e
				bad = slices.Insert(bad, change.at+1, after...)
			}
			broken, _ := judge(bad)
			if !slices.ContainsFunc(broken, func(text string) bool { return strings.HasPrefix(text, want+":") }) {
				t.Errorf("violations are %q", broken)
			}
		})
	}
}

// A trace whose last line was cut off by a crash is read up to there; one that is no trace is refused.
func TestReadTrace(t *testing.T) {
	var out bytes.Buffer
	w := trace.New(&out, zerolog.Nop())
	w.Start("node1", core.Status{Vote: core.Vote{Kind: core.VoteNone}, Boot: 3}, 0, replication.Ref{}, replication.Ref{})
	w.Durable(7)
	w.Flush()
	whole := out.String()
	events, err := trace.Read(strings.NewReader(whole + whole[:20]))
	if err != nil || len(events) != 2 || events[1].Node != "node1" || events[1].Seq != 7 || events[1].Boot != 3 {
		t.Fatalf("%+v, %v", events, err)
	}
	for _, bad := range []string{"{}\n", "x\n", whole + `{"at":1,"k":"durable","sequence":1}` + "\n", `{"at":1,"k":"start"}` + "\n"} {
		if _, err := trace.Read(strings.NewReader(bad)); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}
