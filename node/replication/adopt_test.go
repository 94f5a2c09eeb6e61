package replication

import (
	"testing"
	"time"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/raftify/core"
)

// line is a chain of blocks above genesis; salt tells lines apart.
func line(on *block.Block, salt byte, n int) []*block.Block {
	var out []*block.Block
	for range n {
		on = block.New(block.Header{Height: on.Header.Height + 1, Parent: on.Hash(), StateRoot: block.Hash{salt}}, nil)
		out = append(out, on)
	}
	return out
}

func refOf(b *block.Block) Ref { return Ref{b.Header.Height, b.Hash()} }

type heights []*block.Block

func (h heights) HashAt(at block.Height) (block.Hash, bool) {
	if int(at) >= len(h) {
		return block.Hash{}, false
	}
	return h[at].Hash(), true
}

// follower is the chain of node 2 in term, holding own (genesis first), synced to label, committed up to commit.
func follower(t *testing.T, own []*block.Block, commit int, label, term core.Term) *Chain {
	t.Helper()
	cfg := core.NewConfig(core.CfgKey{Ver: 1}, []core.Member{{ID: "1", Voter: true}, {ID: "2", Voter: true}, {ID: "3", Voter: true}})
	c, err := New(Options{
		ID: "2", Reader: heights(own), Synced: label, Tip: refOf(own[len(own)-1]), Commit: CommitRecord{Ref: refOf(own[commit])},
		MinElection: 200 * time.Millisecond, MaxInflight: 8, Now: at(0),
	})
	if err != nil {
		t.Fatal(err)
	}
	c.Observe(at(0), core.Status{Term: term, Role: core.RoleFollower, Vote: core.Vote{Kind: core.VoteClosed}, Cfg: cfg})
	return c
}

func at(d time.Duration) core.Instant {
	n := int64(time.Second + d)
	return core.Instant{Mono: n, Boot: n, Real: n}
}

// fading is a disk that cannot be read any more from some moment on.
type fading struct {
	heights
	gone *bool
}

func (f fading) HashAt(h block.Height) (block.Hash, bool) {
	if *f.gone {
		return block.Hash{}, false
	}
	return f.heights.HashAt(h)
}

// What is not committed may become unreadable while the node runs. It is cut all the same when the leader has another
// chain, kept when it has the same, and committed.
func TestUncommittedChainIsNotReadAgain(t *testing.T) {
	genesis := block.New(block.Header{ChainID: "t"}, nil)
	common := append([]*block.Block{genesis}, line(genesis, 0, 3)...)
	own := append(common[:4:4], line(common[3], 1, 4)...)
	their := append(common[:4:4], line(common[3], 2, 2)...)
	for name, chain := range map[string][]*block.Block{"another chain": their, "a part of the own": own[:6], "the own": own} {
		t.Run(name, func(t *testing.T) {
			gone := false
			cfg := core.NewConfig(core.CfgKey{Ver: 1}, []core.Member{{ID: "1", Voter: true}, {ID: "2", Voter: true}, {ID: "3", Voter: true}})
			c, err := New(Options{
				ID: "2", Reader: fading{own, &gone}, Synced: 1, Tip: refOf(own[len(own)-1]), Commit: CommitRecord{Ref: refOf(own[1])},
				MinElection: 200 * time.Millisecond, MaxInflight: 8, Now: at(0),
			})
			if err != nil {
				t.Fatal(err)
			}
			gone = true
			c.Observe(at(0), core.Status{Term: 2, Role: core.RoleFollower, Leader: "1", Vote: core.Vote{Kind: core.VoteClosed}, Cfg: cfg})
			take := refOf(chain[len(chain)-1])
			c.LeaderHeartbeat(at(0), "1", 2, encodeHeartbeat(heartbeat{take: take, tip: take.Height}))
			if r := c.Ready(); len(r.Fetches) > 0 {
				var blocks []Certified
				for _, b := range chain[2:] {
					blocks = append(blocks, Certified{Block: b})
				}
				c.Fetched(at(0), r.Fetches[0].ID, blocks, nil)
			}
			for _, x := range c.Ready().Execs {
				c.Executed(at(0), x.Block.Hash(), true)
			}
			if c.Tip() != take || c.synced != 2 {
				t.Fatalf("tip %v of term %d, want %v", c.Tip(), c.synced, take)
			}
			for h, b := range chain[1:] {
				if !c.has(refOf(b)) {
					t.Errorf("height %d is another block", h+1)
				}
			}
			c.Committed(at(0), 2, take)
			if c.Commit() != take {
				t.Errorf("commit %v, want %v", c.Commit(), take)
			}
		})
	}
	gone := true
	if _, err := New(Options{
		ID: "2", Reader: fading{own, &gone}, Synced: 1, Tip: refOf(own[len(own)-1]), Commit: CommitRecord{Ref: refOf(own[1])},
		MinElection: 200 * time.Millisecond, MaxInflight: 8, Now: at(0),
	}); err == nil {
		t.Error("a chain whose own hashes cannot be read was made")
	}
}

