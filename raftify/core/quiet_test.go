package core_test

import (
	"testing"
	"time"

	"github.com/baton-ha/baton/raftify/core"
)

// quietly checks that ticks before the end of a quiet time do nothing, ticks once at its end and returns its length.
func (s *solo) quietly() time.Duration {
	s.t.Helper()
	s.take()
	quiet, sent, events := s.c.Quiet(s.now()), len(s.sent), len(s.evs)
	if hb := core.DefaultTiming(1).Heartbeat; quiet < 0 || quiet > hb {
		s.t.Fatalf("quiet for %v, a heartbeat is %v", quiet, hb)
	}
	for range 4 {
		if quiet > 4 {
			s.tick(quiet/4 - 1)
		}
	}
	if len(s.sent) != sent || len(s.evs) != events {
		s.t.Fatalf("something happened within the %v: %d messages, %d events", quiet, len(s.sent)-sent, len(s.evs)-events)
	}
	s.tick(quiet - 4*max(quiet/4-1, 0))
	return quiet
}

// A leader is left alone until its next heartbeat, and no longer than its lease lasts; then it steps down on time.
func TestQuietLeader(t *testing.T) {
	s := newSolo(t, "123", nil)
	s.lead()
	tm := core.DefaultTiming(1)
	beats := s.got(core.MsgHB)
	for range 20 {
		for _, m := range beats {
			if m.To == "2" {
				s.must(s.step("2", core.Message{Type: core.MsgHBAck, Header: core.Header{Term: m.Term}, Seq: m.Seq, CfgKey: s.cfg.Key}))
			}
		}
		if quiet := s.quietly(); quiet == 0 {
			t.Fatal("no quiet at all")
		}
		if beats = s.got(core.MsgHB); len(beats) == 0 {
			t.Fatal("no heartbeat at the end of the quiet time")
		}
	}
	// Nobody answers any more.
	begun := s.at
	for s.c.Status().Role == core.RoleLeader {
		if s.quietly() == 0 {
			s.tick(time.Microsecond)
		}
		if s.at-begun > 2*tm.MinElection {
			t.Fatal("leads for ever")
		}
	}
	if over := s.at - begun - tm.LeaseDuration(); over > tm.Heartbeat/4 {
		t.Errorf("stepped down %v after the end of its lease", over)
	}
}

// A follower is left alone until its election timeout, which it meets exactly.
func TestQuietFollower(t *testing.T) {
	s := newSolo(t, "123", nil)
	s.tick(0)
	s.must(s.step("2", core.Message{Type: core.MsgHB, Header: core.Header{Term: 3}, Seq: 1, Cfg: &s.cfg}))
	s.durable(s.seq)
	if s.c.Status().Leader != "2" {
		t.Fatalf("%+v", s.c.Status())
	}
	begun := s.at
	for s.c.Status().Role == core.RoleFollower {
		if s.quietly() == 0 {
			s.tick(time.Microsecond)
		}
		if s.at-begun > time.Second {
			t.Fatal("follows for ever")
		}
	}
	// The election timeout of these tests is not drawn.
	if took, want := s.at-begun, core.DefaultTiming(1).MinElection; took < want || took > want+time.Millisecond {
		t.Errorf("campaigned after %v, the election timeout is %v", took, want)
	}
}
