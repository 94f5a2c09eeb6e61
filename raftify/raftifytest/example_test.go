package raftifytest_test

import (
	"fmt"
	"time"

	"github.com/baton-ha/baton/raftify"
	"github.com/baton-ha/baton/raftify/core"
	"github.com/baton-ha/baton/raftify/raftifytest"
)

// register stands for something outside the cluster that two leaders would spoil. It turns away whoever was replaced.
type register struct {
	term   core.Term
	writes int
}

func (r *register) write(t core.Term) error {
	if t < r.term {
		return fmt.Errorf("term %d writes after term %d", t, r.term)
	}
	r.term = t
	r.writes++
	return nil
}

// writer is an embedder's application: it writes to the register when it begins to lead.
type writer struct {
	raftify.BasicHook
	reg *register
	bad *error
}

func (w *writer) TakeoverDurable(now core.Instant, term core.Term) {
	if err := w.reg.write(term); err != nil {
		*w.bad = err
	}
	w.BasicHook.TakeoverDurable(now, term)
}

// An embedder tests its own hook under faults: here crashes of leaders, a network that loses and repeats messages, and
// pauses, for a minute of simulated time in some milliseconds of real time. A failure is replayed by its seed.
func Example() {
	var reg register
	var bad error
	c := raftifytest.NewCluster(raftifytest.Config{
		Seed: 7, Nodes: 3,
		Net:  raftifytest.NetRates{Loss: 0.05, Dup: 0.05, MinDelay: time.Millisecond, MaxDelay: 10 * time.Millisecond},
		Hook: func(core.NodeID) core.Hook { return &writer{reg: &reg, bad: &bad} },
	})
	c.Inject(raftifytest.Faults{Crash: 0.3, Pause: 0.3}, time.Minute)
	if err := c.Run(time.Minute); err != nil { // the election's own invariants, checked after each step
		fmt.Println(err)
	}
	if err := c.Settle(); err != nil { // and that it comes back once the faults end
		fmt.Println(err)
	}
	fmt.Println(bad, reg.writes > 5, c.Holder() != "")
	// Output: <nil> true true
}
