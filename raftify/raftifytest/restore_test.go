package raftifytest_test

import (
	"errors"
	"testing"

	"github.com/baton-ha/baton/raftify/core"
	"github.com/baton-ha/baton/raftify/raftifytest"
)

// oldFolder is a cluster of three in which 3 is about to start from a backup of its folder: since it was made 3 has started
// once more, and voted for 2, which leads without 1.
func oldFolder(t *testing.T, off func(*core.Core)) *run {
	t.Helper()
	r := newRun(off, raftifytest.Config{Seed: 1, Membership: automatic(3)})
	r.lead(t)
	r.Crash("3")
	r.Backup("3")
	r.Start("3")
	if err := r.Run(2 * minET); err != nil {
		t.Fatal(err)
	}
	r.cutBoth([2]core.NodeID{"1", "2"}, [2]core.NodeID{"1", "3"})
	if !r.RunUntil(20*minET, func() bool { return r.Holder() == "2" || r.Holder() == "3" }) {
		t.Fatalf("nobody leads: %v", r.Err())
	}
	if r.Holder() == "3" {
		r.Do("3", func(k *core.Core, now core.Instant) { _ = k.Transfer(now, "2") })
		if !r.RunUntil(5*minET, func() bool { return r.Holder() == "2" }) {
			t.Fatalf("2 does not lead: %v", r.Err())
		}
	}
	r.Crash("3")
	r.Restore("3")
	return r
}

// schedule35: 1, cut off from 2, wants the vote of 3 for a term that 3 has voted in. 1 remembers that 3 has started since
// the backup.
func schedule35(t *testing.T, off func(*core.Core)) error {
	t.Helper()
	r := oldFolder(t, off)
	r.arm()
	r.armStarts()
	r.Net.Mend(r.Now(), "1", "3")
	r.Net.Mend(r.Now(), "3", "1")
	r.cutBoth([2]core.NodeID{"2", "3"})
	r.Start("3")
	if err := r.Run(10 * minET); err != nil {
		return err
	}
	if r.Node("3").Up() {
		r.Checker.Fail(r.Now(), "R3", "3 runs on its old folder")
	}
	return r.Err()
}

// TestSchedule35RestoredFolder: it is found, never starts again, and an empty one joins.
func TestSchedule35RestoredFolder(t *testing.T) {
	pass(t, schedule35)
	r := oldFolder(t, nil)
	r.Start("3")
	if !r.RunUntil(minET, func() bool { return !r.Node("3").Up() }) {
		t.Fatalf("3 runs on its old folder: %v", r.Err())
	}
	hs := r.Node("3").Durable()
	if _, err := core.New(core.Options{State: hs, Timing: core.DefaultTiming(1)}); !errors.Is(err, core.ErrStaleFolder) {
		t.Errorf("the next start: %v", err)
	}
	r.Net.Heal(r.Now())
	r.LoseDisk("3")
	r.Start("3")
	r.untilVoters(t, 40*minET, "1", "2", "3")
}

// restoredVote: 1 has forgotten all, 2 remembers; and 1 wants a vote of 3 at once, as in a handover, which does not wait
// for MinElection. 3 has to ask first.
func restoredVote(t *testing.T, off func(*core.Core)) error {
	t.Helper()
	r := oldFolder(t, off)
	r.Crash("1")
	r.Start("1")
	r.Net.Mend(r.Now(), "1", "3")
	r.Net.Mend(r.Now(), "3", "1")
	r.armStarts()
	r.Start("3")
	term := r.Node("3").Core().Status().Term
	cfg := r.Node("1").Core().Status().Cfg
	for range 20 {
		if !r.Node("3").Up() {
			return r.Err()
		}
		m := core.Message{Type: core.MsgVote, TransferOf: term, Cfg: &cfg}
		m.Header = r.Node("1").Core().Header("3")
		m.Term = term + 1
		r.Do("3", func(k *core.Core, now core.Instant) { _ = k.Step(now, m) })
		if err := r.Run(beat / 8); err != nil {
			return err
		}
	}
	r.Checker.Fail(r.Now(), "R3", "3 runs on its old folder")
	return r.Err()
}

func TestRestoredFolderAsksBeforeItVotes(t *testing.T) { pass(t, restoredVote) }

// TestCopiedFolder: another machine starts with a copy of a folder whose node runs. Where it is heard the first gives up.
func TestCopiedFolder(t *testing.T) {
	r := newRun(nil, raftifytest.Config{Seed: 1, Membership: automatic(3)})
	r.lead(t)
	copied := r.Node("3").Core().Header("1")
	copied.Boot, copied.Session = copied.Boot+1, copied.Session+1
	r.Checker.Restored(copied.Inc) // either of them has less than both
	r.Do("1", func(k *core.Core, now core.Instant) {
		if err := k.Step(now, core.Message{Type: core.MsgPing, Header: copied}); err != nil {
			t.Error(err)
		}
	})
	if !r.RunUntil(minET, func() bool { return r.Count["restored folder found"] == 1 }) {
		t.Errorf("3 does not give up: %v", r.Err())
	}
	if err := r.Err(); err != nil {
		t.Error(err)
	}
}
