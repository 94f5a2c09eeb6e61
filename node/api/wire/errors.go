package wire

import (
	"fmt"
	"time"
)

// Code names the kind of an error. Programs act on it; the message beside it is for people and may change.
type Code string

// Codes that the API answers. Next to each stands its HTTP status.
const (
	// CodeMalformed (400): the request or the transaction is not well formed.
	CodeMalformed Code = "malformed"
	// CodeWrongChain (400): the transaction was signed for another chain.
	CodeWrongChain Code = "wrong_chain"
	// CodeBadSignature (401): the signature is not that of the transaction's public key.
	CodeBadSignature Code = "bad_signature"
	// CodeNotFound (404): there is no such transaction, block or path (yet).
	CodeNotFound Code = "not_found"
	// CodeGone (410): the block was there and is kept no longer.
	CodeGone Code = "gone"
	// CodeMethodNotAllowed (405): the path exists, the method does not.
	CodeMethodNotAllowed Code = "method_not_allowed"
	// CodeSlowRequest (408): the client took too long to send its request.
	CodeSlowRequest Code = "slow_request"
	// CodeBadNonce (409): the nonce is not the account's next; ExpectedNonce is.
	CodeBadNonce Code = "bad_nonce"
	// CodeTooLarge (413): the body is over the limit.
	CodeTooLarge Code = "too_large"
	// CodeRejected (422): the application refuses the transaction; the message holds its reason.
	CodeRejected Code = "rejected"
	// CodeOverloaded (429): the node has too much to do; nothing was done with the request.
	CodeOverloaded Code = "overloaded"
	// CodeInternal (500): a fault of the node.
	CodeInternal Code = "internal"
	// CodeNoLeader (503): no leader could be reached; the transaction was certainly never proposed.
	CodeNoLeader Code = "no_leader"
	// CodeNotLeader (503, GET /leader): this node does not lead under a valid lease.
	CodeNotLeader Code = "not_leader"
	// CodeNotReady (503, GET /readyz): the node is not caught up or has no contact with a leader.
	CodeNotReady Code = "not_ready"
	// CodeUnavailable (503): the node cannot answer a read now.
	CodeUnavailable Code = "unavailable"
	// CodeUnknownOutcome (504): the transaction may still become final; send the same bytes again.
	CodeUnknownOutcome Code = "unknown_outcome"
)

// Error is an answer of the API that is not a success. It is what the server writes and what the client returns.
type Error struct {
	// Status is the HTTP status.
	Status int
	// Code is the kind of the error.
	Code Code
	// Message says what is wrong and, where possible, how to mend it.
	Message string
	// ExpectedNonce is set for [CodeBadNonce]: the account's next nonce.
	ExpectedNonce *uint64
	// RetryAfter is how long the server asks to be left alone; 0 means that it did not say. It travels as the
	// Retry-After header, in whole seconds rounded up.
	RetryAfter time.Duration
}

// Error returns the message with its code and status.
func (e *Error) Error() string {
	if e.ExpectedNonce != nil {
		return fmt.Sprintf("%s (%s, status %d, expected nonce %d)", e.Message, e.Code, e.Status, *e.ExpectedNonce)
	}
	return fmt.Sprintf("%s (%s, status %d)", e.Message, e.Code, e.Status)
}

// Body returns the JSON form of e.
func (e *Error) Body() ErrorBody {
	return ErrorBody{Error: ErrorDetail{Code: e.Code, Message: e.Message, ExpectedNonce: e.ExpectedNonce}}
}

// ErrorBody is the body of every answer that is not a success.
type ErrorBody struct {
	Error ErrorDetail `json:"error"`
}

// ErrorDetail is what stands inside [ErrorBody].
type ErrorDetail struct {
	Code          Code    `json:"code"`
	Message       string  `json:"message"`
	ExpectedNonce *uint64 `json:"expected_nonce,omitempty"`
}
