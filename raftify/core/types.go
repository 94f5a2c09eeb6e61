package core

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"time"
)

// Term numbers elections. Zero means "before the first election".
type Term uint64

// NodeID names a node. It is unique in the cluster and outlives the node's disk (see Inc).
type NodeID string

// Inc is a node's incarnation: 128 random bits that are made together with its data folder. A node that comes back
// with an empty disk has another one, and none of the rights of the old.
type Inc [16]byte

// String returns the first four bytes in hex, enough to tell incarnations apart in a log.
func (i Inc) String() string { return hex.EncodeToString(i[:4]) }

// ClusterID is the hash of the cluster's first configuration (PROTOCOL R26).
type ClusterID [32]byte

// String returns the first four bytes in hex.
func (c ClusterID) String() string { return hex.EncodeToString(c[:4]) }

// Instant is one reading of the driver's three clocks, in nanoseconds since an arbitrary origin that stays fixed for
// the life of the process. Mono stops while the machine sleeps, Boot does not, Real may be stepped by an operator.
type Instant struct {
	Mono, Boot, Real int64
}

// SinceMax is the longest time that any of the clocks says has passed since earlier; never negative. Leaders use it:
// a lease that is thought older than it is does no harm (PROTOCOL R21).
func (t Instant) SinceMax(earlier Instant) time.Duration {
	return time.Duration(max(t.Mono-earlier.Mono, t.Boot-earlier.Boot, t.Real-earlier.Real, 0))
}

// SinceMin is the shorter of the monotonic and the boot clock's elapsed time since earlier; never negative.
// Followers use it: a promise that is kept too long does no harm (PROTOCOL R21).
func (t Instant) SinceMin(earlier Instant) time.Duration {
	return time.Duration(max(min(t.Mono-earlier.Mono, t.Boot-earlier.Boot), 0))
}

// VoteKind says what a node has done with its one vote of a term.
type VoteKind uint8

// The kinds of a vote. Closed means that the node learned of the term's leader or configuration without knowing whom
// it would have voted for: it will vote for nobody in this term (PROTOCOL R11, R15).
const (
	VoteNone VoteKind = iota + 1
	VoteFor
	VoteClosed
)

// Vote is the durable vote of the current term.
type Vote struct {
	Kind VoteKind
	ID   NodeID // set for VoteFor
}

// String returns "none", "closed" or the id voted for.
func (v Vote) String() string {
	switch v.Kind {
	case VoteFor:
		return string(v.ID)
	case VoteClosed:
		return "closed"
	case VoteNone:
		return "none"
	}
	return "invalid"
}

// Member is one node of a configuration.
type Member struct {
	ID    NodeID
	Inc   Inc
	Addr  string // host:port of the election transport
	Voter bool   // false: learner
}

// CfgKey orders configurations: first by the term of the leader that installed it, then by version.
type CfgKey struct {
	CTerm Term
	Ver   uint64
}

// Compare returns -1, 0 or +1.
func (k CfgKey) Compare(o CfgKey) int {
	return cmp.Or(cmp.Compare(k.CTerm, o.CTerm), cmp.Compare(k.Ver, o.Ver))
}

// Config is a membership. Ver 0 is "no configuration yet". Members and Pins are sorted by ID; the slices are never
// modified once the Config has been handed to the core, so copies may share them.
type Config struct {
	Key     CfgKey
	Members []Member
	Pins    []Pin
}

// Member returns the entry of id.
func (c Config) Member(id NodeID) (Member, bool) {
	for _, m := range c.Members {
		if m.ID == id {
			return m, true
		}
	}
	return Member{}, false
}

// IsVoter reports whether id votes in this configuration.
func (c Config) IsVoter(id NodeID) bool {
	m, ok := c.Member(id)
	return ok && m.Voter
}

// Voters returns the ids of the voters, sorted.
func (c Config) Voters() []NodeID {
	var out []NodeID
	for _, m := range c.Members {
		if m.Voter {
			out = append(out, m.ID)
		}
	}
	return out
}

