package raftify

import (
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/baton-ha/baton/raftify/core"
)

var (
	// ErrWrongID is returned by New when the store holds the state of a node with another id.
	ErrWrongID = errors.New("the stored state belongs to another node")
	// ErrStoreFailed is wrapped by the error that Fatal gets when a write of the hard state failed (PROTOCOL R24).
	ErrStoreFailed = errors.New("the store failed")
)

// Store keeps the hard state (PROTOCOL R1: in one order with everything else that its owner makes durable). New calls
// Load once, before any Save. A Store serves one node: Close does not wait for what its node has queued, so whoever
// starts another node on the same state first closes the store, which does, and opens it again.
type Store interface {
	// Load returns the newest state that Save reported durable, nil if there never was one. Damage is an error.
	Load() ([]byte, error)
	// Save queues state for writing and returns at once. Writes reach the disk in the order of the calls, in one order
	// with whatever else the owner of the store writes. When this write and all before it are fsynced, or cannot be,
	// done is called from another goroutine; the calls are in order, too, and none is left out. After a failed write
	// every later one fails. state must not be modified.
	Save(state []byte, done func(error))
}

// loadState reads the state, or makes that of a new incarnation, raises the boot number and makes all of it durable:
// nothing may be sent before (PROTOCOL R3).
func loadState(s Store, id core.NodeID) (core.HardState, error) {
	raw, err := s.Load()
	if err != nil {
		return core.HardState{}, fmt.Errorf("load hard state: %w", err)
	}
	hs := core.HardState{ID: id, Vote: core.Vote{Kind: core.VoteNone}}
	if raw == nil {
		if _, err := rand.Read(hs.Inc[:]); err != nil {
			return core.HardState{}, fmt.Errorf("new incarnation: %w", err)
		}
	} else if hs, err = DecodeState(raw); err != nil {
		return core.HardState{}, fmt.Errorf("load hard state: %w", err)
	}
	if hs.ID != id {
		return core.HardState{}, fmt.Errorf("%w: %q, this is %q", ErrWrongID, hs.ID, id)
	}
	if hs.Stale {
		return core.HardState{}, fmt.Errorf("%w: empty it, and the node comes back as a newcomer", ErrStaleFolder)
	}
	hs.Boot++
	out, err := EncodeState(hs)
	if err != nil {
		return core.HardState{}, fmt.Errorf("encode hard state: %w", err)
	}
	done := make(chan error, 1)
	s.Save(out, func(err error) { done <- err })
	if err := <-done; err != nil {
		return core.HardState{}, fmt.Errorf("save boot number %d: %w: %w", hs.Boot, ErrStoreFailed, err)
	}
	return hs, nil
}
