package raftifytest_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/baton-ha/baton/raftify/core"
	"github.com/baton-ha/baton/raftify/raftifytest"
)

const kickAfter = 5 * minET

func automatic(maxVoters int) *core.Membership {
	return &core.Membership{KickAfter: kickAfter, MaxVoters: maxVoters}
}

// change has the leader change the membership, trying for a while.
func (r *run) change(t *testing.T, kind core.ChangeKind, who core.NodeID) {
	t.Helper()
	var last error
	if !r.RunUntil(10*minET, func() bool {
		done := false
		r.Do(r.Holder(), func(k *core.Core, now core.Instant) {
			last = k.ReconfigureAnswered(now, core.Change{Kind: kind, Member: core.Member{ID: who}})
			done = last == nil
		})
		return done
	}) {
		t.Fatalf("%v %s: %v, %v", kind, who, last, r.Err())
	}
}

// settled waits until a majority has the leader's configuration.
func (r *run) settled(t *testing.T) {
	t.Helper()
	ok := false
	if !r.RunUntil(10*minET, func() bool {
		r.Do(r.Holder(), func(k *core.Core, _ core.Instant) { ok = k.Settled() == nil })
		return ok
	}) {
		t.Fatalf("the configuration does not settle: %v", r.Err())
	}
}

// voters of the configuration of whoever holds the lease.
func (r *run) voters() []core.NodeID {
	if h := r.Holder(); h != "" {
		return r.Node(h).Core().Status().Cfg.Voters()
	}
	return nil
}

func (r *run) untilVoters(t *testing.T, limit time.Duration, want ...core.NodeID) {
	t.Helper()
	if !r.RunUntil(limit, func() bool { return slices.Equal(r.voters(), want) }) {
		t.Fatalf("voters %v after %v, want %v: %v", r.voters(), limit, want, r.Err())
	}
}

// TestTwoOfFiveDie: both are demoted, one after the other, and three voters tolerate one more death.
func TestTwoOfFiveDie(t *testing.T) {
	r := newRun(nil, raftifytest.Config{Seed: 1, Nodes: 5, Membership: automatic(5)})
	r.lead(t)
	r.Crash("4")
	r.Crash("5")
	r.untilVoters(t, 10*minET, "1", "2", "3")
	r.settled(t)
	r.Crash("1")
	if err := r.demand(10 * minET); err != nil {
		t.Fatal(err)
	}
	for _, id := range []core.NodeID{"1", "4", "5"} {
		r.Start(id)
	}
	r.untilVoters(t, 20*minET, "1", "2", "3", "4", "5")
}

// TestThreeOfFiveDie: no leader, and one is there again when one returns.
func TestThreeOfFiveDie(t *testing.T) {
	r := newRun(nil, raftifytest.Config{Seed: 1, Nodes: 5, Membership: automatic(5)})
	r.lead(t)
	for _, id := range []core.NodeID{"1", "4", "5"} {
		r.Crash(id)
	}
	if err := r.Run(3 * kickAfter); err != nil {
		t.Fatal(err)
	}
	if r.Holder() != "" {
		t.Fatalf("%s leads two of five", r.Holder())
	}
	r.Start("4")
	if err := r.demand(10 * minET); err != nil {
		t.Fatal(err)
	}
}

// TestOneDeadOfFourAndOfFive: four with one dead become three; five with one dead stay five.
func TestOneDeadOfFourAndOfFive(t *testing.T) {
	r := newRun(nil, raftifytest.Config{Seed: 1, Nodes: 4, Membership: automatic(5)})
	r.lead(t)
	r.Crash("4")
	r.untilVoters(t, 10*minET, "1", "2", "3")
	r = newRun(nil, raftifytest.Config{Seed: 1, Nodes: 5, Membership: automatic(5)})
	r.lead(t)
	r.Crash("5")
	if err := r.Run(4 * kickAfter); err != nil {
		t.Fatal(err)
	}
	if v := r.voters(); len(v) != 5 {
		t.Fatalf("voters %v", v)
	}
}

