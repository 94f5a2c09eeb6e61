package judge

import (
	"fmt"
	"os"
	"strings"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/chain"
	"github.com/baton-ha/baton/node/nodetest"
	"github.com/baton-ha/baton/node/trace"
)

// observed are the invariants that the trace shows, with what they say and the kinds of lines without which nothing was
// judged.
var observed = []struct {
	name, text string
	needs      []trace.Kind
}{
	{"I1", "at most one leader a term", []trace.Kind{trace.KindElected}},
	{"I2", "a node's term never falls, it votes once a term", []trace.Kind{trace.KindHard, trace.KindSend}},
	{"I3", "no acknowledgement in a term after an answer in a greater one", []trace.Kind{trace.KindAck}},
	{"I4", "a vote reports at least what was acknowledged", []trace.Kind{trace.KindAck, trace.KindSend}},
	{"I5", "a takeover starts from the greatest report of a majority", []trace.Kind{trace.KindTakeover}},
	{"I6", "one block proposed a term and height", []trace.Kind{trace.KindProp}},
	{"I7", "the first acknowledgement of a term holds the takeover", []trace.Kind{trace.KindAck, trace.KindTakeover}},
	{"I8", "one committed block a height", []trace.Kind{trace.KindCommitted}},
	{"I9", "a takeover holds all that was committed before", []trace.Kind{trace.KindTakeover, trace.KindCommitted}},
	{
		"I10", "signed means committed, and that durable on a majority",
		[]trace.Kind{trace.KindSigned, trace.KindCommitted, trace.KindDurable},
	},
	{"I11", "one membership a version, none goes back", []trace.Kind{trace.KindHard}},
	{"I12", "a commit never goes back", []trace.Kind{trace.KindCommit}},
	{"I15", "at no instant two valid leases", []trace.Kind{trace.KindLease}},
	{"I16", "a transaction is committed once", []trace.Kind{trace.KindBlock, trace.KindCommitted}},
	{"I17", "what is committed is what all nodes serve", []trace.Kind{trace.KindCommitted}},
}

// Traces judges what the nodes themselves recorded, with the checker of the simulator.
func Traces(g *chain.Genesis, files []string, c *Chain) ([]*Verdict, error) {
	again, err := newReplay(g)
	if err != nil {
		return nil, err
	}
	var traces [][]trace.Event
	for _, path := range files {
		events, err := readTrace(path)
		if err != nil {
			return nil, err
		}
		traces = append(traces, events)
	}
	checker := nodetest.NewChecker(again.zero)
	checker.Valid = func(b *block.Block) bool {
		h := b.Header.Height
		return c != nil && int(h) < len(c.hashes) && c.hashes[h] == b.Hash()
	}
	events := trace.Merge(traces...)
	count, err := nodetest.Replay(checker, events)
	if err != nil {
		return nil, fmt.Errorf("replay the traces: %w", err)
	}
	return byInvariant(checker.Violations(), count), nil
}

func readTrace(path string) ([]trace.Event, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read from
	events, err := trace.Read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return events, nil
}

// byInvariant makes one verdict an invariant, and one of what names none.
func byInvariant(violations []string, count nodetest.Coverage) []*Verdict {
	var out []*Verdict
	known := map[string]*Verdict{}
	for _, o := range observed {
		v := NewVerdict("traces: "+o.text, o.name)
		var seen []string
		for _, k := range o.needs {
			if count[k] == 0 {
				v.Fail("%s: no line of the traces tells of %q: nothing was judged", o.name, k)
			}
			seen = append(seen, fmt.Sprintf("%d %s", count[k], k))
		}
		v.Say("%s", strings.Join(seen, ", "))
		known[o.name] = v
		out = append(out, v)
	}
	rest := NewVerdict("traces: what else a core or the checker found wrong", "alarms")
	for _, text := range violations {
		name, _, _ := strings.Cut(text, ":")
		if v := known[name]; v != nil {
			v.Fail("%s", text)
		} else {
			rest.Fail("%s", text)
		}
	}
	lines := 0
	for _, n := range count {
		lines += n
	}
	return append(out, rest.Say("%d lines", lines))
}
