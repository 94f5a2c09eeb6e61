package raftify

import (
	"bytes"
	"fmt"

	"github.com/baton-ha/baton/raftify/core"
)

// The durable state is one version byte and a msgpack array, canonical like the wire format (see wire.go). A folder that
// must never be used again has another version byte: a version of this program that knows nothing of that refuses it too.
const (
	stateVersion = 1
	staleVersion = 2
	stateFields  = 8
	// MaxStateBytes bounds what EncodeState returns and DecodeState reads.
	MaxStateBytes = 72 << 10
)

// EncodeState returns the stored form of a hard state.
func EncodeState(hs core.HardState) ([]byte, error) {
	if err := checkID(hs.ID); err != nil {
		return nil, err
	}
	if len(hs.Vote.ID) > maxIDBytes {
		return nil, fmt.Errorf("vote for an id of %d bytes, at most %d", len(hs.Vote.ID), maxIDBytes)
	}
	if err := checkCfg(&hs.Cfg); err != nil {
		return nil, err
	}
	return appendState(&hs), nil
}

func appendState(hs *core.HardState) []byte {
	version := byte(stateVersion)
	if hs.Stale {
		version = staleVersion
	}
	f := newFields(version, stateFields)
	f.bytes(hs.ClusterID[:])
	f.id(hs.ID)
	f.bytes(hs.Inc[:])
	f.uint(hs.Boot)
	f.uint(uint64(hs.Term))
	f.array(2)
	f.uint(uint64(hs.Vote.Kind))
	f.id(hs.Vote.ID)
	f.cfg(&hs.Cfg)
	f.bytes(hs.Promise[:])
	return f.buf.Bytes()
}

// DecodeState reads what EncodeState wrote and refuses everything else with ErrMalformed.
func DecodeState(b []byte) (core.HardState, error) {
	if len(b) == 0 || len(b) > MaxStateBytes || b[0] != stateVersion && b[0] != staleVersion {
		return core.HardState{}, fmt.Errorf("%w: %d bytes, or not version %d or %d", ErrMalformed, len(b), stateVersion, staleVersion)
	}
	s := newScanner(b[1:], stateFields)
	hs := core.HardState{Stale: b[0] == staleVersion}
	s.fixed(hs.ClusterID[:])
	hs.ID = s.id()
	s.fixed(hs.Inc[:])
	hs.Boot = s.uint()
	hs.Term = s.term()
	s.exactly(2)
	kind := s.uint()
	hs.Vote.ID = s.id()
	switch {
	case kind < uint64(core.VoteNone) || kind > uint64(core.VoteClosed):
		s.fail("vote kind %d", kind)
	case (core.VoteKind(kind) == core.VoteFor) != (hs.Vote.ID != ""):
		s.fail("vote kind %d with id %q", kind, hs.Vote.ID)
	}
	hs.Vote.Kind = core.VoteKind(kind)
	if cfg := s.cfg(); cfg != nil {
		hs.Cfg = *cfg
	}
	s.fixed(hs.Promise[:])
	if err := s.end(); err != nil {
		return core.HardState{}, err
	}
	if hs.Inc == (core.Inc{}) || hs.Boot == 0 || checkID(hs.ID) != nil {
		return core.HardState{}, fmt.Errorf("%w: no incarnation, boot number or id", ErrMalformed)
	}
	if !bytes.Equal(appendState(&hs), b) {
		return core.HardState{}, fmt.Errorf("%w: not the canonical form", ErrMalformed)
	}
	return hs, nil
}
