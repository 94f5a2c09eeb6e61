package raftify

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/baton-ha/baton/raftify/core"
)

// ErrMalformed is returned when bytes are not exactly what this version would have written for some value.
var ErrMalformed = errors.New("malformed bytes")

// fields writes a fixed sequence of msgpack values. Writing to memory cannot fail.
type fields struct {
	buf bytes.Buffer
	enc *msgpack.Encoder
}

func newFields(version byte, n int) *fields {
	f := &fields{}
	f.buf.WriteByte(version)
	f.enc = msgpack.NewEncoder(&f.buf)
	f.array(n)
	return f
}

func (f *fields) must(err error)   { invariant(err == nil, "encode to memory: %v", err) }
func (f *fields) array(n int)      { f.must(f.enc.EncodeArrayLen(n)) }
func (f *fields) uint(v uint64)    { f.must(f.enc.EncodeUint(v)) }
func (f *fields) bool(v bool)      { f.must(f.enc.EncodeBool(v)) }
func (f *fields) text(v string)    { f.must(f.enc.EncodeString(v)) }
func (f *fields) id(v core.NodeID) { f.text(string(v)) }

// bytes writes v; an empty v is nil on the wire.
func (f *fields) bytes(v []byte) {
	if len(v) == 0 {
		v = nil
	}
	f.must(f.enc.EncodeBytes(v))
}

func (f *fields) cfg(c *core.Config) {
	if c == nil {
		f.must(f.enc.EncodeNil())
		return
	}
	f.array(4)
	f.uint(uint64(c.Key.CTerm))
	f.uint(c.Key.Ver)
	f.array(len(c.Members))
	for _, m := range c.Members {
		f.array(4)
		f.id(m.ID)
		f.bytes(m.Inc[:])
		f.text(m.Addr)
		f.bool(m.Voter)
	}
	f.array(len(c.Pins))
	for _, p := range c.Pins {
		f.array(3)
		f.id(p.ID)
		f.uint(uint64(p.State))
		f.bytes([]byte(p.Info))
	}
}

// scanner reads what fields wrote. The first failure sticks; every length is checked before anything is allocated.
type scanner struct {
	r   *bytes.Reader
	dec *msgpack.Decoder
	err error
}

func newScanner(b []byte, n int) *scanner {
	r := bytes.NewReader(b)
	s := &scanner{r: r, dec: msgpack.NewDecoder(r)}
	s.exactly(n)
	return s
}

func (s *scanner) fail(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
	}
}

func (s *scanner) check(err error) bool {
	if err != nil {
		s.fail("%v", err)
	}
	return s.err == nil
}

// array returns the length of an array of at most limit elements.
func (s *scanner) array(limit int) int {
	if s.err != nil {
		return 0
	}
	n, err := s.dec.DecodeArrayLen()
	if !s.check(err) {
		return 0
	}
	if n < 0 || n > limit || n > s.r.Len() {
		s.fail("array of %d elements, at most %d", n, limit)
		return 0
	}
	return n
}

func (s *scanner) exactly(n int) {
	if got := s.array(n); s.err == nil && got != n {
		s.fail("%d fields, want %d", got, n)
	}
}

func (s *scanner) uint() uint64 {
	if s.err != nil {
		return 0
	}
	v, err := s.dec.DecodeUint64()
	s.check(err)
	return v
}

func (s *scanner) bool() bool {
	if s.err != nil {
		return false
	}
	v, err := s.dec.DecodeBool()
	s.check(err)
	return v
}

func (s *scanner) bytes(limit int) []byte {
	if s.err != nil {
		return nil
	}
	n, err := s.dec.DecodeBytesLen()
	if !s.check(err) || n == -1 {
		return nil
	}
	if n < 0 || n > limit || n > s.r.Len() {
		s.fail("%d bytes, at most %d", n, limit)
		return nil
	}
	b := make([]byte, n)
	s.check(s.dec.ReadFull(b))
	return b
}

func (s *scanner) fixed(dst []byte) {
	if b := s.bytes(len(dst)); s.err == nil && copy(dst, b) != len(dst) {
		s.fail("%d bytes, want %d", len(b), len(dst))
	}
}

func (s *scanner) text(limit int) string { return string(s.bytes(limit)) }
func (s *scanner) id() core.NodeID       { return core.NodeID(s.text(maxIDBytes)) }
func (s *scanner) term() core.Term       { return core.Term(s.uint()) }

func (s *scanner) cfg() *core.Config {
	if s.err != nil {
		return nil
	}
	n, err := s.dec.DecodeArrayLen()
	if !s.check(err) || n == -1 {
		return nil
	}
	if n != 4 {
		s.fail("configuration of %d fields", n)
		return nil
	}
	c := &core.Config{Key: core.CfgKey{CTerm: s.term(), Ver: s.uint()}}
	count := s.array(maxMembers)
	if count > 0 {
		c.Members = make([]core.Member, 0, count)
	}
	for i := 0; i < count && s.err == nil; i++ {
		s.exactly(4)
		m := core.Member{ID: s.id()}
		s.fixed(m.Inc[:])
		m.Addr = s.text(maxAddrBytes)
		m.Voter = s.bool()
		if m.ID == "" || i > 0 && m.ID <= c.Members[i-1].ID {
			s.fail("members are not sorted by id, or one has none")
		}
		c.Members = append(c.Members, m)
	}
	c.Pins = s.pins()
	return c
}

func (s *scanner) pins() []core.Pin {
	n := s.array(core.MaxPins)
	if n == 0 {
		return nil
	}
	out := make([]core.Pin, 0, n)
	for i := 0; i < n && s.err == nil; i++ {
		s.exactly(3)
		p := core.Pin{ID: s.id()}
		state := s.uint()
		p.Info = s.text(core.MaxPinInfoBytes)
		if p.ID == "" || i > 0 && p.ID <= out[i-1].ID {
			s.fail("pins are not sorted by id, or one has none")
		}
		if state < uint64(core.PinInvited) || state > uint64(core.PinBarred) {
			s.fail("pin state %d", state)
		}
		p.State = core.PinState(state)
		out = append(out, p)
	}
	return out
}

// end checks that nothing follows.
func (s *scanner) end() error {
	if s.err == nil && s.r.Len() > 0 {
		s.fail("%d bytes too many", s.r.Len())
	}
	return s.err
}

// checkCfg says whether a configuration of our own fits the limits of the decoder.
func checkCfg(c *core.Config) error {
	if len(c.Members) > maxMembers {
		return fmt.Errorf("configuration of %d members, at most %d", len(c.Members), maxMembers)
	}
	for _, m := range c.Members {
		if m.ID == "" || len(m.ID) > maxIDBytes || len(m.Addr) > maxAddrBytes {
			return fmt.Errorf("member %q: id or address is empty or too long", m.ID)
		}
	}
	if len(c.Pins) > core.MaxPins {
		return fmt.Errorf("configuration of %d pins, at most %d", len(c.Pins), core.MaxPins)
	}
	for _, p := range c.Pins {
		if p.ID == "" || len(p.ID) > maxIDBytes || len(p.Info) > core.MaxPinInfoBytes {
			return fmt.Errorf("pin of %q: id is empty, or id or information too long", p.ID)
		}
	}
	return nil
}