// TestFreshDiskComesBack: as another incarnation, first a learner, then a voter.
func TestFreshDiskComesBack(t *testing.T) {
	r := newRun(nil, raftifytest.Config{Seed: 1, Membership: automatic(3)})
	r.lead(t)
	old := r.Node("3").Core().Status().Inc
	r.LoseDisk("3")
	r.Start("3")
	ok := func() bool {
		h := r.Holder()
		if h == "" {
			return false
		}
		m, _ := r.Node(h).Core().Status().Cfg.Member("3")
		return m.Voter && m.Inc != old && m.Inc == r.Node("3").Core().Status().Inc
	}
	if !r.RunUntil(20*minET, ok) {
		t.Fatalf("3 is not back: %v", r.Err())
	}
	for _, step := range []string{"joined", "change: demote", "change: add", "change: promote"} {
		if r.Count[step] != 1 {
			t.Errorf("%s %d times: %v", step, r.Count[step], r.Count)
		}
	}
}

// TestReplaceOnlyDemoted: a newcomer does not push a voter of its id aside in one step.
func TestReplaceOnlyDemoted(t *testing.T) {
	r := newRun(nil, raftifytest.Config{Seed: 1})
	r.lead(t)
	r.settled(t)
	fresh := core.Member{ID: "3", Inc: core.Inc{9}, Addr: "new:1"}
	r.Do("1", func(k *core.Core, now core.Instant) {
		if err := k.Reconfigure(now, core.Change{Kind: core.ChangeAdd, Member: fresh}); !errors.Is(err, core.ErrStillVoter) {
			t.Errorf("add over a voter: %v", err)
		}
	})
	r.change(t, core.ChangeDemote, "3")
	r.settled(t)
	r.Do("1", func(k *core.Core, now core.Instant) {
		if err := k.Reconfigure(now, core.Change{Kind: core.ChangeAdd, Member: fresh}); err != nil {
			t.Error(err)
		}
		if m, _ := k.Status().Cfg.Member("3"); m != fresh {
			t.Errorf("member %+v", m)
		}
	})
}

// TestLeave: one that leaves is a learner at once, and stays one through restarts and changes of leader until it is
// promoted; a quorum of the others stands a death meanwhile.
func TestLeave(t *testing.T) {
	r := newRun(nil, raftifytest.Config{Seed: 1, Nodes: 4, Membership: automatic(5)})
	r.lead(t)
	r.change(t, core.ChangeLeave, "4")
	r.untilVoters(t, minET, "1", "2", "3")
	r.settled(t)
	r.Crash("4")
	r.Start("4")
	r.Crash("1")
	if err := r.demand(10 * minET); err != nil {
		t.Fatal(err)
	}
	r.Start("1")
	if err := r.Run(20 * minET); err != nil {
		t.Fatal(err)
	}
	r.untilVoters(t, minET, "1", "2", "3")
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	r.change(t, core.ChangePromote, "4")
	r.untilVoters(t, minET, "1", "2", "3", "4")
}

// handover has 1, which leads, hand over to id.
func (r *run) handover(t *testing.T, id core.NodeID) {
	t.Helper()
	r.Do("1", func(k *core.Core, now core.Instant) {
		if err := k.Transfer(now, id); err != nil {
			t.Fatal(err)
		}
	})
	if !r.RunUntil(5*minET, func() bool { return r.Holder() == id }) {
		t.Fatalf("%s does not lead: %v", id, r.Err())
	}
}

// TestLeavingLeader: it cannot while it leads; after the handover it can.
func TestLeavingLeader(t *testing.T) {
	r := newRun(nil, raftifytest.Config{Seed: 1, Membership: automatic(5)})
	r.lead(t)
	r.settled(t)
	leave := func(id, who core.NodeID) (err error) {
		r.Do(id, func(k *core.Core, now core.Instant) {
			err = k.Reconfigure(now, core.Change{Kind: core.ChangeLeave, Member: core.Member{ID: who}})
		})
		return err
	}
	if err := leave("1", "1"); !errors.Is(err, core.ErrSelf) {
		t.Fatalf("the leader leaves: %v", err)
	}
	r.handover(t, "2")
	r.change(t, core.ChangeLeave, "1")
	r.untilVoters(t, minET, "2", "3")
	r.settled(t)
	r.Crash("3") // two voters, one dead: nobody can leave any more
	if err := r.Run(2 * minET); err != nil {
		t.Fatal(err)
	}
	if h := r.Holder(); h != "" {
		t.Errorf("%s leads with one of two", h)
	}
}

