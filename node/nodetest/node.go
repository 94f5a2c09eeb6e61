package nodetest

import (
	"fmt"
	"strings"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/replication"
	"github.com/baton-ha/baton/raftify/core"
)

// node is one simulated processor: the shipped cores and the glue that the driver is in a real one.
type node struct {
	s    *sim
	i    int
	id   core.NodeID
	inc  core.Inc
	disk disk
	clk  clocks
	// backup is what the disk once was; nil: there is none.
	backup *image

	up, paused bool
	gen        int // counts starts and stops: what was begun for an earlier process is void
	el         *core.Core
	ch         *replication.Chain
	status     core.Status // as last published
	inbox      []func(now core.Instant)
	ticked     core.Instant

	queued replication.Report // own chain as queued for writing
	before replication.Report // what queued was before the takeover's record
	cert   replication.CommitRecord
	signed block.Height
	signer replication.Ref // to ride on the next write

	exec     executor
	pool     [maxAccounts][]uint64
	building bool
	bringing bool      // a state is on its way here
	handed   core.Term // term that it campaigned for at the leader's wish
	rounds   []round
	waits    []wait
	timeouts map[uint64]bool
}

// spy shows the checker what the election layer hands to the chain.
type spy struct {
	*replication.Chain
	n *node
}

func (p spy) Elected(now core.Instant, term core.Term, reports []core.Report) {
	if 2*len(reports) > len(p.n.s.nodes)+2 {
		p.n.s.count.hit("further votes counted")
	}
	p.n.s.chk.Elected(p.n.id, term, reports)
	p.Chain.Elected(now, term, reports)
}

func (n *node) start() {
	s := n.s
	im := &n.disk.im
	if im.hs.Stale {
		return
	}
	im.hs.Boot++
	now := n.clk.read(s.now)
	s.chk.Started(im.hs, im.asserted(), im.commit.Ref)
	ch, err := replication.New(replication.Options{
		ID: n.id, Inc: n.inc, Reader: im, Synced: im.synced, Tip: im.tip(), Commit: im.commit, Nacked: im.nacked,
		Claim: im.claim, Spare: im.spare,
		MinElection: s.tm.MinElection, MaxInflight: s.set.inflight, KeepEntries: s.set.keep, Now: now,
	})
	if err != nil {
		s.violate("start: chain: %v", err)
		return
	}
	n.ch = ch
	n.el, err = core.New(core.Options{
		State: im.hs, Session: s.rng.Uint64(), Addr: string(n.id), Peers: s.peers(), Membership: s.set.members,
		Timing: s.tm, Hook: spy{ch, n}, Rand: s.rng.Int64N, Now: now,
	})
	if err != nil {
		s.violate("start: core: %v", err)
		return
	}
	n.gen++
	n.up, n.paused, n.ticked = true, false, now
	n.queued = replication.Report{Synced: im.synced, Tip: im.tip()}
	n.cert, n.signed, n.signer = im.commit, im.signer.Height, replication.Ref{}
	n.exec = executor{slow: n.exec.slow, damaged: n.exec.damaged && n.exec.sticky, sticky: n.exec.sticky, known: map[block.Hash]bool{}}
	n.building, n.bringing, n.rounds, n.waits, n.inbox = false, false, nil, nil, nil
	n.timeouts = map[uint64]bool{}
	if s.opt.OnStart != nil {
		s.opt.OnStart(n.id, n.el, n.ch)
	}
	n.status = n.el.Status()
	s.tracef("%s starts: term %d, chain (%d, %v), commit %v", n.id, im.hs.Term, im.synced, im.tip(), im.commit.Ref)
	gen := n.gen
	s.after(s.rng.Int64N(int64(s.tm.Heartbeat)/4), func() { n.tick(gen) }) // nodes do not tick together
	n.forward(gen)
}

// stop ends the process; of what no fsync covered the first keep records survive.
func (n *node) stop(keep int) {
	if !n.up {
		return
	}
	n.gen++
	n.up, n.paused = false, false
	n.inbox = nil
	for i, r := range n.disk.queue {
		if r.w != nil && r.w.Jump != nil && len(n.disk.loose)+i >= keep {
			n.s.count.hit("jump lost in a crash")
		}
	}
	lost, err := n.disk.crash(keep)
	if err != nil {
		n.s.violate("%v", err)
	}
	if lost > 0 {
		n.s.count.hit("crash with loss")
	}
	n.pool = [maxAccounts][]uint64{}
	n.clk.sleep(n.s.now, false)
	n.s.tracef("%s stops, %d writes lost", n.id, lost)
}

