package explore

import (
	"fmt"
	"slices"

	"github.com/baton-ha/baton/raftify/core"
)

// describe is a message in words.
func describe(m core.Message) string {
	s := fmt.Sprintf("%s -> %s %v term %d", m.From, m.To, m.Type, m.Term)
	switch m.Type {
	case core.MsgPreVote:
		s += fmt.Sprintf(" next %d", m.NextTerm)
	case core.MsgPreVoteResp:
		s += fmt.Sprintf(" next %d %v", m.NextTerm, m.OK)
	case core.MsgVote:
		if m.TransferOf > 0 {
			s += fmt.Sprintf(" handover of %d", m.TransferOf)
		}
	case core.MsgVoteResp:
		s += fmt.Sprintf(" %v report %q", m.OK, m.Attachment)
	case core.MsgHB:
		s += fmt.Sprintf(" seq %d", m.Seq)
	case core.MsgHBAck:
		s += fmt.Sprintf(" seq %d has configuration %v", m.Seq, m.CfgKey)
	default:
	}
	if m.Cfg != nil {
		s += fmt.Sprintf(" configuration %v of %v", m.Cfg.Key, m.Cfg.Voters())
	}
	return s
}

func (m *machine) describe(a action) string {
	id := idOf(int(a.node))
	switch a.kind {
	case actDeliver:
		return "deliver " + describe(m.msgs[a.arg])
	case actTimeout:
		return fmt.Sprintf("%s times out", id)
	case actTick:
		return fmt.Sprintf("%s looks at its clocks", id)
	case actSync:
		return fmt.Sprintf("%s has fsynced %d write(s)", id, a.arg+1)
	case actCrash:
		return fmt.Sprintf("%s crashes and restarts", id)
	case actWipe:
		return fmt.Sprintf("%s loses its disk and restarts", id)
	case actReconfig:
		c := m.cfg.Changes[a.arg]
		return fmt.Sprintf("%s is told to %v %s", id, c.Kind, c.Member.ID)
	case actTransfer:
		return fmt.Sprintf("%s is told to hand over to %s", id, idOf(int(a.arg)))
	case actTime:
		return fmt.Sprintf("%v of true time passes", m.cfg.Timed.Quantum)
	}
	return "?"
}

// trace is what led to a state, each action with what its node did.
func (s *search) trace(last state) []string {
	path := []state{last}
	for st := last; st.act.kind != 0; {
		st = s.states[st.parent]
		path = append(path, st)
	}
	slices.Reverse(path)
	var lines []string
	s.log = func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	defer func() { s.log = nil }()
	// Each state has the names that are smallest; they are told with those of the last one. sigma renames the former.
	sigma := s.group[0]
	for _, st := range path[1:] {
		sigma = sigma.after(s.group[st.perm].inverse())
	}
	sigma = sigma.inverse()
	at := path[0].at // every renaming leaves the first state as it is
	for i, st := range path[1:] {
		act := s.imageOf(sigma, st.act)
		s.say("%3d %s", i+1, s.describe(act))
		for a := range s.cfg.Nodes {
			one := act
			if act.kind == actTime {
				one.node = uint8(a)
			} else if a != int(act.node) {
				continue
			}
			at[a] = s.apply(at[a], one)
		}
		sigma = sigma.after(s.group[st.perm].inverse())
	}
	s.say("    => %s", s.res.Violation)
	return lines
}

// classify counts the states of some kinds, so that a run that shows nothing is noticed.
func (s *search) classify() {
	mark := func(l *local) (names []string) {
		st := l.core.Status()
		if st.Role == core.RoleLeader && !st.Taking {
			names = append(names, fmt.Sprintf("leads term %d", st.Term))
		}
		if st.Vote.Kind == core.VoteClosed {
			names = append(names, "vote closed")
		}
		if len(l.writes) > 1 {
			names = append(names, "two writes under way")
		}
		if l.spent.crashes > 0 && len(l.hist.votes) > 0 {
			names = append(names, "restarted after a vote")
		}
		if len(l.hist.installed) > 0 {
			names = append(names, "configuration installed")
		}
		if l.spent.wipes > 0 {
			names = append(names, "disk replaced")
		}
		if l.lease {
			names = append(names, "lease held")
		}
		if len(l.hist.won) > 1 {
			names = append(names, "one node won two terms")
		}
		return names
	}
	byLocal := make([][]string, len(s.locals))
	for i, l := range s.locals {
		if l.core != nil {
			byLocal[i] = mark(l)
		}
	}
	for i := range s.states {
		leaders := 0
		s.res.Orbits += s.orbit(&s.states[i])
		for a := range s.cfg.Nodes {
			l := s.locals[s.states[i].at[a]]
			for _, n := range byLocal[s.states[i].at[a]] {
				s.res.Reached[n]++
			}
			if l.core != nil && l.core.Status().Role == core.RoleLeader {
				leaders++
			}
		}
		if leaders > 1 {
			s.res.Reached["two leaders of different terms"]++
		}
	}
}

// elect lets node 1 win term 1, with everything delivered that has to do with it.
func (s *search) elect(st *state) {
	stepTo := func(a int, act action) bool {
		to := s.apply(st.at[a], act)
		changed := to != st.at[a]
		st.at[a] = to
		return changed
	}
	if t := s.cfg.Timed; t != nil {
		for range 40 {
			if s.locals[st.at[0]].core.Status().Role != core.RoleFollower {
				break
			}
			for a := range s.cfg.Nodes {
				stepTo(a, action{actTime, uint8(a), 0})
			}
			stepTo(0, action{actTick, 0, 0})
		}
	} else {
		stepTo(0, action{actTimeout, 0, 0})
	}
	for again := true; again; {
		again = false
		for a := range s.cfg.Nodes {
			if len(s.locals[st.at[a]].writes) > 0 {
				again = stepTo(a, action{actSync, uint8(a), 0}) || again
			}
			for b := range s.cfg.Nodes {
				for _, id := range s.locals[st.at[b]].out[a] {
					again = stepTo(a, action{actDeliver, uint8(a), id}) || again
				}
			}
		}
	}
}
