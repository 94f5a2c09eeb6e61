package raftifytest_test

import (
	"testing"
	"time"

	"github.com/baton-ha/baton/raftify/core"
	"github.com/baton-ha/baton/raftify/raftifytest"
)

// The schedules of PROTOCOL.md that elections alone can show. Each is a function that returns the violation that a
// checker found; off switches rules off (nil: none). The tests here run them with all rules on; those of
// schedules_faults_test.go, under the tag faults, with a rule off, and demand the violation.

// schedule1: 1 wins term 5 with 2 and 5, and its configuration becomes (5,3) = {1,3,4} by way of (5,2) = {1,2,3,4}. 3
// has accepted 1 as its leader. 4 stood for the same term, and learns (5,3) by gossip. Nothing but the closed vote of
// 3, or the vote that accepting a leader is, or the end of 4's candidacy, keeps 3 and 4 from being a majority of it.
func schedule1(_ *testing.T, off func(*core.Core)) error {
	return seeds(30, func(seed uint64) error {
		state := inTerm4(5)
		first := state("1").Cfg
		r := newRun(off, raftifytest.Config{Seed: seed, Nodes: 5, State: state})
		r.arm()
		for i, a := range r.Nodes() {
			for _, b := range r.Nodes()[:i] {
				if a.ID != "2" && a.ID != "5" || b.ID != "1" {
					r.Net.CutBoth(a.ID, b.ID)
				}
			}
		}
		r.handOver("1")
		r.handOver("4")
		if !r.RunUntil(minET, func() bool { return r.Leader() == "1" }) {
			return r.Err()
		}
		pick := func(ids string) (ms []core.Member) {
			for _, m := range first.Members {
				for _, x := range ids {
					if m.ID == core.NodeID(x) {
						ms = append(ms, m)
					}
				}
			}
			return ms
		}
		second := core.NewConfig(core.CfgKey{CTerm: 5, Ver: 2}, pick("1234"))
		third := core.NewConfig(core.CfgKey{CTerm: 5, Ver: 3}, pick("134"))
		r.step("1", "3", core.Message{Type: core.MsgHB, Seq: 100, Cfg: &second})
		r.step("1", "3", core.Message{Type: core.MsgHB, Seq: 101, Cfg: &third})
		r.step("2", "4", core.Message{Type: core.MsgTerm, Cfg: &third})
		r.Crash("1")
		if err := r.Run(minET + minET/20); err != nil { // 3 no longer keeps faith
			return err
		}
		r.Net.Heal(r.Now())
		return r.Run(2 * minET)
	})
}

func TestSchedule01ClosedVote(t *testing.T) { pass(t, schedule1) }

// schedule10: the leader's machine sleeps, and with it its monotonic clock.
func schedule10(t *testing.T, off func(*core.Core)) error {
	t.Helper()
	r := newRun(off, raftifytest.Config{Seed: 1})
	r.lead(t)
	r.arm()
	if err := r.Run(5 * beat); err != nil {
		return err
	}
	r.Pause("1")
	r.Node("1").Clock.Suspend(r.Now(), true)
	if err := r.Run(10 * minET); err != nil {
		return err
	}
	if h := r.Holder(); h == "" || h == "1" {
		t.Errorf("the lease is with %q", h)
	}
	r.Node("1").Clock.Suspend(r.Now(), false)
	r.Resume("1")
	return r.Run(minET)
}

func TestSchedule10SleepingLeader(t *testing.T) { pass(t, schedule10) }

// schedule11: a voter acknowledges a heartbeat, crashes and is back inside the lease; a node that has not heard the
// leader for long asks for its vote.
func schedule11(t *testing.T, off func(*core.Core)) error {
	t.Helper()
	r := newRun(off, raftifytest.Config{Seed: 1})
	r.lead(t)
	r.cutBoth([2]core.NodeID{"1", "3"})
	if err := r.Run(4 * minET); err != nil {
		return err
	}
	if r.Holder() != "1" {
		t.Errorf("%q holds the lease, 1 did", r.Holder())
	}
	r.armStarts()
	r.cutBoth([2]core.NodeID{"1", "2"})
	r.Crash("2")
	r.Start("2")
	return r.demandOf("3", 10*minET)
}