// TestMovedNode: a follower and then the leader get another address; the configuration follows.
func TestMovedNode(t *testing.T) {
	r := newRun(nil, raftifytest.Config{Seed: 1, Membership: automatic(3)})
	r.lead(t)
	for _, id := range []core.NodeID{"3", "1"} {
		r.Crash(id)
		if err := r.Run(minET / 4); err != nil {
			t.Fatal(err)
		}
		want := "elsewhere" + string(id) + ":1"
		r.Move(id, want)
		r.Start(id)
		if !r.RunUntil(30*minET, func() bool {
			for _, n := range r.Nodes() {
				if m, _ := n.Core().Status().Cfg.Member(id); m.Addr != want || !m.Voter {
					return false
				}
			}
			return true
		}) {
			t.Fatalf("%s is not where it is: %v", id, r.Err())
		}
	}
	if r.Count["change: move"] != 2 {
		t.Errorf("%v", r.Count)
	}
}

// TestKickedLeader: a leader is cut off, demoted by its successor, and comes back full of what it was.
func TestKickedLeader(t *testing.T) {
	r := newRun(nil, raftifytest.Config{Seed: 1, Nodes: 4, Membership: automatic(5)})
	r.lead(t)
	r.cutBoth([2]core.NodeID{"1", "2"}, [2]core.NodeID{"1", "3"}, [2]core.NodeID{"1", "4"})
	r.untilVoters(t, 30*minET, "2", "3", "4")
	term := r.Node(r.Holder()).Core().Status().Term
	r.Net.Heal(r.Now())
	r.untilVoters(t, 30*minET, "1", "2", "3", "4")
	if err := r.demand(10 * minET); err != nil {
		t.Fatal(err)
	}
	if s := r.Node(r.Holder()).Core().Status(); s.Term != term {
		t.Errorf("the one that came back cost an election: term %d, was %d", s.Term, term)
	}
}

// TestSilentListKicksNobody: an answer of a version that lists nobody does not mean that nobody is heard.
func TestSilentListKicksNobody(t *testing.T) {
	for _, old := range []bool{false, true} {
		r := newRun(nil, raftifytest.Config{Seed: 1, Nodes: 4, Membership: automatic(5), Arrives: func(m *core.Message) {
			if m.Type == core.MsgHBAck && old {
				m.OK, m.Reachable = false, nil
			}
		}})
		r.lead(t)
		r.Crash("4")
		if err := r.Run(5 * kickAfter); err != nil {
			t.Fatal(err)
		}
		if n := r.Count["change: demote"]; (n == 0) != old {
			t.Errorf("old=%v: %d demoted", old, n)
		}
	}
}

// TestKickOff: without KickAfter nobody is demoted, however long it is silent.
func TestKickOff(t *testing.T) {
	r := newRun(nil, raftifytest.Config{Seed: 1, Nodes: 4, Membership: &core.Membership{MaxVoters: 5}})
	r.lead(t)
	r.Crash("4")
	if err := r.Run(30 * kickAfter); err != nil {
		t.Fatal(err)
	}
	if n := r.Count["change: demote"]; n != 0 {
		t.Errorf("%d demoted", n)
	}
}

// TestRestartIsNotALeave: nothing changes.
func TestRestartIsNotALeave(t *testing.T) {
	r := newRun(nil, raftifytest.Config{Seed: 1, Membership: automatic(3)})
	r.lead(t)
	r.Crash("3")
	if err := r.Run(4 * kickAfter); err != nil {
		t.Fatal(err)
	}
	r.Start("3")
	if err := r.Run(5 * minET); err != nil {
		t.Fatal(err)
	}
	if v := r.Node("1").Core().Status().Cfg; v.Key.Ver != 1 || len(v.Voters()) != 3 {
		t.Errorf("configuration %v", v)
	}
}

// TestRemovedNodeStaysOutUntilInvited: its folder is whole, and it must be added again by somebody.
func TestRemovedNodeStaysOutUntilInvited(t *testing.T) {
	r := newRun(nil, raftifytest.Config{Seed: 1, Nodes: 4, Membership: automatic(5)})
	r.lead(t)
	r.change(t, core.ChangeRemove, "4")
	if err := r.Run(20 * minET); err != nil {
		t.Fatal(err)
	}
	if len(r.voters()) != 3 || r.Count["join refused"] == 0 {
		t.Fatalf("voters %v, %v", r.voters(), r.Count)
	}
	if s := r.Node("4").Core().Status(); s.Role != core.RoleLearner {
		t.Errorf("the removed node is %v", s.Role)
	}
	r.change(t, core.ChangeInvite, "4")
	r.untilVoters(t, 20*minET, "1", "2", "3", "4")
}