func TestReportLess(t *testing.T) {
	for _, tt := range []struct {
		a, b Report
		want bool
	}{
		{Report{}, Report{}, false},
		{Report{Synced: 1, Tip: Ref{Height: 9}}, Report{Synced: 2, Tip: Ref{Height: 1}}, true}, // the label counts first
		{Report{Synced: 2, Tip: Ref{Height: 1}}, Report{Synced: 1, Tip: Ref{Height: 9}}, false},
		{Report{Synced: 2, Tip: Ref{Height: 1}}, Report{Synced: 2, Tip: Ref{Height: 2}}, true},
		{Report{Synced: 2, Tip: Ref{2, block.Hash{1}}}, Report{Synced: 2, Tip: Ref{2, block.Hash{2}}}, false}, // the hash never
	} {
		if got := tt.a.Less(tt.b); got != tt.want {
			t.Errorf("%v < %v: %v", tt.a, tt.b, got)
		}
	}
}

func TestAttachments(t *testing.T) {
	rep := Report{Synced: 1 << 60, Tip: Ref{1<<63 + 5, block.Hash{1, 31: 2}}}
	hb := heartbeat{take: Ref{7, block.Hash{3}}, commit: Ref{1 << 40, block.Hash{31: 4}}, tip: 1<<63 + 1}
	if got, err := DecodeReport(encodeReport(rep, true)); err != nil || got != rep {
		t.Errorf("%v became %v (%v)", rep, got, err)
	}
	if got, err := decodeHeartbeat(encodeHeartbeat(hb)); err != nil || got != hb {
		t.Errorf("%v became %v (%v)", hb, got, err)
	}
	other := func(b []byte) []byte { b[0]++; return b }
	for name, b := range map[string][]byte{
		"nothing": nil, "short": encodeReport(rep, true)[1:], "long": append(encodeReport(rep, true), 0), "version": other(encodeReport(rep, true)),
		"heartbeat": encodeHeartbeat(hb),
	} {
		if _, _, err := decodeReport(b); err == nil {
			t.Errorf("report, %s: accepted", name)
		}
	}
	for name, b := range map[string][]byte{
		"nothing": nil, "short": encodeHeartbeat(hb)[1:], "long": append(encodeHeartbeat(hb), 0), "version": other(encodeHeartbeat(hb)),
		"report": encodeReport(rep, true),
	} {
		if _, err := decodeHeartbeat(b); err == nil {
			t.Errorf("heartbeat, %s: accepted", name)
		}
	}
}

