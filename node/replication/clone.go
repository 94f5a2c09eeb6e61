package replication

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/raftify/core"
)

// Clone returns an independent copy that reads its stored chain from r. Blocks are shared: they are immutable. What
// Ready and Commands have not handed out yet is in both.
func (c *Chain) Clone(r Reader) *Chain {
	d := *c
	d.opt.Reader = r
	d.flt = c.flt.clone()
	d.own, d.writes, d.cmds = slices.Clone(c.own), slices.Clone(c.writes), slices.Clone(c.cmds)
	d.pend, d.certs, d.sources = slices.Clone(c.pend), slices.Clone(c.certs), slices.Clone(c.sources)
	d.votes = slices.Clone(c.votes)
	d.out = Ready{
		Writes: slices.Clone(c.out.Writes), Messages: slices.Clone(c.out.Messages), Execs: slices.Clone(c.out.Execs),
		Fetches: slices.Clone(c.out.Fetches), Events: slices.Clone(c.out.Events),
	}
	d.bodies, d.executed, d.failed, d.asked = maps.Clone(c.bodies), maps.Clone(c.executed), maps.Clone(c.failed), maps.Clone(c.asked)
	d.fetchBad, d.nacks = maps.Clone(c.fetchBad), maps.Clone(c.nacks)
	if c.take != nil {
		t := *c.take
		d.take = &t
	}
	if c.job != nil {
		j := *c.job
		d.job = &j
	}
	if c.claim != nil {
		r := *c.claim
		d.claim = &r
	}
	if c.taking != nil {
		t := *c.taking
		t.unfit, t.far = maps.Clone(t.unfit), maps.Clone(t.far)
		d.taking = &t
	}
	if c.peers != nil {
		d.peers = make(map[core.NodeID]*progress, len(c.peers))
		for id, p := range c.peers {
			q := *p
			d.peers[id] = &q
		}
	}
	return &d
}

// Fingerprint is a hash of everything in the chain that decides what it will do, like that of core.Core: two chains
// with one fingerprint and equal stored blocks give the same output to the same input from now on. Instants enter as
// their distance from now. It is for exploration; the layout is not stable.
func (c *Chain) Fingerprint(now core.Instant) [16]byte {
	f := printer{now: now}
	f.num(uint64(c.st.Term), uint64(c.st.Role), uint64(c.st.Vote.Kind), uint64(c.st.Backoff), c.st.Cfg.Key.Ver, uint64(c.st.Cfg.Key.CTerm),
		c.st.Counts.Key.Ver, uint64(c.st.Counts.Key.CTerm))
	f.id(c.st.Leader)
	f.num(uint64(c.base), uint64(c.floor), uint64(len(c.own)))
	for _, e := range c.own {
		f.Write(e.hash[:])
		f.flag(e.blk != nil)
	}
	f.ref(c.tip, c.commit, c.durable.Tip, c.acked.Tip, c.refused, c.nackRef, c.best.Tip, c.termCommit)
	f.num(uint64(c.synced), uint64(c.nacked), uint64(c.durable.Synced), uint64(c.acked.Synced), uint64(c.best.Synced), c.seq)
	f.num(uint64(len(c.writes)))
	for _, w := range c.writes {
		f.num(w.seq, uint64(w.report.Synced), uint64(w.fork))
		f.ref(w.report.Tip)
		f.flag(w.nack != nil)
		if w.nack != nil {
			f.ref(*w.nack)
		}
		f.instant(w.at)
	}
	f.instant(c.ackAt, c.gapAt, c.nackAt, c.propAt, c.certRefusedAt, c.repairRefusedAt, c.fetchAt, c.lastCommit)
	f.flag(c.ackNow, c.nackDue, c.certRefused, c.repairRefused, c.claim != nil, c.fetchWait, c.awaiting, c.leading, c.counted, c.transferring, c.take != nil, c.job != nil, c.taking != nil)
	f.num(uint64(c.leadTip), uint64(c.leadComm), uint64(c.heardTip), c.fetchID, c.fetching)
	f.ref(c.leadRef)
	f.id(c.fetchPeer)
	if c.claim != nil {
		f.num(uint64(c.claim.Synced))
		f.ref(c.claim.Tip)
	}
	f.known(c)
	f.roles(c)
	f.undelivered(c)
	sum := sha256.Sum256(f.Bytes())
	return [16]byte(sum[:16])
}

type printer struct {
	bytes.Buffer
	now core.Instant
}

func (f *printer) num(ns ...uint64) {
	for _, n := range ns {
		f.Write(binary.BigEndian.AppendUint64(nil, n))
	}
}

func (f *printer) id(id core.NodeID) {
	f.num(uint64(len(id)))
	f.WriteString(string(id))
}

func (f *printer) flag(bs ...bool) {
	for _, b := range bs {
		if b {
			f.WriteByte(1)
		} else {
			f.WriteByte(0)
		}
	}
}

