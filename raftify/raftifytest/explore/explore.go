package explore

import (
	"fmt"
	"io"
	"math/bits"
	"time"

	"github.com/baton-ha/baton/raftify/core"
)

// Result says what an exploration found.
type Result struct {
	Config Config
	// States is how many different states of the whole cluster were reached, Transitions how often one led to another, and
	// Locals how many different states of single nodes the former are made of.
	States, Transitions, Locals, Messages int
	// Orbits is how many states there are if those are counted that differ in the names of nodes.
	Orbits int
	// Depth is the largest number of actions that a state is away from the first.
	Depth int
	// Complete says that every state within the bounds was reached. Otherwise the run was cut, and shows less.
	Complete bool
	// Violation names the first invariant that was broken, "" if none was, and Trace what led to it.
	Violation string
	Trace     []string
	// Reached has how many states are of each kind that a run should not miss, by name.
	Reached map[string]int
	Elapsed time.Duration
}

// String is one line for a log.
func (r *Result) String() string {
	end := "complete"
	if !r.Complete {
		end = fmt.Sprintf("cut at %d", r.States)
	}
	if r.Violation != "" {
		end = r.Violation
	}
	return fmt.Sprintf("%s: %d states, %d transitions, depth %d, %d states of single nodes, %d messages, %v: %s", r.Config.Name,
		r.States, r.Transitions, r.Depth, r.Locals, r.Messages, r.Elapsed.Round(10*time.Millisecond), end)
}

// state is one state of the cluster, and how it was reached first.
type state struct {
	at     [maxNodes]uint32
	time   uint16
	perm   uint8 // the renaming after act, by number
	parent uint32
	act    action
}

// search is a breadth-first search, so that the trace to a violation is a shortest one.
type search struct {
	*machine
	states []state
	table  []uint32 // open addressing: index into states, +1
	res    *Result
	limit  int
}

// Run explores all that can happen within the bounds, or until an invariant is broken. progress may be nil; it is told
// now and then how far the search is.
func Run(cfg Config, progress io.Writer) (*Result, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("explore %s: %w", cfg.Name, err)
	}
	s := &search{machine: newMachine(cfg), table: make([]uint32, 1<<16), limit: cfg.Limit}
	if s.limit == 0 {
		s.limit = 50_000_000
	}
	s.res = &Result{Config: cfg, Reached: map[string]int{}}
	began := time.Now()
	s.begin()
	depthEnd := len(s.states)
	for i := 0; i < len(s.states) && s.res.Violation == ""; i++ {
		if i == depthEnd {
			s.res.Depth++
			depthEnd = len(s.states)
		}
		if len(s.states) > s.limit {
			break
		}
		s.expand(uint32(i))
		if progress != nil && i%1_000_000 == 999_999 {
			_, _ = fmt.Fprintf(progress, "%s: %d of %d states expanded, depth %d, %d of single nodes, %v\n", cfg.Name, i+1, len(s.states),
				s.res.Depth, len(s.locals), time.Since(began).Round(time.Second))
		}
		s.res.Complete = i+1 == len(s.states)
	}
	s.res.Complete = s.res.Complete && s.res.Violation == ""
	s.res.States, s.res.Locals, s.res.Messages, s.res.Elapsed = len(s.states), len(s.locals), len(s.msgs), time.Since(began)
	s.classify()
	return s.res, nil
}

// begin adds the first state.
func (s *search) begin() {
	first := state{at: s.first()}
	if s.cfg.Elected {
		s.elect(&first)
	}
	s.add(first)
}

// settled reports whether no two nodes can hold leases at once any more, whatever happens: each needs a leader, and each
// term that nobody has won yet can make one more. Leadership is never taken up again, which is checked as well.
func (s *search) settled(st *state) bool {
	if s.cfg.Timed == nil {
		return false
	}
	leaders, won := 0, uint32(0)
	for a := range s.cfg.Nodes {
		l := s.locals[st.at[a]]
		won |= l.wonMask
		if l.core.Status().Role == core.RoleLeader {
			leaders++
		}
	}
	return leaders+int(s.cfg.MaxTerm)-bits.OnesCount32(won) < 2
}

