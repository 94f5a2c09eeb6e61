package raftifytest

import (
	"fmt"
	"slices"
	"time"

	"github.com/baton-ha/baton/raftify/core"
)

// Violation says which invariant of PROTOCOL.md was broken, when, and how.
type Violation struct {
	Invariant string // "I1"...
	At        time.Duration
	Detail    string
}

// Error implements error.
func (v *Violation) Error() string {
	return fmt.Sprintf("%s broken at %v: %s", v.Invariant, v.At, v.Detail)
}

type incTerm struct {
	inc  core.Inc
	term core.Term
}

type leadership struct {
	id      core.NodeID
	inc     core.Inc
	boot    uint64
	leading time.Duration // when its takeover was done; -1: not yet
	over    bool
}

type round struct {
	id        core.NodeID
	term      core.Term
	seq       uint64
	requested time.Duration
}

// Checker watches a cluster's elections from outside: what nodes write, send, report and believe. Call its methods in
// the order of true time. It is not safe for concurrent use.
type Checker struct {
	violations []*Violation
	leaders    map[core.Term]*leadership
	votes      map[incTerm]core.NodeID // what the world was told
	told       map[core.Inc]core.Term  // highest term that the world was told
	keys       map[core.Inc]core.CfgKey
	members    map[core.CfgKey]configIdentity
	written    map[core.Inc]core.HardState
	rounds     []round
	acked      map[incTerm]core.CfgKey // newest configuration that each acknowledged in each term
	restored   map[core.Inc]bool       // its disk is an old one: it may not use what is on it
	installing map[core.Inc]bool       // said that it installs a configuration, and has not handed it to its disk yet
}

// NewChecker returns a checker that has seen nothing.
func NewChecker() *Checker {
	return &Checker{
		leaders: map[core.Term]*leadership{}, votes: map[incTerm]core.NodeID{}, told: map[core.Inc]core.Term{},
		keys: map[core.Inc]core.CfgKey{}, members: map[core.CfgKey]configIdentity{}, written: map[core.Inc]core.HardState{},
		acked: map[incTerm]core.CfgKey{}, installing: map[core.Inc]bool{}, restored: map[core.Inc]bool{},
	}
}

// Err returns the first violation, or nil.
func (k *Checker) Err() error {
	if len(k.violations) == 0 {
		return nil
	}
	return k.violations[0]
}

// Violations returns all of them, in the order of time.
func (k *Checker) Violations() []*Violation { return slices.Clone(k.violations) }

// Fail records a violation that another checker found.
func (k *Checker) Fail(at time.Duration, invariant, format string, args ...any) {
	k.violations = append(k.violations, &Violation{invariant, at, fmt.Sprintf(format, args...)})
}

// Restored is called when the disk of an incarnation was replaced by what it once was. From then on it may not vote,
// campaign or lead (R3).
func (k *Checker) Restored(inc core.Inc) { k.restored[inc] = true }

// Started is called with what a node finds on its disk (I2).
func (k *Checker) Started(at time.Duration, hs core.HardState) {
	if k.restored[hs.Inc] {
		return
	}
	if told := k.told[hs.Inc]; hs.Term < told {
		k.Fail(at, "I2", "%s restarts in term %d, but spoke in term %d", hs.ID, hs.Term, told)
	}
	if who, ok := k.votes[incTerm{hs.Inc, hs.Term}]; ok && hs.Vote != (core.Vote{Kind: core.VoteFor, ID: who}) {
		k.Fail(at, "I2", "%s restarts in term %d with vote %v, but had voted for %s", hs.ID, hs.Term, hs.Vote, who)
	}
	if key := k.keys[hs.Inc]; hs.Cfg.Key.Compare(key) < 0 {
		k.Fail(at, "I11", "%s restarts with configuration %v, but spoke of %v", hs.ID, hs.Cfg.Key, key)
	}
	if hs.Vote.Kind == 0 {
		hs.Vote.Kind = core.VoteNone // a new folder
	}
	k.written[hs.Inc] = hs
}

