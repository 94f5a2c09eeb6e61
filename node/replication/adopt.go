package replication

import (
	"errors"
	"slices"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/raftify/core"
)

// job is one SYNC (PROTOCOL R7): make the own chain end at target, or hold it, under a label. There is one at a time;
// plan picks the most useful.
type job struct {
	kind   jobKind
	target Ref
	label  core.Term
	// prefer is asked for bodies first.
	prefer []core.NodeID
	// cterm is set for a commit job: the certificate.
	cert CommitRecord
}

type jobKind uint8

const (
	jobTakeover jobKind = iota + 1 // the winner adopts the greatest report (R6)
	jobSync                        // a follower adopts the takeover chain of its term (R7)
	jobCommit                      // a certificate newer than one's report (R11)
	jobRepair                      // the own chain as it was before it was damaged (R25)
)

// plan picks the job that is due and pushes it. It is called after everything that may have changed the picture.
func (c *Chain) plan() {
	for range 64 {
		j := c.next()
		if j == nil {
			c.job = nil
			return
		}
		if c.job == nil || c.job.kind != j.kind || c.job.target != j.target || c.job.label != j.label {
			c.job = j
		}
		if !c.push() {
			return
		}
	}
}

func (c *Chain) next() *job {
	own := Report{c.synced, c.tip}
	if c.taking != nil {
		// A certified block that is not here yet makes the way shorter, and may be newer than every report. Once the
		// takeover record is written, the chain grows by proposals alone.
		if c.taking.writing != 0 {
			return nil
		}
		if j := c.nextCommit(own); j != nil {
			return j
		}
		if c.taking.short {
			return nil
		}
		j := job{kind: jobTakeover, target: c.best.Tip, label: c.taking.term, prefer: c.sources}
		if c.best.Less(own) {
			j.target = own.Tip // grew by certificates since the vote
		}
		return &j
	}
	if c.leading {
		return nil
	}
	if j := c.nextCommit(own); j != nil {
		return j
	}
	if c.st.Role != core.RoleLeader && c.take != nil && c.synced < c.st.Term && !c.refusing() {
		if j := c.syncTo(); j != nil {
			return j
		}
	}
	if c.claim != nil && own.Less(*c.claim) && (!c.repairRefused || c.now.SinceMin(c.repairRefusedAt) >= 2*c.opt.MinElection) {
		return &job{kind: jobRepair, target: c.claim.Tip, label: c.claim.Synced, prefer: []core.NodeID{c.st.Leader}}
	}
	return nil
}

// syncTo returns the job of adopting the leader's chain. Only a chain that was imported has a commit above the takeover
// and is not synced to the term: then it is enough, and necessary, that the leader has committed the same (I12).
func (c *Chain) syncTo() *job {
	j := job{kind: jobSync, target: *c.take, label: c.st.Term, prefer: []core.NodeID{c.st.Leader}}
	if c.commit.Height > j.target.Height {
		if c.leadRef != c.commit {
			return nil
		}
		j.target = c.commit
	}
	return &j
}

// nextCommit returns the job of a certificate that is newer than the own report, if any: the lowest whose body is at
// hand, so that each run of certificates becomes one record, else the greatest.
func (c *Chain) nextCommit(own Report) *job {
	var best *CommitRecord
	if c.certRefused && c.now.SinceMin(c.certRefusedAt) < 2*c.opt.MinElection {
		return nil
	}
	for i := range c.certs {
		r := &c.certs[i]
		have := c.has(r.Ref)
		if !have {
			if !own.Less(Report{r.CTerm, r.Ref}) {
				continue // R11 only moves forward
			}
			if r.CTerm == c.st.Term && c.synced == c.st.Term && c.now.SinceMin(c.propAt) < c.opt.MinElection/2 {
				continue // proposals are on their way
			}
		}
		near := have || c.bodies[r.Ref.Hash] != nil
		switch {
		case best == nil:
			best = r
		case have && c.has(best.Ref):
			if r.Ref.Height > best.Ref.Height {
				best = r
			}
		case near && (c.bodies[best.Ref.Hash] == nil && !c.has(best.Ref) || r.Ref.Height < best.Ref.Height):
			best = r
		case !near && c.bodies[best.Ref.Hash] == nil && !c.has(best.Ref) && (Report{best.CTerm, best.Ref}).Less(Report{r.CTerm, r.Ref}):
			best = r
		}
	}
	if best == nil {
		return nil
	}
	return &job{kind: jobCommit, target: best.Ref, label: best.CTerm, cert: *best, prefer: []core.NodeID{c.st.Leader}}
}

