package chain

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"unicode/utf16"
	"unicode/utf8"
)

// valueKind is what a JSON value is.
type valueKind uint8

const (
	kindNull valueKind = iota + 1
	kindBool
	kindNumber
	kindString
	kindArray
	kindObject
)

func (k valueKind) String() string {
	switch k {
	case kindNull:
		return "null"
	case kindBool:
		return "a boolean"
	case kindNumber:
		return "a number"
	case kindString:
		return "a string"
	case kindArray:
		return "a list"
	case kindObject:
		return "an object"
	}
	return "nothing"
}

// value is one parsed JSON value. Texts point into the input wherever it has no escapes.
type value struct {
	kind valueKind
	text []byte  // string content, or a number or boolean as written
	list []field // elements of an object, or of an array (without names)
}

// field is a named value of an object.
type field struct {
	name  []byte
	value value
}

// limits bounds what a text may make the scanner allocate.
type limits struct {
	depth  int // nested objects and arrays
	values int // values in all
}

var errJSON = errors.New("not valid JSON")

// scanner reads one JSON text strictly: RFC 8259 without extensions, valid UTF-8, no unpaired surrogates, no field
// twice in one object (compared after escapes are resolved), nothing after the value.
type scanner struct {
	in      []byte
	at      int
	limits  limits
	scratch []field // elements of the objects and arrays that are open
}

// scanJSON parses one JSON text. The result shares memory with in, which must not change afterwards.
func scanJSON(in []byte, l limits) (value, error) {
	if !utf8.Valid(in) {
		return value{}, fmt.Errorf("%w: not UTF-8", errJSON)
	}
	s := scanner{in: in, limits: l, scratch: make([]field, 0, 16)}
	v, err := s.value(0)
	if err != nil {
		return value{}, err
	}
	s.space()
	if s.at != len(s.in) {
		return value{}, s.errorf("something follows the value")
	}
	return v, nil
}

func (s *scanner) errorf(format string, args ...any) error {
	return fmt.Errorf("%w: byte %d: %s", errJSON, s.at, fmt.Sprintf(format, args...))
}

func (s *scanner) space() {
	for s.at < len(s.in) {
		switch s.in[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return
		}
	}
}

// peek returns the next byte, 0 at the end (0 starts no JSON value).
func (s *scanner) peek() byte {
	if s.at < len(s.in) {
		return s.in[s.at]
	}
	return 0
}

func (s *scanner) value(depth int) (value, error) {
	s.space()
	if s.limits.values--; s.limits.values < 0 {
		return value{}, s.errorf("too many values")
	}
	switch c := s.peek(); {
	case c == '"':
		text, err := s.str()
		return value{kind: kindString, text: text}, err
	case c == '{' || c == '[':
		if depth == s.limits.depth {
			return value{}, s.errorf("nested too deeply")
		}
		if c == '{' {
			return s.object(depth + 1)
		}
		return s.array(depth + 1)
	case c == '-' || (c >= '0' && c <= '9'):
		text, err := s.number()
		return value{kind: kindNumber, text: text}, err
	}
	for _, w := range []struct {
		word string
		kind valueKind
	}{{"true", kindBool}, {"false", kindBool}, {"null", kindNull}} {
		if rest := s.in[s.at:]; len(rest) >= len(w.word) && string(rest[:len(w.word)]) == w.word {
			s.at += len(w.word)
			return value{kind: w.kind, text: rest[:len(w.word)]}, nil
		}
	}
	return value{}, s.errorf("expected a value")
}

func (s *scanner) object(depth int) (value, error) {
	s.at++
	from := len(s.scratch)
	s.space()
	if s.peek() == '}' {
		s.at++
		return value{kind: kindObject}, nil
	}
	for {
		s.space()
		if s.peek() != '"' {
			return value{}, s.errorf("expected a field name")
		}
		name, err := s.str()
		if err != nil {
			return value{}, err
		}
		s.space()
		if s.peek() != ':' {
			return value{}, s.errorf("expected ':'")
		}
		s.at++
		v, err := s.value(depth)
		if err != nil {
			return value{}, err
		}
		s.scratch = append(s.scratch, field{name: name, value: v})
		done, err := s.next('}')
		if err != nil {
			return value{}, err
		}
		if done {
			break
		}
	}
	list := s.take(from)
	if name, twice := duplicate(list); twice {
		return value{}, fmt.Errorf("%w: field %s stands twice", errJSON, quoted(name))
	}
	return value{kind: kindObject, list: list}, nil
}