func (s *search) expand(i uint32) {
	st := s.states[i]
	n := s.cfg.Nodes
	if s.settled(&st) {
		return
	}
	for a := range n {
		from := st.at[a]
		for b := range n {
			if a == b {
				continue
			}
			for _, id := range s.locals[st.at[b]].out[a] {
				if to := s.delivered(from, id); to != from {
					s.move(i, st, a, to, action{actDeliver, uint8(a), id})
				}
			}
		}
		for _, x := range s.steps(from) {
			if s.affords(st, a, x.to) && s.allowed(i, st, a, x) {
				s.move(i, st, a, x.to, x.act)
			}
		}
	}
	if t := s.cfg.Timed; t != nil && int(st.time) < t.Steps {
		next := st
		for a := range n {
			next.at[a] = s.laterOf(st.at[a])
		}
		next.time++
		next.parent, next.act = i, action{kind: actTime}
		s.found(next)
	}
}

// delivered is where a message leads a node.
func (s *search) delivered(from, id uint32) uint32 {
	l, ord := s.locals[from], s.ord[id]
	if int(ord) < len(l.next) && l.next[ord] > 0 {
		return l.next[ord] - 1
	}
	to := s.apply(from, action{actDeliver, uint8(l.node), id})
	if int(ord) >= len(l.next) {
		grown := make([]uint32, max(int(ord)+1, min(2*len(l.next), int(s.perTo[l.node]))))
		copy(grown, l.next)
		l.next = grown
	}
	l.next[ord] = to + 1
	return to
}

func (s *search) laterOf(from uint32) uint32 {
	l := s.locals[from]
	if l.later == 0 {
		l.later = s.apply(from, action{actTime, uint8(l.node), 0}) + 1
	}
	return l.later - 1
}

// steps returns what a node can do by itself.
func (s *search) steps(from uint32) []step {
	l := s.locals[from]
	if l.expanded {
		return l.steps
	}
	l.expanded = true
	try := func(k kind, arg int) {
		act := action{k, uint8(l.node), uint32(arg)}
		if to := s.apply(from, act); to != from {
			l.steps = append(l.steps, step{act, to})
		}
	}
	c := &s.cfg
	role := l.core.Status().Role
	switch {
	case c.Timed != nil:
		try(actTick, 0)
	case !c.PreVotes || int(l.rounds) < c.Rounds || role == core.RoleLeader:
		try(actTimeout, 0)
	}
	for i := range l.writes {
		try(actSync, i)
	}
	if s.mayCrash(l) {
		try(actCrash, 0)
	}
	if int(l.spent.wipes) < c.Wipes && (c.CrashOnly == "" || c.CrashOnly == l.id()) {
		try(actWipe, 0)
	}
	if role == core.RoleLeader && int(l.spent.reconfigs) < c.Reconfigs {
		for i := range c.Changes {
			try(actReconfig, i)
		}
	}
	if role == core.RoleLeader && int(l.spent.transfers) < c.Transfers {
		for i := range c.Nodes {
			if i != l.node {
				try(actTransfer, i)
			}
		}
	}
	return l.steps
}

// affords reports whether the bounds of the whole run still hold after a step.
func (s *search) affords(st state, a int, to uint32) bool {
	sum := s.locals[to].spent
	for b := range s.cfg.Nodes {
		if b != a {
			o := s.locals[st.at[b]].spent
			sum.crashes += o.crashes
			sum.wipes += o.wipes
			sum.reconfigs += o.reconfigs
			sum.transfers += o.transfers
		}
	}
	c := &s.cfg
	return int(sum.crashes) <= c.Crashes && int(sum.wipes) <= c.Wipes && int(sum.reconfigs) <= c.Reconfigs && int(sum.transfers) <= c.Transfers
}

