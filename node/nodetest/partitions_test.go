package nodetest

import (
	"testing"
	"time"

	"github.com/baton-ha/baton/raftify/core"
)

// newFive starts five voters, all of which may stand, with automatic membership, and waits for a leader and a commit.
func newFive(t *testing.T) *script {
	t.Helper()
	s := newGrowing(6, 5, "abcde", Options{})
	s.set.members.MaxVoters = 5
	s.set.members.KickAfter = 8 * s.tm.MinElection
	s.n('f').stop(0) // it only makes the membership a growing one
	for _, n := range s.nodes[:5] {
		n.stop(0)
		n.revive()
	}
	s.expect(20, "leader", func() bool { return s.leader() != nil })
	s.give(s.leader(), 3)
	s.committedAt(3)
	s.run(s.tm.MinElection)
	return s
}

// only leaves no links but those for which whole says so.
func (s *script) only(whole func(a, b *node) bool) {
	for _, a := range s.nodes {
		for _, b := range s.nodes {
			if a != b {
				s.net.setCut(a, b, !whole(a, b) && !whole(b, a))
			}
		}
	}
}

// Partial partitions in which one node still reaches a majority both ways: blocks go on being committed (I14), for
// longer than it takes to demote somebody, and all come together again afterwards.
func TestPartialPartitions(t *testing.T) {
	for name, cut := range map[string]func(s *script, lead, hub *node){
		// The leader reaches the hub alone, and so does everybody else.
		"quorum loss": func(s *script, _, hub *node) {
			s.only(func(a, _ *node) bool { return a == hub })
		},
		// The same, and the hub lacks the newest blocks: it has to fetch them before it can lead.
		"constrained election": func(s *script, lead, hub *node) {
			feed := s.starve(string(hub.id))
			s.give(lead, 3)
			s.committedAt(6)
			s.only(func(a, _ *node) bool { return a == hub })
			feed()
		},
		// A line: only the one in the middle has a majority.
		"chained": func(s *script, _, _ *node) {
			s.only(func(a, b *node) bool { return a.i+1 == b.i })
		},
		// The hub alone is cut off from the leader; it must not unseat it, nor be demoted.
		"one link": func(s *script, lead, hub *node) { s.net.both(lead, hub, true) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newFive(t)
			lead := s.leader()
			hub := s.n('c')
			if hub == lead {
				hub = s.n('b')
			}
			cut(s, lead, hub)
			for range 4 {
				s.demand(10 * s.tm.MinElection)
				s.nonce += 2
				s.run(4 * s.tm.MinElection)
			}
			s.only(func(_, _ *node) bool { return true })
			s.run(10 * s.tm.MinElection)
			s.demand(10 * s.tm.MinElection)
			s.run(10 * s.tm.MinElection)
			if s.broken != "" {
				t.Fatal(s.broken)
			}
			for _, n := range s.nodes[:5] {
				if c := n.ch.Commit().Height; c != s.decided() {
					t.Errorf("%s has committed %d of %d", n.id, c, s.decided())
				}
			}
			if name == "one link" && s.count.branches["change: demote"] > 0 {
				t.Error("a voter that others reach was demoted")
			}
		})
	}
}

// A link between the leader and one follower that comes and goes costs no election and no vote.
func TestFlappingLink(t *testing.T) {
	s := newFive(t)
	lead := s.leader()
	other := s.n('c')
	if other == lead {
		other = s.n('b')
	}
	term := lead.status.Term
	for i := range 60 {
		s.net.both(lead, other, i%2 == 0)
		s.run(s.tm.MinElection / time.Duration(1+i%3))
		if i%10 == 0 {
			s.demand(2 * s.tm.MinElection)
			s.nonce += 2
		}
	}
	if s.broken != "" {
		t.Fatal(s.broken)
	}
	if l := s.leader(); l != lead || l.status.Term != term {
		t.Errorf("term %d of %s became term %d of %s", term, lead.id, l.status.Term, l.id)
	}
	if v := lead.status.Cfg.Voters(); len(v) != 5 || !lead.status.Cfg.IsVoter(other.id) {
		t.Errorf("voters %v", v)
	}
	if r := lead.status.Role; r != core.RoleLeader {
		t.Errorf("role %v", r)
	}
}
