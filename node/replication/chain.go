package replication

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/raftify/core"
)

var (
	// ErrNotLeading is returned by Propose when this node does not lead, or its takeover is not done.
	ErrNotLeading = errors.New("not leading")
	// ErrStaleParent is returned by Propose for a block that does not extend the tip.
	ErrStaleParent = errors.New("block does not extend the tip")
	// ErrWindowFull is returned by Propose while too many blocks are uncommitted.
	ErrWindowFull = errors.New("too many uncommitted blocks")
)

// Reader gives the chain what is stored. It is asked only for heights that this node wrote and has not cut. New reads what
// is not committed; after that it is asked for committed heights alone, where false decides nothing: a disk that loses a
// block while the node runs does not keep the chain from being cut or committed.
type Reader interface {
	HashAt(h block.Height) (block.Hash, bool)
}

// Options configure a Chain.
type Options struct {
	ID     core.NodeID
	Inc    core.Inc
	Reader Reader
	// The durable state as loaded.
	Synced core.Term
	Tip    Ref
	Commit CommitRecord
	Nacked core.Term
	// Claim is what this node asserted to hold before some of it was damaged, nil when nothing is: it is above
	// (Synced, Tip). Spare are blocks above Tip that are stored all the same.
	Claim *Report
	Spare []*block.Block
	// MinElection is the cluster's election timeout, the unit of this layer's limits.
	MinElection time.Duration
	// MaxInflight is how many blocks may be proposed and not committed.
	MaxInflight int
	// KeepEntries is how many durable, committed blocks stay in memory for followers that are a little behind; 0 means
	// 512.
	KeepEntries int
	Now         core.Instant
}

// entry is one block of the own chain that is kept in memory.
type entry struct {
	hash block.Hash
	blk  *block.Block // nil when it was read as a hash only
}

type inflight struct {
	seq    uint64
	report Report       // own report once this write is durable
	fork   block.Height // the durable chain may differ above this height until then
	nack   *Ref
	at     core.Instant
}

type progress struct {
	inc    core.Inc
	boot   uint64 // the newest start of it that acknowledged anything
	match  Ref
	next   block.Height
	at     core.Instant // last acknowledgement or resend
	synced bool
}

// limits of what is kept in memory.
const (
	keepEntries   = 512 // default of Options.KeepEntries
	maxBodies     = 2048
	maxBodyBytes  = 64 << 20
	maxCerts      = 128
	levelWithin   = 64 // blocks that a learner may be behind and still be called level (PROTOCOL R17)
	sendWindow    = 64
	sendWindowLen = 16 << 20
)

// Chain is the replication protocol of one node: R7 to R13. It is a plain value like core.Core, whose Hook it is.
// One caller at a time; the same as the core's.
type Chain struct {
	opt Options
	flt faults

	st core.Status // as last observed

	// The own chain as queued for writing: hashes of (base, tip].
	base   block.Height
	floor  block.Height // below, but for genesis, the chain has no blocks since a jump, whatever the reader still has
	own    []entry
	tip    Ref
	synced core.Term
	commit Ref
	nacked core.Term // term in which this node acknowledges nothing more
	// What of it is durable.
	durable Report
	claim   *Report // what votes report instead, until the durable chain is as great again (R25)
	seq     uint64
	writes  []inflight

	out    Ready
	cmds   []core.Command
	acked  Report // last acknowledged, to send each once
	ackAt  core.Instant
	ackNow bool // answer although nothing changed
	gapAt  core.Instant
	// The durable refusal of a block: which, whether to say it now, when it was said.
	nackRef Ref
	nackDue bool
	nackAt  core.Instant

	// What is known of the leader of the current term.
	take     *Ref
	leadTip  block.Height
	leadComm block.Height
	leadRef  Ref          // what the leader of this term says is committed: it is in its chain
	propAt   core.Instant // of the last proposal from the current leader
	refused  Ref          // last block that could not be reproduced, to say it once

	// Blocks that are not in the own chain.
	bodies    map[block.Hash]*block.Block
	bodyBytes int
	executed  map[block.Hash]bool         // the executor reproduced the root
	failed    map[block.Hash]core.Instant // it could not, and when it said so
	asked     map[block.Hash]bool         // handed to the executor, no verdict yet
	pend      []*block.Block              // proposals that extend the tip, in order, executing
	certs     []CommitRecord              // announced commits that the own chain does not hold yet, ascending
	// certRefused: the block of a certificate could not be reproduced at certRefusedAt.
	certRefused   bool
	certRefusedAt core.Instant
	// The same of a lost block.
	repairRefused   bool
	repairRefusedAt core.Instant
	job             *job
	fetchID         uint64
	fetching        uint64                       // id of the outstanding fetch, 0 for none
	fetchPeer       core.NodeID                  // who was asked
	fetchBad        map[core.NodeID]core.Instant // peers whose last answer was of no use, and when it came
	fetchAt         core.Instant                 // not before this, after a failure
	fetchWait       bool
	awaiting        bool // a state to jump to is on its way

	// Leader only.
	leading      bool // takeover done
	taking       *taking
	best         Report // greatest report of a majority that voted for this node
	sources      []core.NodeID
	votes        []ballot // of this term, for this node
	termCommit   Ref      // newest commit counted in this term
	counted      bool     // a majority has acknowledged the takeover
	transferring bool
	peers        map[core.NodeID]*progress
	nacks        map[core.NodeID]Ref
	lastCommit   core.Instant // of the last commit, or since when something is uncommitted
	heardTip     block.Height // newest tip heard of from anyone, for R4
	now          core.Instant
}

