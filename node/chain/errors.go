package chain

import (
	"errors"
	"fmt"

	"github.com/baton-ha/baton/blockstore/block"
)

var (
	// ErrInvalidBlock is returned by [Executor.Apply] when a block breaks a rule other than the state root: its header
	// does not follow the parent, or one of its transactions may not stand where it stands.
	ErrInvalidBlock = errors.New("invalid block")
	// ErrRootMismatch is returned by [Executor.Apply] when executing a block gives another state root than its header
	// says. The error is a [*RootMismatchError].
	ErrRootMismatch = errors.New("state root mismatch")
	// ErrNoCode is returned when no [App] of the executor has the code version that the chain is at.
	ErrNoCode = errors.New("no code for the chain version")
	// ErrBadState is returned when stored state is not what this package writes.
	ErrBadState = errors.New("malformed state")

	// ErrUnknownAsset is returned to an App when an asset was never issued on this chain.
	ErrUnknownAsset = errors.New("unknown asset")
	// ErrInsufficientFunds is returned to an App when an account holds less than is to be moved.
	ErrInsufficientFunds = errors.New("insufficient funds")
	// ErrOverflow is returned to an App when a balance would not fit 256 bits.
	ErrOverflow = errors.New("balance would not fit 256 bits")
	// ErrEntrySize is returned to an App when a key that it sets is empty or too long, or the value is too large.
	ErrEntrySize = errors.New("key or value of a bad size")
	// ErrZeroAmount is returned to an App when nothing is to be moved.
	ErrZeroAmount = errors.New("amount is zero")
)

// RootMismatchError carries both roots of an [ErrRootMismatch].
type RootMismatchError struct {
	Height block.Height
	// Header is the root that the block's header says, Computed the one that execution gave here.
	Header, Computed block.Hash
}

// Error describes the mismatch.
func (e *RootMismatchError) Error() string {
	return fmt.Sprintf("block %d: header says %s, computed %s: %v", e.Height, e.Header, e.Computed, ErrRootMismatch)
}

// Unwrap returns [ErrRootMismatch].
func (e *RootMismatchError) Unwrap() error { return ErrRootMismatch }

// ErrorKind says why a transaction is not included. Its text is the code of the HTTP answer.
type ErrorKind uint8

// The kinds of a [TxError]. Zero is none of them.
const (
	// Malformed: the payload breaks the format; it can never be included on any state.
	Malformed ErrorKind = iota + 1
	// WrongChain: the payload names another chain.
	WrongChain
	// BadSignature: the signature is not the sender's over this payload.
	BadSignature
	// BadNonce: the nonce is not the account's next one.
	BadNonce
	// Rejected: the application refuses, or max_height has passed.
	Rejected
	// TooLarge: the payload is over the limit.
	TooLarge
)

// String returns the error code of the HTTP answer.
func (k ErrorKind) String() string {
	switch k {
	case Malformed:
		return "malformed"
	case WrongChain:
		return "wrong_chain"
	case BadSignature:
		return "bad_signature"
	case BadNonce:
		return "bad_nonce"
	case Rejected:
		return "rejected"
	case TooLarge:
		return "too_large"
	}
	return fmt.Sprintf("ErrorKind(%d)", uint8(k))
}

// TxError says why one transaction is not included. It uses no nonce.
type TxError struct {
	Kind ErrorKind
	// Message is one line for the sender.
	Message string
	// ExpectedNonce is the account's next nonce; it has a meaning for [BadNonce] only.
	ExpectedNonce uint64
}

// Error returns the code and the message.
func (e *TxError) Error() string { return e.Kind.String() + ": " + e.Message }

func txErrorf(kind ErrorKind, format string, args ...any) *TxError {
	return &TxError{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// invariant panics when our own code broke a promise of this package.
func invariant(ok bool, format string, args ...any) {
	if !ok {
		panic("chain: invariant broken: " + fmt.Sprintf(format, args...))
	}
}
