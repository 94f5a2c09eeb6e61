package nodetest

import (
	"fmt"
	"math"
	"slices"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/replication"
	"github.com/baton-ha/baton/raftify/core"
)

// Checker judges what a cluster does against the invariants of PROTOCOL.md. It is fed with what nodes send, write and
// decide, in an order that respects true time, and keeps the violations, each of which begins with the invariant's
// number ("I8: ..."). One caller at a time. It knows nothing of the simulator: a trace of real processes can be fed to
// it as well.
type Checker struct {
	// Valid executes a block whose ancestors were given to it before, by an implementation that is known to be right.
	// Nil: I17 is not checked.
	Valid func(*block.Block) bool

	violations []string
	genesis    replication.Ref
	blocks     map[block.Hash]*block.Block

	leaders   map[core.Term]core.NodeID
	nodes     map[core.Inc]*history
	proposed  map[termHeight]block.Hash
	takes     map[core.Term]replication.Ref
	takeTerms []core.Term // keys of takes, in the order of the takeovers
	elected   map[core.Term]electorate
	committed []block.Hash // by height
	decidedIn []core.Term  // by height: the lowest term whose leader counted its commit
	signed    map[block.Height]block.Hash
	applied   map[string]block.Height
	configs   map[core.CfgKey]core.ClusterID
	restored  map[core.Inc]bool
	forgot    map[core.Inc]bool
}

type termHeight struct {
	term   core.Term
	height block.Height
}

// history is what one incarnation said, across its restarts.
type history struct {
	id       core.NodeID
	term     core.Term // greatest in any message or hard state
	votes    map[core.Term]core.NodeID
	answered core.Term // greatest term of an Ack or a granted vote
	acked    replication.Report
	firstAck map[core.Term]bool
	commit   block.Height // of the running process
	hard     core.HardState
}

// NewChecker returns a checker for chains that start at genesis.
func NewChecker(genesis *block.Block) *Checker {
	return &Checker{
		genesis:   replication.Ref{Height: genesis.Header.Height, Hash: genesis.Hash()},
		blocks:    map[block.Hash]*block.Block{genesis.Hash(): genesis},
		leaders:   map[core.Term]core.NodeID{},
		nodes:     map[core.Inc]*history{},
		proposed:  map[termHeight]block.Hash{},
		takes:     map[core.Term]replication.Ref{},
		elected:   map[core.Term]electorate{},
		committed: []block.Hash{genesis.Hash()},
		decidedIn: []core.Term{0},
		signed:    map[block.Height]block.Hash{},
		applied:   map[string]block.Height{},
		configs:   map[core.CfgKey]core.ClusterID{},
		restored:  map[core.Inc]bool{},
		forgot:    map[core.Inc]bool{},
	}
}

// Violations returns what was broken so far, the first first.
func (c *Checker) Violations() []string { return c.violations }

func (c *Checker) fail(format string, args ...any) {
	c.violations = append(c.violations, fmt.Sprintf(format, args...))
}

func (c *Checker) node(inc core.Inc, id core.NodeID) *history {
	n := c.nodes[inc]
	if n == nil {
		n = &history{id: id, votes: map[core.Term]core.NodeID{}, firstAck: map[core.Term]bool{}}
		c.nodes[inc] = n
	}
	return n
}

// Block makes a block known. Give each block before anything else speaks of it.
func (c *Checker) Block(b *block.Block) { c.blocks[b.Hash()] = b }

// at returns the block of height h in the chain that ends at ref.
func (c *Checker) at(ref replication.Ref, h block.Height) (replication.Ref, bool) {
	return ancestor(c.blocks, ref, h)
}

// Restored says that the disk of an incarnation was replaced by what it once was. From then on it may not vote, campaign,
// lead or acknowledge (R3).
func (c *Checker) Restored(inc core.Inc) { c.restored[inc] = true }

// Forget says that what an incarnation has is an old copy of its disk, and that it does what it does: for schedules that
// look at what comes of that.
func (c *Checker) Forget(inc core.Inc) {
	delete(c.nodes, inc)
	c.forgot[inc] = true
}

// replaced reports whether the disk of an incarnation is an old one.
func (c *Checker) replaced(inc core.Inc) bool { return c.restored[inc] || c.forgot[inc] }

// silent demands that a message uses no right of an old disk; false when its sender's disk is none.
func (c *Checker) silent(h core.Header, uses bool, what any) bool {
	if c.restored[h.Inc] && uses {
		c.fail("R3: %s, whose disk is an old one, sends %v in term %d", h.From, what, h.Term)
	}
	return c.restored[h.Inc]
}

