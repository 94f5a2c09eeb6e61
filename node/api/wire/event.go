package wire

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/baton-ha/baton/blockstore/block"
)

// ErrUnknownEvent is returned when an event's type is none of ours. A client skips such an event: a newer node may send
// types that it does not know.
var ErrUnknownEvent = errors.New("unknown event type")

// EventType names the kind of an [Event].
type EventType string

// Types of events.
const (
	EventBlock    EventType = "block"
	EventLeader   EventType = "leader"
	EventTxFailed EventType = "tx_failed"
	EventMember   EventType = "member"
	// EventCluster is sent only to readers that ask for it.
	EventCluster EventType = "cluster"
)

// Event is one entry of the events stream: exactly one field is set.
type Event struct {
	// Block: a block became final. These events come in the order of their heights, without a gap.
	Block *BlockEvent
	// Leader: another leader is known, or none.
	Leader *LeaderEvent
	// TxFailed: a transaction that this node took was refused.
	TxFailed *TxFailedEvent
	// Member: the membership or the life of a member changed.
	Member *MemberEvent
	// Cluster: how all members are now.
	Cluster *Cluster
}

// BlockEvent tells of a final block. Its transactions are fetched with GET /v1/blocks/{height}.
type BlockEvent struct {
	Height     block.Height `json:"height"`
	Hash       block.Hash   `json:"hash"`
	ParentHash block.Hash   `json:"parent_hash"`
	Time       int64        `json:"time"` // Unix milliseconds
	StateRoot  block.Hash   `json:"state_root"`
	Proposer   string       `json:"proposer"`
	Term       uint64       `json:"term"`
	TxCount    uint32       `json:"tx_count"`
}

// NewBlockEvent returns the event that tells of b.
func NewBlockEvent(b *block.Block) *BlockEvent {
	h := &b.Header
	return &BlockEvent{
		Height: h.Height, Hash: b.Hash(), ParentHash: h.Parent, Time: h.TimeMs, StateRoot: h.StateRoot,
		Proposer: h.Proposer, Term: h.Term, TxCount: h.TxCount,
	}
}

// LeaderEvent tells which leader the node knows of, "" for none.
type LeaderEvent struct {
	Leader string `json:"leader"`
	Term   uint64 `json:"term"`
}

// TxFailedEvent tells why a transaction was refused.
type TxFailedEvent struct {
	Hash    block.Hash `json:"hash"`
	Code    Code       `json:"code"`
	Message string     `json:"message"`
}

// MemberEvent tells what changed about a member.
type MemberEvent struct {
	ID string `json:"id"`
	// Change is added, removed, promoted, demoted, alive or dead.
	Change        string `json:"change"`
	Voter         bool   `json:"voter"`
	Alive         bool   `json:"alive"`
	ConfigVersion uint64 `json:"config_version"`
}

// Type returns the type of e, "" when no field is set.
func (e Event) Type() EventType {
	switch {
	case e.Block != nil:
		return EventBlock
	case e.Leader != nil:
		return EventLeader
	case e.TxFailed != nil:
		return EventTxFailed
	case e.Member != nil:
		return EventMember
	case e.Cluster != nil:
		return EventCluster
	default:
		return ""
	}
}

// Data returns what the event carries, the value whose JSON is the stream's data line; nil when no field is set.
func (e Event) Data() any {
	switch e.Type() {
	case EventBlock:
		return e.Block
	case EventLeader:
		return e.Leader
	case EventTxFailed:
		return e.TxFailed
	case EventMember:
		return e.Member
	case EventCluster:
		return e.Cluster
	default:
		return nil
	}
}

// ParseEvent reads an event from its type and its data line. A type that is not known is [ErrUnknownEvent].
func ParseEvent(typ EventType, data []byte) (Event, error) {
	var e Event
	var into any
	switch typ {
	case EventBlock:
		e.Block = new(BlockEvent)
		into = e.Block
	case EventLeader:
		e.Leader = new(LeaderEvent)
		into = e.Leader
	case EventTxFailed:
		e.TxFailed = new(TxFailedEvent)
		into = e.TxFailed
	case EventMember:
		e.Member = new(MemberEvent)
		into = e.Member
	case EventCluster:
		e.Cluster = new(Cluster)
		into = e.Cluster
	default:
		return Event{}, fmt.Errorf("event %.32q: %w", typ, ErrUnknownEvent)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return Event{}, fmt.Errorf("event %s: %w", typ, err)
	}
	return e, nil
}