func TestSchedule11RestartInsideTheLease(t *testing.T) { pass(t, schedule11) }

// schedule12: TimeoutNow is under way for so long that the leader gives the handover up.
func schedule12(t *testing.T, off func(*core.Core)) error {
	t.Helper()
	r := newRun(off, raftifytest.Config{Seed: 1})
	r.lead(t)
	r.arm()
	r.Do("1", func(k *core.Core, now core.Instant) {
		if err := k.Transfer(now, "2"); err != nil {
			t.Fatal(err)
		}
	})
	var late []raftifytest.Envelope[core.Message]
	for end := r.Now() + 3*minET/2; r.Now() < end; {
		late = append(late, r.Net.Take(func(e raftifytest.Envelope[core.Message]) bool { return e.Msg.Type == core.MsgTimeoutNow })...)
		if err := r.Run(time.Millisecond / 2); err != nil {
			return err
		}
	}
	if len(late) == 0 {
		t.Fatal("no TimeoutNow was sent")
	}
	r.cutBoth([2]core.NodeID{"1", "2"}, [2]core.NodeID{"1", "3"})
	r.Do("2", func(k *core.Core, now core.Instant) { _ = k.Step(now, late[0].Msg) })
	if err := r.Run(2 * minET); err != nil {
		return err
	}
	return r.demand(10 * minET)
}

func TestSchedule12LateTimeoutNow(t *testing.T) { pass(t, schedule12) }

// schedule18: rules that REJECT make the host of the leader look dead to both others, which probe it and are refused.
func schedule18(t *testing.T, off func(*core.Core)) error {
	t.Helper()
	r := newRun(off, raftifytest.Config{Seed: 1})
	r.lead(t)
	r.arm()
	r.cutBoth([2]core.NodeID{"1", "2"}, [2]core.NodeID{"1", "3"})
	for _, id := range []core.NodeID{"2", "3"} {
		r.Do(id, func(k *core.Core, now core.Instant) { k.Suspect(now, "1") })
	}
	if err := r.Run(2 * minET); err != nil {
		return err
	}
	return r.demand(10 * minET)
}

func TestSchedule18RejectedConnections(t *testing.T) { pass(t, schedule18) }

// TestSuspicionWithoutLeases: where nobody has a lease a refused connection is enough, and faster than any timeout.
func TestSuspicionWithoutLeases(t *testing.T) {
	tm := core.DefaultTiming(1)
	tm.NoLease = true
	r := newRun(nil, raftifytest.Config{Seed: 1, Timing: tm})
	r.lead(t)
	r.Crash("1")
	for _, id := range []core.NodeID{"2", "3"} {
		r.Do(id, func(k *core.Core, now core.Instant) { k.Suspect(now, "1") })
	}
	if err := r.demand(minET / 2); err != nil {
		t.Error(err)
	}
}

// schedule29: the supervisor of 1 and its child are replaced, and the notice of the old child comes when 1 leads again,
// in a start of which another supervisor knows.
func schedule29(t *testing.T, off func(*core.Core)) error {
	t.Helper()
	r := newRun(off, raftifytest.Config{Seed: 1})
	r.lead(t)
	r.Kill("1")
	notices := r.Net.Take(func(e raftifytest.Envelope[core.Message]) bool { return e.Msg.Type == core.MsgDeath })
	if len(notices) != 2 {
		t.Fatalf("%d notices were sent", len(notices))
	}
	r.Start("1")
	r.lead(t)
	r.arm()
	r.cutBoth([2]core.NodeID{"1", "2"}, [2]core.NodeID{"1", "3"})
	for _, e := range notices {
		r.Do(e.To, func(k *core.Core, now core.Instant) { _ = k.Step(now, e.Msg) })
	}
	if err := r.Run(2 * minET); err != nil {
		return err
	}
	return r.demand(10 * minET)
}