func (n *node) pause(asleep bool) {
	if n.up && !n.paused {
		n.paused = true
		n.clk.sleep(n.s.now, asleep)
		n.s.tracef("%s pauses, asleep=%v", n.id, asleep)
	}
}

func (n *node) resume() {
	n.clk.sleep(n.s.now, false)
	if !n.up || !n.paused {
		return
	}
	n.paused = false
	n.s.tracef("%s resumes, %d inputs wait", n.id, len(n.inbox))
	in := n.inbox
	n.inbox = nil
	for _, fn := range in {
		n.do(fn)
	}
}

// do is one turn of the owner loop.
func (n *node) do(fn func(now core.Instant)) {
	if !n.up || n.s.broken != "" {
		return
	}
	if n.paused {
		n.inbox = append(n.inbox, fn)
		return
	}
	now := n.clk.read(n.s.now)
	fn(now)
	n.settle(now)
}

// doFor is do for the process of that generation only.
func (n *node) doFor(gen int, fn func(now core.Instant)) {
	if gen == n.gen {
		n.do(fn)
	}
}

func (n *node) tick(gen int) {
	if gen != n.gen {
		return
	}
	if !n.paused {
		n.do(func(now core.Instant) {
			if n.el.Late(now, n.ticked) {
				n.s.count.hit("stood still")
				n.el.Stalled(now)
			}
			n.ticked = now
			n.el.Tick(now)
		})
	}
	n.s.after(int64(n.s.tm.Heartbeat)/4, func() { n.tick(gen) })
}

// settle carries out what one input caused, in the order of the real driver: hard state, then the chain's writes, go
// into the one queue; the status is published; only then do messages leave.
func (n *node) settle(now core.Instant) {
	s := n.s
	for pass := 0; ; pass++ {
		if pass == 16 {
			s.violate("driver: %s does not settle", n.id)
			return
		}
		rd := n.el.Ready()
		if rd.HardState != nil {
			s.chk.HardState(*rd.HardState)
			n.disk.enqueue(&record{hs: rd.HardState, seq: rd.Seq})
			if s.tracing() {
				s.tracef("%s writes hard state %d: term %d vote %v cfg %+v", n.id, rd.Seq, rd.HardState.Term, rd.HardState.Vote, rd.HardState.Cfg.Key)
			}
		}
		n.publish()
		cr := n.ch.Ready()
		for i := range cr.Writes {
			n.write(&cr.Writes[i])
		}
		for i := range rd.Messages {
			m := rd.Messages[i]
			if m.Type == core.MsgVote && m.TransferOf > 0 {
				n.handed = m.Term
			}
			s.chk.Election(m)
			s.net.send(&packet{from: n, to: s.byID[m.To], el: &m})
		}
		n.sendChain(cr.Messages)
		for _, e := range rd.Events {
			n.electionEvent(e)
		}
		for _, e := range cr.Events {
			n.chainEvent(now, e)
		}
		for _, x := range cr.Execs {
			n.exec.ask(n, x.Block)
		}
		for _, f := range cr.Fetches {
			n.fetch(f)
		}
		if !n.el.HasReady() && !n.ch.HasReady() {
			break
		}
	}
	n.flush()
	n.serveWaits()
	s.chk.CommitOf(n.id, n.inc, n.ch.Commit())
	s.checkLeases()
	if s.opt.clone {
		n.replace(now)
	}
}

// replace goes on with copies of both cores.
func (n *node) replace(now core.Instant) {
	ch := n.ch.Clone(&n.disk.im)
	if ch.Fingerprint(now) != n.ch.Fingerprint(now) {
		n.s.violate("clone: the copy of %s has another fingerprint", n.id)
	}
	el := n.el.Clone(spy{ch, n})
	if el.Fingerprint(now) != n.el.Fingerprint(now) {
		n.s.violate("clone: the copy of the election core of %s has another fingerprint", n.id)
	}
	n.el, n.ch = el, ch
}

func (n *node) publish() {
	n.status = n.el.Status()
	if n.status.Backoff > 0 {
		n.s.count.hit("back-off")
	}
	if len(n.rounds) > 0 && (n.status.Role != core.RoleLeader || n.status.Term != n.rounds[0].term) {
		n.rounds = nil
		n.s.count.hit("read lost its leader")
	}
}

