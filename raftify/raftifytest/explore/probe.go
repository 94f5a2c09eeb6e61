package explore

import (
	"fmt"
	"time"

	"github.com/baton-ha/baton/raftify/core"
)

// probe is the application of an explored core. Its report is what the disk says of term and vote at the moment when
// the core asks for it, so that whoever reads the report can tell whether the promise was durable by then (R1). A
// takeover is done once it is durable.
type probe struct {
	id    core.NodeID
	disk  core.HardState // what is durable at this node
	cfg   core.Config    // as last observed
	prev  core.Config    // the one before it
	cmds  []core.Command
	leads core.Term
	bad   string // a report that should not be
}

// reportOf is what a report says: the term and the vote that are durable.
func reportOf(hs core.HardState) string { return fmt.Sprintf("%d %v", hs.Term, hs.Vote) }

// promised is the report of a node that has voted for id in a term.
func promised(t core.Term, id core.NodeID) string {
	return fmt.Sprintf("%d %v", t, core.Vote{Kind: core.VoteFor, ID: id})
}

func (p *probe) clone() *probe {
	q := *p
	q.cmds = append([]core.Command(nil), p.cmds...)
	return &q
}

func (p *probe) cmd(k core.CommandKind, t core.Term) {
	p.cmds = append(p.cmds, core.Command{Kind: k, Term: t})
}

func (p *probe) Observe(_ core.Instant, s core.Status) {
	if s.Cfg.Key != p.cfg.Key {
		p.prev, p.cfg = p.cfg, s.Cfg
	}
}

func (p *probe) Report() []byte                  { return []byte(reportOf(p.disk)) }
func (p *probe) Tick(core.Instant)               {}
func (p *probe) CampaignDelay() time.Duration    { return 0 }
func (p *probe) Transferring(core.Instant, bool) {}
func (p *probe) TransferReady(core.NodeID) bool  { return true }
func (p *probe) MayLead() bool                   { return true }
func (p *probe) MayReconfigure() bool            { return true }
func (p *probe) Level(core.NodeID) bool          { return true }

// Elected checks what a winner may rest on: reports of a majority of its configuration, each read when the promise to
// this node was durable (as far as I5 is the election's).
func (p *probe) Elected(_ core.Instant, t core.Term, reports []core.Report) {
	p.leads = 0
	voters := 0
	for _, r := range reports {
		if p.cfg.IsVoter(r.From) {
			voters++
		}
		if want := promised(t, p.id); string(r.Attachment) != want && p.bad == "" {
			p.bad = fmt.Sprintf("I5: %s takes over term %d by a report of %s that was read at %q, not at %q", p.id, t, r.From, r.Attachment, want)
		}
	}
	if voters < p.cfg.Majority() && p.bad == "" {
		p.bad = fmt.Sprintf("I5: %s takes over term %d by the reports of %d of the voters %v", p.id, t, voters, p.cfg.Voters())
	}
	p.cmd(core.CmdTakeoverWriting, t)
}

func (p *probe) TakeoverDurable(_ core.Instant, t core.Term) {
	p.leads = t
	p.cmd(core.CmdTakeoverDone, t)
	p.cmd(core.CmdCommitted, t)
}

func (p *probe) HeartbeatAttachment() []byte {
	if p.leads == 0 {
		return nil
	}
	return []byte{1}
}

func (p *probe) LeaderHeartbeat(_ core.Instant, _ core.NodeID, t core.Term, att []byte) {
	if len(att) > 0 {
		p.cmd(core.CmdCommitted, t)
	}
}

func (p *probe) Commands() []core.Command {
	c := p.cmds
	p.cmds = nil
	return c
}