func TestSchedule29NoticeOfAnotherStart(t *testing.T) { pass(t, schedule29) }

// TestDeathNotice: a notice that is true replaces the leader long before any timeout, in each order of the nodes, with
// the notice reaching both or one of the others.
func TestDeathNotice(t *testing.T) {
	for seed := range uint64(40) {
		r := newRun(nil, raftifytest.Config{Seed: seed + 1})
		r.lead(t)
		r.Kill("1")
		if seed%4 > 1 { // one of them is lost
			r.Net.Take(func(e raftifytest.Envelope[core.Message]) bool {
				return e.Msg.Type == core.MsgDeath && e.To == core.NodeID("23"[seed%2:seed%2+1])
			})
		}
		if err := r.demand(minET / 2); err != nil {
			t.Errorf("seed %d: %v", seed+1, err)
		}
	}
}

// schedule20: the node that wins can never finish its takeover.
func schedule20(_ *testing.T, off func(*core.Core)) error {
	var stuck core.NodeID
	r := newRun(off, raftifytest.Config{Seed: 1, Hook: func(id core.NodeID) core.Hook { return &stuckApp{id: id, stuck: &stuck} }})
	r.arm()
	return r.demand(15 * minET)
}

func TestSchedule20TakeoverThatNeverEnds(t *testing.T) { pass(t, schedule20) }

// schedule21: only 1 reaches a majority, and one of its two voters is ahead in terms.
func schedule21(_ *testing.T, off func(*core.Core)) error {
	state := inTerm4(5)
	r := newRun(off, raftifytest.Config{Seed: 1, Nodes: 5, State: func(id core.NodeID) core.HardState {
		hs := state(id)
		if id == "2" {
			hs.Term = 9
		}
		return hs
	}})
	r.arm()
	r.Crash("4")
	r.Crash("5")
	r.cutBoth([2]core.NodeID{"2", "3"})
	return r.demand(10 * minET)
}

func TestSchedule21LowerTermsAreAnswered(t *testing.T) { pass(t, schedule21) }

// schedule22chained: 3 alone does not hear the leader, and reaches a voter that does.
func schedule22chained(t *testing.T, off func(*core.Core)) error {
	t.Helper()
	return seeds(10, func(seed uint64) error {
		r := newRun(off, raftifytest.Config{Seed: seed})
		r.lead(t)
		r.arm()
		r.cutBoth([2]core.NodeID{"1", "3"})
		if err := r.Run(20 * minET); err != nil {
			return err
		}
		if r.Holder() != "1" {
			t.Errorf("seed %d: %q holds the lease, 1 did", seed, r.Holder())
		}
		return nil
	})
}

func TestSchedule22Chained(t *testing.T) { pass(t, schedule22chained) }

// schedule22quorumLoss: the leader reaches only 3, which reaches everybody; the others reach only 3.
func schedule22quorumLoss(t *testing.T, off func(*core.Core)) error {
	t.Helper()
	r := newRun(off, raftifytest.Config{Seed: 1, Nodes: 5})
	r.lead(t)
	r.arm()
	for i, a := range r.Nodes() {
		for _, b := range r.Nodes()[:i] {
			if a.ID != "3" && b.ID != "3" {
				r.Net.CutBoth(a.ID, b.ID)
			}
		}
	}
	return r.demandOf("3", 10*minET)
}

func TestSchedule22QuorumLoss(t *testing.T) { pass(t, schedule22quorumLoss) }