func (n *node) write(w *replication.Write) {
	s := n.s
	if s.tracing() {
		s.tracef("%s %s", n.id, describeWrite(w))
	}
	for _, b := range w.Append {
		s.chk.Block(b)
	}
	if w.Commit != nil {
		s.chk.Certified(n.id, *w.Commit)
		n.cert = *w.Commit
	}
	n.countWrite(w)
	if w.Synced != nil {
		if n.status.Role == core.RoleLeader {
			n.before = n.queued
		}
		n.queued.Synced = *w.Synced
	}
	if w.Cut != nil {
		if r, ok := s.led.at(n.queued.Tip, *w.Cut); ok {
			n.queued.Tip = r
		}
	}
	if b := w.Jump; b != nil {
		n.queued.Tip = replication.Ref{Height: b.Header.Height, Hash: b.Hash()}
	}
	if k := len(w.Append); k > 0 {
		n.queued.Tip = replication.Ref{Height: w.Append[k-1].Header.Height, Hash: w.Append[k-1].Hash()}
	}
	n.disk.enqueue(&record{seq: w.Seq, w: w, signer: n.signer})
	n.signer = replication.Ref{}
}

func (n *node) countWrite(w *replication.Write) {
	c := &n.s.count
	lead := n.status.Role == core.RoleLeader
	if w.Synced != nil && lead && len(w.Append) > 0 {
		c.hit("takeover with fetched bodies")
	}
	if w.Synced != nil && lead && w.Cut != nil {
		c.hit("winner cut its own tail")
	}
	if w.Synced != nil && !lead && w.Cut != nil {
		c.hit("follower cut its own tail")
	}
	if w.Synced != nil && !lead && n.status.Leader == "" {
		c.hit("R11 sync without a leader")
	}
	if w.Synced != nil && !lead && *w.Synced < n.status.Term {
		c.hit("R11 sync to an older term")
	}
	if w.Cut != nil && w.Synced == nil {
		c.hit("nack cut")
	}
	if w.Nacked != nil {
		c.hit("nack")
	}
}

func (n *node) sendChain(ms []replication.Message) {
	for i := range ms {
		m := ms[i]
		if !n.ch.Address(n.el.Header(m.To), &m) {
			n.s.count.hit("message of an old term held back")
			continue
		}
		n.s.chk.Chain(m)
		if m.Resend {
			n.s.count.hit("follower asked to resend")
		}
		n.s.net.send(&packet{from: n, to: n.s.byID[m.To], ch: &m})
	}
}

func (n *node) electionEvent(e core.Event) {
	s := n.s
	if s.tracing() && e.Kind != core.EventRound {
		s.tracef("%s %v T%d %v %s %s", n.id, e.Kind, e.Term, e.Role, e.Peer, e.Detail)
	}
	switch e.Kind {
	case core.EventRound:
		n.roundDone(e.Seq)
	case core.EventElected:
		s.count.hit("elected")
	case core.EventLeading:
		if n.handed == e.Term {
			s.count.hit("transfer done")
			n.handed = 0
		}
		s.count.hit("takeover done")
	case core.EventStepDown:
		if e.Term == n.status.Term {
			s.count.hit("step down: " + generic(e.Detail))
		}
	case core.EventTerm:
		if e.Detail == "learned of the term" {
			s.count.hit("certificate of an unknown term")
		}
	case core.EventReconfigured:
		s.count.hit("change: " + e.Detail)
	case core.EventJoined:
		s.count.hit("joined")
	case core.EventAlarm:
		n.alarm(e.Detail)
	case core.EventStale:
		n.gaveUp(e)
	default: // of interest in a trace only
	}
}

// generic drops what differs between two texts of one kind.
func generic(detail string) string {
	if k := strings.Index(detail, " from "); k > 0 {
		return detail[:k]
	}
	if k := strings.Index(detail, " of "); k > 0 && strings.HasPrefix(detail, "vote request") {
		return detail[:k]
	}
	return detail
}

// alarm: one that names an invariant says that it was seen broken.
func (n *node) alarm(detail string) {
	if len(detail) > 2 && detail[0] == 'I' && detail[1] >= '1' && detail[1] <= '9' {
		n.s.violate("%s (alarm of %s)", detail, n.id)
	}
}

