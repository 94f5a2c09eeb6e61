package trace

import (
	"bytes"
	"encoding/json"
	"io"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/replication"
	"github.com/baton-ha/baton/raftify/core"
)

// Writer writes the trace of one process. All methods may be called by any goroutine, and on a nil *Writer, where they do
// nothing. What they are told is kept in memory until Flush.
type Writer struct {
	to    io.Writer
	log   zerolog.Logger
	clock func() int64

	mu     sync.Mutex
	buf    bytes.Buffer
	enc    *json.Encoder
	failed bool

	// What was told last, so that only news is written.
	told   map[core.MessageType]core.Term
	commit replication.Ref
	lease  lease
}

type lease struct {
	term  core.Term
	until int64
}

// New returns a writer to w, which should hand each Write to the system at once. An error of w is logged once; the node
// goes on without a trace.
func New(w io.Writer, log zerolog.Logger) *Writer {
	t := &Writer{to: w, log: log, clock: monotonic, told: map[core.MessageType]core.Term{}}
	t.enc = json.NewEncoder(&t.buf)
	t.enc.SetEscapeHTML(false)
	return t
}

// add keeps one line. The caller holds mu.
func (t *Writer) add(e Event) {
	if t.failed {
		return
	}
	e.At = t.clock()
	if err := t.enc.Encode(e); err != nil {
		t.failed = true
		t.log.Error().Err(err).Msg("the trace ends here")
	}
}

// Flush hands all that was told to the system: call it before any of it may have an effect.
func (t *Writer) Flush() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.buf.Len() == 0 {
		return
	}
	if !t.failed {
		if _, err := t.to.Write(t.buf.Bytes()); err != nil {
			t.failed = true
			t.log.Error().Err(err).Msg("the trace ends here")
		}
	}
	t.buf.Reset()
}

// Start tells with what the process begins.
func (t *Writer) Start(id core.NodeID, s core.Status, synced core.Term, tip, commit replication.Ref) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	inc := Inc(s.Inc)
	t.add(Event{
		Kind: KindStart, Node: id, Inc: &inc, Boot: s.Boot, Term: s.Term, Vote: voteText(s.Vote), Cfg: newConfig(s.Cfg),
		Synced: &synced, Ref: NewRef(tip), Commit: NewRef(commit),
	})
	t.commit = commit
}

// Election tells what the election core wants done.
func (t *Writer) Election(rd core.Ready) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if hs := rd.HardState; hs != nil {
		t.add(Event{Kind: KindHard, Boot: hs.Boot, Term: hs.Term, Vote: voteText(hs.Vote), Cfg: newConfig(hs.Cfg)})
	}
	for i := range rd.Messages {
		m := &rd.Messages[i]
		e := Event{Kind: KindSend, Type: m.Type.String(), To: m.To, Term: m.Term, OK: m.OK}
		switch {
		case m.Type == core.MsgVote:
		case m.Type == core.MsgVoteResp && m.OK:
			e.Report = newReport("", m.Attachment)
		case m.Type == core.MsgPreVote || m.Type == core.MsgPreVoteResp || t.told[m.Type] >= m.Term:
			continue
		}
		t.told[m.Type] = max(t.told[m.Type], m.Term)
		t.add(e)
	}
	for _, e := range rd.Events {
		if e.Kind == core.EventAlarm {
			t.add(Event{Kind: KindAlarm, Term: e.Term, To: e.Peer, Text: e.Detail})
		}
	}
}

// Elected tells that a majority elected this node, with their reports.
func (t *Writer) Elected(term core.Term, reports []core.Report) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	e := Event{Kind: KindElected, Term: term}
	for _, r := range reports {
		if rep := newReport(r.From, r.Attachment); rep != nil {
			e.Reports = append(e.Reports, *rep)
		}
	}
	t.add(e)
}

// Chain tells what the replication core wants done, in the order in which the simulator's checker is told. id is the
// node's own; messages are addressed when they are sent, and told by Message.
func (t *Writer) Chain(id core.NodeID, lead bool, r *replication.Ready) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range r.Writes {
		t.write(id, lead, &r.Writes[i])
	}
	for _, e := range r.Events {
		switch e.Kind {
		case replication.EventTakeover:
			t.add(Event{Kind: KindTakeover, Term: e.CTerm, Ref: NewRef(e.Ref)})
		case replication.EventCommitted, replication.EventJumped:
			t.add(Event{Kind: KindCommitted, Term: e.CTerm, Ref: NewRef(e.Ref)})
		case replication.EventAlarm:
			t.add(Event{Kind: KindAlarm, Text: e.Detail})
		default: // in the writes already
		}
	}
}

func (t *Writer) write(id core.NodeID, lead bool, w *replication.Write) {
	e := Event{Kind: KindWrite, Seq: w.Seq, Lead: lead, Cut: w.Cut, Synced: w.Synced}
	if w.Jump != nil {
		e.Jump = &Ref{w.Jump.Header.Height, w.Jump.Hash()}
	}
	for _, b := range w.Append {
		ref := Ref{b.Header.Height, b.Hash()}
		if b.Header.Proposer == string(id) {
			t.add(Event{Kind: KindBlock, Ref: &ref, Body: b.Encode()})
		}
		e.Append = append(e.Append, ref)
	}
	if c := w.Commit; c != nil {
		e.Commit, e.CTerm, e.From = NewRef(c.Ref), c.CTerm, c.From
	}
	t.add(e)
}

// Message tells that a message of the chain leaves.
func (t *Writer) Message(m *replication.Message) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch m.Type {
	case replication.MsgProp:
		t.add(Event{Kind: KindProp, To: m.To, Term: m.Term, Ref: &Ref{m.Block.Header.Height, m.Block.Hash()}})
	case replication.MsgAck:
		t.add(Event{Kind: KindAck, To: m.To, Term: m.Term, Ref: NewRef(m.Ref)})
	default: // judged by what comes of them
	}
}

// Durable tells that writes up to seq survived an fsync.
func (t *Writer) Durable(seq uint64) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.add(Event{Kind: KindDurable, Seq: seq})
}

// Stepped tells what the node believes after a step: its newest commit, and its lease at now.
func (t *Writer) Stepped(now core.Instant, l core.Lease, commit replication.Ref) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if commit != t.commit {
		t.commit = commit
		t.add(Event{Kind: KindCommit, Ref: NewRef(commit)})
	}
	at := t.clock()
	left := max(int64(l.Left(now))-since(now, at), 0) // the process may have stood still since now
	switch until := at + left; {
	case left == 0 && t.lease.until > at, left > 0 && l.Term != t.lease.term:
		t.lease = lease{l.Term, until}
	case left > 0 && until > t.lease.until+int64(leaseStep):
		t.lease.until = until
	default:
		return
	}
	t.add(Event{Kind: KindLease, Term: l.Term, Left: left})
}

// leaseStep is by how much a lease must have grown to be told again: less than a read of the clocks may take.
const leaseStep = 100 * time.Microsecond

// Signed tells that the node signed a block, and flushes.
func (t *Writer) Signed(height block.Height, hash block.Hash) {
	if t == nil {
		return
	}
	t.mu.Lock()
	t.add(Event{Kind: KindSigned, Ref: &Ref{height, hash}})
	t.mu.Unlock()
	t.Flush()
}