// oneWay: half of each of the leader's links is cut, and it must be replaced.
func oneWay(t *testing.T, off func(*core.Core), cut func(r *run, other core.NodeID)) error {
	t.Helper()
	r := newRun(off, raftifytest.Config{Seed: 1})
	r.lead(t)
	r.arm()
	cut(r, "2")
	cut(r, "3")
	if err := r.Run(10 * minET); err != nil {
		return err
	}
	if h := r.Holder(); h != "2" && h != "3" {
		r.Checker.Fail(r.Now(), "I14", "the leader is not replaced")
	}
	return r.Err()
}

// schedule22deaf: the leader is heard and hears nobody.
func schedule22deaf(t *testing.T, off func(*core.Core)) error {
	t.Helper()
	return oneWay(t, off, func(r *run, other core.NodeID) { r.Net.Cut(other, "1") })
}

func TestSchedule22DeafLeader(t *testing.T) { pass(t, schedule22deaf) }

// schedule22mute: the leader hears everybody and is not heard.
func schedule22mute(t *testing.T, off func(*core.Core)) error {
	t.Helper()
	return oneWay(t, off, func(r *run, other core.NodeID) { r.Net.Cut("1", other) })
}

func TestSchedule22MuteLeader(t *testing.T) { pass(t, schedule22mute) }

// schedule23: 1 makes a cluster with 2; its disk is lost; it comes back empty and meets 3, which has not heard of the
// cluster, and an old message in which 2 told who it is.
func schedule23(t *testing.T, off func(*core.Core)) error {
	t.Helper()
	r := newRun(off, raftifytest.Config{Seed: 1, Expect: 3})
	r.arm()
	var info []raftifytest.Envelope[core.Message]
	told := func(from core.NodeID) func(e raftifytest.Envelope[core.Message]) bool {
		return func(e raftifytest.Envelope[core.Message]) bool {
			return e.Msg.Type == core.MsgBootInfo && e.From == from
		}
	}
	if !r.RunUntil(minET, func() bool { info = r.Net.Take(told("2")); return len(info) > 0 }) {
		t.Fatal("2 did not tell who it is")
	}
	for _, e := range info {
		r.Net.Put(e)
	}
	proposed := func(e raftifytest.Envelope[core.Message]) bool {
		return e.Msg.Type == core.MsgBootPropose && e.To == "3"
	}
	if !r.RunUntil(minET, func() bool { return len(r.Net.Take(proposed)) > 0 }) {
		t.Fatal("nothing was proposed")
	}
	r.cutBoth([2]core.NodeID{"1", "3"}, [2]core.NodeID{"2", "3"})
	r.RunUntil(10*minET, func() bool { return r.Leader() != "" }) // with the rule there is none
	r.cutBoth([2]core.NodeID{"1", "2"})
	r.LoseDisk("1")
	r.Start("1")
	r.Net.Mend(r.Now(), "1", "3")
	r.Net.Mend(r.Now(), "3", "1")
	r.Do("1", func(k *core.Core, now core.Instant) { _ = k.Step(now, info[0].Msg) })
	if err := r.Run(20 * minET); err != nil {
		return err
	}
	r.Net.Heal(r.Now())
	return r.Run(10 * minET)
}

func TestSchedule23TwoBootstraps(t *testing.T) { pass(t, schedule23) }

// schedule26: the lease of 1 rests on 3 alone; a firewall makes 3 suspect 1.
func schedule26(t *testing.T, off func(*core.Core)) error {
	t.Helper()
	r := newRun(off, raftifytest.Config{Seed: 1})
	r.lead(t)
	r.cutBoth([2]core.NodeID{"1", "2"})
	if err := r.Run(4 * minET); err != nil {
		return err
	}
	if r.Holder() != "1" {
		t.Errorf("%q holds the lease, 1 did", r.Holder())
	}
	r.arm()
	r.cutBoth([2]core.NodeID{"1", "3"})
	r.Do("3", func(k *core.Core, now core.Instant) { k.Suspect(now, "1") })
	if got := r.Node("3").Core().Status().Role; got != core.RolePreCandidate {
		t.Errorf("3 is %v after a suspicion", got)
	}
	if err := r.Run(2 * minET); err != nil {
		return err
	}
	return r.demand(10 * minET)
}

