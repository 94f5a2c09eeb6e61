package chain

import (
	"bytes"
	"fmt"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/blockstore/merkle"
)

// App is one code version of what a chain does. It must be deterministic: the same calls on the same state give the
// same writes and the same success or failure, on every machine. So an App has no clock, no randomness, no I/O, no
// goroutines and no memory of its own between calls, and never lets the order of a Go map reach a write.
//
// Methods may be called from several goroutines at once, each with its own [Context].
type App interface {
	// Name names the App's part of the state. All code versions of one App share it.
	Name() string
	// CodeVersion is the chain version that this code executes.
	CodeVersion() string
	// MessageTypes lists the message types that Decode and Execute know. It must always return the same list.
	MessageTypes() []string
	// Decode checks one message of a known type without looking at state and returns what Execute shall get as
	// [Message.Value]. "type" counts as read; fields that Decode does not read make the transaction malformed, as does
	// any error.
	Decode(typ string, fields *Fields) (any, error)
	// Genesis writes the App's first state. The chain parameters and all balances are there already.
	Genesis(ctx *Context, g *Genesis) error
	// Execute applies one message. After an error nothing of the whole transaction takes effect and the sender gets
	// the error's text as the reason; it must be the same text on every node.
	Execute(ctx *Context, m Message) error
}

// Context is an App's view of the chain while one message executes. It is valid during that call and for one goroutine.
type Context struct {
	o      *overlay
	app    string
	sender PublicKey
	height block.Height
	timeMs int64
}

// Sender returns the account that signed the transaction; zero in Genesis.
func (c *Context) Sender() PublicKey { return c.sender }

// Height returns the height of the block being made.
func (c *Context) Height() block.Height { return c.height }

// TimeMs returns the time of the block being made in Unix milliseconds. It never falls from block to block.
func (c *Context) TimeMs() int64 { return c.timeMs }

// Get returns a copy of what the App stored under key, and whether there is something. An error comes from the store
// and must be returned as it is.
func (c *Context) Get(key []byte) ([]byte, bool, error) {
	v, ok, err := c.o.get(appKey(c.app, key))
	return bytes.Clone(v), ok, err
}

// Set stores a copy of value under key, in place of what was there. It returns [ErrEntrySize]; other errors come from
// the store and must be returned as they are.
func (c *Context) Set(key, value []byte) error {
	k := appKey(c.app, key)
	if len(key) == 0 || len(k) > merkle.MaxKeyBytes || len(value) > merkle.MaxValueBytes {
		return ErrEntrySize
	}
	return c.o.set(k, append(make([]byte, 0, len(value)), value...))
}

// Delete removes key if it is there. An error comes from the store and must be returned as it is.
func (c *Context) Delete(key []byte) error { return c.o.set(appKey(c.app, key), nil) }

// Balance returns how much of an asset an account holds: zero of one that it never had, or that does not exist. An
// error comes from the store and must be returned as it is.
func (c *Context) Balance(of PublicKey, asset string) (Amount, error) {
	cell, err := c.o.account(of)
	if err != nil {
		return Amount{}, err
	}
	return cell.account.balance(asset), nil
}

// Transfer moves an amount from one account to another, which is made if it does not exist. Whether from may be
// touched is for the App to decide: usually it must be the sender. It returns [ErrZeroAmount], [ErrUnknownAsset],
// [ErrInsufficientFunds] or [ErrOverflow] and moves nothing then; other errors come from the store and must be
// returned as they are.
func (c *Context) Transfer(from, to PublicKey, asset string, amount Amount) error {
	if amount.IsZero() {
		return ErrZeroAmount
	}
	known, err := c.o.knowsAsset(asset)
	if err != nil {
		return err
	}
	if !known {
		return fmt.Errorf("%w %s", ErrUnknownAsset, quoted([]byte(asset)))
	}
	payer, err := c.o.account(from)
	if err != nil {
		return err
	}
	payee, err := c.o.account(to)
	if err != nil {
		return err
	}
	held := payer.account.balance(asset)
	left, ok := held.Sub(amount)
	if !ok {
		return fmt.Errorf("%w: the account holds %s %s, %s are needed", ErrInsufficientFunds, held, asset, amount)
	}
	if from == to {
		return nil
	}
	sum, ok := payee.account.balance(asset).Add(amount)
	if !ok {
		return ErrOverflow
	}
	c.o.change(payer).set(asset, left)
	c.o.change(payee).set(asset, sum)
	return nil
}