// allowed checks R14 where a leader installs a configuration: a majority of the voters of the one before has
// acknowledged that very one in that very term.
func (s *search) allowed(i uint32, st state, a int, x step) bool {
	if x.act.kind != actReconfig {
		return true
	}
	was := s.locals[st.at[a]].core.Status()
	have := 0
	for _, m := range was.Cfg.Members {
		if !m.Voter {
			continue
		}
		b := indexOf(m.ID)
		if b == a {
			have++
			continue
		}
		for _, k := range s.locals[st.at[b]].hist.acked {
			if k.term == was.Term && k.key == was.Cfg.Key {
				have++
			}
		}
	}
	if have < was.Cfg.Majority() && s.res.Violation == "" {
		st.at[a], st.parent, st.act, st.perm = x.to, i, x.act, 0
		s.violated(st, fmt.Sprintf("R14: %s replaces configuration %v when %d of the voters %v have acknowledged it in term %d",
			was.Cfg.Members[a].ID, was.Cfg.Key, have, was.Cfg.Voters(), was.Term))
		return false
	}
	return true
}

func (s *search) move(i uint32, st state, a int, to uint32, act action) {
	st.at[a], st.parent, st.act = to, i, act
	s.found(st)
}

func (s *search) found(st state) {
	s.res.Transitions++
	s.canonical(&st)
	if s.add(st) {
		s.check(st)
	}
}

// check is done for each new state.
func (s *search) check(st state) {
	if s.res.Violation != "" {
		return
	}
	n := s.cfg.Nodes
	holder := -1
	for a := range n {
		l := s.locals[st.at[a]]
		if l.bad != "" {
			s.violated(st, l.bad)
			return
		}
		for b := range a {
			o := s.locals[st.at[b]]
			if l.wonMask&o.wonMask != 0 {
				s.violated(st, fmt.Sprintf("I1: %s and %s both won a term: %v and %v", o.id(), l.id(), o.hist.won, l.hist.won))
				return
			}
			for _, x := range l.hist.installed {
				for _, y := range o.hist.installed {
					if x.Key == y.Key && x.Hash() != y.Hash() {
						s.violated(st, fmt.Sprintf("I11: %s and %s made different configurations %v", o.id(), l.id(), x.Key))
						return
					}
				}
			}
		}
		if l.lease && s.cfg.Timed != nil {
			if holder >= 0 {
				s.violated(st, fmt.Sprintf("I15: %s and %s hold a lease at once", idOf(holder), l.id()))
				return
			}
			holder = a
		}
	}
}

func (s *search) violated(st state, what string) {
	s.res.Violation = what
	s.res.Trace = s.trace(st)
}

// add stores a state unless it is known.
func (s *search) add(st state) bool {
	if 2*len(s.states) >= len(s.table) {
		s.grow()
	}
	mask := uint64(len(s.table) - 1)
	for h := hashOf(&st) & mask; ; h = (h + 1) & mask {
		x := s.table[h]
		if x == 0 {
			s.states = append(s.states, st)
			s.table[h] = uint32(len(s.states))
			return true
		}
		if o := &s.states[x-1]; o.at == st.at && o.time == st.time {
			return false
		}
	}
}

func (s *search) grow() {
	s.table = make([]uint32, 2*len(s.table))
	mask := uint64(len(s.table) - 1)
	for i := range s.states {
		h := hashOf(&s.states[i]) & mask
		for s.table[h] != 0 {
			h = (h + 1) & mask
		}
		s.table[h] = uint32(i + 1)
	}
}

// hashOf only places a state in the table; equality is that of the states themselves.
func hashOf(st *state) uint64 {
	h := uint64(st.time) + 0x9e3779b97f4a7c15
	for _, x := range st.at {
		h ^= uint64(x)
		h *= 0xff51afd7ed558ccd
		h ^= h >> 32
	}
	return h
}
