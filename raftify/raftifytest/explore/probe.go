package explore

import (
	"fmt"

	"github.com/baton-ha/baton/raftify/core"
)

// probe is the application of an explored core. Its report is what the disk says of term and vote at the moment when
// the core asks for it, so that whoever reads the report can tell whether the promise was durable by then (R1). A
// takeover is done once it is durable.
type probe struct {
	core.BasicHook
	id   core.NodeID
	disk core.HardState // what is durable at this node
	cfg  core.Config    // as last observed
	prev core.Config    // the one before it
	bad  string         // a report that should not be
}

// reportOf is what a report says: the term and the vote that are durable.
func reportOf(hs core.HardState) string { return fmt.Sprintf("%d %v", hs.Term, hs.Vote) }

// promised is the report of a node that has voted for id in a term.
func promised(t core.Term, id core.NodeID) string {
	return fmt.Sprintf("%d %v", t, core.Vote{Kind: core.VoteFor, ID: id})
}

func (p *probe) clone() *probe {
	q := *p
	q.BasicHook = p.Clone()
	return &q
}

func (p *probe) Observe(_ core.Instant, s core.Status) {
	if s.Cfg.Key != p.cfg.Key {
		p.prev, p.cfg = p.cfg, s.Cfg
	}
}

func (p *probe) Report() []byte { return []byte(reportOf(p.disk)) }

// Elected checks what a winner may rest on: reports of a majority of its configuration, each read when the promise to
// this node was durable (as far as I5 is the election's).
func (p *probe) Elected(now core.Instant, t core.Term, reports []core.Report) {
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
	p.BasicHook.Elected(now, t, reports)
}