// Majority is the smallest number of voters that is more than half of them.
func (c Config) Majority() int {
	n := 0
	for _, m := range c.Members {
		if m.Voter {
			n++
		}
	}
	return n/2 + 1
}

// Hash is the SHA-256 of the configuration's members, the identity of a version-1 configuration, which has no pins.
func (c Config) Hash() ClusterID {
	var b bytes.Buffer
	b.WriteString("baton/config/v1\n")
	put := func(p []byte) {
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(p)))
		b.Write(n[:])
		b.Write(p)
	}
	for _, m := range c.Members {
		put([]byte(m.ID))
		put(m.Inc[:])
		put([]byte(m.Addr))
		if m.Voter {
			b.WriteByte(1)
		} else {
			b.WriteByte(0)
		}
	}
	return sha256.Sum256(b.Bytes())
}

// NewConfig returns a configuration with its members and pins sorted.
func NewConfig(key CfgKey, members []Member, pins ...Pin) Config {
	ms, ps := slices.Clone(members), slices.Clone(pins)
	slices.SortFunc(ms, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(ps, func(a, b Pin) int { return cmp.Compare(a.ID, b.ID) })
	return Config{Key: key, Members: ms, Pins: ps}
}

// HardState is what must survive a crash. The driver makes it durable before it reports the write's number back
// through Durable; the core sends nothing that depends on it earlier.
type HardState struct {
	ClusterID ClusterID
	ID        NodeID
	Inc       Inc
	Boot      uint64 // +1 a start, durable before anything is sent
	Term      Term
	Vote      Vote
	Cfg       Config
	Promise   ClusterID // hash of the version-1 configuration promised during bootstrap (PROTOCOL R26)
	Stale     bool      // a peer remembers more than is in this folder: it is never used again (see ErrStaleFolder)
}

// MessageType says what a Message is. Zero is invalid.
type MessageType uint8

// The messages of the election layer.
const (
	MsgPreVote MessageType = iota + 1
	MsgPreVoteResp
	MsgVote
	MsgVoteResp
	MsgHB
	MsgHBAck
	MsgTimeoutNow
	MsgTerm        // "your term is old, mine is Term": the answer to any lower-term message that has no other answer
	MsgBootProbe   // bootstrap: who are you? (from the smallest id)
	MsgBootInfo    // bootstrap: id, incarnation and address of the sender
	MsgBootPropose // bootstrap: a version-1 configuration to promise
	MsgBootPromise // bootstrap: promised, durably
	MsgJoin        // a node that is no member, or hears no leader, asks to be let in
	MsgJoinResp    // the configuration, and from the leader a token to say back
	MsgPing        // are you there? between members that have no other reason to talk (PROTOCOL R16)
	MsgPong
	MsgDeath     // a start of the sender has ended: from whoever saw it, so nothing but Dead counts (PROTOCOL R23)
	MsgStale     // "I know more of your incarnation than is in your folder": the answer to what R3 does not let count
	MsgLeave     // a member that does not lead asks its leader to take its vote (PROTOCOL R16)
	MsgLeaveResp // it is so for good, or it cannot be: Seq says why
	msgEnd
)

var msgNames = [...]string{
	MsgPreVote: "PreVote", MsgPreVoteResp: "PreVoteResp", MsgVote: "Vote", MsgVoteResp: "VoteResp",
	MsgHB: "HB", MsgHBAck: "HBAck", MsgTimeoutNow: "TimeoutNow", MsgTerm: "Term", MsgBootProbe: "BootProbe",
	MsgBootInfo: "BootInfo", MsgBootPropose: "BootPropose", MsgBootPromise: "BootPromise",
	MsgJoin: "Join", MsgJoinResp: "JoinResp", MsgPing: "Ping", MsgPong: "Pong", MsgDeath: "Death", MsgStale: "Stale",
	MsgLeave: "Leave", MsgLeaveResp: "LeaveResp",
}

// String returns the message's name.
func (t MessageType) String() string {
	if t > 0 && t < msgEnd {
		return msgNames[t]
	}
	return fmt.Sprintf("MessageType(%d)", uint8(t))
}

// Header is carried by every message of both layers.
type Header struct {
	ClusterID ClusterID
	From, To  NodeID
	Inc       Inc    // the sender's incarnation
	Boot      uint64 // the sender's start counter
	Session   uint64 // random per start: two processes with one folder differ in it
	Term      Term   // the sender's term
}

// Message is one message of the election layer. Which fields beyond the header count depends on Type:
//
//	PreVote      NextTerm, Cfg, Dead       VoteResp  OK, Attachment (the application's report)
//	PreVoteResp  NextTerm, OK              HB        Seq, Cfg, Attachment
//	Vote         Cfg, TransferOf, Dead     HBAck     Seq, CfgKey, OK (Reachable is meant), Reachable, Unfit
//	TimeoutNow   -      Term  -            BootInfo  Addr
//	BootPropose  Cfg                       BootPromise Promise
//	Join         Addr, Seq (token)         JoinResp  Cfg, Seq (token)
//	Ping, Pong   Seq (the session of one that has started and asks; 0: none); Ping: NextTerm (of its folder)
//	Death        Dead                      Stale     Cfg, Attachment (which start of the receiver, and why)
//	Leave        CfgKey                    LeaveResp OK, Seq
type Message struct {
	Type MessageType
	Header
	NextTerm   Term
	OK         bool
	TransferOf Term
	Seq        uint64
	Cfg        *Config
	CfgKey     CfgKey
	Reachable  []NodeID
	Unfit      bool // the sender should not lead
	Addr       string
	Promise    ClusterID
	Attachment []byte
	// Dead, in a request, is why the sender keeps no faith with its leader any more, and why the receiver need not either.
	// The driver must have verified it.
	Dead *Death
}

// Role is a node's part in the current term.
type Role uint8

// The roles. A leader that has not finished its takeover yet is RoleLeader with Status.Taking set.
const (
	RoleFollower Role = iota + 1
	RolePreCandidate
	RoleCandidate
	RoleLeader
	RoleLearner
)

// String returns the name used in logs and in the status API.
func (r Role) String() string {
	switch r {
	case RoleFollower:
		return "follower"
	case RolePreCandidate:
		return "pre_candidate"
	case RoleCandidate:
		return "candidate"
	case RoleLeader:
		return "leader"
	case RoleLearner:
		return "learner"
	}
	return fmt.Sprintf("Role(%d)", uint8(r))
}

// Status is a snapshot of the core for readers outside the owner loop.
type Status struct {
	Term         Term
	Vote         Vote
	Role         Role
	Taking       bool // leader of the term whose takeover is not done yet
	Transferring bool
	Leader       NodeID // "" while unknown
	Cfg          Config
	// Counts is the configuration that is durable here: a leader counts acknowledgements with it. What it installed a moment
	// ago is Cfg already, and might be forgotten in a crash.
	Counts    Config
	ClusterID ClusterID
	Inc       Inc
	Boot      uint64
	Backoff   int // failures since the last commit; limits double with each (PROTOCOL R6)
	Lease     Lease
	Fitness   Fitness // this node's own
	Asking    bool    // has started, and asks whether others remember more of it: it votes and acknowledges nothing yet
}

// Lease is the leader's right to believe that nobody else leads. It is a value: reading it never blocks, and every
// reader compares it with the clock at that moment (PROTOCOL R21: never cache the answer).
type Lease struct {
	Valid bool // false: no lease whatever the clock says
	Term  Term
	Start Instant // send time of the majority-th newest acknowledged heartbeat
	D     time.Duration
	clock leaseClock // which clocks count; zero: all of them
}

// leaseClock narrows the clocks that a lease is compared with, for negative tests only.
type leaseClock uint8

const (
	clockMono leaseClock = iota + 1
	clockReal
)

// Left returns what is left of the lease at now, zero when it is over or was never held.
func (l Lease) Left(now Instant) time.Duration {
	if !l.Valid {
		return 0
	}
	switch l.clock {
	case clockMono:
		return max(l.D-time.Duration(now.Mono-l.Start.Mono), 0)
	case clockReal:
		return max(l.D-time.Duration(now.Real-l.Start.Real), 0)
	}
	return max(l.D-now.SinceMax(l.Start), 0)
}