func TestPath(t *testing.T) {
	zero := block.New(block.Header{}, nil)
	own := append([]*block.Block{zero}, line(zero, 1, 4)...) // 0..4, 1 and 2 committed
	fork := line(own[3], 2, 3)                               // 4'..6' on 3
	deep := line(own[1], 3, 3)                               // 2''..4'' on 1, below the commit
	for _, tt := range []struct {
		name   string
		bodies []*block.Block
		target Ref
		want   []*block.Block
		whole  bool
		alarm  bool
	}{
		{name: "own tip", target: refOf(own[4]), whole: true},
		{name: "own block below the tip", target: refOf(own[3]), whole: true},
		{name: "fork above the commit", bodies: fork, target: refOf(fork[2]), want: fork, whole: true},
		{name: "part of the fork", bodies: fork, target: refOf(fork[0]), want: fork[:1], whole: true},
		{name: "body missing at the end", bodies: fork[:2], target: refOf(fork[2])},
		{name: "body missing in between", bodies: []*block.Block{fork[0], fork[2]}, target: refOf(fork[2])},
		{name: "unknown", target: Ref{9, block.Hash{9}}},
		{name: "another height for a known hash", bodies: fork, target: Ref{9, fork[2].Hash()}},
		{name: "fork below the commit", bodies: deep, target: refOf(deep[2]), alarm: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := follower(t, own, 2, 1, 1)
			for _, b := range tt.bodies {
				c.bodies[b.Hash()] = b
			}
			got, whole := c.path(tt.target)
			if whole != tt.whole || len(got) != len(tt.want) {
				t.Fatalf("%d blocks, whole %v; want %d, %v", len(got), whole, len(tt.want), tt.whole)
			}
			for i := range got {
				if got[i] != tt.want[i] {
					t.Errorf("block %d is %v", i, refOf(got[i]))
				}
			}
			if alarm := len(c.out.Events) > 0; alarm != tt.alarm {
				t.Errorf("alarm %v: %v", alarm, c.out.Events)
			}
		})
	}
}

func TestLearn(t *testing.T) {
	zero := block.New(block.Header{}, nil)
	own := append([]*block.Block{zero}, line(zero, 1, 3)...)
	cert := func(r Ref, t core.Term) CommitRecord { return CommitRecord{Ref: r, CTerm: t, From: r.Height} }
	high := Ref{9, block.Hash{9}}
	for _, tt := range []struct {
		name    string
		before  []CommitRecord
		cert    CommitRecord
		news    bool
		raise   bool // the election core is told of the term
		alarm   bool
		pending int
	}{
		{name: "above the commit", cert: cert(high, 1), news: true, pending: 1},
		{name: "the commit itself", cert: cert(refOf(own[2]), 1)},
		{name: "below the commit", cert: cert(refOf(own[1]), 7)},
		{name: "another block at the commit", cert: cert(Ref{2, block.Hash{2}}, 1), alarm: true},
		{name: "of a higher term", cert: cert(high, 3), news: true, raise: true, pending: 1},
		{name: "known", before: []CommitRecord{cert(high, 1)}, cert: cert(high, 1), pending: 1},
		{name: "known with a greater term", before: []CommitRecord{cert(high, 2)}, cert: cert(high, 1), pending: 1},
		{name: "known with a smaller term", before: []CommitRecord{cert(high, 1)}, cert: cert(high, 2), news: true, pending: 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := follower(t, own, 2, 1, 2)
			c.certs = append(c.certs, tt.before...)
			if got := c.learn(tt.cert); got != tt.news {
				t.Errorf("news: %v", got)
			}
			if len(c.certs) != tt.pending {
				t.Errorf("%d certificates", len(c.certs))
			}
			if raise := len(c.cmds) > 0; raise != tt.raise {
				t.Errorf("commands: %+v", c.cmds)
			}
			if alarm := len(c.out.Events) > 0; alarm != tt.alarm {
				t.Errorf("events: %v", c.out.Events)
			}
		})
	}
	t.Run("bounded", func(t *testing.T) {
		c := follower(t, own, 2, 1, 2)
		for h := range block.Height(4 * maxCerts) {
			c.learn(cert(Ref{10 + h, block.Hash{byte(h), byte(h >> 8), 1}}, 1))
		}
		newest := c.certs[len(c.certs)-1].Ref.Height
		if len(c.certs) > maxCerts || c.certs[0].Ref.Height != 10 || newest != 10+4*maxCerts-1 {
			t.Errorf("%d certificates, %d to %d", len(c.certs), c.certs[0].Ref.Height, newest)
		}
	})
}

