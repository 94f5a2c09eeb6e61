package chain

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// Account is what the chain holds about one public key. An account that nothing was ever sent to or from is the zero
// account.
type Account struct {
	// Nonce is the nonce that the account's next transaction must have.
	Nonce uint64
	// Balances are the amounts held, decimal, by asset. Assets of which nothing is held are left out.
	Balances map[string]string
}

const (
	accountVersion = 1
	// maxAssets bounds the assets of a chain, and so of an account.
	maxAssets = 65535
	// maxNameBytes bounds the name of an asset, a chain, a version or an App.
	maxNameBytes = 64
)

// holding is an amount above zero of one asset.
type holding struct {
	asset  string
	amount Amount
}

// account is the decoded value of an account leaf. Its holdings are sorted by asset; the slice is never changed in
// place once another account value may share it.
type account struct {
	nonce    uint64
	holdings []holding
}

func (a *account) find(asset string) (int, bool) {
	return slices.BinarySearchFunc(a.holdings, asset, func(h holding, asset string) int {
		return strings.Compare(h.asset, asset)
	})
}

// balance returns how much of an asset the account holds.
func (a *account) balance(asset string) Amount {
	if i, ok := a.find(asset); ok {
		return a.holdings[i].amount
	}
	return Amount{}
}

// set makes amount the balance of an asset, in a fresh slice.
func (a *account) set(asset string, amount Amount) {
	i, ok := a.find(asset)
	switch {
	case ok && amount.IsZero():
		a.holdings = slices.Concat(a.holdings[:i], a.holdings[i+1:])
	case ok:
		a.holdings = slices.Clone(a.holdings)
		a.holdings[i].amount = amount
	case !amount.IsZero():
		a.holdings = slices.Concat(a.holdings[:i], []holding{{asset, amount}}, a.holdings[i:])
	}
}

// encode returns the bytes of an account leaf, as doc.go describes them.
func (a *account) encode() []byte {
	size := 1 + 8 + 2
	for _, h := range a.holdings {
		size += 1 + len(h.asset) + 1 + AmountBytes
	}
	buf := make([]byte, 0, size)
	buf = append(buf, accountVersion)
	buf = binary.BigEndian.AppendUint64(buf, a.nonce)
	buf = binary.BigEndian.AppendUint16(buf, uint16(len(a.holdings)))
	for _, h := range a.holdings {
		buf = append(buf, byte(len(h.asset)))
		buf = append(buf, h.asset...)
		buf = h.amount.appendBytes(buf)
	}
	return buf
}

// decodeAccount reads the one form that encode writes; anything else is [ErrBadState].
func decodeAccount(data []byte) (account, error) {
	bad := func(problem string) (account, error) {
		return account{}, fmt.Errorf("%w: account: %s", ErrBadState, problem)
	}
	if len(data) < 11 || data[0] != accountVersion {
		return bad("too short or of another version")
	}
	a := account{nonce: binary.BigEndian.Uint64(data[1:])}
	count := int(binary.BigEndian.Uint16(data[9:]))
	data = data[11:]
	const smallest = 1 + 1 + 1 + 1
	if count > len(data)/smallest {
		return bad("more holdings than bytes for them")
	}
	if count > 0 {
		a.holdings = make([]holding, count)
	}
	for i := range a.holdings {
		asset, rest, ok := cutShort(data, maxNameBytes)
		if !ok || len(asset) == 0 {
			return bad("asset name cut off or of a bad length")
		}
		number, rest, ok := cutShort(rest, AmountBytes)
		if !ok {
			return bad("amount cut off or too long")
		}
		amount, ok := amountFromBytes(number)
		if !ok || amount.IsZero() {
			return bad("amount is zero or has leading zeros")
		}
		a.holdings[i] = holding{string(asset), amount}
		if i > 0 && a.holdings[i-1].asset >= a.holdings[i].asset {
			return bad("assets out of order")
		}
		data = rest
	}
	if len(data) != 0 {
		return bad("trailing bytes")
	}
	return a, nil
}

// cutShort takes a length byte and that many bytes, at most longest, from the front of data.
func cutShort(data []byte, longest int) (taken, rest []byte, ok bool) {
	if len(data) == 0 {
		return nil, nil, false
	}
	n := int(data[0])
	if n > longest || n > len(data)-1 {
		return nil, nil, false
	}
	return data[1 : 1+n], data[1+n:], true
}

// DecodeAccount reads an account as the state has it under [AccountKey], such as the value that a proof is about.
// Anything else is [ErrBadState].
func DecodeAccount(value []byte) (Account, error) {
	a, err := decodeAccount(value)
	if err != nil {
		return Account{}, err
	}
	return a.public(), nil
}

// public returns the exported form.
func (a *account) public() Account {
	balances := make(map[string]string, len(a.holdings))
	for _, h := range a.holdings {
		balances[h.asset] = h.amount.String()
	}
	return Account{Nonce: a.nonce, Balances: balances}
}