// ballot is a vote for this node.
type ballot struct {
	from   core.NodeID
	report Report
	lost   bool // the voter lacks blocks of it
}

type taking struct {
	term    core.Term
	unfit   map[Ref]bool // reports that cannot be reproduced here
	far     map[Ref]bool // reports whose blocks do not come
	moved   core.Instant // of the last choice, and of the last blocks that came
	short   bool         // no majority is left without those: further votes are awaited
	doubt   bool         // nobody is known to have all blocks of the best report
	since   core.Instant // of short
	writing uint64       // number of the takeover's write, 0 before
	chain   bool         // that write is durable
	hard    bool         // the hard state of the election layer too
}

// New returns the chain layer for the given durable state.
func New(opt Options) (*Chain, error) {
	if opt.Reader == nil || opt.MinElection <= 0 || opt.MaxInflight < 1 {
		return nil, errors.New("replication needs a reader, an election timeout and room for one block")
	}
	if opt.Commit.Ref.Height > opt.Tip.Height {
		return nil, fmt.Errorf("commit %v is above the tip %v", opt.Commit.Ref, opt.Tip)
	}
	if opt.KeepEntries <= 0 {
		opt.KeepEntries = keepEntries
	}
	if opt.Claim != nil && !(Report{opt.Synced, opt.Tip}).Less(*opt.Claim) {
		return nil, fmt.Errorf("the claim (%d, %v) is not above the chain (%d, %v)", opt.Claim.Synced, opt.Claim.Tip, opt.Synced, opt.Tip)
	}
	c := &Chain{
		opt: opt, base: opt.Commit.Ref.Height, tip: opt.Tip, synced: opt.Synced, commit: opt.Commit.Ref, nacked: opt.Nacked,
		durable: Report{opt.Synced, opt.Tip},
		bodies:  map[block.Hash]*block.Block{}, executed: map[block.Hash]bool{}, failed: map[block.Hash]core.Instant{}, asked: map[block.Hash]bool{},
		fetchBad: map[core.NodeID]core.Instant{},
		now:      opt.Now,
	}
	for h := c.base + 1; h < opt.Tip.Height; h++ {
		hash, ok := opt.Reader.HashAt(h)
		if !ok {
			return nil, fmt.Errorf("the hash of block %d, below the tip %v, cannot be read", h, opt.Tip)
		}
		c.own = append(c.own, entry{hash: hash})
	}
	if opt.Tip.Height > c.base {
		c.own = append(c.own, entry{hash: opt.Tip.Hash})
	}
	if opt.Claim != nil {
		claim := *opt.Claim
		c.claim = &claim
		c.alarm("R25: blocks up to %v, acknowledged in term %d, are damaged or missing here: they are fetched from others, and this node does not campaign",
			claim.Tip, claim.Synced)
		for _, b := range opt.Spare {
			c.keepBody(b)
		}
	}
	return c, nil
}