func (f *printer) ref(rs ...Ref) {
	for _, r := range rs {
		f.num(uint64(r.Height))
		f.Write(r.Hash[:])
	}
}

func (f *printer) instant(ts ...core.Instant) {
	for _, t := range ts {
		f.num(uint64(f.now.Mono-t.Mono), uint64(f.now.Boot-t.Boot), uint64(f.now.Real-t.Real))
	}
}

func sortedHashes[V any](m map[block.Hash]V) []block.Hash {
	return slices.SortedFunc(maps.Keys(m), func(a, b block.Hash) int { return bytes.Compare(a[:], b[:]) })
}

func sortedIDs[V any](m map[core.NodeID]V) []core.NodeID {
	return slices.SortedFunc(maps.Keys(m), func(a, b core.NodeID) int { return cmp.Compare(a, b) })
}

// known writes what is known of other chains and of the executor.
func (f *printer) known(c *Chain) {
	f.num(uint64(len(c.bodies)), uint64(len(c.executed)), uint64(len(c.failed)), uint64(len(c.asked)))
	for _, h := range sortedHashes(c.bodies) {
		f.Write(h[:])
	}
	for _, h := range sortedHashes(c.executed) {
		f.Write(h[:])
	}
	for _, h := range sortedHashes(c.failed) {
		f.Write(h[:])
		f.instant(c.failed[h])
	}
	for _, h := range sortedHashes(c.asked) {
		f.Write(h[:])
	}
	f.num(uint64(len(c.pend)))
	for _, b := range c.pend {
		f.ref(Ref{b.Header.Height, b.Hash()})
	}
	f.num(uint64(len(c.certs)))
	for _, r := range c.certs {
		f.cert(r)
	}
	f.num(uint64(len(c.fetchBad)))
	for _, id := range sortedIDs(c.fetchBad) {
		f.id(id)
		f.instant(c.fetchBad[id])
	}
}

func (f *printer) cert(r CommitRecord) {
	f.ref(r.Ref)
	f.num(uint64(r.CTerm), uint64(r.From))
}

// roles writes what belongs to a job, a takeover or a leadership.
func (f *printer) roles(c *Chain) {
	if c.take != nil {
		f.ref(*c.take)
	}
	if j := c.job; j != nil {
		f.num(uint64(j.kind), uint64(j.label), uint64(len(j.prefer)))
		f.ref(j.target)
		f.cert(j.cert)
		for _, id := range j.prefer {
			f.id(id)
		}
	}
	if t := c.taking; t != nil {
		f.num(uint64(t.term), t.writing)
		f.flag(t.chain, t.hard, t.short, t.doubt)
		f.instant(t.since, t.moved)
		f.num(uint64(len(t.unfit)), uint64(len(t.far)))
		for _, v := range c.votes {
			f.id(v.from)
			f.num(uint64(v.report.Synced))
			f.ref(v.report.Tip)
			f.flag(t.unfit[v.report.Tip], t.far[v.report.Tip], v.lost)
		}
	}
	f.num(uint64(len(c.sources)), uint64(len(c.peers)), uint64(len(c.nacks)))
	for _, id := range c.sources {
		f.id(id)
	}
	for _, id := range sortedIDs(c.peers) {
		p := c.peers[id]
		f.id(id)
		f.Write(p.inc[:])
		f.ref(p.match)
		f.num(p.boot, uint64(p.next))
		f.flag(p.synced)
		f.instant(p.at)
	}
	for _, id := range sortedIDs(c.nacks) {
		f.id(id)
		f.ref(c.nacks[id])
	}
}

// undelivered writes what Ready and Commands would return. Numbers and addresses tell them apart: the rest follows from
// the state above.
func (f *printer) undelivered(c *Chain) {
	o := &c.out
	f.num(uint64(len(o.Writes)), uint64(len(o.Messages)), uint64(len(o.Execs)), uint64(len(o.Fetches)), uint64(len(o.Events)), uint64(len(c.cmds)))
	for _, m := range o.Messages {
		f.num(uint64(m.Type), uint64(m.Term), uint64(m.CTerm))
		f.id(m.To)
		f.ref(m.Ref, m.Commit)
		f.flag(m.Resend)
	}
	for _, x := range o.Execs {
		f.ref(Ref{x.Block.Header.Height, x.Block.Hash()})
	}
	for _, x := range o.Fetches {
		f.num(x.ID, uint64(x.From))
		f.id(x.Peer)
		f.ref(x.To)
	}
	for _, e := range o.Events {
		f.num(uint64(e.Kind), uint64(e.CTerm))
		f.ref(e.Ref)
	}
	for _, k := range c.cmds {
		f.num(uint64(k.Kind), uint64(k.Term), uint64(k.StayOut))
	}
}
