package wire

import "github.com/baton-ha/baton/blockstore/block"

// State is the role of a node in the election.
type State string

// States of a node.
const (
	StateLeader       State = "leader"
	StateFollower     State = "follower"
	StatePreCandidate State = "pre_candidate"
	StateCandidate    State = "candidate"
	StateLearner      State = "learner"
)

// Status is what a node knows about itself and its cluster. Height, tip hash and state root are those of the newest
// final block.
type Status struct {
	ID     string       `json:"id"`
	State  State        `json:"state"`
	Term   uint64       `json:"term"`
	Leader string       `json:"leader"` // empty when none is known
	Height block.Height `json:"height"`
	// Base is the lowest height from which on all blocks are here; 0 or 1: all there are. A node that took a state over
	// fills in what is below while it works.
	Base         block.Height `json:"base"`
	TipHash      block.Hash   `json:"tip_hash"`
	StateRoot    block.Hash   `json:"state_root"`
	ChainID      string       `json:"chain_id"`
	ChainVersion string       `json:"chain_version"`
	CodeVersion  string       `json:"code_version"`
	Members      []Member     `json:"members"`
	// ConfigVersion is the version of the membership.
	ConfigVersion uint64 `json:"config_version"`
	// Quorum is how many voters are a majority.
	Quorum int `json:"quorum"`
	// LeaseMs is what is left of this node's own lease in milliseconds, rounded down at the moment of answering; 0 unless
	// it leads.
	LeaseMs int64 `json:"lease_ms"`
	// Syncing is set while the node fetches blocks that it lacks, or takes the state of other nodes over; then Sync says how
	// far that is.
	Syncing bool        `json:"syncing"`
	Sync    *SyncStatus `json:"sync,omitempty"`
	// PID is the worker's process id, SupervisorPID its supervisor's, 0 without one.
	PID           int `json:"pid"`
	SupervisorPID int `json:"supervisor_pid"`
	// Health is "ok", or why this node should not lead; then it leads only while no other can.
	Health string `json:"health"`
	// Invited are ids that may join and have not yet, Removed those that may not join until they are added again.
	Invited []string `json:"invited,omitempty"`
	Removed []string `json:"removed,omitempty"`
}

// SyncStatus is how far a node is with taking over the state of a block.
type SyncStatus struct {
	Height         block.Height `json:"height"`
	Done           float64      `json:"done"` // 0 to 1
	Bytes          uint64       `json:"bytes"`
	Pieces         uint64       `json:"pieces"`
	BytesPerSecond int64        `json:"bytes_per_second"`
	RemainingMs    int64        `json:"remaining_ms"` // 0 while that cannot be told
}

// Member is one node of the cluster as another one sees it.
type Member struct {
	ID     string       `json:"id"`
	Voter  bool         `json:"voter"`
	Alive  bool         `json:"alive"`
	Height block.Height `json:"height"`
	// Held is set when the node left: it stays a learner until somebody promotes it.
	Held bool `json:"held,omitempty"`
}

// Health is the body of the 200 answers of /healthz ("ok") and /readyz ("ready").
type Health struct {
	Status string `json:"status"`
}

// Leader is the answer of GET /leader, both of the API (200 only on the node that leads) and of the admin socket.
type Leader struct {
	// Leader is the id of the leader that the answering node knows of, empty when it knows none.
	Leader string `json:"leader"`
	Term   uint64 `json:"term"`
	// LeaseMs is what is left of the answering node's own lease, 0 unless it leads.
	LeaseMs int64 `json:"lease_ms"`
}

// Members is the answer of the admin socket's GET /members.
type Members struct {
	Members       []Member `json:"members"`
	ConfigVersion uint64   `json:"config_version"`
	Quorum        int      `json:"quorum"`
	Invited       []string `json:"invited,omitempty"` // may join and have not yet
	Removed       []string `json:"removed,omitempty"` // may not join until they are added again
}

// MembersOf picks the members out of a status.
func MembersOf(s Status) Members {
	m := Members{
		Members: s.Members, ConfigVersion: s.ConfigVersion, Quorum: s.Quorum, Invited: s.Invited, Removed: s.Removed,
	}
	if m.Members == nil {
		m.Members = []Member{}
	}
	return m
}

// What a MemberRequest may ask for.
const (
	MemberAdd     = "add"     // let a node join, or come back that was removed
	MemberRemove  = "remove"  // take a member out, at once, or an invitation back
	MemberPromote = "promote" // make a learner that has caught up a voter
	MemberLeave   = "leave"   // make a voter a learner until somebody promotes it
)

// MemberRequest is the body of the admin socket's POST /members.
type MemberRequest struct {
	Op string `json:"op"`
	// ID is the member; empty means the node that is asked.
	ID string `json:"id"`
	// Of add: the node's public key in hex, and the addresses of its gossip and its peer link. Without PeerAddr the peer
	// link is taken to be on the port after the gossip's. All empty: what the leader's config file or an earlier add says.
	Key      string `json:"key,omitempty"`
	Addr     string `json:"addr,omitempty"`
	PeerAddr string `json:"peer_addr,omitempty"`
	// Force is for what is possible and hardly ever meant.
	Force bool `json:"force,omitempty"`
}

// TransferRequest is the body of the admin socket's POST /leader/transfer.
type TransferRequest struct {
	// To is the id of the node that is to lead; empty lets the leader choose the best one.
	To string `json:"to"`
}