// Which certificate is worked on: only one that is newer than the own report or already held, the greatest of those held,
// else the lowest whose body is at hand, else the greatest.
func TestNextCommit(t *testing.T) {
	zero := block.New(block.Header{}, nil)
	own := append([]*block.Block{zero}, line(zero, 1, 4)...) // tip 4, commit 1
	fork := line(own[1], 2, 5)                               // 2'..6'
	cert := func(b *block.Block, t core.Term) CommitRecord {
		return CommitRecord{Ref: refOf(b), CTerm: t, From: b.Header.Height}
	}
	for _, tt := range []struct {
		name    string
		certs   []CommitRecord
		bodies  []*block.Block
		prop    time.Duration // since the last proposal; 0: none
		refused time.Duration // since a certified block was refused; 0: none
		want    *block.Block
	}{
		{name: "nothing"},
		{name: "held", certs: []CommitRecord{cert(own[3], 2)}, want: own[3]},
		{name: "held, of an older term than the label", certs: []CommitRecord{cert(own[3], 1)}, want: own[3]},
		{name: "the greatest held", certs: []CommitRecord{cert(own[2], 2), cert(own[4], 2), cert(own[3], 2)}, want: own[4]},
		{name: "not held and older than the report", certs: []CommitRecord{cert(fork[1], 1)}},
		{name: "not held, of the label, not above the tip", certs: []CommitRecord{cert(fork[0], 2)}},
		{name: "not held, of a newer label, below the tip", certs: []CommitRecord{cert(fork[0], 3)}, want: fork[0]},
		{name: "not held, above the tip", certs: []CommitRecord{cert(fork[4], 2)}, want: fork[4]},
		{name: "proposals are on their way", certs: []CommitRecord{cert(fork[4], 2)}, prop: 50 * time.Millisecond},
		{name: "proposals have stopped", certs: []CommitRecord{cert(fork[4], 2)}, prop: 150 * time.Millisecond, want: fork[4]},
		{name: "the greatest without bodies", certs: []CommitRecord{cert(fork[0], 3), cert(fork[3], 3)}, want: fork[3]},
		{name: "the lowest with a body", certs: []CommitRecord{cert(fork[4], 3), cert(fork[2], 3), cert(fork[1], 3)}, bodies: fork[1:], want: fork[1]},
		{name: "a body before none", certs: []CommitRecord{cert(fork[3], 3), cert(fork[1], 3)}, bodies: fork[3:], want: fork[3]},
		{name: "refused lately", certs: []CommitRecord{cert(own[3], 2)}, refused: 300 * time.Millisecond},
		{name: "refused long ago", certs: []CommitRecord{cert(own[3], 2)}, refused: 500 * time.Millisecond, want: own[3]},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := follower(t, own, 1, 2, 2)
			c.certs, c.now = tt.certs, at(time.Second)
			for _, b := range tt.bodies {
				c.bodies[b.Hash()] = b
			}
			if tt.prop > 0 {
				c.propAt = at(time.Second - tt.prop)
			}
			if tt.refused > 0 {
				c.certRefused, c.certRefusedAt = true, at(time.Second-tt.refused)
			}
			j := c.nextCommit(Report{c.synced, c.tip})
			switch {
			case j == nil && tt.want != nil:
				t.Errorf("no job, want %v", refOf(tt.want))
			case j != nil && (tt.want == nil || j.target != refOf(tt.want)):
				t.Errorf("job for %v", j.target)
			}
		})
	}
}

