package explore

import (
	"errors"
	"fmt"
	"time"

	"github.com/baton-ha/baton/raftify/core"
)

// maxNodes bounds Config.Nodes: a state has a fixed number of places.
const maxNodes = 4

// Config bounds an exploration. Within these bounds everything that can happen is tried; see the package for what that
// is.
type Config struct {
	// Name is for reports.
	Name string
	// Nodes is the number of nodes, called "1", "2"...; at most 4.
	Nodes int
	// Voters of the first configuration: the first so many nodes; the others are its learners. 0: all of them.
	Voters int
	// MaxTerm ends elections: nobody stands for a term beyond it.
	MaxTerm core.Term
	// Crashes is how many times nodes crash and restart in one run, all nodes together. What is not durable is lost.
	Crashes int
	// CrashOnly, when set, is the only node that crashes or loses its disk.
	CrashOnly core.NodeID
	// InFlight bounds the writes that are under way at a node that may crash; 0: any number.
	InFlight int
	// Wipes is how many disks are replaced in one run: the node is another incarnation from then on.
	Wipes int
	// Changes are the changes of membership that a leader may make, any of them at any time, Reconfigs of them in one run.
	Changes   []core.Change
	Reconfigs int
	// Transfers is how many handovers are begun in one run, each to any other voter.
	Transfers int
	// PreVotes runs pre-votes as they are, with at most Rounds rounds of them at each node and term. Without it a node that
	// times out has its pre-vote granted by whoever it asks, whatever those think: more behaviours, fewer states.
	PreVotes bool
	Rounds   int
	// StepDowns makes a leader that gives up a state of its own. Without it a leader gives up when it stands again, or has
	// lost its quorum without knowing it: in between it can do no less than one that has given up.
	StepDowns bool
	// Timed, when not nil, has one true time that all clocks follow, and checks leases (I15).
	Timed *Timed
	// Elected begins when node 1 has won term 1 and everybody has acknowledged that, instead of at the first start.
	Elected bool
	// Limit cuts the exploration at so many states; 0: 50 million.
	Limit int
	// Asymmetric explores states that differ only in the names of nodes one by one.
	Asymmetric bool
	// OnCore, if set, is given each core at each start: negative tests switch rules off.
	OnCore func(*core.Core)
}

// Timed says how time passes: in Steps quanta of true time, between any two of which anything may happen that can.
// A node's clocks show Rate times the true time, within the drift that the timings allow for.
type Timed struct {
	Quantum time.Duration
	Steps   int
	Rates   []float64 // by node; nil: all 1
}

// timing is that of all explored cores: a drift bound so large that a lease is 0.6 of MinElection, which makes the ends
// of a lease and of a voter's faith fall together where clocks run at the bounds.
func timing() core.Timing {
	return core.Timing{
		Heartbeat: 100 * time.Millisecond, MinElection: time.Second, Drift: 0.25, Epsilon: time.Millisecond,
		MaxBackoff: 30 * time.Second,
	}
}

func (c Config) validate() error {
	var errs []error
	if c.Nodes < 1 || c.Nodes > maxNodes {
		errs = append(errs, fmt.Errorf("nodes is %d: must be within [1, %d]", c.Nodes, maxNodes))
	}
	if c.Voters < 0 || c.Voters > c.Nodes {
		errs = append(errs, fmt.Errorf("voters is %d: must be within [0, %d]", c.Voters, c.Nodes))
	}
	if c.MaxTerm < 1 || c.MaxTerm > 30 {
		errs = append(errs, fmt.Errorf("max term is %d: must be within [1, 30]", c.MaxTerm))
	}
	if c.Timed != nil && (c.Timed.Quantum <= 0 || c.Timed.Steps < 1 || c.Timed.Rates != nil && len(c.Timed.Rates) != c.Nodes) {
		errs = append(errs, errors.New("timed needs a quantum, steps, and a rate for each node or none"))
	}
	return errors.Join(errs...)
}
