package replication

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/raftify/core"
)

// ErrMalformed is returned by DecodeMessage and DecodeCertified for bytes that their counterparts did not write.
var ErrMalformed = errors.New("malformed")

const (
	codecVersion = 1
	prunedAnswer = 2  // in the place of the version: no blocks, but the height from which on there are some
	messageLen   = 15 // fields of an encoded message
	maxIDBytes   = 64
)

// EncodeMessage returns the wire form of a message: a msgpack array of fixed length, the block as its hashed bytes.
func EncodeMessage(m *Message) ([]byte, error) {
	var body []byte
	if m.Block != nil {
		body = m.Block.Encode()
	}
	buf := bytes.NewBuffer(make([]byte, 0, 256+len(body)))
	e := msgpack.NewEncoder(buf)
	e.UseCompactInts(true)
	err := errors.Join(
		e.EncodeArrayLen(messageLen), e.EncodeUint(codecVersion), e.EncodeUint(uint64(m.Type)),
		e.EncodeBytes(m.ClusterID[:]), e.EncodeBytes([]byte(m.From)), e.EncodeBytes([]byte(m.To)), e.EncodeBytes(m.Inc[:]),
		e.EncodeUint(m.Boot), e.EncodeUint(m.Session), e.EncodeUint(uint64(m.Term)),
		encodeRef(e, m.Ref), e.EncodeUint(uint64(m.CTerm)), e.EncodeBool(m.Resend), encodeRef(e, m.Commit),
		e.EncodeBytes(body),
	)
	if err != nil {
		return nil, fmt.Errorf("encode %v: %w", m.Type, err)
	}
	return buf.Bytes(), nil
}

func encodeRef(e *msgpack.Encoder, r Ref) error { return e.EncodeBytes(putRef(nil, r)) }

// decoder reads msgpack without trusting any length in it.
type decoder struct {
	r   *bytes.Reader
	d   *msgpack.Decoder
	err error
}

func newDecoder(b []byte) *decoder {
	r := bytes.NewReader(b)
	return &decoder{r: r, d: msgpack.NewDecoder(r)}
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
	}
}

func (d *decoder) array(want int) {
	if d.err != nil {
		return
	}
	if n, err := d.d.DecodeArrayLen(); err != nil || n != want {
		d.fail("array of %d, want %d (%v)", n, want, err)
	}
}

func (d *decoder) uint() (v uint64) {
	if d.err != nil {
		return 0
	}
	v, err := d.d.DecodeUint64()
	if err != nil {
		d.fail("number: %v", err)
	}
	return v
}

func (d *decoder) bool() (v bool) {
	if d.err != nil {
		return false
	}
	v, err := d.d.DecodeBool()
	if err != nil {
		d.fail("bool: %v", err)
	}
	return v
}

