package client

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api/wire"
)

// Sender sends transactions of one account, one after the other, and counts its nonces. Make it with
// [Client.NewSender]. It is safe for concurrent use; one that waits for its turn gives up when its context ends.
//
// Other users of the same key are noticed and given way to.
type Sender struct {
	c       *Client
	chainID string
	key     ed25519.PrivateKey

	turn chan struct{} // holds one token while somebody sends; guards what is below

	next    uint64
	known   bool      // next is to be believed
	pending *block.Tx // its outcome is not known
}

// NewSender makes a sender for key's account on the given chain. The first transaction reads the account's nonce.
func (c *Client) NewSender(chainID string, key ed25519.PrivateKey) *Sender {
	return &Sender{c: c, chainID: chainID, key: key, turn: make(chan struct{}, 1)}
}

// Transfer sends transfers as one transaction. Errors as of [Sender.Send].
func (s *Sender) Transfer(ctx context.Context, transfers ...Transfer) (Receipt, error) {
	messages, err := transferMessages(transfers)
	if err != nil {
		return Receipt{}, err
	}
	return s.Send(ctx, messages...)
}

// Send sends messages as one transaction and returns when it is final. When the error is [ErrUnknownOutcome] the
// transaction is kept, and the next call, or [Sender.Resolve], finds out about it first; sending the messages again
// without that might execute them twice. After any other error they were not, and will not be, executed, but see
// [ErrEarlierAttempt]: the sender's next transaction, which takes the same nonce, ends that doubt.
func (s *Sender) Send(ctx context.Context, messages ...json.RawMessage) (Receipt, error) {
	if err := s.take(ctx); err != nil {
		return Receipt{}, err
	}
	defer s.give()
	if s.pending != nil {
		// Only whether it is known now matters; a refusal frees its nonce as well.
		if _, err := s.submit(ctx, s.pending); s.pending != nil {
			return Receipt{}, fmt.Errorf("before it, transaction %s: %w: %w", s.pending.Hash(), errHeldBack, err)
		}
	}
	for {
		if !s.known {
			account, err := s.c.Account(ctx, s.key.Public().(ed25519.PublicKey))
			if err != nil {
				return Receipt{}, fmt.Errorf("read nonce: %w", err)
			}
			s.next, s.known = account.Nonce, true
		}
		tx, err := Build(s.chainID, s.key, s.next, 0, messages...)
		if err != nil {
			return Receipt{}, err
		}
		nonce := s.next
		receipt, err := s.submit(ctx, tx)
		// Only a nonce that is used up by another transaction is certain never to be executed and may be signed again.
		if IsCode(err, wire.CodeBadNonce) && s.known && s.next > nonce {
			continue
		}
		return receipt, err
	}
}

// errHeldBack marks a transaction that was not sent because of an older one.
var errHeldBack = errors.New("its outcome is not known, nothing newer was sent")

// Pending returns the transaction whose outcome is not known, nil if there is none.
func (s *Sender) Pending(ctx context.Context) (*block.Tx, error) {
	if err := s.take(ctx); err != nil {
		return nil, err
	}
	defer s.give()
	return s.pending, nil
}

// Resolve submits the pending transaction again and returns its final answer. Without one it returns a zero receipt and
// no error.
func (s *Sender) Resolve(ctx context.Context) (Receipt, error) {
	if err := s.take(ctx); err != nil {
		return Receipt{}, err
	}
	defer s.give()
	if s.pending == nil {
		return Receipt{}, nil
	}
	return s.submit(ctx, s.pending)
}

// submit sends tx and brings next, known and pending up to date. tx carries nonce s.next.
func (s *Sender) submit(ctx context.Context, tx *block.Tx) (Receipt, error) {
	receipt, err := s.c.Submit(ctx, tx)
	var answer *APIError
	switch {
	case err == nil:
		s.pending = nil
		s.next++
	case errors.Is(err, ErrUnknownOutcome):
		s.pending = tx
	case errors.Is(err, ErrUnavailable):
		// Nothing happened, now. One that was pending before remains so.
	case errors.As(err, &answer):
		s.pending = nil
		if answer.Code == wire.CodeBadNonce {
			s.known = answer.ExpectedNonce != nil && *answer.ExpectedNonce > s.next
			if s.known {
				s.next = *answer.ExpectedNonce
			}
		}
	}
	return receipt, err
}

func (s *Sender) take(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: waiting for another transaction of the account: %w", ErrUnavailable, ctx.Err())
	}
}

func (s *Sender) give() { <-s.turn }
