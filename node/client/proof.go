package client

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"maps"

	"github.com/baton-ha/baton/node/api/wire"
	"github.com/baton-ha/baton/node/chain"
)

// The shapes of what is proven.
type (
	// StateEntry is one entry of the state, or that there is none, with a proof.
	StateEntry = wire.StateEntry
	// StateProof shows what a key had after a signed block. Its Verify checks it.
	StateProof = wire.StateProof
)

// State reads one entry of the state, linearizably, and checks its proof under the processor's public key pub, which must
// come from a trusted place such as the genesis file: whatever the asked node is, what is returned was so after the
// signed block of height Height. How recent that is only the node says. Before the first signed block there is nothing
// to check a proof with: [wire.ErrUnsigned]. node/chain says which keys there are.
func (c *Client) State(ctx context.Context, key []byte, pub ed25519.PublicKey) (StateEntry, error) {
	e, err := get[StateEntry](ctx, c, "/v1/state/"+hex.EncodeToString(key)+"?proof=1", stateAnswerBytes)
	if err != nil {
		return StateEntry{}, err
	}
	if string(e.Key) != string(key) {
		return StateEntry{}, fmt.Errorf("state %x: the answer is about %s: %w", key, e.Key, wire.ErrBadProof)
	}
	if err := e.Check(); err != nil {
		return StateEntry{}, err
	}
	return e, e.Proof.Verify(pub)
}

// ProvenAccount reads an account as [Client.Account] does, and checks it as [Client.State] does.
func (c *Client) ProvenAccount(ctx context.Context, account, pub ed25519.PublicKey) (Account, error) {
	a, err := get[Account](ctx, c, "/v1/accounts/"+hex.EncodeToString(account)+"?proof=1", stateAnswerBytes)
	if err != nil {
		return Account{}, err
	}
	if a.PublicKey != hex.EncodeToString(account) {
		return Account{}, fmt.Errorf("account %x: the answer is about %s: %w", []byte(account), a.PublicKey, wire.ErrBadProof)
	}
	return a, VerifyAccount(&a, pub)
}

// VerifyAccount checks that all that an account's JSON says follows from its proof, and that, under the processor's public
// key pub. The error is one of [wire.StateProof.Verify]'s; [wire.ErrBadProof] also when there is no proof.
func VerifyAccount(a *Account, pub ed25519.PublicKey) error {
	if err := CheckAccount(a); err != nil {
		return err
	}
	return a.Proof.Verify(pub)
}

// CheckAccount compares an account with what its proof states, without checking that itself.
func CheckAccount(a *Account) error {
	bad := func(what string) error {
		return fmt.Errorf("account %s: %s: %w", a.PublicKey, what, wire.ErrBadProof)
	}
	key, err := chain.ParsePublicKey(a.PublicKey)
	switch {
	case err != nil:
		return bad("no public key")
	case a.Proof == nil:
		return bad("no proof")
	case string(a.Proof.Key) != string(chain.AccountKey(key)):
		return bad("the proof is about another key")
	case a.Proof.Header.Height != a.Height:
		return bad("the proof is about another height")
	}
	proven := chain.Account{}
	if a.Proof.Present {
		if proven, err = chain.DecodeAccount(a.Proof.Value); err != nil {
			return bad(err.Error())
		}
	}
	if proven.Nonce != a.Nonce || !maps.Equal(proven.Balances, a.Balances) {
		return bad("nonce or balances are not those of the proof")
	}
	return nil
}