// An answer to a fetch may be anything: what does not link, or is not certified, gives no certificate and no commit.
func TestFetchedJunk(t *testing.T) {
	zero := block.New(block.Header{}, nil)
	own := append([]*block.Block{zero}, line(zero, 1, 2)...) // commit 2
	good, other := line(own[2], 1, 3), line(own[1], 2, 4)
	all := func(term core.Term, bs ...*block.Block) (out []Certified) {
		for _, b := range bs {
			out = append(out, Certified{b, term})
		}
		return out
	}
	for _, tt := range []struct {
		name  string
		in    []Certified
		certs int
		known int // bodies
	}{
		{name: "nothing"},
		{name: "as asked", in: all(1, good...), certs: 1, known: 3},
		{name: "uncertified", in: all(0, good...), known: 3},
		{name: "two terms", in: append(all(1, good[0]), all(2, good[1:]...)...), certs: 2, known: 3},
		{name: "asked before the commit moved", in: all(1, append([]*block.Block{own[1], own[2]}, good...)...), certs: 1, known: 3},
		{name: "begins too high", in: all(1, good[1:]...)},
		{name: "a gap", in: all(1, good[0], good[2]), certs: 1, known: 1},
		{name: "of another chain", in: all(1, other[1:]...)},
		{name: "genesis", in: all(1, zero)},
		{name: "all old", in: all(1, own[1], own[2])},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := follower(t, own, 2, 1, 1)
			c.fetching, c.fetchPeer = 1, "1"
			c.Fetched(at(0), 7, all(9, good...), nil) // an answer to another request
			if c.fetching != 1 {
				t.Fatal("a stale answer ends the fetch")
			}
			c.certRefused, c.certRefusedAt = true, at(0) // have it not work on them at once
			c.Fetched(at(0), 1, tt.in, nil)
			if len(c.certs) != tt.certs || len(c.bodies) != tt.known {
				t.Errorf("%d certificates, %d bodies", len(c.certs), len(c.bodies))
			}
			if _, bad := c.fetchBad["1"]; bad != (tt.known == 0) {
				t.Errorf("peer is no use: %v", bad)
			}
		})
	}
}

// A vote without a readable report is none: the reports that are left are not a majority's (I5).
func TestVoteWithoutReport(t *testing.T) {
	zero := block.New(block.Header{}, nil)
	c := follower(t, []*block.Block{zero}, 0, 0, 1)
	s := c.st
	s.Role = core.RoleLeader
	c.Observe(at(0), s)
	c.Elected(at(0), 1, []core.Report{{From: "1", Attachment: []byte("?")}, {From: "2", Attachment: c.Report()}})
	cmds := c.Commands()
	if len(cmds) != 1 || cmds[0].Kind != core.CmdStepDown || len(c.Ready().Writes) > 0 {
		t.Errorf("commands %+v", cmds)
	}
}

// A chain that was imported may be longer than the takeover of the term. It is never cut for that, and becomes the term's
// as soon as the leader says that it has committed the same.
func TestSyncToAnImportedChain(t *testing.T) {
	zero := block.New(block.Header{}, nil)
	own := append([]*block.Block{zero}, line(zero, 1, 4)...)
	for _, tt := range []struct {
		name         string
		take, leader Ref
		want         *Ref
	}{
		{"takeover above", Ref{9, block.Hash{9}}, Ref{}, &Ref{9, block.Hash{9}}},
		{"takeover at the commit", refOf(own[3]), Ref{}, new(refOf(own[3]))},
		{"takeover below, nothing is said", refOf(own[1]), Ref{}, nil},
		{"takeover below, the leader has less", refOf(own[1]), refOf(own[2]), nil},
		{"takeover below, the leader has another", refOf(own[1]), Ref{3, block.Hash{9}}, nil},
		{"takeover below, the leader has the same", refOf(own[1]), refOf(own[3]), new(refOf(own[3]))},
	} {
		c := follower(t, own, 3, 0, 2)
		c.take, c.leadRef = &tt.take, tt.leader
		j := c.syncTo()
		if (j == nil) != (tt.want == nil) || j != nil && j.target != *tt.want {
			t.Errorf("%s: %+v", tt.name, j)
		}
	}
}