// Started says that a process begins with this durable state.
func (c *Checker) Started(hs core.HardState, rep replication.Report, commit replication.Ref) {
	n := c.node(hs.Inc, hs.ID)
	if c.restored[hs.Inc] {
		n.commit, n.hard = commit.Height, hs
		return
	}
	if hs.Term < n.term {
		c.fail("I2: %s starts in term %d after it spoke in term %d", hs.ID, hs.Term, n.term)
	}
	if rep.Less(n.acked) {
		c.fail("I4: %s starts with (%d, %v) after it acknowledged (%d, %v)", hs.ID, rep.Synced, rep.Tip, n.acked.Synced, n.acked.Tip)
	}
	if who, ok := n.votes[hs.Term]; ok && hs.Vote != (core.Vote{Kind: core.VoteFor, ID: who}) {
		c.fail("I2: %s starts in term %d with vote %v after it voted for %s", hs.ID, hs.Term, hs.Vote, who)
	}
	n.commit = commit.Height
	n.hard = hs
}

// HardState says that a node writes hs.
func (c *Checker) HardState(hs core.HardState) {
	if c.restored[hs.Inc] {
		return
	}
	n := c.node(hs.Inc, hs.ID)
	old := n.hard
	n.hard = hs
	switch {
	case hs.Term < old.Term:
		c.fail("I2: term of %s falls from %d to %d", hs.ID, old.Term, hs.Term)
	case hs.Term > old.Term:
	case old.Vote.Kind == core.VoteFor && hs.Vote != old.Vote, old.Vote.Kind == core.VoteClosed && hs.Vote.Kind != core.VoteClosed:
		c.fail("I2: vote of %s in term %d changes from %v to %v", hs.ID, hs.Term, old.Vote, hs.Vote)
	}
	if hs.Cfg.Key.Compare(old.Cfg.Key) < 0 {
		c.fail("I11: configuration of %s falls from %+v to %+v", hs.ID, old.Cfg.Key, hs.Cfg.Key)
	}
	want, ok := c.configs[hs.Cfg.Key]
	got := hs.Cfg.Hash()
	if ok && want != got {
		c.fail("I11: two configurations %+v", hs.Cfg.Key)
	}
	c.configs[hs.Cfg.Key] = got
}

func (c *Checker) spoke(h core.Header) *history {
	n := c.node(h.Inc, h.From)
	n.term = max(n.term, h.Term)
	return n
}

// Election says that a message of the election layer leaves its sender.
func (c *Checker) Election(m core.Message) {
	if c.silent(m.Header, m.Type == core.MsgVote || m.Type == core.MsgVoteResp && m.OK || m.Type == core.MsgHB, m.Type) {
		return
	}
	n := c.spoke(m.Header)
	switch {
	case m.Type == core.MsgVote:
		c.vote(n, m.Term, m.From)
	case m.Type == core.MsgVoteResp && m.OK:
		c.vote(n, m.Term, m.To)
		n.answered = max(n.answered, m.Term)
		rep, err := replication.DecodeReport(m.Attachment)
		if err != nil {
			c.fail("I4: vote of %s in term %d without a report: %v", m.From, m.Term, err)
			return
		}
		if rep.Less(n.acked) {
			c.fail("I4: %s reports (%d, %v) in term %d after it acknowledged (%d, %v)",
				m.From, rep.Synced, rep.Tip, m.Term, n.acked.Synced, n.acked.Tip)
		}
	}
}

func (c *Checker) vote(n *history, t core.Term, to core.NodeID) {
	if old, ok := n.votes[t]; ok && old != to {
		c.fail("I2: %s votes for %s and for %s in term %d", n.id, old, to, t)
	}
	n.votes[t] = to
}

// Chain says that a message of the chain layer leaves its sender.
func (c *Checker) Chain(m replication.Message) {
	if c.silent(m.Header, m.Type == replication.MsgAck || m.Type == replication.MsgProp, m.Type) {
		return
	}
	n := c.spoke(m.Header)
	switch m.Type {
	case replication.MsgProp:
		c.leads(m.Term, m.From)
		key := termHeight{m.Term, m.Block.Header.Height}
		if old, ok := c.proposed[key]; ok && old != m.Block.Hash() {
			c.fail("I6: %s proposes %x at height %d of term %d after %x", m.From, hash4(m.Block), key.height, m.Term, old[:4])
		}
		c.proposed[key] = m.Block.Hash()
	case replication.MsgAck:
		c.ack(n, m)
	default: // judged by what comes of them
	}
}