// Wrote is called with each hard state that a node hands to its disk (I2, I11).
func (k *Checker) Wrote(at time.Duration, hs core.HardState) {
	if k.restored[hs.Inc] {
		return
	}
	was, ok := k.written[hs.Inc]
	k.written[hs.Inc] = hs
	k.config(at, hs.Cfg)
	if !ok {
		return
	}
	if k.installing[hs.Inc] {
		delete(k.installing, hs.Inc)
		k.installed(at, was.Cfg, hs)
	}
	if hs.Term < was.Term {
		k.Fail(at, "I2", "%s writes term %d after %d", hs.ID, hs.Term, was.Term)
	}
	if hs.Term == was.Term && was.Vote.Kind != core.VoteNone && hs.Vote != was.Vote {
		k.Fail(at, "I2", "%s changes its vote of term %d from %v to %v", hs.ID, hs.Term, was.Vote, hs.Vote)
	}
	if hs.Cfg.Key.Compare(was.Cfg.Key) < 0 {
		k.Fail(at, "I11", "%s goes back from configuration %v to %v", hs.ID, was.Cfg.Key, hs.Cfg.Key)
	}
}

// configIdentity is all that two configurations of one key must share.
type configIdentity struct {
	members core.ClusterID
	pins    string
}

// config is the first half of I11, within one cluster.
func (k *Checker) config(at time.Duration, c core.Config) {
	if c.Key.CTerm == 0 {
		return // bootstrap: proposals of several clusters may share the number
	}
	h := configIdentity{c.Hash(), fmt.Sprint(c.Pins)}
	if was, ok := k.members[c.Key]; ok && was != h {
		k.Fail(at, "I11", "two configurations are called %v", c.Key)
	}
	k.members[c.Key] = h
}

// installed is the second half of I11, and R14: a leader replaces old.
func (k *Checker) installed(at time.Duration, old core.Config, hs core.HardState) {
	next := hs.Cfg
	if next.Key != (core.CfgKey{CTerm: hs.Term, Ver: old.Key.Ver + 1}) || old.Key.CTerm != hs.Term {
		k.Fail(at, "I11", "%s installs %v after %v in term %d", hs.ID, next.Key, old.Key, hs.Term)
	}
	apart := 0
	for _, pair := range [][2]core.Config{{old, next}, {next, old}} {
		for _, m := range pair[0].Members {
			if o, ok := pair[1].Member(m.ID); m.Voter && (!ok || !o.Voter || o.Inc != m.Inc) {
				apart++
			}
		}
	}
	if apart > 1 || !next.IsVoter(hs.ID) {
		k.Fail(at, "I11", "%s installs %v, whose voters %v differ from %v by %d", hs.ID, next.Key, next.Voters(), old.Voters(), apart)
	}
	have := 0
	for _, m := range old.Members {
		if m.Voter && (m.Inc == hs.Inc || k.acked[incTerm{m.Inc, hs.Term}] == old.Key) {
			have++
		}
	}
	if have < old.Majority() {
		k.Fail(at, "R14", "%s installs %v when %d of the voters %v have acknowledged %v in term %d", hs.ID, next.Key, have,
			old.Voters(), old.Key, hs.Term)
	}
}

// Sent is called with each message when it leaves its node (I2, I11).
func (k *Checker) Sent(at time.Duration, m core.Message) {
	if k.restored[m.Inc] {
		if m.Type == core.MsgVote || m.Type == core.MsgVoteResp && m.OK || m.Type == core.MsgHB {
			k.Fail(at, "R3", "%s, whose folder is an old one, sends %v in term %d", m.From, m.Type, m.Term)
		}
		return
	}
	if told := k.told[m.Inc]; m.Term < told {
		k.Fail(at, "I2", "%s sends %v of term %d after term %d", m.From, m.Type, m.Term, told)
	}
	k.told[m.Inc] = max(k.told[m.Inc], m.Term)
	switch {
	case m.Type == core.MsgVote:
		k.voted(at, m, m.From)
	case m.Type == core.MsgVoteResp && m.OK:
		k.voted(at, m, m.To)
	case m.Type == core.MsgHBAck:
		if key := k.keys[m.Inc]; m.CfgKey.Compare(key) < 0 {
			k.Fail(at, "I11", "%s acknowledges configuration %v after %v", m.From, m.CfgKey, key)
		}
		k.keys[m.Inc] = m.CfgKey
		k.acked[incTerm{m.Inc, m.Term}] = m.CfgKey
	}
	if m.Cfg != nil {
		k.config(at, *m.Cfg)
	}
}

