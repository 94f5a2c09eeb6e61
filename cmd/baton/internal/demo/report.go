package demo

import (
	"math"
	"slices"
	"time"
)

// Report is the outcome of a run. Times are milliseconds; those of events count from the start of the run.
type Report struct {
	// OK is set when everything that was promised was kept. Otherwise Problems says what was not.
	OK       bool     `json:"ok"`
	Problems []string `json:"problems"`

	ChainID  string `json:"chain_id"`
	Nodes    int    `json:"nodes"`
	Clients  int    `json:"clients"`
	BasePort int    `json:"base_port"`
	// Dir is where the cluster's files are, "" when they were removed.
	Dir string `json:"dir"`

	// TrafficMs is how long payments were made.
	TrafficMs    float64      `json:"traffic_ms"`
	Transactions Transactions `json:"transactions"`
	LatencyMs    Latency      `json:"latency_ms"`
	// LongestPauseMs is the longest time without any acknowledgement.
	LongestPauseMs float64    `json:"longest_pause_ms"`
	Failovers      []Failover `json:"failovers"`
	// LeaderChangesWithoutFault counts the terms that were led beyond the first and those that followed a kill.
	LeaderChangesWithoutFault int `json:"leader_changes_without_fault"`

	Chains         []*Chain `json:"chains"`
	OneChain       bool     `json:"one_chain"`
	MoneyConserved bool     `json:"money_conserved"`
	NoncesAgree    bool     `json:"nonces_agree"`
	// FoldersGood says that the data folders were read after the nodes had stopped and nothing was wrong.
	FoldersGood bool `json:"folders_good"`
	// LogErrors are the lines of the nodes' logs that tell of an error. They are no failure by themselves.
	LogErrors []string `json:"log_errors"`
	Events    []Event  `json:"events"`
}

// Transactions counts payments.
type Transactions struct {
	Acknowledged int     `json:"acknowledged"`
	PerSecond    float64 `json:"per_second"`
	// Lost were acknowledged and are missing on a node; Duplicated stand twice; Misplaced stand elsewhere than their
	// receipt says; Strangers stand in a block and were never acknowledged, though every outcome is known.
	Lost       int `json:"lost"`
	Duplicated int `json:"duplicated"`
	Misplaced  int `json:"misplaced"`
	Strangers  int `json:"strangers"`
}

// Latency is from sending a payment to having its receipt.
type Latency struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// Failover is one killed leader.
type Failover struct {
	AtMs   float64 `json:"at_ms"`
	Killed string  `json:"killed"`
	// Supervisor is set when the node's supervisor was killed with it, so that nobody told the others.
	Supervisor bool   `json:"supervisor"`
	Leader     string `json:"leader"` // who leads after it
	Term       uint64 `json:"term"`
	// LeaderMs is from the kill until the new leader was seen to hold a lease, asked every 40 ms, or to acknowledge.
	LeaderMs float64 `json:"leader_ms"`
	// GapMs is from the kill to the first acknowledgement of a payment that was sent after it.
	GapMs float64 `json:"gap_ms"`
	// PauseMs is the longest time without any acknowledgement around it.
	PauseMs float64 `json:"pause_ms"`
	// CaughtUpMs is until the killed node was level and ready again: from the kill, or when its supervisor was killed as
	// well from starting it again.
	CaughtUpMs float64 `json:"caught_up_ms"`
}

// Event is one line of what happened.
type Event struct {
	AtMs float64 `json:"at_ms"`
	Text string  `json:"text"`
}

func newReport(o Options) *Report {
	return &Report{
		Nodes: o.Nodes, Clients: o.Clients,
		Problems: []string{}, Failovers: []Failover{}, LogErrors: []string{}, Events: []Event{},
	}
}

func ms(d time.Duration) float64 { return math.Round(float64(d)/float64(time.Microsecond)) / 1000 }

// measure fills in what follows from the payments of an ended traffic that began at begin.
func (r *Report) measure(t *traffic, begin, end time.Time) {
	var took []time.Duration
	for _, a := range t.accounts {
		for _, p := range a.payments {
			took = append(took, p.acked.Sub(p.sent))
		}
	}
	slices.Sort(took)
	r.TrafficMs = ms(end.Sub(begin))
	r.Transactions.Acknowledged = len(took)
	if d := end.Sub(begin).Seconds(); d > 0 {
		r.Transactions.PerSecond = math.Round(float64(len(took))/d*10) / 10
	}
	r.LatencyMs = Latency{P50: ms(percentile(took, 50)), P99: ms(percentile(took, 99)), Max: ms(percentile(took, 100))}
	r.LongestPauseMs = ms(t.longestPause(begin, end))
}

// percentile returns the smallest value that p percent of the sorted values do not exceed, 0 of none.
func percentile(sorted []time.Duration, p int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, (len(sorted)*p+99)/100-1)]
}

// judge fills in what an audit found.
func (r *Report) judge(v *verdict) {
	r.Transactions.Lost, r.Transactions.Duplicated = v.lost, v.duplicated
	r.Transactions.Misplaced, r.Transactions.Strangers = v.misplaced, v.strangers
	r.Chains, r.OneChain = v.chains, v.oneChain
	r.MoneyConserved, r.NoncesAgree = !v.wrongBalance, !v.wrongNonce
	r.Problems = append(r.Problems, v.problems...)
}
