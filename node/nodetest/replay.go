package nodetest

import (
	"fmt"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/replication"
	"github.com/baton-ha/baton/node/trace"
	"github.com/baton-ha/baton/raftify/core"
)

// Coverage counts what a replayed trace told of: a trace that tells of nothing proves nothing.
type Coverage map[trace.Kind]int

// Replay feeds the merged trace of a cluster of real processes (see [trace.Merge]) to the checker, as the simulator feeds
// it what its nodes do. An error says that the trace itself cannot be read; violations are the checker's.
func Replay(c *Checker, events []trace.Event) (Coverage, error) {
	r := &replay{c: c, nodes: map[core.NodeID]*replayed{}, last: map[run]int64{}, count: Coverage{}}
	for i := range events {
		e := &events[i]
		r.last[runOf(e)] = e.At
	}
	for i := range events {
		r.count[events[i].Kind]++
		if err := r.event(&events[i]); err != nil {
			return r.count, fmt.Errorf("%s, line of %d ns: %w", events[i].Node, events[i].At, err)
		}
	}
	return r.count, nil
}

// run is one process. A node that lost its disk counts its starts anew, under another incarnation.
type run struct {
	node core.NodeID
	inc  core.Inc
	boot uint64
}

func runOf(e *trace.Event) run {
	r := run{node: e.Node, boot: e.Boot}
	if e.Inc != nil {
		r.inc = core.Inc(*e.Inc)
	}
	return r
}

type replay struct {
	c     *Checker
	nodes map[core.NodeID]*replayed
	last  map[run]int64 // when each process was heard last
	count Coverage
}

// replayed is one node as its trace tells of it.
type replayed struct {
	run     run
	inc     core.Inc
	cfgs    [2]core.Config // the newest and the one before
	durable replication.Ref
	queued  replication.Report // own chain as queued for writing
	before  replication.Report // what queued was before the takeover's record
	writes  []queuedWrite
	lease   Holder
	until   int64
}

type queuedWrite struct {
	seq uint64
	tip replication.Ref // after it
}

func (r *replay) event(e *trace.Event) error {
	c := r.c
	if e.Kind == trace.KindStart {
		return r.start(e)
	}
	n := r.nodes[e.Node]
	if n == nil {
		return fmt.Errorf("%w: a line before any start", trace.ErrMalformed)
	}
	ref := e.Ref.Ref()
	switch e.Kind {
	case trace.KindHard:
		return r.hard(n, e)
	case trace.KindSend:
		return r.send(n, e)
	case trace.KindElected:
		n.elected(c, e)
	case trace.KindBlock:
		b, err := block.Decode(e.Body)
		if err != nil {
			return fmt.Errorf("%w: %w", trace.ErrMalformed, err)
		}
		c.Block(b)
	case trace.KindWrite:
		r.write(n, e)
	case trace.KindDurable:
		for len(n.writes) > 0 && n.writes[0].seq <= e.Seq {
			n.durable = n.writes[0].tip
			n.writes = n.writes[1:]
		}
	case trace.KindProp:
		b := c.blocks[ref.Hash]
		if b == nil {
			c.fail("I6: %s proposes %v, which nobody built", e.Node, ref)
			return nil
		}
		c.Chain(replication.Message{Type: replication.MsgProp, Header: n.header(e), Block: b})
	case trace.KindAck:
		c.Chain(replication.Message{Type: replication.MsgAck, Header: n.header(e), Ref: ref})
	case trace.KindTakeover:
		c.Takeover(e.Node, e.Term, ref, n.before)
	case trace.KindCommitted:
		r.committed(n, e)
	case trace.KindCommit:
		c.CommitOf(e.Node, n.inc, ref)
	case trace.KindSigned:
		c.Signed(e.Node, ref)
	case trace.KindLease:
		r.leaseOf(n, e)
	case trace.KindAlarm:
		if len(e.Text) > 2 && e.Text[0] == 'I' && e.Text[1] >= '1' && e.Text[1] <= '9' {
			c.fail("%s (alarm of %s)", e.Text, e.Node)
		}
	case trace.KindStart:
	default:
		return fmt.Errorf("%w: kind %q", trace.ErrMalformed, e.Kind)
	}
	return nil
}

func (r *replay) start(e *trace.Event) error {
	hs, err := e.HardState()
	if err != nil {
		return err
	}
	if e.Synced == nil {
		return fmt.Errorf("%w: a start without a chain", trace.ErrMalformed)
	}
	rep := replication.Report{Synced: *e.Synced, Tip: e.Ref.Ref()}
	r.c.Started(hs, rep, e.Commit.Ref())
	r.nodes[e.Node] = &replayed{
		run: runOf(e), inc: hs.Inc, cfgs: [2]core.Config{hs.Cfg, hs.Cfg}, durable: rep.Tip, queued: rep,
	}
	return nil
}

