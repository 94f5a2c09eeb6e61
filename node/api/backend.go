package api

import (
	"context"
	"errors"
	"io"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api/wire"
)

// ErrNotFound is returned by a [Backend] when there is no such final block.
var ErrNotFound = errors.New("not found")

// The types that a backend exchanges with the API are those of the wire.
type (
	// Receipt says where a final transaction stands.
	Receipt = wire.Receipt
	// Account is an account's state.
	Account = wire.Account
	// StateEntry is one entry of the state, or that there is none.
	StateEntry = wire.StateEntry
	// Status is what a node knows of itself and its cluster.
	Status = wire.Status
	// Member is one node of the cluster.
	Member = wire.Member
	// Cluster is what a node knows of all members.
	Cluster = wire.Cluster
	// Leaders is who led when.
	Leaders = wire.Leaders
	// Event is one entry of the events stream.
	Event = wire.Event
	// Error is an answer to a client that is not a success. Make it with the constructors of this package.
	Error = wire.Error
)

// Backend is the node as the API needs it. All methods are called concurrently. Where an error is meant for the client
// it is an [*Error], wrapped or not; any other error is logged and hidden from the client.
type Backend interface {
	// Submit hands tx to the leader and blocks until it is final (a receipt) or impossible (an [*Error]), whichever node
	// leads meanwhile. It returns early when ctx ends. An error that is no *Error means that the outcome is unknown; an
	// *Error with [wire.CodeNoLeader] or [wire.CodeOverloaded] promises that tx was never proposed.
	Submit(ctx context.Context, tx *block.Tx) (Receipt, error)
	// SubmitAsync checks tx as far as that takes no waiting, starts it on its way and returns. Nothing durable is
	// promised.
	SubmitAsync(ctx context.Context, tx *block.Tx) (block.Hash, error)
	// Receipt returns the receipt of a final transaction, or false when this node knows of none.
	Receipt(ctx context.Context, hash block.Hash) (Receipt, bool, error)
	// Final returns the final block of height h, genesis (unsigned) for 0, [ErrNotFound] above the newest.
	Final(ctx context.Context, h block.Height) (block.Final, error)
	// Signer returns the public key of the processor that signed height h.
	Signer(h block.Height) [32]byte
	// Latest returns the newest final height that this node has.
	Latest(ctx context.Context) block.Height
	// Account reads an account. The read is linearizable, and fails with [NoLeader] where that cannot be had, unless
	// local asks for what this node has. Whether PublicKey is filled in does not matter. An account that does not exist
	// is nonce 0 without balances.
	Account(ctx context.Context, pub [32]byte, local bool) (Account, error)
	// ProvenAccount is Account with a proof, both from one state.
	ProvenAccount(ctx context.Context, pub [32]byte, local bool) (Account, error)
	// StateEntry reads one entry of the state, as Account does an account, with its proof if proof is set. key has 1 to
	// [merkle.MaxKeyBytes] bytes.
	StateEntry(ctx context.Context, key []byte, local, proof bool) (StateEntry, error)
	// Status returns what the node knows. It is cheap and never waits for consensus.
	Status() Status
	// Cluster returns what the node knows of all members. It is cheap and never waits for one.
	Cluster() Cluster
	// WatchCluster returns how all members are, several times a second, until ctx ends or the node stops; then the channel
	// is closed. A reader that is slow gets only the newest.
	WatchCluster(ctx context.Context) <-chan *Cluster
	// Leaders returns who led when, as far as the node knows.
	Leaders() Leaders
	// Ready returns nil when the node is caught up and in contact with a leader, otherwise an error that says what is
	// missing and that clients may see.
	Ready() error
	// Leading reports whether this node leads under a lease that is valid now.
	Leading() bool
	// Subscribe returns the events from now on until ctx ends. The channel is bounded and never waited for: it is closed
	// when its reader falls behind, when ctx ends or when the node stops. Latest is at least a block event's height when
	// that event is sent.
	Subscribe(ctx context.Context) <-chan Event
	// Gatherer returns the node's metrics.
	Gatherer() prometheus.Gatherer
}

// AdminBackend is the node as the admin socket needs it. All methods are called concurrently.
type AdminBackend interface {
	// Status as in [Backend].
	Status() Status
	// LeaderTransfer hands leadership to the voter named to, or to the best one when to is empty, wherever the leader
	// is, and returns when another node leads. An [*Error] says why it cannot be.
	LeaderTransfer(ctx context.Context, to string) error
	// MemberChange makes one change of membership, wherever the leader is, and returns when a majority has it: op is
	// [wire.MemberAdd], [wire.MemberRemove], [wire.MemberPromote] or [wire.MemberLeave]; what is so already is no error. A
	// leader that is to go hands over first. An [*Error] says why it cannot be.
	MemberChange(ctx context.Context, req wire.MemberRequest) error
	// Reload reads the node's configuration again and takes over what may change while it runs. On an error nothing has
	// changed, and an [*Error] says why.
	Reload(ctx context.Context, req wire.ReloadRequest) (wire.Reloaded, error)
	// Export writes final blocks, with state if asked for, as package archive describes. 0 is the first, or the newest,
	// height that there is. What it wrote until an error is no whole archive. An [*Error] comes before anything is written.
	Export(ctx context.Context, w io.Writer, from, to block.Height, state bool) error
}