func (c *Checker) ack(n *history, m replication.Message) {
	if m.Term < n.answered {
		c.fail("I3: %s acknowledges in term %d after it answered in term %d", m.From, m.Term, n.answered)
	}
	n.answered = max(n.answered, m.Term)
	rep := replication.Report{Synced: m.Term, Tip: m.Ref}
	if n.acked.Less(rep) {
		n.acked = rep
	}
	take, ok := c.takes[m.Term]
	if !ok {
		c.fail("I7: %s acknowledges %v in term %d, whose takeover is not done", m.From, m.Ref, m.Term)
		return
	}
	if h, ok := c.proposed[termHeight{m.Term, m.Ref.Height}]; ok && h != m.Ref.Hash || !ok && m.Ref.Height > take.Height {
		c.fail("I7: %s acknowledges %v in term %d, whose leader never proposed it", m.From, m.Ref, m.Term)
	}
	if !n.firstAck[m.Term] {
		n.firstAck[m.Term] = true
		if at, ok := c.at(m.Ref, take.Height); !ok || at != take {
			c.fail("I7: first acknowledgement of %s in term %d is %v, not on the takeover %v", m.From, m.Term, m.Ref, take)
		}
	}
}

func (c *Checker) leads(t core.Term, id core.NodeID) {
	if old, ok := c.leaders[t]; ok && old != id {
		c.fail("I1: %s and %s lead term %d", old, id, t)
		return
	}
	c.leaders[t] = id
}

// electorate is who voted for the winner of a term, as far as the winner counted.
type electorate struct {
	majority int
	reports  []replication.Report
}

// greatest says whether no report of some majority is greater than rep.
func (e electorate) greatest(rep replication.Report) bool {
	k := 0
	for _, r := range e.reports {
		if !rep.Less(r) {
			k++
		}
	}
	return k >= e.majority
}

// Elected says that id counted a majority in term t, with these reports; said again, that it counted further votes.
func (c *Checker) Elected(id core.NodeID, t core.Term, reports []core.Report) {
	c.leads(t, id)
	e := electorate{majority: c.elected[t].majority}
	if e.majority == 0 {
		e.majority = len(reports)
	}
	for _, r := range reports {
		if rep, err := replication.DecodeReport(r.Attachment); err == nil {
			e.reports = append(e.reports, rep)
		}
	}
	c.elected[t] = e
}

// Takeover says that id's takeover of term t is done at take. before is what it held when the takeover was written:
// certificates may have moved it past every report (R11).
func (c *Checker) Takeover(id core.NodeID, t core.Term, take replication.Ref, before replication.Report) {
	c.leads(t, id)
	e := c.elected[t]
	own := take == before.Tip && e.greatest(before)
	if !own && !slices.ContainsFunc(e.reports, func(r replication.Report) bool {
		return r.Tip == take && e.greatest(r)
	}) {
		c.fail("I5: %s takes term %d over at %v, which is the greatest report of no majority of %v, own (%d, %v)",
			id, t, take, e.reports, before.Synced, before.Tip)
	}
	if old, ok := c.takes[t]; ok && old != take {
		c.fail("I5: two takeovers of term %d: %v and %v", t, old, take)
	}
	c.takes[t] = take
	c.takeTerms = append(c.takeTerms, t)
	for h := block.Height(len(c.committed) - 1); h > 0; h-- {
		if c.decidedIn[h] >= t {
			continue // a node that stood still finishes the takeover of an old term late
		}
		at, ok := c.at(take, h)
		if ok && at.Hash == c.committed[h] {
			break
		}
		c.fail("I9: takeover %v of term %d by %s lacks committed block %d/%x", take, t, id, h, c.committed[h][:4])
		return
	}
}

// Committed says that id takes ref, with all before it, for committed by the leader of cterm.
func (c *Checker) Committed(id core.NodeID, ref replication.Ref, cterm core.Term) {
	h := ref.Height
	if int(h) < len(c.committed) && c.committed[h] != ref.Hash {
		c.fail("I8: %s commits %v, others %d/%x", id, ref, h, c.committed[h][:4])
		return
	}
	if take, ok := c.takes[cterm]; !ok || h < take.Height {
		c.fail("I9: %s commits %v with a certificate of term %d, whose takeover is at %v (%v)", id, ref, cterm, take, ok)
	}
	if int(h) < len(c.committed) && c.decidedIn[h] <= cterm {
		return
	}
	c.decide(ref)
	if int(h) >= len(c.committed) {
		return
	}
	for ; h > 0 && c.decidedIn[h] > cterm; h-- {
		c.decidedIn[h] = cterm
	}
	h = ref.Height
	for _, t := range c.takeTerms {
		if t <= cterm {
			continue
		}
		if at, ok := c.at(c.takes[t], h); !ok || at != ref {
			c.fail("I9: %v, committed in term %d, is not in the takeover %v of term %d", ref, cterm, c.takes[t], t)
		}
	}
}