func (s *scanner) array(depth int) (value, error) {
	s.at++
	from := len(s.scratch)
	s.space()
	if s.peek() == ']' {
		s.at++
		return value{kind: kindArray}, nil
	}
	for {
		v, err := s.value(depth)
		if err != nil {
			return value{}, err
		}
		s.scratch = append(s.scratch, field{value: v})
		done, err := s.next(']')
		if err != nil {
			return value{}, err
		}
		if done {
			return value{kind: kindArray, list: s.take(from)}, nil
		}
	}
}

// next reads a comma (false) or the closing byte (true).
func (s *scanner) next(closing byte) (bool, error) {
	s.space()
	switch s.peek() {
	case closing:
		s.at++
		return true, nil
	case ',':
		s.at++
		return false, nil
	}
	return false, s.errorf("expected ',' or %q", closing)
}

// take moves the elements of the innermost open object or array off the scratch stack.
func (s *scanner) take(from int) []field {
	list := slices.Clone(s.scratch[from:])
	s.scratch = s.scratch[:from]
	return list
}

// duplicate finds a name that stands twice.
func duplicate(list []field) ([]byte, bool) {
	const few = 32
	if len(list) <= few {
		for i := range list {
			for j := range i {
				if bytes.Equal(list[i].name, list[j].name) {
					return list[i].name, true
				}
			}
		}
		return nil, false
	}
	seen := make(map[string]struct{}, len(list))
	for i := range list {
		if _, ok := seen[string(list[i].name)]; ok {
			return list[i].name, true
		}
		seen[string(list[i].name)] = struct{}{}
	}
	return nil, false
}

// number reads a number by JSON's grammar and returns it as written.
func (s *scanner) number() ([]byte, error) {
	from := s.at
	if s.peek() == '-' {
		s.at++
	}
	switch {
	case s.peek() == '0':
		s.at++
	case !s.digits():
		return nil, s.errorf("expected a digit")
	}
	if s.peek() == '.' {
		s.at++
		if !s.digits() {
			return nil, s.errorf("expected a digit")
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.at++
		if c := s.peek(); c == '+' || c == '-' {
			s.at++
		}
		if !s.digits() {
			return nil, s.errorf("expected a digit")
		}
	}
	return s.in[from:s.at:s.at], nil
}

// digits skips digits and reports whether there was one.
func (s *scanner) digits() bool {
	from := s.at
	for c := s.peek(); c >= '0' && c <= '9'; c = s.peek() {
		s.at++
	}
	return s.at > from
}

// str reads a string and returns its content with escapes resolved.
func (s *scanner) str() ([]byte, error) {
	s.at++
	from := s.at
	for ; s.at < len(s.in); s.at++ {
		switch c := s.in[s.at]; {
		case c == '"':
			s.at++
			return s.in[from : s.at-1 : s.at-1], nil
		case c == '\\':
			return s.escaped(from)
		case c < 0x20:
			return nil, s.errorf("control character in a string")
		}
	}
	return nil, s.errorf("string without an end")
}

// escaped reads the rest of a string that began at from and whose first escape is at s.at.
func (s *scanner) escaped(from int) ([]byte, error) {
	out := append([]byte(nil), s.in[from:s.at]...)
	for s.at < len(s.in) {
		c := s.in[s.at]
		switch {
		case c == '"':
			s.at++
			return out, nil
		case c < 0x20:
			return nil, s.errorf("control character in a string")
		case c != '\\':
			out = append(out, c)
			s.at++
			continue
		}
		s.at++
		switch c := s.peek(); c {
		case '"', '\\', '/':
			out = append(out, c)
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, err := s.unicode()
			if err != nil {
				return nil, err
			}
			out = utf8.AppendRune(out, r)
			continue
		default:
			return nil, s.errorf("unknown escape")
		}
		s.at++
	}
	return nil, s.errorf("string without an end")
}

// unicode reads "uXXXX", and the second half of a surrogate pair with it; s.at is at the u.
func (s *scanner) unicode() (rune, error) {
	first, ok := s.hex4()
	if !ok {
		return 0, s.errorf("bad \\u escape")
	}
	if !utf16.IsSurrogate(first) {
		return first, nil
	}
	if s.peek() == '\\' {
		s.at++
		if second, ok := s.hex4(); ok {
			if r := utf16.DecodeRune(first, second); r != utf8.RuneError {
				return r, nil
			}
		}
	}
	return 0, s.errorf("unpaired surrogate")
}

// hex4 reads a u and four hex digits.
func (s *scanner) hex4() (rune, bool) {
	if len(s.in)-s.at < 5 || s.in[s.at] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range s.in[s.at+1 : s.at+5] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	s.at += 5
	return r, true
}

// quoted shortens and quotes a text of the input for an error message.
func quoted(text []byte) string {
	const longest = 32
	if len(text) > longest {
		return fmt.Sprintf("%q...", text[:longest])
	}
	return fmt.Sprintf("%q", text)
}