// Claim returns what votes report although this node lacks some of its blocks, nil when it lacks none (R25).
func (c *Chain) Claim() *Report {
	if c.claim == nil {
		return nil
	}
	r := *c.claim
	return &r
}

// redeem ends the claim when the durable chain is as great: the lost blocks are back, or a later leader's chain has taken
// their place.
func (c *Chain) redeem() {
	if c.claim == nil || c.durable.Less(*c.claim) {
		return
	}
	if c.durable.Synced == c.claim.Synced && c.durable.Tip.Height == c.claim.Tip.Height && c.durable.Tip.Hash != c.claim.Tip.Hash {
		c.alarm("I6: %v stands where %v was, both of term %d", c.durable.Tip, c.claim.Tip, c.claim.Synced)
	}
	c.claim = nil
	c.event(Event{Kind: EventRepaired, Ref: c.durable.Tip, CTerm: c.durable.Synced})
}

// Tip returns the newest block of the own chain as queued for writing.
func (c *Chain) Tip() Ref { return c.tip }

// Commit returns the newest committed block that this node knows and holds.
func (c *Chain) Commit() Ref { return c.commit }

// DurableReport returns the report as of the newest write that is known to be durable.
func (c *Chain) DurableReport() Report { return c.durable }

// Leading reports whether this node leads and its takeover is done.
func (c *Chain) Leading() bool { return c.leading }

// Take returns the takeover block of the current term, as far as this node knows it.
func (c *Chain) Take() (Ref, bool) {
	if c.take == nil {
		return Ref{}, false
	}
	return *c.take, true
}

// LeaderHeight returns the leader's newest committed height as last heard, for readiness and lag.
func (c *Chain) LeaderHeight() block.Height {
	if c.leading {
		return c.commit.Height
	}
	return max(c.leadComm, c.commit.Height)
}

// ReadHeight is the height that a linearizable read that begins now must wait for (PROTOCOL R20): the commit, and at
// least the takeover. False unless this node leads.
func (c *Chain) ReadHeight() (block.Height, bool) {
	if !c.leading {
		return 0, false
	}
	if c.broken(FaultReadOldCommit) {
		return c.commit.Height, true
	}
	return max(c.commit.Height, c.take.Height), true
}

// hashAt returns the own chain's hash at h, as queued for writing. Where the chain begins above h it is not known; nothing
// is decided by that: all heights below are committed, so whoever has blocks there has the same (I8).
func (c *Chain) hashAt(h block.Height) (block.Hash, bool) {
	switch {
	case h > c.tip.Height:
		return block.Hash{}, false
	case h == c.tip.Height:
		return c.tip.Hash, true
	case h > c.base:
		return c.own[h-c.base-1].hash, true
	case h == c.commit.Height:
		return c.commit.Hash, true
	case h < c.floor && h > 0:
		return block.Hash{}, false
	}
	return c.opt.Reader.HashAt(h)
}

// has reports whether the own chain holds ref.
func (c *Chain) has(r Ref) bool {
	h, ok := c.hashAt(r.Height)
	return ok && h == r.Hash
}

func (c *Chain) alarm(format string, args ...any) {
	c.out.Events = append(c.out.Events, Event{Kind: EventAlarm, Detail: fmt.Sprintf(format, args...)})
}

func (c *Chain) event(e Event) { c.out.Events = append(c.out.Events, e) }

// write queues an atomic change and makes it the own chain at once; it becomes durable later.
func (c *Chain) write(w Write) uint64 {
	c.seq++
	w.Seq = c.seq
	if w.Cut != nil {
		c.cutTo(*w.Cut)
	}
	fork := c.tip.Height
	for _, b := range w.Append {
		invariant(b.Header.Height == c.tip.Height+1 && b.Header.Parent == c.tip.Hash,
			"R8: block %d does not extend the tip %v", b.Header.Height, c.tip)
		c.own = append(c.own, entry{b.Hash(), b})
		c.tip = Ref{b.Header.Height, b.Hash()}
		c.forgetBody(b.Hash())
	}
	if w.Synced != nil {
		invariant(*w.Synced >= c.synced, "I4: synced would fall from %d to %d", c.synced, *w.Synced)
		c.synced = *w.Synced
	}
	if w.Nacked != nil {
		c.nacked = *w.Nacked
	}
	f := inflight{seq: c.seq, report: Report{c.synced, c.tip}, fork: fork, at: c.now}
	c.writes = append(c.writes, f)
	c.out.Writes = append(c.out.Writes, w)
	return c.seq
}