func (n *node) chainEvent(now core.Instant, e replication.Event) {
	s := n.s
	if s.tracing() {
		s.tracef("%s chain: %v %v T%d %s", n.id, e.Kind, e.Ref, e.CTerm, e.Detail)
	}
	switch e.Kind {
	case replication.EventTakeover:
		s.chk.Takeover(n.id, e.CTerm, e.Ref, n.before)
	case replication.EventRepaired:
		s.count.hit("rotten chain repaired or superseded")
	case replication.EventJumped:
		n.jumped(e)
	case replication.EventLeftOut:
		n.s.count.hit("chain whose blocks do not come left out")
	case replication.EventPruned:
		s.count.hit("blocks to go on from are pruned")
		s.after(0, n.bring)
	case replication.EventCommitted:
		s.chk.Committed(n.id, e.Ref, e.CTerm)
		n.sign(e.Ref, e.CTerm)
		n.finalize()
	case replication.EventTip:
		n.tryBuild(now)
	case replication.EventAlarm:
		s.count.hit("alarm")
		n.alarm(e.Detail)
	case replication.EventAppended, replication.EventCut, replication.EventSynced, replication.EventNacked:
	}
}

// sign is R12: every height that became committed, in order; the record rides on the next write.
func (n *node) sign(ref replication.Ref, cterm core.Term) {
	s := n.s
	if rec := n.disk.im.signer; rec != (replication.Ref{}) && int(rec.Height) < len(n.disk.im.blocks) && !n.held(&n.disk.im, rec) {
		s.violate("I10: %s signed %v and no longer holds it", n.id, rec)
	}
	count := n.status.Role == core.RoleLeader && cterm == n.status.Term
	for h := n.signed + 1; h <= ref.Height; h++ {
		r, ok := s.led.at(ref, h)
		if !ok {
			s.violate("I8: chain of %v has no block %d", ref, h)
			return
		}
		if s.set.members == nil {
			s.chk.Durable(n.id, r, s.holders(r), len(s.nodes))
		} else if count { // disks come and go: what counts is what the leader that counted was told
			holders, voters := s.durableOn(n, n.status.Counts, cterm, h)
			s.chk.Durable(n.id, r, holders, voters)
		}
		s.chk.Signed(n.id, r)
	}
	n.signed = max(n.signed, ref.Height)
	n.signer = ref
}

// flush starts an fsync when none is under way.
func (n *node) flush() {
	d := &n.disk
	if d.busy || len(d.queue) == 0 || !n.up {
		return
	}
	d.busy = true
	k, gen, sync := len(d.queue), n.gen, false
	for _, r := range d.queue {
		sync = sync || !r.noSync()
	}
	d.flushes++
	number := d.flushes
	d.finish = func() {
		if gen == n.gen && number == d.flushes && d.busy {
			d.finish = nil
			n.flushed(k, sync)
		}
	}
	done := d.finish
	switch {
	case !sync:
		n.s.after(ms/50, done)
	case d.fault.hung:
	default:
		n.s.after(n.s.jitter(d.fault.latency), done)
	}
}

func (n *node) flushed(k int, sync bool) {
	s, d := n.s, &n.disk
	if sync && d.fault.fail {
		d.fault.fail = false
		s.count.hit("fsync error")
		s.tracef("%s fsync error", n.id)
		if !s.opt.broken(glueRetryFsync) {
			n.stop(s.rng.IntN(k + len(d.loose) + 1))
			s.after(s.jitter(200*ms), func() { n.revive() })
			return
		}
		d.haunt()
	}
	batch := d.queue[:k:k]
	d.queue = d.queue[k:]
	d.busy = false
	for _, r := range batch {
		undo, err := d.im.apply(r)
		if err != nil {
			s.violate("%v (%s)", err, n.id)
			return
		}
		if !sync {
			d.loose = append(d.loose, loose{r, undo})
		}
	}
	if sync {
		d.loose = nil
	}
	gen := n.gen
	for _, r := range batch {
		n.doFor(gen, func(now core.Instant) {
			if r.hs != nil {
				n.el.Durable(now, r.seq)
				return
			}
			n.ch.Durable(now, r.seq)
			n.el.Poke(now)
		})
	}
	n.flush()
}

// revive starts a process that is down.
func (n *node) revive() {
	if !n.up && n.s.broken == "" && !n.disk.im.hs.Stale {
		n.start()
		n.s.net.up(n)
	}
}

func (n *node) String() string {
	return fmt.Sprintf("%s up=%v paused=%v %v T%d leader=%q tip %v commit %v", n.id, n.up, n.paused, n.status.Role,
		n.status.Term, n.status.Leader, n.ch.Tip(), n.ch.Commit())
}
