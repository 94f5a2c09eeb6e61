package raftify

import (
	"bytes"
	"crypto/ed25519"
	"fmt"

	"github.com/baton-ha/baton/raftify/core"
)

// A message on the wire is one version byte and a msgpack array of a fixed number of fields, always all of them. The
// encoding is canonical: a decoder accepts only the very bytes that the encoder writes for the decoded message, so
// there are no unknown fields, no trailing bytes and no second spelling of a number.
const (
	wireVersion        = 1
	wireFields         = 20
	maxAttachmentBytes = 4 << 10
	// maxMessageBytes is more than any message within the limits: 64 members of 64+16+256 bytes, 64 pins of 64+512 bytes,
	// 64 ids, an attachment.
	maxMessageBytes = 80 << 10
)

// EncodeMessage returns the wire form of m. It is an error if m is beyond what DecodeMessage accepts.
func EncodeMessage(m *core.Message) ([]byte, error) {
	if len(m.Attachment) > maxAttachmentBytes {
		return nil, fmt.Errorf("attachment of %d bytes, at most %d", len(m.Attachment), maxAttachmentBytes)
	}
	if len(m.From) > maxIDBytes || len(m.To) > maxIDBytes || len(m.Addr) > maxAddrBytes || len(m.Reachable) > maxMembers {
		return nil, fmt.Errorf("message %v from %q to %q: a field is too long", m.Type, m.From, m.To)
	}
	for _, id := range m.Reachable {
		if len(id) > maxIDBytes {
			return nil, fmt.Errorf("reachable id of %d bytes, at most %d", len(id), maxIDBytes)
		}
	}
	if m.Dead != nil && (len(m.Dead.ID) > maxIDBytes || len(m.Dead.Sig) != ed25519.SignatureSize) {
		return nil, fmt.Errorf("message %v to %q: its death notice is not signed", m.Type, m.To)
	}
	if m.Cfg != nil {
		if err := checkCfg(m.Cfg); err != nil {
			return nil, err
		}
	}
	return appendMessage(m), nil
}

func appendMessage(m *core.Message) []byte {
	f := newFields(wireVersion, wireFields)
	f.uint(uint64(m.Type))
	f.bytes(m.ClusterID[:])
	f.id(m.From)
	f.id(m.To)
	f.bytes(m.Inc[:])
	f.uint(m.Boot)
	f.uint(m.Session)
	f.uint(uint64(m.Term))
	f.uint(uint64(m.NextTerm))
	f.bool(m.OK)
	f.uint(uint64(m.TransferOf))
	f.uint(m.Seq)
	f.cfg(m.Cfg)
	f.array(2)
	f.uint(uint64(m.CfgKey.CTerm))
	f.uint(m.CfgKey.Ver)
	f.array(len(m.Reachable))
	for _, id := range m.Reachable {
		f.id(id)
	}
	f.bool(m.Unfit)
	f.text(m.Addr)
	f.bytes(m.Promise[:])
	f.bytes(m.Attachment)
	if m.Dead == nil {
		f.bytes(nil)
	} else {
		f.bytes(append(encodeDeath(*m.Dead), m.Dead.Sig...))
	}
	return f.buf.Bytes()
}

// DecodeMessage reads what EncodeMessage wrote and refuses everything else with ErrMalformed. The message shares no
// memory with b. What the message means is for the core to judge.
func DecodeMessage(b []byte) (core.Message, error) {
	if len(b) == 0 || len(b) > maxMessageBytes || b[0] != wireVersion {
		return core.Message{}, fmt.Errorf("%w: %d bytes, or not version %d", ErrMalformed, len(b), wireVersion)
	}
	s := newScanner(b[1:], wireFields)
	var m core.Message
	t := s.uint()
	if t == 0 || t > 255 {
		s.fail("message type %d", t)
	}
	m.Type = core.MessageType(t)
	s.fixed(m.ClusterID[:])
	m.From, m.To = s.id(), s.id()
	s.fixed(m.Inc[:])
	m.Boot, m.Session = s.uint(), s.uint()
	m.Term, m.NextTerm = s.term(), s.term()
	m.OK = s.bool()
	m.TransferOf = s.term()
	m.Seq = s.uint()
	m.Cfg = s.cfg()
	s.exactly(2)
	m.CfgKey = core.CfgKey{CTerm: s.term(), Ver: s.uint()}
	if n := s.array(maxMembers); n > 0 {
		m.Reachable = make([]core.NodeID, 0, n)
		for range n {
			m.Reachable = append(m.Reachable, s.id())
		}
	}
	m.Unfit = s.bool()
	m.Addr = s.text(maxAddrBytes)
	s.fixed(m.Promise[:])
	m.Attachment = s.bytes(maxAttachmentBytes)
	if b := s.bytes(maxNoticeBytes); b != nil {
		d, err := ParseDeath(b)
		if err != nil {
			s.fail("%v", err)
		}
		m.Dead = &d
	}
	if err := s.end(); err != nil {
		return core.Message{}, err
	}
	if !bytes.Equal(appendMessage(&m), b) {
		return core.Message{}, fmt.Errorf("%w: not the canonical form", ErrMalformed)
	}
	return m, nil
}
