package replication

import (
	"errors"
	"testing"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/raftify/core"
)

// TestJumpRefused: what a node must not jump to, or may not now.
func TestJumpRefused(t *testing.T) {
	zero := block.New(block.Header{}, nil)
	own := append([]*block.Block{zero}, line(zero, 1, 4)...) // 1 and 2 committed
	other := append([]*block.Block{zero}, line(zero, 2, 9)...)
	for _, tt := range []struct {
		name  string
		to    *block.Block
		cterm core.Term
		set   func(c *Chain)
		want  error
	}{
		{name: "newer term, lower", to: other[3], cterm: 4},
		{name: "same term, higher", to: other[5], cterm: 3},
		{name: "as a learner", to: other[5], cterm: 3, set: func(c *Chain) { c.st.Role = core.RoleLearner }},
		{name: "as a pre-candidate", to: other[5], cterm: 3, set: func(c *Chain) { c.st.Role = core.RolePreCandidate }},
		{name: "no certificate", to: other[5], want: ErrNotNewer},
		{name: "committed already", to: other[1], cterm: 9, want: ErrNotNewer},
		{name: "own block", to: own[4], cterm: 9, want: ErrNotNewer},
		{name: "same term, same height", to: other[4], cterm: 3, want: ErrNotNewer},
		{name: "older term", to: other[9], cterm: 2, want: ErrNotNewer},
		{name: "less than what is durable", to: other[5], cterm: 3, want: ErrNotNewer, set: func(c *Chain) {
			c.durable = Report{3, Ref{5, block.Hash{1}}}
		}},
		{name: "less than what it vouches for", to: other[5], cterm: 3, want: ErrNotNewer, set: func(c *Chain) {
			c.claim = &Report{3, Ref{6, block.Hash{1}}}
		}},
		{name: "as much as it vouches for", to: other[6], cterm: 3, set: func(c *Chain) {
			c.claim = &Report{3, Ref{6, other[6].Hash()}}
		}},
		{name: "leader", to: other[5], cterm: 4, want: ErrMayNotJump, set: func(c *Chain) { c.st.Role = core.RoleLeader }},
		{name: "candidate", to: other[5], cterm: 4, want: ErrMayNotJump, set: func(c *Chain) { c.st.Role = core.RoleCandidate }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := follower(t, own, 2, 3, 4)
			c.Ready()
			if tt.set != nil {
				tt.set(c)
			}
			before := c.Tip()
			err := c.Jump(at(0), tt.to, tt.cterm)
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			ws := c.Ready().Writes
			if err != nil {
				if c.Tip() != before || len(ws) > 0 && ws[0].Jump != nil {
					t.Errorf("refused, and now at %v with writes %+v", c.Tip(), ws)
				}
				return
			}
			to := refOf(tt.to)
			if len(ws) != 1 || ws[0].Jump != tt.to || *ws[0].Synced != tt.cterm || ws[0].Cut != nil || ws[0].Append != nil ||
				*ws[0].Commit != (CommitRecord{Ref: to, CTerm: tt.cterm, From: to.Height}) || ws[0].NoSync {
				t.Errorf("writes %+v", ws)
			}
			if c.Tip() != to || c.Commit() != to || c.DurableReport().Tip == to {
				t.Errorf("tip %v, commit %v, durable %v", c.Tip(), c.Commit(), c.DurableReport())
			}
		})
	}
}

// TestJumpHides: until a jump is durable the reader has the old chain, of which nothing is the own any more but genesis.
func TestJumpHides(t *testing.T) {
	zero := block.New(block.Header{}, nil)
	own := append([]*block.Block{zero}, line(zero, 1, 6)...)
	other := append([]*block.Block{zero}, line(zero, 2, 9)...)
	c := follower(t, own, 2, 3, 5)
	if err := c.Jump(at(0), other[4], 4); err != nil {
		t.Fatal(err)
	}
	c.write(Write{Append: other[5:8]})
	c.certify(CommitRecord{Ref: refOf(other[7]), CTerm: 4, From: 5})
	c.opt.KeepEntries = 1
	c.trim()
	for h := range block.Height(10) {
		hash, ok := c.hashAt(h)
		want := h == 0 || h >= 4 && h <= 7
		if ok != want || ok && hash != other[h].Hash() {
			t.Errorf("height %d: %v, known %v", h, hash, ok)
		}
	}
}

// TestAwaitState: while a state is on its way blocks are fetched for a takeover and to repair, not to follow.
func TestAwaitState(t *testing.T) {
	zero := block.New(block.Header{}, nil)
	own := append([]*block.Block{zero}, line(zero, 1, 2)...)
	far := line(own[2], 1, 9)[8]
	c := follower(t, own, 2, 3, 4)
	c.Ready()
	c.AwaitState(at(0), true)
	c.Committed(at(0), 4, refOf(far))
	if fs := c.Ready().Fetches; len(fs) > 0 {
		t.Errorf("asks for %+v", fs)
	}
	if got := c.CertificateOf(refOf(far)); got != 4 {
		t.Errorf("certificate of term %d", got)
	}
	c.AwaitState(at(0), false)
	if fs := c.Ready().Fetches; len(fs) != 1 || fs[0].To != refOf(far) {
		t.Errorf("asks for %+v", fs)
	}
}

// TestPrunedAnswer: a peer that begins above the own commit is told of; one that begins below it is a failure like others.
func TestPrunedAnswer(t *testing.T) {
	zero := block.New(block.Header{}, nil)
	own := append([]*block.Block{zero}, line(zero, 1, 2)...)
	for base, want := range map[block.Height]bool{3: false, 4: true} {
		c := follower(t, own, 2, 3, 4)
		c.Committed(at(0), 4, refOf(line(own[2], 1, 9)[8]))
		f := c.Ready().Fetches[0]
		c.Fetched(at(0), f.ID, nil, &PrunedError{Base: base})
		told := false
		for _, e := range c.Ready().Events {
			told = told || e == Event{Kind: EventPruned, Ref: Ref{Height: base}, Peer: f.Peer}
		}
		if told != want {
			t.Errorf("base %d: told %v", base, told)
		}
	}
}