// push moves the job on; true when it is done and another may be due.
func (c *Chain) push() bool {
	j := c.job
	if c.has(j.target) {
		return c.finish(j, j.target.Height, nil)
	}
	path, complete := c.path(j.target)
	if !complete {
		c.fetch(j)
		return false
	}
	ok := true
	for _, b := range path {
		verdict, known := c.exec(b)
		if known && !verdict {
			return c.refuse(j, b)
		}
		ok = ok && known
	}
	if !ok {
		return false
	}
	return c.finish(j, path[0].Header.Height-1, path)
}

// path returns the bodies from the fork with the own chain to target, ascending; false while some are missing.
func (c *Chain) path(target Ref) ([]*block.Block, bool) {
	var rev []*block.Block
	at := target
	for !c.has(at) {
		if at.Height <= c.commit.Height {
			c.alarm("I8: %v forks below the own commit %v", target, c.commit)
			return nil, false
		}
		b := c.bodies[at.Hash]
		if b == nil || b.Header.Height != at.Height {
			return nil, false
		}
		rev = append(rev, b)
		at = Ref{at.Height - 1, b.Header.Parent}
	}
	slices.Reverse(rev)
	return rev, true
}

// finish writes the one atomic record of R7: cut at the fork, append, synced.
func (c *Chain) finish(j *job, fork block.Height, path []*block.Block) bool {
	label := j.label
	switch j.kind {
	case jobTakeover:
		if c.broken(FaultNoSync) {
			c.taking.writing = c.write(Write{Append: path})
		} else {
			c.taking.writing = c.write(Write{Cut: cut(fork, c.tip.Height), Append: path, Synced: &label})
		}
		c.event(Event{Kind: EventSynced, Ref: c.tip, CTerm: label})
		c.cmd(core.CmdProgress, label)
		c.cmd(core.CmdTakeoverWriting, label)
	case jobSync:
		c.syncRecord(fork, path, label)
		c.event(Event{Kind: EventSynced, Ref: c.tip, CTerm: label})
		c.ackNow = true
	case jobCommit:
		if (Report{c.synced, c.tip}).Less(Report{label, j.target}) {
			c.syncRecord(fork, path, label)
			c.event(Event{Kind: EventSynced, Ref: c.tip, CTerm: label})
		}
		c.certify(j.cert)
	case jobRepair:
		c.syncRecord(fork, path, label)
		c.event(Event{Kind: EventSynced, Ref: c.tip, CTerm: label})
	}
	return true
}

// syncRecord writes SYNC. The faults are the mistakes of schedule 5.
func (c *Chain) syncRecord(fork block.Height, path []*block.Block, label core.Term) {
	switch {
	case c.broken(FaultEarlySync) && len(path) > 1:
		c.write(Write{Cut: cut(fork, c.tip.Height), Append: path[:1], Synced: &label})
		c.write(Write{Append: path[1:]})
	case c.broken(FaultNoCut) && len(path) == 0:
		c.write(Write{Synced: &label})
	default:
		c.write(Write{Cut: cut(fork, c.tip.Height), Append: path, Synced: &label})
	}
}

func cut(h, tip block.Height) *block.Height {
	if h >= tip {
		return nil
	}
	return &h
}

