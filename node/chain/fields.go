package chain

import (
	"errors"
	"fmt"
	"strconv"
)

// maxFields bounds the fields of an object that is read through [Fields].
const maxFields = 64

// ErrBadField is returned by [Fields.Err] when a field is missing, of another type or not known.
var ErrBadField = errors.New("bad field")

// Fields reads the fields of one JSON object by name. The first problem sticks: after it every method returns a zero
// value, so that a decoder reads all it needs and checks [Fields.Err] once, at the end. Err also refuses fields that
// nobody asked for. A Fields is for one goroutine.
type Fields struct {
	list []field
	used uint64 // bit i: list[i] was read
	err  error
}

func newFields(v value, what string) (*Fields, error) {
	if v.kind != kindObject {
		return nil, fmt.Errorf("%w: %s is %s, expected an object", ErrBadField, what, v.kind)
	}
	if len(v.list) > maxFields {
		return nil, fmt.Errorf("%w: %s has %d fields, at most %d", ErrBadField, what, len(v.list), maxFields)
	}
	return &Fields{list: v.list}, nil
}

// Err returns the first problem met, or that a field stands there which was not read: [ErrBadField].
func (f *Fields) Err() error {
	if f.err != nil {
		return f.err
	}
	for i := range f.list {
		if f.used&(1<<i) == 0 {
			return fmt.Errorf("%w: unknown field %s", ErrBadField, quoted(f.list[i].name))
		}
	}
	return nil
}

// Has reports whether the object has the field. It does not count as reading it.
func (f *Fields) Has(name string) bool {
	for i := range f.list {
		if string(f.list[i].name) == name {
			return true
		}
	}
	return false
}

// take returns the named field, which must be of the given kind.
func (f *Fields) take(name string, kind valueKind) (value, bool) {
	if f.err != nil {
		return value{}, false
	}
	for i := range f.list {
		if string(f.list[i].name) != name {
			continue
		}
		f.used |= 1 << i
		v := f.list[i].value
		if v.kind != kind {
			f.fail(name, fmt.Sprintf("is %s, expected %s", v.kind, kind))
			return value{}, false
		}
		return v, true
	}
	f.fail(name, "is missing")
	return value{}, false
}

func (f *Fields) fail(name, problem string) {
	if f.err == nil {
		f.err = fmt.Errorf("%w: %q %s", ErrBadField, name, problem)
	}
}

// String returns a string field.
func (f *Fields) String(name string) string {
	v, _ := f.take(name, kindString)
	return string(v.text)
}

// Uint64 returns a number field written as a plain integer from 0 to 2^64-1.
func (f *Fields) Uint64(name string) uint64 {
	v, ok := f.take(name, kindNumber)
	if !ok {
		return 0
	}
	n, ok := plainUint64(v.text)
	if !ok {
		f.fail(name, "is not a plain integer from 0 to 2^64-1")
	}
	return n
}

// plainUint64 reads digits only, without leading zeros.
func plainUint64(text []byte) (uint64, bool) {
	if len(text) == 0 || (text[0] == '0' && len(text) > 1) {
		return 0, false
	}
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseUint(string(text), 10, 64)
	return n, err == nil
}

// PublicKey returns a field that is a string of 64 hex digits.
func (f *Fields) PublicKey(name string) PublicKey {
	v, ok := f.take(name, kindString)
	if !ok {
		return PublicKey{}
	}
	k, err := parsePublicKey(v.text)
	if err != nil {
		f.fail(name, "is "+err.Error())
	}
	return k
}

// Amount returns a field that is a string holding a plain decimal integer, 0 < amount < 2^256.
func (f *Fields) Amount(name string) Amount {
	v, ok := f.take(name, kindString)
	if !ok {
		return Amount{}
	}
	a, err := parseAmount(v.text)
	switch {
	case err != nil:
		f.fail(name, "is "+err.Error())
	case a.IsZero():
		f.fail(name, "is zero")
	}
	return a
}

// Objects returns a field that is a list of objects.
func (f *Fields) Objects(name string) []*Fields {
	v, ok := f.take(name, kindArray)
	if !ok {
		return nil
	}
	objects := make([]*Fields, len(v.list))
	for i := range v.list {
		o, err := newFields(v.list[i].value, "an element of "+name)
		if err != nil {
			f.err = err
			return nil
		}
		objects[i] = o
	}
	return objects
}

// Object returns a field that is an object.
func (f *Fields) Object(name string) *Fields {
	v, ok := f.take(name, kindObject)
	if !ok {
		return &Fields{err: f.err}
	}
	o, err := newFields(v, name)
	if err != nil {
		f.err = err
		return &Fields{err: err}
	}
	return o
}
