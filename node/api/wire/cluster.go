package wire

import "github.com/baton-ha/baton/blockstore/block"

// Cluster is the whole cluster as one node sees it: what it knows itself, and what the others said when it asked last.
type Cluster struct {
	// Node is the id of the node that answers.
	Node string `json:"node"`
	// Time is that node's clock, Unix milliseconds.
	Time         int64        `json:"time"`
	ChainID      string       `json:"chain_id"`
	ChainVersion string       `json:"chain_version"`
	Term         uint64       `json:"term"`
	Leader       string       `json:"leader"` // empty when none is known, or none has taken over yet
	Height       block.Height `json:"height"`
	TipHash      block.Hash   `json:"tip_hash"`
	StateRoot    block.Hash   `json:"state_root"`
	// LeaseFullMs is how long a lease lasts that was renewed just now, in milliseconds; 0 where leases are off.
	LeaseFullMs   int64           `json:"lease_full_ms"`
	ConfigVersion uint64          `json:"config_version"`
	Quorum        int             `json:"quorum"`
	Members       []ClusterMember `json:"members"` // by id
	// Invited and Removed as in [Status].
	Invited []string `json:"invited,omitempty"`
	Removed []string `json:"removed,omitempty"`
}

// ClusterMember is one node of a [Cluster].
type ClusterMember struct {
	ID    string `json:"id"`
	Voter bool   `json:"voter"`
	Alive bool   `json:"alive"`
	Held  bool   `json:"held,omitempty"`
	// HeardMs is how long ago the node told what follows, in milliseconds: 0 for the one that answers, -1 when it never
	// did. All that follows is zero then.
	HeardMs int64 `json:"heard_ms"`
	// RTTMicros is how long question and answer took, in microseconds.
	RTTMicros int64 `json:"rtt_us"`
	NodeReport
	// Lag is how many final blocks the node is behind the leader, as far as that can be known.
	Lag block.Height `json:"lag"`
}

// NodeReport is what a node tells of itself to the others.
type NodeReport struct {
	State  State        `json:"state"` // empty: not known
	Term   uint64       `json:"term"`
	Leader string       `json:"leader"`
	Height block.Height `json:"height"` // newest final block
	Tip    block.Height `json:"tip"`    // newest block of its own chain, final or not
	// LeaseMs is what was left of its own lease when it told.
	LeaseMs int64 `json:"lease_ms"`
	Syncing bool  `json:"syncing"`
	Ready   bool  `json:"ready"`
	// Health as in [Status].
	Health   string `json:"health"`
	UptimeMs int64  `json:"uptime_ms"`
	// API is where its own API is, as far as it knows; empty before it listens.
	API string `json:"api"`
}

// Leaders is who led when, as one node saw it since its start: the answer of GET /v1/leaders.
type Leaders struct {
	// Node is the id of the node that saw it.
	Node string `json:"node"`
	// Time is that node's clock, Unix milliseconds.
	Time int64 `json:"time"`
	// Spans follow each other without a gap, the oldest first; the last one goes on.
	Spans []LeaderSpan `json:"spans"`
	// Dropped is how many older spans were forgotten.
	Dropped uint64 `json:"dropped"`
}

// LeaderSpan is a time in which one leader was known for one term, or none.
type LeaderSpan struct {
	// Leader is empty when none was known.
	Leader string `json:"leader"`
	// Term is the leader's, without a leader the highest one seen.
	Term uint64 `json:"term"`
	// From is when it began by the node's clock, Unix milliseconds.
	From int64 `json:"from"`
	// Micros is how long it lasted, in microseconds, on a clock that is never set.
	Micros int64 `json:"us"`
}

// Recent is the newest of the chain, the newest first: the answer of GET /v1/recent.
type Recent struct {
	Height       block.Height  `json:"height"`
	Blocks       []*BlockEvent `json:"blocks"`
	Transactions []RecentTx    `json:"transactions"`
}

// RecentTx is a transaction in short.
type RecentTx struct {
	Hash   block.Hash   `json:"hash"`
	Height block.Height `json:"height"`
	Index  uint32       `json:"index"`
	Time   int64        `json:"time"` // its block's, Unix milliseconds
	// Payload is the beginning of the payload, PayloadBytes the length of all of it.
	Payload      string `json:"payload"`
	PayloadBytes int    `json:"payload_bytes"`
}