// refuse is R13 for a block that came by SYNC.
func (c *Chain) refuse(j *job, b *block.Block) bool {
	ref := Ref{b.Header.Height, b.Hash()}
	if c.refused != ref {
		c.refused = ref
		c.alarm("state root of block %v cannot be reproduced here", ref)
	}
	switch j.kind {
	case jobTakeover:
		if c.taking.unfit == nil {
			c.taking.unfit = map[Ref]bool{}
		}
		c.taking.unfit[j.target] = true
		c.choose()
		c.job = nil
		return true
	case jobSync:
		c.nack(ref)
	case jobCommit:
		// It is committed, so the fault is here. It is tried again after a while.
		c.certRefused, c.certRefusedAt = true, c.now
	case jobRepair:
		// This node or another one executed it once. It is tried again after a while.
		c.repairRefused, c.repairRefusedAt = true, c.now
	}
	c.job = nil
	return false
}

// fetch asks somebody for the bodies that the job lacks. One request at a time.
func (c *Chain) fetch(j *job) {
	wait := c.opt.MinElection / 8
	if j.kind == jobRepair {
		wait = c.opt.MinElection // nobody waits for it, and it may last until a dead node is back
	}
	if c.awaiting && (j.kind == jobSync || j.kind == jobCommit) && c.taking == nil {
		return
	}
	if c.fetching != 0 || c.fetchWait && c.now.SinceMin(c.fetchAt) < wait {
		return
	}
	var from []core.NodeID
	add := func(id core.NodeID) {
		if id != "" && id != c.opt.ID && !slices.Contains(from, id) {
			from = append(from, id)
		}
	}
	for _, id := range j.prefer {
		add(id)
	}
	for _, m := range c.st.Cfg.Members {
		add(m.ID)
	}
	if len(from) == 0 || j.target.Height <= c.commit.Height {
		return
	}
	c.fetchWait = false
	c.fetchID++
	c.fetching, c.fetchPeer = c.fetchID, c.pickPeer(from)
	c.out.Fetches = append(c.out.Fetches, Fetch{ID: c.fetchID, Peer: c.fetchPeer, From: c.commit.Height + 1, To: j.target})
}

// pickPeer returns the first that did not fail lately, or else the one whose failure is the oldest. What a peer did is
// remembered from job to job: catching up is many of them, and each would wait for the same dead peer first.
func (c *Chain) pickPeer(from []core.NodeID) core.NodeID {
	oldest := from[0]
	for _, id := range from {
		at, bad := c.fetchBad[id]
		if !bad || c.now.SinceMin(at) > 4*c.opt.MinElection {
			return id
		}
		if at.Mono < c.fetchBad[oldest].Mono {
			oldest = id
		}
	}
	return oldest
}