// TestTwoNodesOfOneID: a second machine with an empty folder says that it is 3, which lives.
func TestTwoNodesOfOneID(t *testing.T) {
	r := newRun(nil, raftifytest.Config{Seed: 1, Membership: automatic(3)})
	r.lead(t)
	var evs []core.Event
	for seq := range uint64(10) {
		r.Do("1", func(k *core.Core, now core.Instant) {
			h := r.Node("3").Core().Header("1")
			h.Inc, h.ClusterID, h.Term = core.Inc{0x77}, core.ClusterID{}, 0
			_ = k.Step(now, core.Message{Type: core.MsgJoin, Header: h, Addr: "other:1", Seq: seq})
			evs = append(evs, k.Ready().Events...)
		})
		if err := r.Run(minET); err != nil {
			t.Fatal(err)
		}
	}
	if v := r.Node("1").Core().Status().Cfg; v.Key.Ver != 1 {
		t.Errorf("configuration %v", v)
	}
	if !slices.ContainsFunc(evs, func(e core.Event) bool { return e.Kind == core.EventAlarm && e.Peer == "3" }) {
		t.Error("no alarm")
	}
}

// TestUnsafeChangesAreRefused: what would lose the quorum, the leader itself, strangers.
func TestUnsafeChangesAreRefused(t *testing.T) {
	r := newRun(nil, raftifytest.Config{Seed: 1, Membership: automatic(3)})
	r.lead(t)
	r.Crash("3")
	if err := r.Run(2 * minET); err != nil {
		t.Fatal(err)
	}
	for who, want := range map[core.NodeID]error{"2": core.ErrUnsafe, "1": core.ErrSelf, "9": core.ErrNotMember} {
		r.Do("1", func(k *core.Core, now core.Instant) {
			if err := k.Reconfigure(now, core.Change{Kind: core.ChangeRemove, Member: core.Member{ID: who}}); !errors.Is(err, want) {
				t.Errorf("remove %s: %v, want %v", who, err, want)
			}
		})
	}
	r.Do("2", func(k *core.Core, now core.Instant) {
		if err := k.Reconfigure(now, core.Change{Kind: core.ChangeRemove, Member: core.Member{ID: "3"}}); err == nil {
			t.Error("a follower changed the membership")
		}
	})
}

// schedule4: 1, which leads five, goes on from one configuration to the next although nobody but its own side has the
// first; 4 and 5 still have the old one, and elect.
func schedule4(t *testing.T, off func(*core.Core)) error {
	t.Helper()
	r := newRun(off, raftifytest.Config{Seed: 1, Nodes: 5})
	r.lead(t)
	r.arm()
	for _, a := range []core.NodeID{"1", "2"} {
		for _, b := range []core.NodeID{"3", "4", "5"} {
			r.Net.CutBoth(a, b)
		}
	}
	// One leader's quorum is fresh for some time yet; it drops who is cut off.
	for _, who := range []core.NodeID{"5", "4", "3"} {
		r.Do("1", func(k *core.Core, now core.Instant) {
			_ = k.Reconfigure(now, core.Change{Kind: core.ChangeDemote, Member: core.Member{ID: who}})
		})
		if err := r.Run(beat / 2); err != nil {
			return err
		}
	}
	return r.Run(10 * minET)
}

func TestSchedule04SplitQuorums(t *testing.T) { pass(t, schedule4) }

// schedule9: 3 votes for 1, which wins with it alone, loses its disk, and is asked by 2, which stands for the same term.
func schedule9(_ *testing.T, off func(*core.Core)) error {
	return seeds(20, func(seed uint64) error {
		r := newRun(off, raftifytest.Config{Seed: seed, State: inTerm4(3), Membership: automatic(3)})
		r.arm()
		if err := r.Run(beat); err != nil { // each has asked what the others remember of it
			return err
		}
		r.cutBoth([2]core.NodeID{"1", "2"})
		for _, to := range []core.NodeID{"1", "2"} {
			r.step("3", to, core.Message{Type: core.MsgHB, Seq: 1})
			r.step("3", to, core.Message{Type: core.MsgTimeoutNow})
		}
		r.Net.Cut("2", "3")
		if !r.RunUntil(minET, func() bool { return r.Leader() == "1" }) {
			return r.Err()
		}
		r.cutBoth([2]core.NodeID{"1", "3"})
		r.LoseDisk("3")
		r.Start("3")
		if err := r.Run(minET + minET/10); err != nil {
			return err
		}
		r.Net.Mend(r.Now(), "2", "3")
		return r.Run(5 * minET)
	})
}

