//go:build faults

package nodetest

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/baton-ha/baton/node/replication"
	"github.com/baton-ha/baton/raftify/core"
)

// without returns options that switch rules of both layers off.
func without(chain []replication.Fault, election ...core.Fault) Options {
	return Options{OnStart: func(_ core.NodeID, el *core.Core, ch *replication.Chain) {
		ch.Break(chain...)
		el.Break(election...)
	}}
}

func chainRule(f ...replication.Fault) Options { return without(f) }

func driverRule(f glueFault) Options { return Options{glue: map[glueFault]bool{f: true}} }

// caught requires that the checker names one of the invariants: a panic, a time-out or a schedule that does not come
// about is no catch.
func (sc schedule) caught(t *testing.T, opt Options, want ...string) {
	t.Helper()
	if testing.Verbose() {
		opt.Trace = func(line string) { t.Log(line) }
	}
	got := sc.play(opt).broken
	for _, w := range want {
		if strings.HasPrefix(got, w+":") {
			return
		}
	}
	t.Errorf("want a violation of %v, got %q", want, got)
}

// caughtBySeeds is caught for random runs.
func caughtBySeeds(t *testing.T, opt Options, last uint64, want ...string) {
	t.Helper()
	for seed := uint64(1); seed <= last; seed++ {
		got := Run(seed, opt).Violation
		for _, w := range want {
			if strings.HasPrefix(got, w+":") {
				return
			}
		}
	}
	t.Errorf("%d seeds and no violation of %v", last, want)
}

func TestSchedule02_Negative(t *testing.T) {
	schedule{schedule2}.caught(t, chainRule(replication.FaultReconfigureEarly), "I9")
}

func TestSchedule03_Negative(t *testing.T) {
	schedule{schedule3}.caught(t, without([]replication.Fault{replication.FaultReconfigureEarly}, core.FaultPromoteBehind), "I9")
}

func TestSchedule33_Negative(t *testing.T) {
	schedule{schedule33}.caught(t, chainRule(replication.FaultInheritMatch), "I9")
}

func TestSchedule36_Negative(t *testing.T) {
	schedule{schedule36}.caught(t, chainRule(replication.FaultForgetSaid), "I9", "I8")
}

// Random runs in which a disk is restored notice that starts are not compared.
func TestRestoredDisk_Negative(t *testing.T) {
	caughtBySeeds(t, without(nil, core.FaultAnyStart), 60, "R3")
}

func TestSchedule05_Negative(t *testing.T) {
	schedule{schedule5}.caught(t, chainRule(replication.FaultEarlySync), "I7")
	schedule{schedule5Tail}.caught(t, chainRule(replication.FaultNoCut), "I7")
}

func TestSchedule06_Negative(t *testing.T) {
	schedule{schedule6}.caught(t, without([]replication.Fault{replication.FaultAckOldTerm}, core.FaultEarlyReport), "I3", "I4")
}

func TestNoSync_Negative(t *testing.T) {
	caughtBySeeds(t, chainRule(replication.FaultNoSync), 60, "I5", "I7", "I9", "I4")
}

func TestSchedule07_Negative(t *testing.T) {
	schedule{schedule7}.caught(t, chainRule(replication.FaultBestByHeight), "I5", "I9")
}

func TestSchedule08_Negative(t *testing.T) {
	schedule{schedule8}.caught(t, chainRule(replication.FaultBlindCommit), "I8")
	caughtBySeeds(t, chainRule(replication.FaultCountHolders), 60, "I7", "I4", "I9")
	caughtBySeeds(t, chainRule(replication.FaultSelfAckEarly), 60, "I10", "I9")
}

func TestSchedule10_Negative(t *testing.T) {
	schedule{schedule10}.caught(t, without(nil, core.FaultLeaseCached), "I15")
}

func TestSchedule12_Negative(t *testing.T) {
	schedule{schedule12}.caught(t, without(nil, core.FaultResumeLease), "I15")
}

func TestSchedule15_Negative(t *testing.T) {
	schedule{schedule15}.caught(t, driverRule(glueCutRot), "I4", "I9")
	caughtBySeeds(t, driverRule(glueCutRot), 60, "I4", "I9")
}

func TestSchedule16_Negative(t *testing.T) {
	schedule{schedule16}.caught(t, chainRule(replication.FaultNoWatchdog), "I14")
	schedule{schedule16Error}.caught(t, driverRule(glueRetryFsync), "I10")
}

func TestSchedule17_Negative(t *testing.T) {
	schedule{schedule17}.caught(t, chainRule(replication.FaultNoWatchdog), "I14")
}

func TestSchedule19_Negative(t *testing.T) {
	schedule{schedule19}.caught(t, chainRule(replication.FaultNoNackCut), "I14")
}

func TestSchedule20_Negative(t *testing.T) {
	schedule{schedule20}.caught(t, without(nil, core.FaultNoTakeoverLimit), "I14")
	schedule{schedule20Far}.caught(t, chainRule(replication.FaultCling), "I14")
}

func TestSchedule21_Negative(t *testing.T) {
	caughtBySeeds(t, without(nil, core.FaultNoTermAnswer), 200, "I14")
}

func TestSchedule24_Negative(t *testing.T) {
	schedule{schedule24}.caught(t, chainRule(replication.FaultWrongCTerm), "I9")
}

func TestSchedule25_Negative(t *testing.T) {
	schedule{schedule25}.caught(t, chainRule(replication.FaultNoRecheck), "I7")
}

func TestSchedule28_Negative(t *testing.T) {
	schedule{schedule28}.caught(t, without(nil, core.FaultNoBackoff), "I14")
}

func TestSchedule30_Negative(t *testing.T) {
	schedule{schedule30}.caught(t, driverRule(glueOwnCommit), "I13")
	caughtBySeeds(t, chainRule(replication.FaultReadOldCommit), 300, "I13")
}

func TestSchedule31_Negative(t *testing.T) {
	schedule{schedule31}.caught(t, driverRule(glueAnyRoot), "I17")
}

func TestSchedule37_Negative(t *testing.T) {
	schedule{schedule37}.caught(t, chainRule(replication.FaultJumpBack), "I4")
	schedule{schedule37Tip}.caught(t, driverRule(glueOfferTip), "I8", "I9")
}

// TestEverySwitchHasATwin_Negative: a rule of the chain that can be switched off and that no test misses is not tested.
// The election's own are looked after in raftify/raftifytest, but for those that need a chain to show.
func TestEverySwitchHasATwin_Negative(t *testing.T) {
	here, err := os.ReadFile("negative_test.go")
	if err != nil {
		t.Fatal(err)
	}
	src, err := os.ReadFile("../replication/faults.go")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`(?m)^\t(Fault\w+)\s+Fault = `).FindAllStringSubmatch(string(src), -1)
	if len(names) < 10 {
		t.Fatalf("found %d switches only", len(names))
	}
	want := []string{"core.Fault" + "PromoteBehind", "core.Fault" + "EarlyReport"}
	for _, m := range names {
		want = append(want, "replication."+m[1])
	}
	for _, name := range want {
		if !strings.Contains(string(here), name) {
			t.Errorf("no test breaks %s", name)
		}
	}
}
