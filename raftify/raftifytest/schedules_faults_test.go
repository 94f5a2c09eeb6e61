//go:build faults

package raftifytest_test

import (
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/baton-ha/baton/raftify/core"
	"github.com/baton-ha/baton/raftify/raftifytest"
)

// mustBreak runs a schedule with rules off and demands that the checker names one of the invariants.
func mustBreak(t *testing.T, schedule func(*testing.T, func(*core.Core)) error, invariants []string, faults ...core.Fault) {
	t.Helper()
	// What the schedule itself finds odd after a violation is not the point here.
	err := schedule(t, func(c *core.Core) { c.Break(faults...) })
	var v *raftifytest.Violation
	if !errors.As(err, &v) {
		t.Fatalf("with %v off: %v, want one of %v broken", faults, err, invariants)
	}
	if !slices.Contains(invariants, v.Invariant) {
		t.Fatalf("with %v off: %v, want one of %v broken", faults, v, invariants)
	}
	t.Log(v)
}

func TestSchedule01ClosedVote_Negative(t *testing.T) {
	all := []core.Fault{core.FaultNoClose, core.FaultNoLeaderVote, core.FaultKeepCandidacy}
	mustBreak(t, schedule1, []string{"I1"}, all...)
	// Any one of the three rules is enough.
	for i := range all {
		two := []core.Fault{all[(i+1)%3], all[(i+2)%3]}
		if err := schedule1(t, func(c *core.Core) { c.Break(two...) }); err != nil {
			t.Errorf("with %v off: %v", two, err)
		}
	}
}

func TestSchedule04SplitQuorums_Negative(t *testing.T) {
	mustBreak(t, schedule4, []string{"R14", "I1", "I15"}, core.FaultNoConfigQuorum)
}

func TestSchedule09LostDiskVotesAgain_Negative(t *testing.T) {
	mustBreak(t, schedule9, []string{"I1"}, core.FaultOldRights)
}

func TestSchedule13KickToTwo_Negative(t *testing.T) {
	mustBreak(t, schedule13, []string{"I14"}, core.FaultKickToTwo)
}

func TestSchedule14OneLinkCut_Negative(t *testing.T) {
	mustBreak(t, schedule14, []string{"R16"}, core.FaultKickReachable)
}

func TestSchedule32EverybodyWasReplaced_Negative(t *testing.T) {
	mustBreak(t, schedule32, []string{"I14"}, core.FaultJudgeFirst)
}

func TestSchedule35RestoredFolder_Negative(t *testing.T) {
	mustBreak(t, schedule35, []string{"R3", "I1", "I2"}, core.FaultAnyStart)
	mustBreak(t, schedule35, []string{"R3"}, core.FaultNoStaleAnswer)
	mustBreak(t, restoredVote, []string{"R3"}, core.FaultNoAsking)
}

func TestUnsafeChange_Negative(t *testing.T) {
	mustBreak(t, unsafeChange, []string{"I14"}, core.FaultUnsafeChange)
	mustBreak(t, leaveBesideDeath, []string{"I14"}, core.FaultUnsafeChange)
}

func TestMachineStandsStill_Negative(t *testing.T) {
	mustBreak(t, standStill, []string{"R18"}, core.FaultNoPatience)
}

func TestSchedule10SleepingLeader_Negative(t *testing.T) {
	mustBreak(t, schedule10, []string{"I15"}, core.FaultLeaseMonoOnly)
	mustBreak(t, schedule10, []string{"I15"}, core.FaultLeaseCached)
}

func TestSchedule11RestartInsideTheLease_Negative(t *testing.T) {
	mustBreak(t, schedule11, []string{"I15"}, core.FaultForgetContact)
}

func TestSchedule12LateTimeoutNow_Negative(t *testing.T) {
	mustBreak(t, schedule12, []string{"I15"}, core.FaultResumeLease)
}