func TestSchedule09LostDiskVotesAgain(t *testing.T) { pass(t, schedule9) }

// schedule13: one of three voters dies for longer than kick_after, and comes back; then another one dies.
func schedule13(t *testing.T, off func(*core.Core)) error {
	t.Helper()
	r := newRun(off, raftifytest.Config{Seed: 1, Membership: &core.Membership{KickAfter: kickAfter}})
	r.lead(t)
	r.arm()
	r.Crash("3")
	if err := r.Run(4 * kickAfter); err != nil {
		return err
	}
	r.Start("3")
	if err := r.Run(5 * minET); err != nil {
		return err
	}
	r.Crash("1")
	return r.demand(20 * minET)
}

func TestSchedule13KickToTwo(t *testing.T) { pass(t, schedule13) }

// schedule14: nothing but the links between the leader and 4 and 5 is cut. They live, and must not be demoted.
func schedule14(t *testing.T, off func(*core.Core)) error {
	t.Helper()
	r := newRun(off, raftifytest.Config{Seed: 1, Nodes: 5, Membership: automatic(5)})
	r.lead(t)
	r.arm()
	r.cutBoth([2]core.NodeID{"1", "4"}, [2]core.NodeID{"1", "5"})
	if err := r.Run(5 * kickAfter); err != nil {
		return err
	}
	if n := r.Count["change: demote"]; n > 0 {
		r.Checker.Fail(r.Now(), "R16", "%d voters that others reach were demoted", n)
	}
	return r.Err()
}

func TestSchedule14OneLinkCut(t *testing.T) { pass(t, schedule14) }

// schedule32: 3 is away while 2 and 1 are replaced by 4 and 5. Whom it knows has gone, and whom it hears it does not know.
func schedule32(t *testing.T, off func(*core.Core)) error {
	t.Helper()
	r := newRun(off, raftifytest.Config{Seed: 1, Nodes: 5, Voters: 3, Membership: automatic(5)})
	r.lead(t)
	r.Crash("3")
	r.untilVoters(t, 30*minET, "1", "2", "3", "4", "5")
	r.change(t, core.ChangeRemove, "2")
	r.Crash("2")
	r.handover(t, "4")
	r.change(t, core.ChangeRemove, "1")
	r.Crash("1")
	r.arm()
	r.Start("3")
	if !r.RunUntil(10*minET, func() bool { return r.Node("3").Core().Status().Leader == "4" }) && r.Err() == nil {
		r.Checker.Fail(r.Now(), "I14", "3 does not find the cluster that it is a member of")
	}
	return r.Err()
}

func TestSchedule32EverybodyWasReplaced(t *testing.T) { pass(t, schedule32) }

// unsafeChange: of three voters one is dead; an operator wants another one removed.
func unsafeChange(_ *testing.T, off func(*core.Core)) error {
	r := newRun(off, raftifytest.Config{Seed: 1})
	if err := r.demand(10 * minET); err != nil {
		return err
	}
	if err := r.Run(5 * beat); err != nil {
		return err
	}
	r.arm()
	lead := r.Holder()
	others := slices.DeleteFunc(r.voters(), func(id core.NodeID) bool { return id == lead })
	r.Crash(others[0])
	if err := r.Run(2 * minET); err != nil {
		return err
	}
	r.Do(lead, func(k *core.Core, now core.Instant) {
		_ = k.Reconfigure(now, core.Change{Kind: core.ChangeRemove, Member: core.Member{ID: others[1]}})
	})
	if err := r.Run(5 * minET); err != nil {
		return err
	}
	return r.demand(10 * minET)
}

func TestUnsafeChange(t *testing.T) { pass(t, unsafeChange) }

// leaveBesideDeath: one of three dies, and another one wishes to leave before anybody can know of that death. Whatever the
// leader has been told until then, two are left, and they go on.
func leaveBesideDeath(t *testing.T, off func(*core.Core)) error {
	t.Helper()
	for after := time.Duration(0); after < minET+beat; after += beat / 4 {
		r := newRun(off, raftifytest.Config{Seed: 1, Membership: automatic(3)})
		r.lead(t)
		r.settled(t)
		r.arm()
		r.Crash("2")
		if err := r.Run(after); err != nil {
			return err
		}
		for range 3 * minET / beat { // asked again until it is answered
			r.Do("3", func(k *core.Core, now core.Instant) { _ = k.Leave(now) })
			if err := r.Run(beat); err != nil {
				return err
			}
		}
		if err := r.Run(3 * minET); err != nil {
			return err
		}
		if err := r.demand(10 * minET); err != nil {
			return err
		}
	}
	return nil
}

