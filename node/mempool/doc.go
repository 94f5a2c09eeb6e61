// Package mempool holds the transactions that wait for a block on the node that leads. It is memory only and bounded:
// a node that stops leading clears it, and what it held goes to the next leader from the nodes that took it in.
//
// # Use
//
//	p := mempool.New(mempool.DefaultLimits())
//	err := p.Add(tx, now)                        // from any goroutine; ErrFull, ErrDuplicate, ErrTooManyAhead
//
//	<-p.Ready()                                  // the one goroutine that builds blocks
//	txs := p.Take(maxTxs, maxBytes)
//	b, next, verdicts, err := executor.Build(state, spec, txs)
//	over := p.Settle(txs, verdicts)              // or p.Return(txs) if nothing was built
//
//	late := p.Expire(now)                        // at p.NextExpiry, or every now and then
//
// The pool does no more than hold and order. Answering senders is the caller's: those of rejected and used-up
// transactions from the verdicts, those in over and late with 409.
//
// # States of a transaction
//
//	Add ──> ready ──Take──> taken ──Settle──> gone     included, rejected, nonce used up
//	          ^               │ │
//	          │<──Return──────┘ │                      not looked at for want of room
//	          │                 v  Settle              nonce ahead of its account
//	          └──Advance──── waiting ──Expire──> gone
//
// Add does not know the account's nonce, so a transaction starts as ready, unless another one of its account with the
// same or a lower nonce is waiting already. Build finds out; what is ahead waits and is not tried again before
// something happened that can help: a transaction of its account was included (Settle and Advance see to it), or the
// one right before it came in. Then the whole unbroken run of nonces behind that becomes ready at once.
//
// So in every account all that is ready has lower nonces than all that waits, or the same.
//
// # Order
//
// Accounts take turns, one transaction each, in the order in which they came to have something ready; within an account
// the order is that of the nonces. What was returned for want of room stands first the next time.
//
// # Bounds
//
// MaxTxs and MaxBytes count all three states. At most MaxPerAccountAhead of an account wait, those with the lowest
// nonces, and none of them longer than AheadWait after it came in.
package mempool