func TestSchedule26StickyCandidate(t *testing.T) { pass(t, schedule26) }

// schedule27: 1 and 3 stand for one term, 1 wins it late and nobody ever acknowledges a heartbeat of it; 3 tries again
// and wins the next term well within what the lease of 1 would have been.
func schedule27(_ *testing.T, off func(*core.Core)) error {
	return seeds(20, func(seed uint64) error {
		r := newRun(off, raftifytest.Config{Seed: seed, State: inTerm4(3)})
		r.arm()
		r.cutBoth([2]core.NodeID{"1", "3"})
		r.handOver("1")
		r.handOver("3")
		r.Net.Cut("3", "2")
		granted := func(e raftifytest.Envelope[core.Message]) bool { return e.Msg.Type == core.MsgVoteResp && e.Msg.OK }
		var vote []raftifytest.Envelope[core.Message]
		if !r.RunUntil(minET, func() bool { vote = r.Net.Take(granted); return len(vote) > 0 }) {
			return r.Err()
		}
		vote[0].At = 9 * minET / 10
		r.Net.Put(vote[0])
		if !r.RunUntil(minET, func() bool { return r.Leader() == "1" }) {
			return r.Err()
		}
		r.cutBoth([2]core.NodeID{"1", "2"})
		r.Net.Mend(r.Now(), "3", "2")
		r.Net.Take(func(e raftifytest.Envelope[core.Message]) bool { return e.From == "1" })
		return r.Run(10 * minET)
	})
}

func TestSchedule27UnacknowledgedLease(t *testing.T) { pass(t, schedule27) }

// schedule28: one of three voters is dead and one has a disk of 5 MinElection. 10 MinElection are not enough for it.
func schedule28(_ *testing.T, off func(*core.Core)) error {
	return seeds(20, func(seed uint64) error {
		r := newRun(off, raftifytest.Config{Seed: seed})
		r.arm()
		r.Crash("3")
		r.Node("2").Disk.Rates = raftifytest.DiskRates{Min: 5 * minET, Max: 11 * minET / 2}
		return r.demand(200 * minET)
	})
}

func TestSchedule28SlowDisk(t *testing.T) { pass(t, schedule28) }

// schedule34: the leader is stopped, and its wall clock steps back an hour.
func schedule34(t *testing.T, off func(*core.Core)) error {
	t.Helper()
	r := newRun(off, raftifytest.Config{Seed: 1})
	r.lead(t)
	r.arm()
	if err := r.Run(5 * beat); err != nil {
		return err
	}
	r.Pause("1")
	r.Node("1").Clock.StepReal(r.Now(), -time.Hour)
	if err := r.Run(10 * minET); err != nil {
		return err
	}
	if h := r.Holder(); h == "" || h == "1" {
		t.Errorf("the lease is with %q", h)
	}
	return nil
}

func TestSchedule34ClockStepsBack(t *testing.T) { pass(t, schedule34) }

// voterCrash: a voter crashes in the moments after it gave its vote, again and again.
func voterCrash(_ *testing.T, off func(*core.Core)) error {
	return seeds(20, func(seed uint64) error {
		r := newRun(off, raftifytest.Config{Seed: seed, Disk: raftifytest.DiskRates{Min: beat / 2, Max: beat}})
		r.arm()
		granted := func(e raftifytest.Envelope[core.Message]) bool { return e.Msg.Type == core.MsgVoteResp && e.Msg.OK }
		var who core.NodeID
		r.RunUntil(10*minET, func() bool {
			for _, e := range r.Net.Take(granted) {
				who = e.From
				r.Net.Put(e)
			}
			return who != ""
		})
		if r.Err() != nil {
			return r.Err()
		}
		r.Crash(who)
		r.Start(who)
		return r.demand(10 * minET)
	})
}

func TestVoteIsDurableBeforeItIsTold(t *testing.T) { pass(t, voterCrash) }
