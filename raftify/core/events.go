package core

import "fmt"

// EventKind says what happened. Zero is invalid.
type EventKind uint8

// The events that a driver logs and a checker reads.
const (
	EventTerm         EventKind = iota + 1 // Term, Vote changed
	EventRole                              // Role changed
	EventLeader                            // Leader became known or unknown
	EventElected                           // this node won the term; its takeover begins
	EventLeading                           // takeover done
	EventStepDown                          // Detail says why
	EventConfig                            // another configuration was adopted or installed
	EventVoteGranted                       // durable vote for Peer
	EventVoteRefused                       // Detail says why
	EventAlarm                             // something that an operator must look at; Detail. With Peer: its start number Seq is odd
	EventRound                             // heartbeat round Seq was acknowledged by a majority (reads, PROTOCOL R20)
	EventBootstrapped                      // the first configuration was adopted
	EventTransfer                          // a handover began; Peer
	EventReconfigured                      // this leader installed Cfg; Peer is who it is about, Detail the change
	EventJoined                            // this node adopted its first configuration, as a learner
	EventJoinRefused                       // Peer asked to join in vain; Detail says why
	EventDied                              // start Seq of Peer has ended, as its supervisor says (PROTOCOL R23)
	EventSuspected                         // the host of Peer, which leads, refuses connections (PROTOCOL R23)
	EventLeave                             // the leader, Peer, answered this node's wish to leave: Detail says why not
	EventFitness                           // this node's fitness to lead changed; Detail
	EventStale                             // this folder is out of use for good, which is durable; Detail says why
)

var eventNames = [...]string{
	EventTerm: "term", EventRole: "role", EventLeader: "leader", EventElected: "elected",
	EventLeading: "leading", EventStepDown: "step_down", EventConfig: "config", EventVoteGranted: "vote_granted",
	EventVoteRefused: "vote_refused", EventAlarm: "alarm", EventRound: "round",
	EventBootstrapped: "bootstrapped", EventTransfer: "transfer",
	EventReconfigured: "reconfigured", EventJoined: "joined", EventJoinRefused: "join_refused",
	EventDied: "died", EventSuspected: "suspected",
	EventFitness: "fitness", EventLeave: "leave", EventStale: "stale",
}

// String returns the event's name in logs.
func (k EventKind) String() string {
	if int(k) < len(eventNames) && k > 0 {
		return eventNames[k]
	}
	return fmt.Sprintf("EventKind(%d)", uint8(k))
}

// Event is something worth telling the outside. The core neither logs nor blocks on it.
type Event struct {
	Kind   EventKind
	Term   Term
	Role   Role
	Peer   NodeID
	Seq    uint64
	Cfg    CfgKey
	Detail string
}
