package replication

import (
	"fmt"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/raftify/core"
)

// Ref names a block: its height and hash.
type Ref struct {
	Height block.Height
	Hash   block.Hash
}

// String returns "height/first four bytes of the hash".
func (r Ref) String() string { return fmt.Sprintf("%d/%x", r.Height, r.Hash[:4]) }

// Report is what a voter asserts about its durable chain: it is, up to Tip, a prefix of the chain of Synced's leader
// that reaches at least that term's takeover. Reports compare by (Synced, Tip.Height).
type Report struct {
	Synced core.Term
	Tip    Ref
}

// Less reports whether r is smaller than o.
func (r Report) Less(o Report) bool {
	if r.Synced != o.Synced {
		return r.Synced < o.Synced
	}
	return r.Tip.Height < o.Tip.Height
}

// MessageType says what a Message is. Zero is invalid.
type MessageType uint8

// The messages of the chain layer. Fetch and ReadIndex are requests with an answer and belong to the driver.
const (
	MsgProp      MessageType = iota + 1 // leader -> all: Block, Commit
	MsgAck                              // follower -> leader: Ref is durable here, with all before it; Resend
	MsgNack                             // follower -> leader: the block Ref cannot be reproduced here
	MsgCommitted                        // anyone -> anyone: Ref was committed by the leader of CTerm
	msgEnd
)

// String returns the message's name.
func (t MessageType) String() string {
	switch t {
	case MsgProp:
		return "Prop"
	case MsgAck:
		return "Ack"
	case MsgNack:
		return "Nack"
	case MsgCommitted:
		return "Committed"
	case msgEnd:
	}
	return fmt.Sprintf("MessageType(%d)", uint8(t))
}

// Message is one one-way message of the chain layer.
type Message struct {
	Type MessageType
	core.Header
	Ref    Ref
	CTerm  core.Term    // Committed
	Resend bool         // Ack: the follower saw a gap behind Ref
	Block  *block.Block // Prop
	Commit Ref          // Prop: newest commit of the leader, zero while none in this term
}

// FromLeader reports whether the sender claims to lead the message's term.
func (m Message) FromLeader() bool { return m.Type == MsgProp }

// CommitRecord says that Ref is committed, decided by the leader of CTerm. Every height in [From, Ref.Height] carries
// that certificate: those at or above the term's takeover. From > Ref.Height means that none does.
type CommitRecord struct {
	Ref   Ref
	CTerm core.Term
	From  block.Height
}

// Write is one atomic change of the durable chain. Absent fields are nil.
type Write struct {
	Seq    uint64 // report it back through Durable
	Cut    *block.Height
	Append []*block.Block
	// Jump replaces the whole chain by this one block, whose state is here. Synced and Commit are set as well, nothing else.
	Jump   *block.Block
	Synced *core.Term
	Nacked *core.Term
	Commit *CommitRecord
	// NoSync: may ride on the next write that needs an fsync (commit marks).
	NoSync bool
}

// Exec asks for the execution of a block on the state of its parent, which was executed before or is stored.
type Exec struct {
	Block *block.Block
}

// Fetch asks a peer for its chain from a height on, up to To where it has it. Answer through Fetched, always, also
// when the peer does not answer in time.
type Fetch struct {
	ID   uint64
	Peer core.NodeID
	From block.Height
	To   Ref
}

// Certified is one block of an answer to Fetch. CTerm is the certificate of its height, 0 for none.
type Certified struct {
	Block *block.Block
	CTerm core.Term
}

// EventKind says what happened. Zero is invalid.
type EventKind uint8

// The events of the chain layer.
const (
	EventCommitted EventKind = iota + 1 // Ref is committed (all before it too); CTerm
	EventAppended                       // own chain grew to Ref (not durable yet)
	EventCut                            // own chain was cut back to Ref
	EventSynced                         // own chain is a prefix of the chain of CTerm's leader up to Ref
	EventTakeover                       // this node's takeover is done at Ref
	EventNacked                         // this node refused Ref
	EventAlarm                          // an operator must look; Detail
	EventTip                            // the leader's executable tip changed: build on Ref
	EventRepaired                       // what was lost of the own chain is back or superseded; CTerm is the term it is synced to
	EventJumped                         // own chain begins, and ends, at Ref now, which the leader of CTerm committed
	EventLeftOut                        // this node takes over without Ref, a voter's chain, whose blocks do not come
	EventPruned                         // Peer has no blocks below Ref.Height any more, from which this node would have to go on
)

// String returns the event's name in logs.
func (k EventKind) String() string {
	names := [...]string{
		EventCommitted: "committed", EventAppended: "appended", EventCut: "cut", EventSynced: "synced",
		EventTakeover: "takeover", EventNacked: "nacked", EventAlarm: "alarm", EventTip: "tip", EventRepaired: "repaired",
		EventJumped: "jumped", EventLeftOut: "left_out", EventPruned: "pruned",
	}
	if k > 0 && int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("EventKind(%d)", uint8(k))
}

// Event is something worth telling the outside.
type Event struct {
	Kind   EventKind
	Ref    Ref
	CTerm  core.Term
	Peer   core.NodeID
	Detail string
}

// Ready is what the chain wants done: hand Writes, in order, to the store's queue; send Messages; start Execs and
// Fetches. Nothing in Messages depends on a write that is not durable.
type Ready struct {
	Writes   []Write
	Messages []Message
	Execs    []Exec
	Fetches  []Fetch
	Events   []Event
}
