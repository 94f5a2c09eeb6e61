//go:build faults

package explore_test

import (
	"strings"
	"testing"

	"github.com/baton-ha/baton/raftify/core"
	"github.com/baton-ha/baton/raftify/raftifytest/explore"
)

// twin is an exploration with rules switched off, and the invariants of which it must find one broken.
type twin struct {
	config string
	off    []core.Fault
	want   []string
}

var twins = []twin{
	{"two terms", []core.Fault{core.FaultTwoVotes}, []string{"I1", "I2", "I4"}},
	{"one term, one crash", []core.Fault{core.FaultNoPersist}, []string{"I2", "I4"}},
	{"one term, one crash", []core.Fault{core.FaultNoVotePersist}, []string{"I2", "I4"}},
	{"one term, one crash", []core.Fault{core.FaultEarlyReport}, []string{"I4", "I5"}},
	{"second term, a disk replaced", []core.Fault{core.FaultOldRights}, []string{"I1", "I2"}},
	{"one term, a voter removed", []core.Fault{core.FaultNoConfigQuorum}, []string{"R14"}},
	{"leases", []core.Fault{core.FaultNoSticky}, []string{"I15"}},
	{"leases", []core.Fault{core.FaultLeaseCached}, []string{"I15"}},
	{"leases, a crash of a follower", []core.Fault{core.FaultForgetContact}, []string{"I15"}},
	{"leases, a handover", []core.Fault{core.FaultResumeLease}, []string{"I15"}},
}

// TestExplore_Negative: with a rule switched off the exploration finds what it was for, and says how it comes about.
func TestExplore_Negative(t *testing.T) {
	for _, w := range twins {
		t.Run(string(w.off[0]), func(t *testing.T) {
			t.Parallel()
			for _, cfg := range append(explore.Configs(), explore.Deep()...) {
				if cfg.Name != w.config {
					continue
				}
				cfg.OnCore = func(c *core.Core) { c.Break(w.off...) }
				r, err := explore.Run(cfg, nil)
				if err != nil {
					t.Fatal(err)
				}
				broken, _, _ := strings.Cut(r.Violation, ":")
				for _, x := range w.want {
					if broken == x && len(r.Trace) > 0 {
						t.Logf("%v\n%s", r, strings.Join(r.Trace, "\n"))
						return
					}
				}
				t.Fatalf("with %v off: %v, want one of %v broken", w.off, r, w.want)
			}
			t.Fatalf("no configuration %q", w.config)
		})
	}
}
