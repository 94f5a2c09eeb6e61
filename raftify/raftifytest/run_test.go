package raftifytest_test

import (
	"os"
	"testing"
	"time"

	"github.com/baton-ha/baton/raftify/core"
	"github.com/baton-ha/baton/raftify/raftifytest"
)

const (
	minET = 200 * time.Millisecond // of core.DefaultTiming(1)
	beat  = 40 * time.Millisecond
)

type run struct {
	*raftifytest.Cluster
	off   func(*core.Core)
	armed bool
}

// newRun starts a cluster with all rules on.
func newRun(off func(*core.Core), cfg raftifytest.Config) *run {
	r := &run{off: off}
	if *traceFlag {
		cfg.Trace = os.Stderr
	}
	cfg.OnCore = func(k *core.Core) {
		if r.armed && off != nil {
			off(k)
		}
	}
	r.Cluster = raftifytest.NewCluster(cfg)
	return r
}

// arm switches the rules off in all cores; armStarts in those that start from now on.
func (r *run) arm() {
	r.armed = true
	for _, n := range r.Nodes() {
		if n.Up() && r.off != nil {
			r.off(n.Core())
		}
	}
}

func (r *run) armStarts() { r.armed = true }

// lead runs until 1 leads with a lease.
func (r *run) lead(t *testing.T) {
	t.Helper()
	const id = core.NodeID("1")
	if !r.RunUntil(20*minET, func() bool { return r.Holder() != "" }) {
		t.Fatalf("no leader to begin with: %v", r.Err())
	}
	if err := r.Run(5 * beat); err != nil {
		t.Fatal(err)
	}
	if r.Holder() != id {
		r.Do(r.Holder(), func(k *core.Core, now core.Instant) {
			if err := k.Transfer(now, id); err != nil {
				t.Fatal(err)
			}
		})
	}
	if !r.RunUntil(10*minET, func() bool { return r.Holder() == id }) {
		t.Fatalf("%s does not lead: %v", id, r.Err())
	}
	if err := r.Run(5 * beat); err != nil {
		t.Fatal(err)
	}
}

// demand fails I14 if nobody leads with a lease within limit.
func (r *run) demand(limit time.Duration) error {
	if !r.RunUntil(limit, func() bool { return r.Holder() != "" }) && r.Err() == nil {
		r.Checker.Fail(r.Now(), "I14", "no leader within %v", limit)
	}
	return r.Err()
}

func (r *run) cutBoth(pairs ...[2]core.NodeID) {
	for _, p := range pairs {
		r.Net.CutBoth(p[0], p[1])
	}
}

// seeds runs one over some seeds, for schedules that need a draw to fall well.
func seeds(n uint64, one func(seed uint64) error) error {
	for seed := range n {
		if err := one(seed + 1); err != nil {
			return err
		}
	}
	return nil
}

func pass(t *testing.T, schedule func(t *testing.T, off func(*core.Core)) error) {
	t.Helper()
	if err := schedule(t, nil); err != nil {
		t.Error(err)
	}
}

// demandOf fails I14 if id does not hold the lease within limit.
func (r *run) demandOf(id core.NodeID, limit time.Duration) error {
	if !r.RunUntil(limit, func() bool { return r.Holder() == id }) && r.Err() == nil {
		r.Checker.Fail(r.Now(), "I14", "%s does not lead within %v", id, limit)
	}
	return r.Err()
}

// stuckApp is an application that cannot take over on the node that wins first. It never tells of a commit.
type stuckApp struct {
	core.BasicHook
	id    core.NodeID
	stuck *core.NodeID
}

func (a *stuckApp) HeartbeatAttachment() []byte { return nil }

func (a *stuckApp) TakeoverDurable(_ core.Instant, term core.Term) {
	a.Command(core.Command{Kind: core.CmdTakeoverDone, Term: term})
}

func (a *stuckApp) Elected(now core.Instant, term core.Term, reports []core.Report) {
	if *a.stuck == "" {
		*a.stuck = a.id
	}
	if *a.stuck != a.id {
		a.BasicHook.Elected(now, term, reports)
	}
}

// inTerm4 is the state of n voters in term 4.
func inTerm4(n int) func(id core.NodeID) core.HardState {
	var ms []core.Member
	for _, x := range "12345"[:n] {
		ms = append(ms, core.Member{ID: core.NodeID(x), Inc: core.Inc{byte(x)}, Voter: true})
	}
	cfg := core.NewConfig(core.CfgKey{CTerm: 4, Ver: 1}, ms)
	return func(id core.NodeID) core.HardState {
		return core.HardState{ID: id, Inc: core.Inc{id[0]}, Term: 4, Vote: core.Vote{Kind: core.VoteNone}, Cfg: cfg, ClusterID: cfg.Hash()}
	}
}

// step hands a node a message as if from another.
func (r *run) step(from, to core.NodeID, m core.Message) {
	m.Header = r.Node(from).Core().Header(to)
	r.Do(to, func(k *core.Core, now core.Instant) { _ = k.Step(now, m) })
}

// handOver has a node campaign at once, on behalf of 2, which it takes for its leader.
func (r *run) handOver(to core.NodeID) {
	r.step("2", to, core.Message{Type: core.MsgHB, Seq: 1})
	r.step("2", to, core.Message{Type: core.MsgTimeoutNow})
}