// bytes reads at most limit bytes; the declared length is checked against what is there before it is allocated.
func (d *decoder) bytes(limit int) []byte {
	if d.err != nil {
		return nil
	}
	n, err := d.d.DecodeBytesLen()
	if err != nil || n > limit || n > d.r.Len() {
		d.fail("%d bytes, at most %d, %d left (%v)", n, limit, d.r.Len(), err)
		return nil
	}
	if n <= 0 {
		return nil
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(d.r, b); err != nil {
		d.fail("bytes: %v", err)
	}
	return b
}

func (d *decoder) fixed(into []byte) {
	if b := d.bytes(len(into)); len(b) == len(into) {
		copy(into, b)
	} else {
		d.fail("%d bytes, want %d", len(b), len(into))
	}
}

func (d *decoder) ref() Ref {
	var b [40]byte
	d.fixed(b[:])
	return getRef(b[:])
}

func (d *decoder) block() *block.Block {
	b := d.bytes(d.r.Len())
	if d.err != nil || len(b) == 0 {
		return nil
	}
	blk, err := block.Decode(b)
	if err != nil {
		d.fail("block: %v", err)
	}
	return blk
}

func (d *decoder) end() error {
	if d.err == nil && d.r.Len() > 0 {
		d.fail("%d bytes behind the end", d.r.Len())
	}
	return d.err
}

// DecodeMessage reads what EncodeMessage wrote. The message shares no memory with b. What it means is for Chain.Step to
// judge; its sender must be the peer that the link authenticated.
func DecodeMessage(b []byte) (Message, error) {
	d := newDecoder(b)
	d.array(messageLen)
	if v := d.uint(); d.err == nil && v != codecVersion {
		d.fail("version %d", v)
	}
	var m Message
	m.Type = MessageType(min(d.uint(), 255))
	if d.err == nil && (m.Type == 0 || m.Type >= msgEnd) {
		d.fail("type %d", m.Type)
	}
	d.fixed(m.ClusterID[:])
	m.From, m.To = core.NodeID(d.bytes(maxIDBytes)), core.NodeID(d.bytes(maxIDBytes))
	d.fixed(m.Inc[:])
	m.Boot, m.Session, m.Term = d.uint(), d.uint(), core.Term(d.uint())
	m.Ref, m.CTerm, m.Resend, m.Commit = d.ref(), core.Term(d.uint()), d.bool(), d.ref()
	m.Block = d.block()
	if d.err == nil && (m.Block != nil) != (m.Type == MsgProp) {
		d.fail("%v with a block: %v", m.Type, m.Block != nil)
	}
	if d.err == nil && m.Block != nil && (m.Ref != Ref{m.Block.Header.Height, m.Block.Hash()}) {
		d.fail("block is not %v", m.Ref)
	}
	return m, d.end()
}

// EncodeCertified returns the wire form of the answer to a Fetch.
func EncodeCertified(blocks []Certified) ([]byte, error) {
	var buf bytes.Buffer
	e := msgpack.NewEncoder(&buf)
	err := errors.Join(e.EncodeArrayLen(2), e.EncodeUint(codecVersion), e.EncodeArrayLen(2*len(blocks)))
	for _, b := range blocks {
		err = errors.Join(err, e.EncodeUint(uint64(b.CTerm)), e.EncodeBytes(b.Block.Encode()))
	}
	if err != nil {
		return nil, fmt.Errorf("encode blocks: %w", err)
	}
	return buf.Bytes(), nil
}

// EncodePruned returns the wire form of the answer to a Fetch that begins below the own chain.
func EncodePruned(p *PrunedError) ([]byte, error) {
	var buf bytes.Buffer
	e := msgpack.NewEncoder(&buf)
	e.UseCompactInts(true)
	if err := errors.Join(e.EncodeArrayLen(2), e.EncodeUint(prunedAnswer), e.EncodeUint(uint64(p.Base))); err != nil {
		return nil, fmt.Errorf("encode answer: %w", err)
	}
	return buf.Bytes(), nil
}

// DecodeCertified reads what EncodeCertified wrote, or EncodePruned: that is a *PrunedError.
func DecodeCertified(b []byte) ([]Certified, error) {
	d := newDecoder(b)
	d.array(2)
	switch v := d.uint(); {
	case d.err == nil && v == prunedAnswer:
		p := &PrunedError{Base: block.Height(d.uint())}
		if err := d.end(); err != nil {
			return nil, err
		}
		return nil, p
	case d.err == nil && v != codecVersion:
		d.fail("version %d", v)
	}
	n := 0
	if d.err == nil {
		var err error
		if n, err = d.d.DecodeArrayLen(); err != nil || n < 0 || n%2 != 0 || n > len(b) {
			d.fail("list of %d (%v)", n, err)
		}
	}
	var out []Certified
	for i := 0; i < n/2 && d.err == nil; i++ {
		c := Certified{CTerm: core.Term(d.uint())}
		if c.Block = d.block(); c.Block == nil {
			d.fail("no block")
			break
		}
		out = append(out, c)
	}
	if err := d.end(); err != nil {
		return nil, err
	}
	return out, nil
}