func TestLeaveBesideDeath(t *testing.T) { pass(t, leaveBesideDeath) }

// With all of them alive whoever wishes to leave is gone within a round, and one that has died is no obstacle to taking its
// own vote away: those that are left answer.
func TestLeaveIsQuick(t *testing.T) {
	r := newRun(nil, raftifytest.Config{Seed: 1, Nodes: 5, Membership: automatic(5)})
	r.lead(t)
	r.settled(t)
	for _, c := range []struct {
		kind core.ChangeKind
		who  core.NodeID
		dead bool
	}{{core.ChangeLeave, "5", false}, {core.ChangeRemove, "4", true}, {core.ChangeDemote, "3", false}} {
		if c.dead {
			r.Crash(c.who)
		}
		var err error
		if !r.RunUntil(2*beat, func() bool {
			r.Do("1", func(k *core.Core, now core.Instant) {
				err = k.ReconfigureAnswered(now, core.Change{Kind: c.kind, Member: core.Member{ID: c.who}})
			})
			return err == nil
		}) {
			t.Fatalf("%v %s: %v, %v", c.kind, c.who, err, r.Err())
		}
		r.settled(t)
	}
}

// The voters that would be left are asked anew for each wish, and one that does not answer in time ends it.
func TestLeaveIsRefusedInTime(t *testing.T) {
	r := newRun(nil, raftifytest.Config{Seed: 1, Membership: automatic(3)})
	r.lead(t)
	r.settled(t)
	r.Crash("2")
	ask := func() (err error) {
		r.Do("1", func(k *core.Core, now core.Instant) {
			err = k.ReconfigureAnswered(now, core.Change{Kind: core.ChangeRemove, Member: core.Member{ID: "3"}})
		})
		return err
	}
	if err := ask(); !errors.Is(err, core.ErrReconfiguring) {
		t.Fatalf("at once: %v", err)
	}
	var err error
	if !r.RunUntil(minET+2*beat, func() bool { err = ask(); return !errors.Is(err, core.ErrReconfiguring) }) || !errors.Is(err, core.ErrUnsafe) {
		t.Fatalf("%v, %v", err, r.Err())
	}
	r.Start("2")
	if !r.RunUntil(10*minET, func() bool { return ask() == nil }) {
		t.Fatalf("it came back: %v, %v", ask(), r.Err())
	}
	r.untilVoters(t, minET, "1", "2")
}

// A wish to leave that was under way since before the node was promoted again does not take its vote a second time.
func TestLateLeave(t *testing.T) {
	r := newRun(nil, raftifytest.Config{Seed: 1, Membership: &core.Membership{MaxVoters: 3}})
	r.lead(t)
	voter := func() bool { return r.Node("1").Core().Status().Cfg.IsVoter("3") }
	ask := func() {
		r.Do("3", func(k *core.Core, now core.Instant) {
			if err := k.Leave(now); err != nil {
				t.Error(err)
			}
		})
	}
	key := r.Node("3").Core().Status().Cfg.Key
	ask()
	if !r.RunUntil(minET, func() bool { return !voter() }) {
		t.Fatalf("still a voter: %v", r.Err())
	}
	if err := r.Run(minET); err != nil {
		t.Fatal(err)
	}
	if voter() {
		t.Fatal("promoted by itself")
	}
	r.Do("1", func(k *core.Core, now core.Instant) {
		if err := k.Reconfigure(now, core.Change{Kind: core.ChangePromote, Member: core.Member{ID: "3"}}); err != nil {
			t.Error(err)
		}
	})
	if err := r.Run(minET); err != nil {
		t.Fatal(err)
	}
	r.step("3", "1", core.Message{Type: core.MsgLeave, CfgKey: key})
	if err := r.Run(minET); err != nil {
		t.Fatal(err)
	}
	if !voter() {
		t.Error("an old request took the vote of a node that was promoted since")
	}
	ask()
	if !r.RunUntil(minET, func() bool { return !voter() }) {
		t.Errorf("a new request did not: %v", r.Err())
	}
}
