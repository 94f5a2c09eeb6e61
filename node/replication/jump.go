package replication

import (
	"errors"
	"fmt"
	"slices"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/raftify/core"
)

var (
	// ErrMayNotJump is returned by Jump on a node that leads or stands for election. It may be tried again when that is over.
	ErrMayNotJump = errors.New("a leader or candidate does not jump")
	// ErrNotNewer is returned by Jump for a block that is not newer than what this node has, or asserted to have.
	ErrNotNewer = errors.New("not newer than the own chain")
)

// PrunedError is the answer to a Fetch of a peer whose chain begins above the first block that was asked for.
type PrunedError struct {
	// Base is the lowest height from which on the peer has all blocks.
	Base block.Height
}

// Error implements error.
func (e *PrunedError) Error() string { return fmt.Sprintf("blocks below %d are gone there", e.Base) }

// Jump makes a committed block whose state was brought here the whole of the own chain: R11's SYNC without the blocks on
// the way. cterm is the term of its certificate. The write that it queues has Jump set, and is one atomic record; from
// then on the own chain begins at b, as if all below had been pruned. What the executor has, and what it was asked for,
// is forgotten: it goes on from the state of b.
//
// As in R11 the block must be newer than the report, so that no vote ever reports less than was acknowledged (I4), and
// above the commit (I12). Of a chain that is damaged nothing may be given up that the new one does not make up for (R25).
// Jump returns ErrNotNewer or ErrMayNotJump, and has changed nothing then.
func (c *Chain) Jump(now core.Instant, b *block.Block, cterm core.Term) error {
	c.now = now
	ref := Ref{b.Header.Height, b.Hash()}
	if cterm == 0 {
		return fmt.Errorf("jump to %v without a certificate: %w", ref, ErrNotNewer)
	}
	if c.st.Role == core.RoleLeader || c.st.Role == core.RoleCandidate || c.taking != nil {
		return fmt.Errorf("jump to %v: %w", ref, ErrMayNotJump)
	}
	cert := CommitRecord{Ref: ref, CTerm: cterm, From: ref.Height}
	if ref.Height <= c.commit.Height || c.has(ref) && !c.broken(FaultJumpBack) {
		c.learn(cert)
		c.plan()
		return fmt.Errorf("jump to %v, commit is %v: %w", ref, c.commit, ErrNotNewer)
	}
	if !c.newer(Report{cterm, ref}) && !c.broken(FaultJumpBack) {
		return fmt.Errorf("jump to (%d, %v) from (%d, %v): %w", cterm, ref, c.synced, c.tip, ErrNotNewer)
	}
	c.observeTerm(cterm)
	c.jump(b, cert)
	c.plan()
	c.ack()
	return nil
}

// newer reports whether a chain is greater than the own, queued or durable, and no less than what votes report.
func (c *Chain) newer(r Report) bool {
	return Report{c.synced, c.tip}.Less(r) && c.durable.Less(r) && (c.claim == nil || !r.Less(*c.claim))
}

func (c *Chain) jump(b *block.Block, cert CommitRecord) {
	ref, label := cert.Ref, max(cert.CTerm, c.synced)
	c.seq++
	c.out.Writes = append(c.out.Writes, Write{Seq: c.seq, Jump: b, Synced: &label, Commit: &cert})
	// Until the write is durable the reader has another block at that height, if any: it is kept in memory.
	c.writes = append(c.writes, inflight{seq: c.seq, report: Report{label, ref}, fork: ref.Height - 1, at: c.now})
	c.own, c.base, c.floor = []entry{{ref.Hash, b}}, ref.Height-1, ref.Height
	c.tip, c.synced, c.commit, c.lastCommit = ref, label, ref, c.now
	c.heardTip = max(c.heardTip, ref.Height)

	c.job, c.pend = nil, nil
	clear(c.executed)
	clear(c.failed)
	clear(c.asked)
	c.certRefused, c.repairRefused = false, false
	c.forgetUpTo(ref.Height)
	c.event(Event{Kind: EventJumped, Ref: ref, CTerm: cert.CTerm})
	c.cmd(core.CmdCommitted, c.st.Term)
}

// forgetUpTo drops the bodies and certificates of heights that are committed.
func (c *Chain) forgetUpTo(h block.Height) {
	c.certs = slices.DeleteFunc(c.certs, func(k CommitRecord) bool { return k.Ref.Height <= h })
	for hash, b := range c.bodies {
		if b.Header.Height <= h {
			c.forgetBody(hash)
		}
	}
}

// AwaitState says that a state to jump to is being brought here, or is not any more. Meanwhile blocks are not fetched to
// follow others, only to take over and to repair.
func (c *Chain) AwaitState(now core.Instant, on bool) {
	c.now = now
	if c.awaiting = on; !on {
		c.plan()
	}
}

// CertificateOf returns the term of a certificate that this node has heard of for a block, 0 for none: that of the leader's
// newest commit, or one whose block is not here yet.
func (c *Chain) CertificateOf(r Ref) core.Term {
	if c.leadRef == r {
		return c.st.Term
	}
	for _, k := range c.certs {
		if k.Ref == r {
			return k.CTerm
		}
	}
	return 0
}
