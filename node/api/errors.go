package api

import (
	"net/http"
	"time"

	"github.com/baton-ha/baton/node/api/wire"
)

// retryAfter is what a client is asked to wait when nothing better is known.
const retryAfter = time.Second

// Malformed is the answer to a request or transaction that is not well formed: 400. reason says where.
func Malformed(reason string) *Error {
	return &Error{Status: http.StatusBadRequest, Code: wire.CodeMalformed, Message: reason}
}

// WrongChain is the answer to a transaction that was signed for the chain got, on the chain want: 400.
func WrongChain(got, want string) *Error {
	return &Error{
		Status: http.StatusBadRequest, Code: wire.CodeWrongChain,
		Message: "the transaction is for chain " + quote(got) + ", this is chain " + quote(want),
	}
}

// BadSignature is the answer to a transaction whose signature is not that of its public key: 401.
func BadSignature() *Error {
	return &Error{
		Status: http.StatusUnauthorized, Code: wire.CodeBadSignature,
		Message: `the signature is not the public key's over "baton/tx/v1\n" and the payload`,
	}
}

// BadNonce is the answer to a transaction that does not carry the account's next nonce, expected: 409.
func BadNonce(expected uint64) *Error {
	return &Error{
		Status: http.StatusConflict, Code: wire.CodeBadNonce, ExpectedNonce: &expected,
		Message: "the nonce is not the account's next one",
	}
}

// TooLarge is the answer to a body over limitBytes: 413.
func TooLarge(limitBytes int64) *Error {
	return &Error{
		Status: http.StatusRequestEntityTooLarge, Code: wire.CodeTooLarge,
		Message: "the request is larger than " + formatInt(limitBytes) + " bytes",
	}
}

// Rejected is the answer to a transaction that the application refuses for reason: 422.
func Rejected(reason string) *Error {
	return &Error{Status: http.StatusUnprocessableEntity, Code: wire.CodeRejected, Message: reason}
}

// Overloaded is the answer of a node that has too much to do, given only when a transaction was certainly never
// proposed: 429. After 0 means the default of one second.
func Overloaded(after time.Duration) *Error {
	return &Error{
		Status: http.StatusTooManyRequests, Code: wire.CodeOverloaded,
		Message: "the node has too much to do, try again later", RetryAfter: orDefault(after),
	}
}

// tooManyRequests is the answer to a client that asks more often than it may: 429. It is worth trying again after wait.
func tooManyRequests(wait time.Duration) *Error {
	return &Error{
		Status: http.StatusTooManyRequests, Code: wire.CodeOverloaded,
		Message: "too many requests from this address, try again later", RetryAfter: orDefault(wait),
	}
}

// NoLeader is the answer when no leader could be reached and, for a transaction, when it was certainly never proposed:
// 503. After 0 means the default of one second.
func NoLeader(after time.Duration) *Error {
	return &Error{
		Status: http.StatusServiceUnavailable, Code: wire.CodeNoLeader,
		Message: "no leader can be reached, try again", RetryAfter: orDefault(after),
	}
}

// UnknownOutcome is the answer when a transaction may or may not become final: 504.
func UnknownOutcome() *Error {
	return &Error{
		Status: http.StatusGatewayTimeout, Code: wire.CodeUnknownOutcome,
		Message: "it is not known yet whether the transaction becomes final: send the same again",
	}
}

// NotFound is the answer to what does not exist (yet): 404.
func NotFound(what string) *Error {
	return &Error{Status: http.StatusNotFound, Code: wire.CodeNotFound, Message: what}
}

// internal is the answer to a fault of ours, which is logged and not shown.
func internal() *Error {
	return &Error{
		Status: http.StatusInternalServerError, Code: wire.CodeInternal,
		Message: "the node failed to answer, its log says why",
	}
}

func unavailable(message string) *Error {
	return &Error{
		Status: http.StatusServiceUnavailable, Code: wire.CodeUnavailable, Message: message, RetryAfter: retryAfter,
	}
}

func orDefault(after time.Duration) time.Duration {
	if after <= 0 {
		return retryAfter
	}
	return after
}