func (r *replay) hard(n *replayed, e *trace.Event) error {
	hs, err := e.HardState()
	if err != nil {
		return err
	}
	if hs.Cfg.Key != n.cfgs[0].Key {
		n.cfgs = [2]core.Config{hs.Cfg, n.cfgs[0]}
	}
	r.c.HardState(hs)
	return nil
}

func (n *replayed) header(e *trace.Event) core.Header {
	return core.Header{From: n.run.node, To: e.To, Inc: n.inc, Boot: n.run.boot, Term: e.Term}
}

// types are the election messages by their names.
var electionTypes = [...]core.MessageType{core.MsgVote, core.MsgVoteResp}

func (r *replay) send(n *replayed, e *trace.Event) error {
	m := core.Message{Header: n.header(e), OK: e.OK}
	for _, t := range electionTypes {
		if t.String() == e.Type {
			m.Type = t
		}
	}
	if m.Type == core.MsgVoteResp && e.OK {
		if e.Report == nil {
			r.c.fail("I4: vote of %s in term %d without a report", e.Node, e.Term)
			return nil
		}
		m.Attachment = replication.EncodeReport(e.Report.Report())
	}
	r.c.Election(m) // of others only the term counts
	return nil
}

func (n *replayed) elected(c *Checker, e *trace.Event) {
	reports := make([]core.Report, len(e.Reports))
	for i, rep := range e.Reports {
		reports[i] = core.Report{From: rep.From, Attachment: replication.EncodeReport(rep.Report())}
	}
	c.Elected(n.run.node, e.Term, reports)
}

func (r *replay) write(n *replayed, e *trace.Event) {
	if e.Commit != nil {
		r.c.Certified(n.run.node, replication.CommitRecord{Ref: e.Commit.Ref(), CTerm: e.CTerm, From: e.From})
	}
	if e.Synced != nil {
		if e.Lead {
			n.before = n.queued
		}
		n.queued.Synced = *e.Synced
	}
	if e.Cut != nil {
		if at, ok := r.c.at(n.queued.Tip, *e.Cut); ok {
			n.queued.Tip = at
		}
	}
	if e.Jump != nil {
		n.queued.Tip = e.Jump.Ref()
	}
	if k := len(e.Append); k > 0 {
		n.queued.Tip = e.Append[k-1].Ref()
	}
	n.writes = append(n.writes, queuedWrite{e.Seq, n.queued.Tip})
}

// committed judges a commit. The first to tell of one is the leader that counted it, in the configuration that it had: a
// majority of it must hold the block at that moment. Later no count says anything, since members come and go and disks
// are replaced: R14 and the takeovers (I9) keep the block. During a change of members the majority of either
// configuration will do.
func (r *replay) committed(n *replayed, e *trace.Event) {
	ref := e.Ref.Ref()
	if ref.Height > r.c.Decided() {
		if who := r.c.leaders[e.Term]; who != n.run.node {
			r.c.fail("I10: %s takes %v for committed before %q, the leader of term %d, counted it", n.run.node, ref, who, e.Term)
		}
		holders, voters := 0, 0
		for _, cfg := range n.cfgs {
			h, v := r.holders(cfg, ref)
			if voters == 0 || h*voters > holders*v {
				holders, voters = h, v
			}
		}
		r.c.Durable(n.run.node, ref, holders, voters)
	}
	r.c.Committed(n.run.node, ref, e.Term)
}

func (r *replay) holders(cfg core.Config, ref replication.Ref) (holders, voters int) {
	for _, m := range cfg.Members {
		if !m.Voter {
			continue
		}
		voters++
		if o := r.nodes[m.ID]; o != nil && o.inc == m.Inc {
			if at, ok := r.c.at(o.durable, ref.Height); ok && at == ref {
				holders++
			}
		}
	}
	return holders, voters
}

// leaseOf is I15: the leases of two nodes may not overlap. A process uses none after it was heard last.
func (r *replay) leaseOf(n *replayed, e *trace.Event) {
	n.lease, n.until = Holder{n.run.node, e.Term}, min(e.At+e.Left, r.last[n.run])
	if e.Left == 0 {
		n.until = 0
		return
	}
	for _, o := range r.nodes {
		if o != n && o.until > e.At {
			r.c.Leases([]Holder{o.lease, n.lease})
		}
	}
}
