package nodetest

import (
	"strings"
	"testing"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/trace"
	"github.com/baton-ha/baton/raftify/core"
)

// tale writes a trace by hand: the lines of three nodes, in the order of time.
type tale struct {
	genesis, block *block.Block
	lines          []trace.Event
}

func newTale() *tale {
	g := block.New(block.Header{ChainID: "t", ChainVersion: "v1"}, nil)
	b := block.New(block.Header{ChainID: "t", ChainVersion: "v1", Height: 1, Parent: g.Hash(), Proposer: "a", Term: 1}, nil)
	s := &tale{genesis: g, block: b}
	for _, id := range "abc" {
		s.start(id, s.config(1, 1, "abc"), g)
	}
	return s
}

func (s *tale) add(id rune, e trace.Event) {
	inc := trace.Inc{byte(id)}
	e.Node, e.Inc, e.Boot, e.At = core.NodeID(id), &inc, 1, int64(len(s.lines))
	s.lines = append(s.lines, e)
}

func ref(b *block.Block) *trace.Ref { return &trace.Ref{Height: b.Header.Height, Hash: b.Hash()} }

func (s *tale) config(cterm core.Term, ver uint64, voters string) *trace.Config {
	c := &trace.Config{CTerm: cterm, Ver: ver}
	for _, id := range "abc" {
		c.Members = append(c.Members, trace.Member{
			ID: core.NodeID(id), Inc: trace.Inc{byte(id)}, Voter: strings.ContainsRune(voters, id),
		})
	}
	return c
}

func (s *tale) start(id rune, cfg *trace.Config, tip *block.Block) {
	synced := cfg.CTerm
	s.add(id, trace.Event{
		Kind: trace.KindStart, Term: cfg.CTerm, Vote: "closed", Cfg: cfg, Synced: &synced, Ref: ref(tip), Commit: ref(s.genesis),
	})
}

// leads makes a the leader of term 1, with a block that it has sent.
func (s *tale) leads() {
	report := func(id core.NodeID) trace.Report { return trace.Report{From: id, Hash: s.genesis.Hash()} }
	s.add('a', trace.Event{Kind: trace.KindElected, Term: 1, Reports: []trace.Report{report("a"), report("b")}})
	s.add('a', trace.Event{Kind: trace.KindTakeover, Term: 1, Ref: ref(s.genesis)})
	s.add('a', trace.Event{Kind: trace.KindBlock, Ref: ref(s.block), Body: s.block.Encode()})
	s.add('a', trace.Event{Kind: trace.KindProp, Term: 1, Ref: ref(s.block)})
}

// has lets the block become durable on each of ids.
func (s *tale) has(ids string) {
	for _, id := range ids {
		s.add(id, trace.Event{Kind: trace.KindWrite, Seq: 1, Append: []trace.Ref{*ref(s.block)}})
		s.add(id, trace.Event{Kind: trace.KindDurable, Seq: 1})
	}
}

func (s *tale) committed(id rune) {
	s.add(id, trace.Event{Kind: trace.KindCommitted, Term: 1, Ref: ref(s.block)})
}

func (s *tale) signed(id rune) { s.add(id, trace.Event{Kind: trace.KindSigned, Ref: ref(s.block)}) }

func (s *tale) judge(t *testing.T, want string) {
	t.Helper()
	c := NewChecker(s.genesis)
	if _, err := Replay(c, s.lines); err != nil {
		t.Fatal(err)
	}
	switch broken := c.Violations(); {
	case want == "" && len(broken) > 0:
		t.Errorf("violations: %q", broken)
	case want != "" && (len(broken) == 0 || !strings.HasPrefix(broken[0], want)):
		t.Errorf("violations: %q, want %q", broken, want)
	}
}

func TestReplayJudgesACommitWhenItIsCounted(t *testing.T) {
	s := newTale()
	s.leads()
	s.has("ac")
	s.committed('a')
	s.signed('a')
	s.judge(t, "")

	s = newTale()
	s.leads()
	s.has("a")
	s.committed('a')
	s.judge(t, "I10: a commits 1/")

	s = newTale()
	s.leads()
	s.has("bc")
	s.committed('b')
	s.judge(t, `I10: b takes 1/`)

	s = newTale()
	s.leads()
	s.has("abc")
	s.signed('a')
	s.judge(t, "I10: a signs 1/")
}

// The leader that counted the commit is killed before it has signed; the block's other holder has given up its vote. The
// first to sign is a voter that knows nothing but the new members, which is as it should be.
func TestReplayAcceptsALateSignature(t *testing.T) {
	s := newTale()
	s.leads()
	s.has("ac")
	s.committed('a')
	fewer := s.config(1, 2, "ab")
	for _, id := range "ab" {
		s.add(id, trace.Event{Kind: trace.KindHard, Term: 1, Vote: "closed", Cfg: fewer})
	}
	s.start('b', fewer, s.genesis)
	s.add('b', trace.Event{Kind: trace.KindWrite, Seq: 1, Append: []trace.Ref{*ref(s.block)}})
	s.committed('b')
	s.signed('b')
	s.judge(t, "")

	// What the change of members may not do is to go before the count.
	s = newTale()
	s.leads()
	for _, cfg := range []*trace.Config{s.config(1, 2, "ab"), s.config(2, 2, "ab")} {
		s.add('a', trace.Event{Kind: trace.KindHard, Term: cfg.CTerm, Vote: "closed", Cfg: cfg})
	}
	s.has("ac")
	s.committed('a')
	s.judge(t, "I10: a commits 1/")
}
