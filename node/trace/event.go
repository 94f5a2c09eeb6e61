package trace

import (
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/replication"
	"github.com/baton-ha/baton/raftify/core"
)

// Kind says what a line tells of.
type Kind string

// The kinds of lines; doc.go says which fields each has.
const (
	KindStart     Kind = "start"
	KindHard      Kind = "hard"
	KindSend      Kind = "send"
	KindElected   Kind = "elected"
	KindBlock     Kind = "block"
	KindWrite     Kind = "write"
	KindDurable   Kind = "durable"
	KindProp      Kind = "prop"
	KindAck       Kind = "ack"
	KindTakeover  Kind = "takeover"
	KindCommitted Kind = "committed"
	KindCommit    Kind = "commit"
	KindSigned    Kind = "signed"
	KindLease     Kind = "lease"
	KindAlarm     Kind = "alarm"
)

// Event is one line.
type Event struct {
	At   int64 `json:"at"`
	Kind Kind  `json:"k"`

	// Node, Inc and Boot stand in the line start; [Read] fills them in for those that follow.
	Node core.NodeID `json:"node,omitempty"`
	Inc  *Inc        `json:"inc,omitempty"`
	Boot uint64      `json:"boot,omitempty"`

	Type    string        `json:"type,omitempty"`
	To      core.NodeID   `json:"to,omitempty"`
	OK      bool          `json:"ok,omitempty"`
	Term    core.Term     `json:"term,omitempty"`
	Vote    string        `json:"vote,omitempty"` // none, closed or for:ID
	Cfg     *Config       `json:"cfg,omitempty"`
	Report  *Report       `json:"report,omitempty"`
	Reports []Report      `json:"reports,omitempty"`
	Ref     *Ref          `json:"ref,omitempty"`
	Body    []byte        `json:"body,omitempty"`
	Seq     uint64        `json:"seq,omitempty"`
	Lead    bool          `json:"lead,omitempty"`
	Cut     *block.Height `json:"cut,omitempty"`
	Jump    *Ref          `json:"jump,omitempty"`
	Append  []Ref         `json:"append,omitempty"`
	Synced  *core.Term    `json:"synced,omitempty"`
	Commit  *Ref          `json:"commit,omitempty"`
	CTerm   core.Term     `json:"cterm,omitempty"`
	From    block.Height  `json:"from,omitempty"`
	Left    int64         `json:"left,omitempty"`
	Text    string        `json:"text,omitempty"`
}

// Inc is an incarnation in hex.
type Inc core.Inc

// MarshalText implements encoding.TextMarshaler.
func (i Inc) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, i[:]), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (i *Inc) UnmarshalText(text []byte) error {
	if hex.DecodedLen(len(text)) != len(i) {
		return fmt.Errorf("incarnation of %d digits", len(text))
	}
	_, err := hex.Decode(i[:], text)
	return err
}

// Ref names a block.
type Ref struct {
	Height block.Height `json:"h"`
	Hash   block.Hash   `json:"hash"`
}

// NewRef returns r as a trace has it.
func NewRef(r replication.Ref) *Ref { return &Ref{r.Height, r.Hash} }

// Ref returns r as the core has it; the zero one of nil.
func (r *Ref) Ref() replication.Ref {
	if r == nil {
		return replication.Ref{}
	}
	return replication.Ref{Height: r.Height, Hash: r.Hash}
}

// Report is what a voter said of its chain.
type Report struct {
	From   core.NodeID  `json:"from,omitempty"`
	Synced core.Term    `json:"synced"`
	Height block.Height `json:"h"`
	Hash   block.Hash   `json:"hash"`
}

// Report returns r as the core has it.
func (r Report) Report() replication.Report {
	return replication.Report{Synced: r.Synced, Tip: replication.Ref{Height: r.Height, Hash: r.Hash}}
}

// newReport reads the attachment of a vote, nil if there is none.
func newReport(from core.NodeID, attachment []byte) *Report {
	rep, err := replication.DecodeReport(attachment)
	if err != nil {
		return nil
	}
	return &Report{From: from, Synced: rep.Synced, Height: rep.Tip.Height, Hash: rep.Tip.Hash}
}

// Config is a membership.
type Config struct {
	CTerm   core.Term `json:"cterm"`
	Ver     uint64    `json:"ver"`
	Members []Member  `json:"members,omitempty"`
}

// Member is one node of a [Config].
type Member struct {
	ID    core.NodeID `json:"id"`
	Inc   Inc         `json:"inc"`
	Addr  string      `json:"addr,omitempty"`
	Voter bool        `json:"voter,omitempty"`
}

func newConfig(c core.Config) *Config {
	out := &Config{CTerm: c.Key.CTerm, Ver: c.Key.Ver}
	for _, m := range c.Members {
		out.Members = append(out.Members, Member{m.ID, Inc(m.Inc), m.Addr, m.Voter})
	}
	return out
}

// Config returns c as the core has it.
func (c *Config) Config() core.Config {
	if c == nil {
		return core.Config{}
	}
	members := make([]core.Member, len(c.Members))
	for i, m := range c.Members {
		members[i] = core.Member{ID: m.ID, Inc: core.Inc(m.Inc), Addr: m.Addr, Voter: m.Voter}
	}
	return core.NewConfig(core.CfgKey{CTerm: c.CTerm, Ver: c.Ver}, members)
}

const voteFor = "for:"

func voteText(v core.Vote) string {
	if v.Kind == core.VoteFor {
		return voteFor + string(v.ID)
	}
	return v.String()
}

// ErrMalformed is returned when a line is not what this package writes.
var ErrMalformed = errors.New("malformed trace")

func parseVote(text string) (core.Vote, error) {
	switch {
	case text == "none":
		return core.Vote{Kind: core.VoteNone}, nil
	case text == "closed":
		return core.Vote{Kind: core.VoteClosed}, nil
	case len(text) > len(voteFor) && text[:len(voteFor)] == voteFor:
		return core.Vote{Kind: core.VoteFor, ID: core.NodeID(text[len(voteFor):])}, nil
	default:
		return core.Vote{}, fmt.Errorf("%w: vote %q", ErrMalformed, text)
	}
}

// HardState returns the hard state of a line start or hard.
func (e *Event) HardState() (core.HardState, error) {
	vote, err := parseVote(e.Vote)
	if err != nil {
		return core.HardState{}, err
	}
	hs := core.HardState{ID: e.Node, Boot: e.Boot, Term: e.Term, Vote: vote, Cfg: e.Cfg.Config()}
	if e.Inc != nil {
		hs.Inc = core.Inc(*e.Inc)
	}
	return hs, nil
}