func TestSchedule18RejectedConnections_Negative(t *testing.T) {
	mustBreak(t, schedule18, []string{"I15"}, core.FaultSuspectLifts)
}

func TestSchedule29NoticeOfAnotherStart_Negative(t *testing.T) {
	mustBreak(t, schedule29, []string{"I15"}, core.FaultAnyBoot)
}

func TestSchedule20TakeoverThatNeverEnds_Negative(t *testing.T) {
	mustBreak(t, schedule20, []string{"I14"}, core.FaultNoTakeoverLimit)
}

func TestSchedule21LowerTermsAreAnswered_Negative(t *testing.T) {
	mustBreak(t, schedule21, []string{"I14"}, core.FaultNoTermAnswer)
}

func TestSchedule22Chained_Negative(t *testing.T) {
	mustBreak(t, schedule22chained, []string{"I15"}, core.FaultNoSticky)
}

func TestSchedule22QuorumLoss_Negative(t *testing.T) {
	mustBreak(t, schedule22quorumLoss, []string{"I14"}, core.FaultNoQuorumCheck)
}

func TestSchedule22DeafLeader_Negative(t *testing.T) {
	mustBreak(t, schedule22deaf, []string{"I14"}, core.FaultNoQuorumCheck)
}

func TestSchedule23TwoBootstraps_Negative(t *testing.T) {
	mustBreak(t, schedule23, []string{"I1"}, core.FaultBootTwice)
}

func TestSchedule26StickyCandidate_Negative(t *testing.T) {
	mustBreak(t, schedule26, []string{"I15"}, core.FaultSelfSticky)
}

func TestSchedule27UnacknowledgedLease_Negative(t *testing.T) {
	mustBreak(t, schedule27, []string{"I15"}, core.FaultLeaseUnacked)
}

func TestSchedule28SlowDisk_Negative(t *testing.T) {
	mustBreak(t, schedule28, []string{"I14"}, core.FaultNoBackoff)
}

func TestSchedule34ClockStepsBack_Negative(t *testing.T) {
	mustBreak(t, schedule34, []string{"I15"}, core.FaultLeaseRealOnly)
}

func TestVoteIsDurableBeforeItIsTold_Negative(t *testing.T) {
	mustBreak(t, voterCrash, []string{"I2"}, core.FaultNoPersist)
	mustBreak(t, voterCrash, []string{"I2"}, core.FaultNoVotePersist)
}

// TestTwoVotes_Negative: random faults find it.
func TestTwoVotes_Negative(t *testing.T) {
	for seed := uint64(1); seed <= 50; seed++ {
		_, err := raftifytest.RunSeed(seed, nil, func(c *core.Core) { c.Break(core.FaultTwoVotes) })
		if v, ok := errors.AsType[*raftifytest.Violation](err); ok {
			if v.Invariant != "I2" {
				t.Errorf("seed %d: %v, want I2", seed, v)
			}
			t.Log(v)
			return
		}
	}
	t.Error("no seed noticed that nodes vote twice")
}

// TestEverySwitchHasATwin: a rule that can be switched off and that no test misses is not tested.
func TestEverySwitchHasATwin(t *testing.T) {
	src, err := os.ReadFile("../core/faults.go")
	if err != nil {
		t.Fatal(err)
	}
	here, err := os.ReadFile("schedules_faults_test.go")
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := map[string]string{
		"FaultPromoteBehind": "elections alone have nothing to catch up with: the simulator of the chain",
		"FaultEarlyReport":   "elections alone have no report: the simulator of the chain",
	}
	names := regexp.MustCompile(`(?m)^\t(Fault\w+)\s+Fault = `).FindAllStringSubmatch(string(src), -1)
	if len(names) < 15 {
		t.Fatalf("found %d switches only", len(names))
	}
	for _, m := range names {
		if elsewhere[m[1]] == "" && !strings.Contains(string(here), "core."+m[1]) {
			t.Errorf("no test breaks %s", m[1])
		}
	}
}
