package sync

import (
	"context"
	"crypto/ed25519"
	"errors"
	"iter"
	"time"

	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
)

var (
	// ErrNoPeer is returned when no peer gives what is wanted: all are out of reach, refuse, or lie. The error names each
	// with its last fault.
	ErrNoPeer = errors.New("no peer serves it")
	// ErrPinned is returned when what peers serve contradicts the pin, or nobody can show that it does not.
	ErrPinned = errors.New("it contradicts the pinned block")
	// ErrGone is returned by [Client.Transfer] when no peer has the offered state any more. What was transferred stays: take
	// another offer, and what both states have in common is not fetched again.
	ErrGone = errors.New("no peer has that state any more")
)

// Pin is a block of the chain that is known from elsewhere. The zero value pins nothing.
type Pin struct {
	Height block.Height
	Hash   block.Hash
}

// ClientConfig says from whom a Client fetches, and what it believes.
type ClientConfig struct {
	// ChainID and Genesis, the hash of block 0, name the chain.
	ChainID string
	Genesis block.Hash
	// Key is the processor's, as genesis establishes it.
	Key ed25519.PublicKey
	// Pin is a block that the chain must have: whatever is offered must be shown, by linked headers, to be on one chain with it.
	Pin Pin
	// Peers returns who serves at this moment. It is called whenever a request begins anew.
	Peers func() []Peer
	// Streams is how many requests are under way to one peer at a time; 0 is 4.
	Streams int
	// Patience is after how long without anything useful from anybody an error is returned; 0 is 30 seconds.
	Patience time.Duration
	Logger   zerolog.Logger
	// Received is told of each answer's body how many bytes arrived; concurrently. Nil: nobody wants to know.
	Received func(bytes int)
}

// Client fetches from peers. It is safe for concurrent use, except that one Transfer runs at a time.
type Client struct {
	cfg ClientConfig
}

// NewClient returns a client. It does nothing by itself.
func NewClient(cfg ClientConfig) *Client { return &Client{cfg: cfg} }

// Offer is a state that peers have, verified: the chain, the processor's signature over the block and the pin.
type Offer struct {
	// Final is the block whose state it is. Its CTerm is the greatest that a member gave for the block's height, 0 if none
	// did: others' word does not count.
	Final block.Final
	// TipHeight is the highest final height that anybody showed, with a signature.
	TipHeight block.Height
	// Peers are the names of those that have the state.
	Peers []string

	exact bool
}

// Newest returns the newest state that peers have; with several to choose from within a thousand blocks of the newest, the
// newest one that more than one peer has. It returns ErrNoPeer, ErrPinned, or ctx's error.
func (c *Client) Newest(_ context.Context) (Offer, error) { return Offer{}, ErrNoPeer }

// At returns the state after the block at exactly this height, if a peer has it; otherwise the newest one below it, whose
// next blocks lead there.
func (c *Client) At(_ context.Context, _ block.Height) (Offer, error) {
	return Offer{exact: true}, ErrNoPeer
}

// Transfer fetches the state of an offer into the store, beside what is there, from several peers at a time. Enqueue the
// Jump in a blockstore.Batch, then Close the transfer; on an error there is nothing to close. An interrupted transfer
// goes on where it stopped when the next one begins, also after a crash, and what the newest checkpoint of the store has in
// common with the state is not fetched at all.
//
// When the state of an offer of Newest is pruned by all peers meanwhile, the transfer goes on with a newer one: the Jump's
// Final says which. It returns ErrNoPeer, ErrGone, ErrPinned, ctx's error soon after ctx ends, or an error of the store.
func (c *Client) Transfer(_ context.Context, _ *blockstore.Store, _ Offer) (*blockstore.Transfer, *blockstore.Jump, error) {
	return nil, nil, ErrNoPeer
}

// Blocks yields the final blocks from one height to another, ascending and verified: each is signed by the processor and
// links to the one before. After an error, which is the last thing it yields, the caller may go on from there. CTerm is a
// member's word, otherwise 0.
func (c *Client) Blocks(_ context.Context, _, _ block.Height) iter.Seq2[block.Final, error] {
	return func(yield func(block.Final, error) bool) { yield(block.Final{}, ErrNoPeer) }
}

// Progress returns how far the transfer is.
func (c *Client) Progress() Progress { return Progress{} }