func (c *Chain) cutTo(h block.Height) {
	if h >= c.tip.Height {
		return
	}
	invariant(h >= c.commit.Height || c.broken(FaultBlindCommit), "I12: cut to %d below the commit %v", h, c.commit)
	hash, ok := c.hashAt(h)
	invariant(ok, "own chain has no block %d", h)
	for len(c.own) > 0 && c.base+block.Height(len(c.own)) > h {
		e := c.own[len(c.own)-1]
		c.own = c.own[:len(c.own)-1]
		if e.blk != nil {
			c.keepBody(e.blk)
		}
	}
	c.base = min(c.base, h)
	c.tip = Ref{h, hash}
	c.pend = nil
	c.event(Event{Kind: EventCut, Ref: c.tip})
}

// trim forgets own blocks that are durable, committed and old.
func (c *Chain) trim() {
	limit := min(c.commit.Height, c.durable.Tip.Height)
	for _, w := range c.writes {
		limit = min(limit, w.fork) // what is stored above may be another block still
	}
	n := 0
	for len(c.own)-n > c.opt.KeepEntries && c.base+block.Height(n)+1 <= limit {
		n++
	}
	if n > c.opt.KeepEntries/8 { // each time all that stays is moved
		c.own = slices.Clone(c.own[n:])
		c.base += block.Height(n)
	}
}

func (c *Chain) keepBody(b *block.Block) {
	if b.Header.Height <= c.commit.Height {
		return
	}
	if _, ok := c.bodies[b.Hash()]; ok {
		return
	}
	if len(c.bodies) >= maxBodies || c.bodyBytes+b.Size() > maxBodyBytes {
		clear(c.bodies)
		c.bodyBytes = 0
	}
	c.bodies[b.Hash()] = b
	c.bodyBytes += b.Size()
}

func (c *Chain) forgetBody(h block.Hash) {
	if b, ok := c.bodies[h]; ok {
		c.bodyBytes -= b.Size()
		delete(c.bodies, h)
	}
}

// exec asks the executor for a verdict on b unless it has given one or is at it. That a root cannot be reproduced is
// believed for a while only.
func (c *Chain) exec(b *block.Block) (verdict, known bool) {
	if c.executed[b.Hash()] {
		return true, true
	}
	if at, bad := c.failed[b.Hash()]; bad {
		if c.now.SinceMin(at) < 2*c.opt.MinElection {
			return false, true
		}
		// The fault may have been here, and passed.
		delete(c.failed, b.Hash())
	}
	if !c.asked[b.Hash()] {
		c.asked[b.Hash()] = true
		c.out.Execs = append(c.out.Execs, Exec{Block: b})
	}
	return false, false
}

// Ready returns and forgets what is to be done.
func (c *Chain) Ready() Ready {
	r := c.out
	c.out = Ready{}
	return r
}

// HasReady reports whether Ready would return anything.
func (c *Chain) HasReady() bool {
	o := &c.out
	return len(o.Writes)+len(o.Messages)+len(o.Execs)+len(o.Fetches)+len(o.Events) > 0
}

// Commands implements core.Hook.
func (c *Chain) Commands() []core.Command {
	r := c.cmds
	c.cmds = nil
	return r
}

func (c *Chain) cmd(k core.CommandKind, term core.Term) {
	c.cmds = append(c.cmds, core.Command{Kind: k, Term: term})
}

func (c *Chain) send(to core.NodeID, m Message) { c.sendTerm(to, c.st.Term, m) }

// sendTerm leaves the rest of the header to Address.
func (c *Chain) sendTerm(to core.NodeID, term core.Term, m Message) {
	m.Header = core.Header{To: to, Term: term}
	c.out.Messages = append(c.out.Messages, m)
}

func invariant(ok bool, format string, args ...any) {
	if !ok {
		panic(fmt.Sprintf("node/replication: invariant broken: "+format, args...))
	}
}
