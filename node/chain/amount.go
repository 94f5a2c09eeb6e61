package chain

import (
	"encoding/binary"
	"errors"
	"math/bits"
)

// AmountBytes is the longest binary form of an [Amount].
const AmountBytes = 32

// maxAmountDigits is the number of decimal digits of 2^256-1.
const maxAmountDigits = 78

// ErrBadAmount is returned when a text is not a plain decimal integer below 2^256: a sign, a space, a leading zero, an
// exponent or nothing at all.
var ErrBadAmount = errors.New("not a plain decimal integer below 2^256")

// Amount is an unsigned 256-bit quantity of an asset, in the asset's smallest unit. It is a plain comparable value; the
// zero value is zero.
type Amount struct {
	limb [4]uint64 // least significant first
}

// NewAmount returns v as an Amount.
func NewAmount(v uint64) Amount { return Amount{limb: [4]uint64{v}} }

// ParseAmount reads a plain decimal integer; anything else is [ErrBadAmount].
func ParseAmount(s string) (Amount, error) { return parseAmount([]byte(s)) }

func parseAmount(s []byte) (Amount, error) {
	if len(s) == 0 || len(s) > maxAmountDigits || (s[0] == '0' && len(s) > 1) {
		return Amount{}, ErrBadAmount
	}
	var a Amount
	for len(s) > 0 {
		n := min(len(s), 19) // the most digits that surely fit a uint64
		var part, scale uint64 = 0, 1
		for _, c := range s[:n] {
			if c < '0' || c > '9' {
				return Amount{}, ErrBadAmount
			}
			part, scale = part*10+uint64(c-'0'), scale*10
		}
		carry := part
		for i := range a.limb {
			hi, lo := bits.Mul64(a.limb[i], scale)
			var c uint64
			a.limb[i], c = bits.Add64(lo, carry, 0)
			carry = hi + c // hi is at most 2^64-2, so this cannot overflow
		}
		if carry != 0 {
			return Amount{}, ErrBadAmount
		}
		s = s[n:]
	}
	return a, nil
}

// String returns the decimal form without leading zeros.
func (a Amount) String() string {
	var buf [maxAmountDigits]byte
	return string(a.appendDecimal(buf[:0]))
}

func (a Amount) appendDecimal(dst []byte) []byte {
	const chunk, chunkDigits = 1e19, 19
	var digits [5 * chunkDigits]byte
	at := len(digits)
	for {
		var rest uint64
		for i := len(a.limb) - 1; i >= 0; i-- {
			a.limb[i], rest = bits.Div64(rest, a.limb[i], chunk)
		}
		last := a.IsZero()
		for range chunkDigits {
			if last && rest == 0 {
				break
			}
			at--
			digits[at] = '0' + byte(rest%10)
			rest /= 10
		}
		if last {
			break
		}
	}
	if at == len(digits) {
		return append(dst, '0')
	}
	return append(dst, digits[at:]...)
}

// MarshalText returns the decimal form.
func (a Amount) MarshalText() ([]byte, error) { return a.appendDecimal(nil), nil }

// UnmarshalText reads what [ParseAmount] reads.
func (a *Amount) UnmarshalText(text []byte) error {
	parsed, err := parseAmount(text)
	if err != nil {
		return err
	}
	*a = parsed
	return nil
}

// IsZero reports whether the amount is zero.
func (a Amount) IsZero() bool { return a == Amount{} }

// Cmp returns -1, 0 or +1 for a below, equal to or above b.
func (a Amount) Cmp(b Amount) int {
	for i := len(a.limb) - 1; i >= 0; i-- {
		switch {
		case a.limb[i] < b.limb[i]:
			return -1
		case a.limb[i] > b.limb[i]:
			return 1
		}
	}
	return 0
}

// Add returns a+b, and false if that does not fit 256 bits.
func (a Amount) Add(b Amount) (sum Amount, ok bool) {
	var carry uint64
	for i := range a.limb {
		sum.limb[i], carry = bits.Add64(a.limb[i], b.limb[i], carry)
	}
	return sum, carry == 0
}

// Sub returns a-b, and false if b is above a.
func (a Amount) Sub(b Amount) (difference Amount, ok bool) {
	var borrow uint64
	for i := range a.limb {
		difference.limb[i], borrow = bits.Sub64(a.limb[i], b.limb[i], borrow)
	}
	return difference, borrow == 0
}

// appendBytes appends a length byte and the big-endian bytes without leading zeros.
func (a Amount) appendBytes(dst []byte) []byte {
	var buf [AmountBytes]byte
	for i, limb := range a.limb {
		binary.BigEndian.PutUint64(buf[AmountBytes-8*(i+1):], limb)
	}
	from := 0
	for from < AmountBytes && buf[from] == 0 {
		from++
	}
	dst = append(dst, byte(AmountBytes-from))
	return append(dst, buf[from:]...)
}

// amountFromBytes reads big-endian bytes without leading zeros.
func amountFromBytes(b []byte) (Amount, bool) {
	if len(b) > AmountBytes || (len(b) > 0 && b[0] == 0) {
		return Amount{}, false
	}
	var buf [AmountBytes]byte
	copy(buf[AmountBytes-len(b):], b)
	var a Amount
	for i := range a.limb {
		a.limb[i] = binary.BigEndian.Uint64(buf[AmountBytes-8*(i+1):])
	}
	return a, true
}