// Fetched answers a Fetch: the peer's chain from the height asked for, ascending, or an error. The driver has checked
// nothing but that the blocks decode. A *PrunedError says that the peer's chain begins higher.
func (c *Chain) Fetched(now core.Instant, id uint64, blocks []Certified, err error) {
	c.now = now
	if id != c.fetching {
		return
	}
	c.fetching = 0
	news := false
	var runs []CommitRecord // of one term each
	parent := c.commit
	for i, b := range blocks {
		if i == 0 && b.Block.Header.Height != parent.Height+1 {
			// Asked before the own commit moved: only what links is of use.
			if b.Block.Header.Height == 0 || b.Block.Header.Height > parent.Height+1 {
				break
			}
			parent = Ref{b.Block.Header.Height - 1, b.Block.Header.Parent}
		}
		if b.Block.Header.Height != parent.Height+1 || b.Block.Header.Parent != parent.Hash {
			break
		}
		parent = Ref{b.Block.Header.Height, b.Block.Hash()}
		if parent.Height <= c.commit.Height {
			continue
		}
		if !c.has(parent) && c.bodies[parent.Hash] == nil {
			news = true
			c.keepBody(b.Block)
		}
		switch {
		case b.CTerm == 0:
		case len(runs) > 0 && runs[len(runs)-1].CTerm == b.CTerm && runs[len(runs)-1].Ref.Height+1 == parent.Height:
			runs[len(runs)-1].Ref = parent
		default:
			runs = append(runs, CommitRecord{Ref: parent, CTerm: b.CTerm, From: parent.Height})
		}
	}
	for _, r := range runs {
		news = c.learn(r) || news
	}
	if gone := (*PrunedError)(nil); errors.As(err, &gone) && c.commit.Height+1 < gone.Base {
		c.event(Event{Kind: EventPruned, Ref: Ref{Height: gone.Base}, Peer: c.fetchPeer})
		if t := c.taking; t != nil && t.writing == 0 {
			c.giveUp(prunedChain) // a leader may not jump, whoever keeps no more than that can lead at once
		}
	}
	if err != nil || !news {
		c.fetchBad[c.fetchPeer] = now
		c.fetchWait, c.fetchAt = true, now
	} else {
		delete(c.fetchBad, c.fetchPeer)
		if c.taking != nil {
			c.taking.moved = now
			c.cmd(core.CmdProgress, c.taking.term)
		}
	}
	c.plan()
}

// learn notes a certificate; false when it says nothing new.
func (c *Chain) learn(r CommitRecord) bool {
	if r.Ref.Height <= c.commit.Height {
		if r.Ref.Height == c.commit.Height && r.Ref.Hash != c.commit.Hash {
			c.alarm("I8: %v is committed elsewhere, %v here", r.Ref, c.commit)
		}
		return false
	}
	for _, k := range c.certs {
		if k.Ref == r.Ref && k.CTerm >= r.CTerm {
			return false
		}
	}
	c.observeTerm(r.CTerm)
	c.heardTip = max(c.heardTip, r.Ref.Height)
	c.certs = append(c.certs, r)
	if len(c.certs) > maxCerts {
		// Keep the oldest half, which comes into reach first, and the newest.
		c.certs = slices.Delete(c.certs, maxCerts/2, len(c.certs)-1)
	}
	return true
}

// observeTerm tells the election layer that a leader of a term has committed something.
func (c *Chain) observeTerm(t core.Term) {
	if t > c.st.Term || t == c.st.Term && c.st.Vote.Kind == core.VoteNone {
		c.cmd(core.CmdObserveTerm, t)
	}
}

// certify sets the commit for a certificate whose block the own chain holds (PROTOCOL R10, R11).
func (c *Chain) certify(r CommitRecord) {
	if r.Ref.Height <= c.commit.Height {
		c.forgetUpTo(r.Ref.Height)
		return
	}
	invariant(c.has(r.Ref) || c.broken(FaultBlindCommit), "I8: commit %v is not in the own chain", r.Ref)
	rec := r
	if c.take != nil && r.CTerm == c.st.Term {
		rec.From = max(c.take.Height, c.commit.Height+1)
	}
	rec.From = max(rec.From, c.commit.Height+1)
	c.commit = r.Ref
	c.lastCommit = c.now
	c.seq++
	c.writes = append(c.writes, inflight{seq: c.seq, report: Report{c.synced, c.tip}, fork: c.tip.Height, at: c.now})
	c.out.Writes = append(c.out.Writes, Write{Seq: c.seq, Commit: &rec, NoSync: true})
	c.event(Event{Kind: EventCommitted, Ref: r.Ref, CTerm: r.CTerm})
	c.cmd(core.CmdCommitted, c.st.Term)
	c.forgetUpTo(r.Ref.Height)
	if len(c.executed)+len(c.failed) > 4*maxBodies {
		clear(c.executed) // verdicts can be asked again
		clear(c.failed)
	}
	c.trim()
}