// Certified says that id records a certificate for each height of rec.
func (c *Checker) Certified(id core.NodeID, rec replication.CommitRecord) {
	if rec.From > rec.Ref.Height {
		return
	}
	if take, ok := c.takes[rec.CTerm]; !ok || rec.From < take.Height {
		c.fail("I9: %s records certificates of term %d from height %d, its takeover is at %v (%v)", id, rec.CTerm, rec.From, take, ok)
	}
}

// decide extends the committed chain up to ref.
func (c *Checker) decide(ref replication.Ref) {
	var rev []*block.Block
	at := ref
	for int(at.Height) >= len(c.committed) {
		b := c.blocks[at.Hash]
		if b == nil {
			c.fail("I8: committed block %v was never built", at)
			return
		}
		rev = append(rev, b)
		at = replication.Ref{Height: at.Height - 1, Hash: b.Header.Parent}
	}
	if c.committed[at.Height] != at.Hash {
		c.fail("I8: %v, below the newly committed %v, is not the committed %d/%x", at, ref, at.Height, c.committed[at.Height][:4])
		return
	}
	for _, b := range slices.Backward(rev) {
		c.committed = append(c.committed, b.Hash())
		c.decidedIn = append(c.decidedIn, math.MaxUint64)
		if c.Valid != nil && !c.Valid(b) {
			c.fail("I17: state root of committed block %d/%x is wrong", b.Header.Height, hash4(b))
		}
		for _, tx := range b.Txs {
			key := string(tx.Payload)
			if h, twice := c.applied[key]; twice {
				c.fail("I16: transaction %x is in blocks %d and %d", key, h, b.Header.Height)
			}
			c.applied[key] = b.Header.Height
		}
	}
}

// CommitOf says what a running process takes for its newest commit, after each of its steps.
func (c *Checker) CommitOf(id core.NodeID, inc core.Inc, ref replication.Ref) {
	n := c.node(inc, id)
	if ref.Height < n.commit {
		c.fail("I12: commit of %s falls from %d to %v", id, n.commit, ref)
	}
	n.commit = ref.Height
	if int(ref.Height) >= len(c.committed) || c.committed[ref.Height] != ref.Hash {
		c.fail("I8: %s has %v for committed, which nobody decided", id, ref)
	}
}

// Durable says that holders of voters have ref, which id takes for committed, on their disks.
func (c *Checker) Durable(id core.NodeID, ref replication.Ref, holders, voters int) {
	if 2*holders <= voters {
		c.fail("I10: %s commits %v, durable on %d of %d voters", id, ref, holders, voters)
	}
}

// Signed says that id signed ref, published or not.
func (c *Checker) Signed(id core.NodeID, ref replication.Ref) {
	if int(ref.Height) >= len(c.committed) || c.committed[ref.Height] != ref.Hash {
		c.fail("I10: %s signs %v, which is not committed", id, ref)
	}
	if old, ok := c.signed[ref.Height]; ok && old != ref.Hash {
		c.fail("I10: two signatures at height %d: %x and %v", ref.Height, old[:4], ref)
	}
	c.signed[ref.Height] = ref.Hash
}

// Decided returns the greatest committed height: what a read that begins now must see.
func (c *Checker) Decided() block.Height { return block.Height(len(c.committed) - 1) }

// Read says that id answers a read, which began when began was decided, with the state of height got.
func (c *Checker) Read(id core.NodeID, began, got block.Height) {
	if got < began {
		c.fail("I13: %s reads height %d, %d was decided before", id, got, began)
	}
}

// Acknowledged says that a client was told that tx is final in the block ref.
func (c *Checker) Acknowledged(tx *block.Tx, ref replication.Ref) {
	h, ok := c.applied[string(tx.Payload)]
	if !ok || h != ref.Height || c.committed[h] != ref.Hash {
		c.fail("I16: acknowledged transaction %x is not in the committed chain at %v", tx.Payload, ref)
	}
}

// Holder is a node that believes at this instant of true time, by its own clocks, that it holds a valid lease.
type Holder struct {
	ID   core.NodeID
	Term core.Term
}

// Leases says who holds a valid lease now.
func (c *Checker) Leases(holders []Holder) {
	if len(holders) > 1 {
		c.fail("I15: two leases: %v", holders)
	}
}
