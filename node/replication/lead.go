package replication

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/raftify/core"
)

// Propose extends the chain by a block that was executed on the current tip. It is refused when anything changed since
// the block was begun (PROTOCOL R1, R8, R9).
func (c *Chain) Propose(now core.Instant, b *block.Block) error {
	c.now = now
	switch {
	case !c.leading || c.transferring || core.Term(b.Header.Term) != c.st.Term:
		return ErrNotLeading
	case b.Header.Height != c.tip.Height+1 || b.Header.Parent != c.tip.Hash:
		return ErrStaleParent
	case !c.Room():
		return ErrWindowFull
	}
	if c.tip == c.commit {
		c.lastCommit = now
	}
	c.executed[b.Hash()] = true
	c.write(Write{Append: []*block.Block{b}})
	c.event(Event{Kind: EventAppended, Ref: c.tip})
	if c.Room() {
		c.event(Event{Kind: EventTip, Ref: c.tip})
	}
	c.pushAll()
	return nil
}

// Counted reports whether this node leads and a majority has acknowledged its takeover: no block that is not in its
// chain can become final any more.
func (c *Chain) Counted() bool { return c.leading && c.counted }

// Room reports whether another block may be proposed.
func (c *Chain) Room() bool {
	return c.leading && !c.transferring && c.tip.Height-min(c.commit.Height, c.tip.Height) < block.Height(c.opt.MaxInflight)
}

// pushAll sends every follower what it lacks, from memory. A follower that lacks more fetches it from anyone.
func (c *Chain) pushAll() {
	for _, m := range c.st.Cfg.Members {
		if p := c.peers[m.ID]; p != nil && m.ID != c.opt.ID {
			c.pushTo(m.ID, p)
		}
	}
}

func (c *Chain) pushTo(id core.NodeID, p *progress) {
	if !p.synced {
		return
	}
	size := 0
	for p.next <= c.tip.Height && p.next <= p.match.Height+sendWindow && size < sendWindowLen {
		if p.next <= c.base {
			return
		}
		b := c.own[p.next-c.base-1].blk
		if b == nil {
			return
		}
		if p.next == p.match.Height+1 {
			p.at = c.now
		}
		size += b.Size()
		c.send(id, Message{Type: MsgProp, Ref: Ref{b.Header.Height, b.Hash()}, Block: b, Commit: c.termCommit})
		p.next++
	}
}

// PeerUp says that the link to id was made anew: what was sent before may be lost.
func (c *Chain) PeerUp(now core.Instant, id core.NodeID) {
	c.now = now
	if p := c.peers[id]; p != nil {
		p.next = p.match.Height + 1
		c.pushTo(id, p)
	}
}

func (c *Chain) stepAck(m Message) {
	if !c.leading {
		return
	}
	if m.Ref.Height < c.take.Height {
		c.alarm("I7: %s acknowledged %v, below the takeover %v", m.From, m.Ref, *c.take)
		return
	}
	// Where the own chain begins above it all is committed, and so the same (I8).
	if hash, ok := c.hashAt(m.Ref.Height); ok && hash != m.Ref.Hash || !ok && m.Ref.Height > c.commit.Height {
		c.alarm("I6: %s acknowledged %v, which this leader's chain does not hold", m.From, m.Ref)
		return
	}
	p := c.peers[m.From]
	if p == nil {
		p = &progress{inc: m.Inc, boot: m.Boot, next: m.Ref.Height + 1}
		c.peers[m.From] = p
	}
	if p.inc != m.Inc {
		return
	}
	if m.Boot > p.boot && p.synced && m.Ref.Height < p.match.Height && !c.broken(FaultForgetSaid) {
		// What was acknowledged was durable, and a later start has it.
		c.cmds = append(c.cmds, core.Command{Kind: core.CmdDistrust, Peer: m.From, Reason: fmt.Sprintf(
			"it acknowledged %v in term %d, its folder has %v", p.match, c.st.Term, m.Ref)})
		delete(c.peers, m.From)
		return
	}
	p.boot = max(p.boot, m.Boot)
	if !p.synced || m.Ref.Height > p.match.Height {
		p.match, p.synced, p.at = m.Ref, true, c.now
	}
	p.next = max(p.next, p.match.Height+1)
	if m.Resend {
		p.next = p.match.Height + 1
	}
	c.tryCommit()
	c.pushTo(m.From, p)
}

