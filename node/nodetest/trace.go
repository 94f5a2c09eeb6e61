package nodetest

import (
	"fmt"
	"strings"
	"time"

	"github.com/baton-ha/baton/node/replication"
	"github.com/baton-ha/baton/raftify/core"
)

func (s *sim) tracef(format string, args ...any) {
	if s.opt.Trace != nil {
		s.opt.Trace(fmt.Sprintf("%10.3fms ", float64(s.now)/float64(time.Millisecond)) + fmt.Sprintf(format, args...))
	}
}

func (s *sim) tracing() bool { return s.opt.Trace != nil }

func describe(p *packet) string {
	switch {
	case p.el != nil:
		return describeElection(p.el)
	case p.ch != nil:
		return describeChain(p.ch)
	}
	return p.what
}

func describeElection(m *core.Message) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v T%d", m.Type, m.Term)
	switch m.Type {
	case core.MsgPreVote:
		fmt.Fprintf(&b, " next %d", m.NextTerm)
	case core.MsgPreVoteResp, core.MsgVoteResp:
		fmt.Fprintf(&b, " ok=%v", m.OK)
		if r, err := replication.DecodeReport(m.Attachment); err == nil {
			fmt.Fprintf(&b, " report (%d, %v)", r.Synced, r.Tip)
		}
	case core.MsgVote:
		if m.TransferOf > 0 {
			fmt.Fprintf(&b, " transfer of %d", m.TransferOf)
		}
	case core.MsgHB, core.MsgHBAck:
		fmt.Fprintf(&b, " #%d", m.Seq)
	default:
	}
	return b.String()
}

func describeChain(m *replication.Message) string {
	switch m.Type {
	case replication.MsgProp:
		return fmt.Sprintf("Prop T%d %v commit %v", m.Term, m.Ref, m.Commit)
	case replication.MsgAck:
		return fmt.Sprintf("Ack T%d %v resend=%v", m.Term, m.Ref, m.Resend)
	case replication.MsgCommitted:
		return fmt.Sprintf("Committed %v of T%d", m.Ref, m.CTerm)
	default:
		return fmt.Sprintf("%v T%d %v", m.Type, m.Term, m.Ref)
	}
}

func describeWrite(w *replication.Write) string {
	var b strings.Builder
	fmt.Fprintf(&b, "write %d:", w.Seq)
	if w.Cut != nil {
		fmt.Fprintf(&b, " cut to %d", *w.Cut)
	}
	if w.Jump != nil {
		fmt.Fprintf(&b, " jump to %d/%x", w.Jump.Header.Height, hash4(w.Jump))
	}
	for _, x := range w.Append {
		fmt.Fprintf(&b, " +%d/%x", x.Header.Height, hash4(x))
	}
	if w.Synced != nil {
		fmt.Fprintf(&b, " synced %d", *w.Synced)
	}
	if w.Nacked != nil {
		fmt.Fprintf(&b, " nacked %d", *w.Nacked)
	}
	if w.Commit != nil {
		fmt.Fprintf(&b, " commit %v of T%d from %d", w.Commit.Ref, w.Commit.CTerm, w.Commit.From)
	}
	return b.String()
}
