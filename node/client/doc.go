// Package client is the Go client of a baton cluster. It knows the HTTP API's addresses of several nodes and gives one
// answer whichever of them are dead, slow, cut off or not leading.
//
// # Promise
//
// [Client.Submit] sends the same signed bytes to one node after the other until one gives a final answer: a receipt, or
// a refusal that no other node would answer differently. It may do so because the cluster executes a transaction exactly
// once by (account, nonce) and answers one that it has executed with the same receipt for ever. Connection errors, cut
// answers, 429 and all of 5xx are tried again: on another node at once, on a node that was asked before after a wait
// that grows, is random, and is never shorter than the node's Retry-After. A node that accepts a request and then says
// nothing does not hold the call up: after [Options.Hedge] the next node is asked beside it, and the first final answer
// counts.
//
// When the context ends first, the error says which of two things is known: [ErrUnavailable], the transaction was
// certainly never proposed; [ErrUnknownOutcome], it may or may not become final, and submitting the same transaction
// again finds out.
//
// Reads go the same way. What only one node can say ([Client.StatusOf]) asks only that node.
//
// # Nonces
//
// [Sender] counts the nonces of one account. It holds back new transactions while an older one's outcome is unknown,
// and signs again under a new nonce only what the cluster has said it will never execute.
//
// # Trust
//
// A node's answers are believed for liveness only where the caller wants more: [VerifyBlock] recomputes a block's hash
// and checks the processor's signature under a key that the caller already has, [Client.ProvenAccount] and [Client.State]
// check in the same way what the state has, or has not. A receipt is compared with the
// transaction that was sent.
//
// # Concurrency
//
// A Client and a Sender may be used from any number of goroutines.
package client