// tryCommit is R10: a height is committed when a majority of the current configuration has acknowledged it, in this
// term, and it is at or above the takeover. The leader's own acknowledgement is its own fsync.
func (c *Chain) tryCommit() {
	h, ok := c.majorityAcked()
	c.counted = c.counted || ok
	if !ok || h < c.take.Height || h <= c.termCommit.Height && c.termCommit != (Ref{}) || h == 0 {
		return
	}
	hash, ok := c.hashAt(h)
	invariant(ok, "R10: acknowledged height %d is not in the own chain", h)
	c.termCommit = Ref{h, hash}
	if h > c.commit.Height {
		c.certify(CommitRecord{Ref: c.termCommit, CTerm: c.st.Term, From: c.take.Height})
	}
	for _, m := range c.st.Cfg.Members {
		if m.ID != c.opt.ID {
			c.send(m.ID, Message{Type: MsgCommitted, Ref: c.termCommit, CTerm: c.st.Term})
		}
	}
	if c.Room() {
		c.event(Event{Kind: EventTip, Ref: c.tip})
	}
}

// majorityAcked is the greatest height that a majority of the current configuration has acknowledged in this term; false
// while a majority has acknowledged nothing at all. A configuration that was installed here counts once it is durable
// here; until then nobody else has heard of it.
func (c *Chain) majorityAcked() (block.Height, bool) {
	voters := c.st.Counts.Voters()
	heights := make([]block.Height, 0, len(voters))
	acked := 0
	for _, id := range voters {
		h, some := block.Height(0), false
		switch p := c.peers[id]; {
		case id == c.opt.ID:
			if c.durable.Synced == c.st.Term {
				h, some = c.durable.Tip.Height, true
			}
			if c.broken(FaultSelfAckEarly) {
				h, some = c.tip.Height, true
			}
		case p != nil && p.synced:
			h, some = p.match.Height, true
		}
		if some {
			acked++
		}
		heights = append(heights, h)
	}
	maj := c.st.Counts.Majority()
	if acked < maj {
		return 0, false
	}
	slices.SortFunc(heights, func(a, b block.Height) int { return cmp.Compare(b, a) })
	return heights[maj-1], true
}

// BlockAt returns the own block at h if it is in memory; otherwise it is in the store.
func (c *Chain) BlockAt(h block.Height) (*block.Block, bool) {
	if h <= c.base || h > c.tip.Height || c.own[h-c.base-1].blk == nil {
		return nil, false
	}
	return c.own[h-c.base-1].blk, true
}

// stepNack is R13: a leader whose block so many refuse that it can never commit drops it and makes room for another.
func (c *Chain) stepNack(m Message) {
	if !c.leading || !c.has(m.Ref) {
		return
	}
	if c.nacks[m.From] != m.Ref {
		c.nacks[m.From] = m.Ref
		c.alarm("%s cannot reproduce block %v of this leader", m.From, m.Ref)
	}
	voters := c.st.Cfg.Voters()
	var hs []block.Height
	for _, id := range voters {
		if r, ok := c.nacks[id]; ok {
			hs = append(hs, r.Height)
		}
	}
	spare := len(voters) - c.st.Cfg.Majority()
	if len(hs) <= spare {
		return
	}
	slices.Sort(hs)
	h := hs[spare]
	step := core.Command{Kind: core.CmdStepDown, Term: c.st.Term, StayOut: 2, Reason: "too many cannot reproduce this leader's block"}
	for _, id := range voters {
		if p := c.peers[id]; id != c.opt.ID && p != nil && p.synced && p.match.Height >= h {
			c.alarm("determinism fault: %s reproduced block %d, others cannot", id, h)
			c.cmds = append(c.cmds, step)
			return
		}
	}
	if h <= max(c.take.Height, c.commit.Height) {
		c.alarm("block %d is inherited and cannot be dropped although a majority cannot reproduce it", h)
		c.cmds = append(c.cmds, step)
		return
	}
	if !c.broken(FaultNoNackCut) {
		to := h - 1
		c.write(Write{Cut: &to})
	}
	c.leading = false
	c.cmds = append(c.cmds, step)
}

func (c *Chain) tickLeader() {
	limit := 4 * c.opt.MinElection
	for range min(c.st.Backoff, 10) {
		limit = min(2*limit, 30*1e9)
	}
	stuck := ""
	if c.tip.Height > c.commit.Height && c.now.SinceMax(c.lastCommit) > limit {
		stuck = "no commit in time"
	}
	if len(c.writes) > 0 && c.now.SinceMax(c.writes[0].at) > limit {
		stuck = "own disk does not answer"
	}
	if stuck != "" && !c.broken(FaultNoWatchdog) {
		c.cmds = append(c.cmds, core.Command{Kind: core.CmdStepDown, Term: c.st.Term, StayOut: 2, Reason: stuck})
		return
	}
	for _, m := range c.st.Cfg.Members {
		if p := c.peers[m.ID]; p != nil && p.synced && p.next > p.match.Height+1 && c.now.SinceMin(p.at) >= c.opt.MinElection {
			p.next, p.at = p.match.Height+1, c.now
			c.pushTo(m.ID, p)
		}
	}
}