func (k *Checker) voted(at time.Duration, m core.Message, who core.NodeID) {
	key := incTerm{m.Inc, m.Term}
	if was, ok := k.votes[key]; ok && was != who {
		k.Fail(at, "I2", "%s votes for %s and for %s in term %d", m.From, was, who, m.Term)
	}
	k.votes[key] = who
}

// Happened is called with each event of a node (I1, R9, I13 and alarms).
func (k *Checker) Happened(at time.Duration, id core.NodeID, inc core.Inc, boot uint64, e core.Event) {
	switch e.Kind {
	case core.EventElected:
		if was, ok := k.leaders[e.Term]; ok {
			if was.inc != inc {
				k.Fail(at, "I1", "%s (%v) and %s (%v) both lead term %d", was.id, was.inc, id, inc, e.Term)
			} else {
				k.Fail(at, "R9", "%s leads term %d a second time", id, e.Term)
			}
		}
		k.leaders[e.Term] = &leadership{id: id, inc: inc, boot: boot, leading: -1}
	case core.EventLeading:
		l, ok := k.leaders[e.Term]
		if !ok || l.inc != inc || l.boot != boot || l.over {
			k.Fail(at, "R9", "%s resumes leading term %d", id, e.Term)
			return
		}
		l.leading = at
	case core.EventStepDown:
		for _, l := range k.leaders {
			if l.inc == inc && l.boot == boot {
				l.over = true
			}
		}
		k.rounds = slices.DeleteFunc(k.rounds, func(r round) bool { return r.id == id })
	case core.EventReconfigured:
		k.installing[inc] = true
	case core.EventRound:
		k.roundDone(at, id, e)
	case core.EventAlarm:
		if e.Peer != "" { // a message of an earlier start came late, from one that nobody had heard
			return
		}
		k.Fail(at, "alarm", "%s: %s", id, e.Detail)
	default:
	}
}

// RoundAsked is called when a node begins heartbeat round seq of term for a read.
func (k *Checker) RoundAsked(at time.Duration, id core.NodeID, term core.Term, seq uint64) {
	k.rounds = append(k.rounds, round{id, term, seq, at})
}

// roundDone is I13 as far as elections go: who serves a read now may not have been replaced before it was asked.
func (k *Checker) roundDone(at time.Duration, id core.NodeID, e core.Event) {
	k.rounds = slices.DeleteFunc(k.rounds, func(r round) bool {
		if r.id != id || r.term != e.Term || r.seq > e.Seq {
			return false
		}
		for t, l := range k.leaders {
			if t > r.term && l.leading >= 0 && l.leading < r.requested {
				k.Fail(at, "I13", "%s serves a read in term %d that was asked at %v, when %s led term %d already",
					id, r.term, r.requested, l.id, t)
			}
		}
		return true
	})
}

// Lease is the lease that a node's readers see, and how much of it its own clocks say is left.
type Lease struct {
	ID   core.NodeID
	Term core.Term
	Left time.Duration
}

// Leases is called with the leases of all running nodes, paused ones included, at one instant (I15).
func (k *Checker) Leases(at time.Duration, ls ...Lease) {
	holder := -1
	for i, l := range ls {
		if l.Left <= 0 {
			continue
		}
		if holder >= 0 {
			h := ls[holder]
			k.Fail(at, "I15", "%s holds the lease of term %d for %v more, and %s that of term %d for %v more",
				h.ID, h.Term, h.Left, l.ID, l.Term, l.Left)
			return
		}
		holder = i
	}
}
