package core_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/baton-ha/baton/raftify/core"
)

// solo drives one core by hand: "1", a voter of 1, 2 and 3, whose peers are made up.
type solo struct {
	t    *testing.T
	c    *core.Core
	at   time.Duration
	cfg  core.Config
	sent []core.Message
	seq  uint64 // newest write
	evs  []core.Event
}

func newSolo(t *testing.T, voters string, hook core.Hook) *solo {
	t.Helper()
	var ms []core.Member
	for _, x := range voters {
		ms = append(ms, core.Member{ID: core.NodeID(x), Inc: core.Inc{byte(x)}, Voter: true})
	}
	s := &solo{t: t, cfg: core.NewConfig(core.CfgKey{Ver: 1}, ms)}
	c, err := core.New(core.Options{
		State:   core.HardState{ID: "1", Inc: core.Inc{'1'}, Boot: 1, Cfg: s.cfg, ClusterID: s.cfg.Hash()},
		Session: 1, Timing: core.DefaultTiming(1), Hook: hook, Rand: func(int64) int64 { return 0 }, Now: s.now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.c = c
	return s
}

func (s *solo) now() core.Instant {
	return core.Instant{Mono: int64(s.at), Boot: int64(s.at), Real: int64(s.at)}
}

func (s *solo) take() {
	r := s.c.Ready()
	s.sent = append(s.sent, r.Messages...)
	s.evs = append(s.evs, r.Events...)
	if r.HardState != nil {
		s.seq = r.Seq
	}
}

func (s *solo) tick(d time.Duration) {
	s.at += d
	s.c.Tick(s.now())
	s.take()
}

func (s *solo) durable(seq uint64) {
	s.c.Durable(s.now(), seq)
	s.take()
}

func (s *solo) step(from string, m core.Message) error {
	m.From, m.To, m.Inc, m.ClusterID = core.NodeID(from), "1", core.Inc{from[0]}, s.cfg.Hash()
	if m.Boot == 0 {
		m.Boot, m.Session = 1, 7
	}
	err := s.c.Step(s.now(), m)
	s.take()
	return err
}

// got returns and forgets the messages of a type.
func (s *solo) got(typ core.MessageType) (out []core.Message) {
	s.sent = slices.DeleteFunc(s.sent, func(m core.Message) bool {
		if m.Type == typ {
			out = append(out, m)
			return true
		}
		return false
	})
	return out
}

// grant answers the newest pre-vote round.
func (s *solo) grant(from string) {
	s.t.Helper()
	asked := s.got(core.MsgPreVote)
	if len(asked) == 0 {
		s.t.Fatal("no pre-vote was asked for")
	}
	m := asked[len(asked)-1]
	if err := s.step(from, core.Message{Type: core.MsgPreVoteResp, Header: core.Header{Term: m.Term}, NextTerm: m.NextTerm, Seq: m.Seq, OK: true}); err != nil {
		s.t.Fatal(err)
	}
}

// lead makes the core the leader of the next term, takeover done.
func (s *solo) lead() {
	s.t.Helper()
	s.tick(200 * time.Millisecond)
	s.grant("2")
	s.durable(s.seq)
	s.must(s.step("2", core.Message{Type: core.MsgVoteResp, Header: core.Header{Term: s.c.Status().Term}, OK: true}))
	s.durable(s.seq)
	if st := s.c.Status(); st.Role != core.RoleLeader || st.Taking {
		s.t.Fatalf("not leading: %+v", st)
	}
}

func (s *solo) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func term(t core.Term) core.Header { return core.Header{Term: t} }

// TestOwnVoteOfAnOlderTermIsNotTakenForTheNewOne: with a slow disk the write of term 1's vote is done when this node
// stands in term 3, whose vote is still on its way (R1, R6).
func TestOwnVoteOfAnOlderTermIsNotTakenForTheNewOne(t *testing.T) {
	reports := 0
	s := newSolo(t, "123", &reportHook{reports: &reports})
	s.tick(200 * time.Millisecond)
	s.grant("2") // stands in term 1
	first := s.seq
	s.must(s.step("3", core.Message{Type: core.MsgHB, Header: term(2)}))
	s.must(s.step("3", core.Message{Type: core.MsgTimeoutNow, Header: term(2)})) // stands in term 3
	if st := s.c.Status(); st.Role != core.RoleCandidate || st.Term != 3 {
		t.Fatalf("%+v", st)
	}
	s.durable(first)
	if reports != 0 {
		t.Error("the report was read before the vote of this term was durable")
	}
	if m := s.got(core.MsgVote); len(m) != 0 {
		t.Errorf("asked for votes before its own was durable: %v", m)
	}
	s.durable(s.seq)
	if m := s.got(core.MsgVote); reports != 1 || len(m) != 2 || m[0].Term != 3 {
		t.Errorf("%d reports, messages %v", reports, m)
	}
}

// reportHook counts how often the report is read. It never takes over.
type reportHook struct {
	core.BasicHook
	reports *int
	unfit   bool
}

func (h *reportHook) Elected(core.Instant, core.Term, []core.Report) {}
func (h *reportHook) TakeoverDurable(core.Instant, core.Term)        {}
func (h *reportHook) MayLead() bool                                  { return !h.unfit }
func (h *reportHook) Report() []byte                                 { *h.reports++; return []byte("r") }

// TestNewIncarnationCountsItsOwnBoots: a replaced disk starts at boot 1 again (R3, R26).
func TestNewIncarnationCountsItsOwnBoots(t *testing.T) {
	s := newSolo(t, "123", nil)
	s.must(s.step("2", core.Message{Type: core.MsgHB, Header: core.Header{Term: 1, Boot: 40, Session: 9}}))
	if err := s.step("2", core.Message{Type: core.MsgHB, Header: core.Header{Term: 1, Boot: 3, Session: 9}}); !errors.Is(err, core.ErrDropped) {
		t.Fatalf("an older start counted: %v", err)
	}
	ms := slices.Clone(s.cfg.Members)
	ms[1].Inc = core.Inc{77}
	next := core.NewConfig(core.CfgKey{CTerm: 1, Ver: 2}, ms)
	m := core.Message{Type: core.MsgHB, Cfg: &next, Header: core.Header{
		Term: 1, Boot: 1, Session: 5, From: "2", To: "1", Inc: core.Inc{77}, ClusterID: s.cfg.Hash(),
	}}
	s.must(s.c.Step(s.now(), m))
}

// TestHeartbeatAnswersDoNotWaitForTheConfiguration: a takeover changes it for every follower (R1, R18).
func TestHeartbeatAnswersDoNotWaitForTheConfiguration(t *testing.T) {
	s := newSolo(t, "123", nil)
	s.must(s.step("2", core.Message{Type: core.MsgHB, Header: term(1), Seq: 1}))
	if m := s.got(core.MsgHBAck); len(m) != 0 {
		t.Fatalf("answered before term and vote were durable: %v", m)
	}
	s.durable(s.seq)
	if m := s.got(core.MsgHBAck); len(m) != 1 {
		t.Fatalf("answers: %v", m)
	}
	cfg := s.cfg
	cfg.Key.CTerm = 1
	s.must(s.step("2", core.Message{Type: core.MsgHB, Header: term(1), Seq: 2, Cfg: &cfg}))
	m := s.got(core.MsgHBAck)
	if len(m) != 1 || m[0].CfgKey != s.cfg.Key {
		t.Fatalf("answers: %+v, want one that names the durable configuration", m)
	}
	s.durable(s.seq)
	s.must(s.step("2", core.Message{Type: core.MsgHB, Header: term(1), Seq: 3, Cfg: &cfg}))
	if m := s.got(core.MsgHBAck); len(m) != 1 || m[0].CfgKey != cfg.Key {
		t.Fatalf("answers: %+v", m)
	}
}

// TestHungDiskBoundsTheQueue: what waits for one write is replaced by its successor.
func TestHungDiskBoundsTheQueue(t *testing.T) {
	s := newSolo(t, "123", nil)
	for seq := uint64(1); seq <= 1000; seq++ {
		s.must(s.step("2", core.Message{Type: core.MsgHB, Header: term(1), Seq: seq}))
	}
	s.durable(s.seq)
	if m := s.got(core.MsgHBAck); len(m) != 1 || m[0].Seq != 1000 {
		t.Errorf("%d answers wait, want the newest one", len(m))
	}
}

// TestLeaseOrdersHeartbeatsByNumber: the monotonic clock stands still while two voters acknowledge different
// heartbeats; the lease counts from the older one (R21).
func TestLeaseOrdersHeartbeatsByNumber(t *testing.T) {
	s := newSolo(t, "12345", nil)
	s.tick(200 * time.Millisecond)
	s.grant("2")
	s.must(s.step("3", core.Message{Type: core.MsgPreVoteResp, Header: term(0), NextTerm: 1, Seq: 1, OK: true}))
	s.durable(s.seq)
	for _, id := range []string{"2", "3"} {
		s.must(s.step(id, core.Message{Type: core.MsgVoteResp, Header: term(1), OK: true}))
	}
	s.durable(s.seq)
	mono := int64(s.at)
	beat := func(boot time.Duration) {
		now := core.Instant{Mono: mono, Boot: mono + int64(boot), Real: mono}
		s.c.Tick(now)
		s.take()
	}
	beat(40 * time.Millisecond)
	hb := s.got(core.MsgHB)
	early := hb[len(hb)-1].Seq
	beat(80 * time.Millisecond)
	hb = s.got(core.MsgHB)
	late := hb[len(hb)-1].Seq
	ack := func(from string, seq uint64) {
		m := core.Message{Type: core.MsgHBAck, Header: core.Header{
			Term: 1, From: core.NodeID(from), To: "1", Inc: core.Inc{from[0]}, Boot: 1, Session: 7, ClusterID: s.cfg.Hash(),
		}, Seq: seq}
		s.must(s.c.Step(core.Instant{Mono: mono, Boot: mono + int64(90*time.Millisecond), Real: mono}, m))
	}
	for _, order := range [][2]string{{"2", "4"}, {"5", "3"}} {
		ack(order[0], late)
		ack(order[1], early)
		l := s.c.Status().Lease
		if order[0] == "2" {
			if want := mono + int64(40*time.Millisecond); !l.Valid || l.Start.Boot != want {
				t.Errorf("the lease counts from %v after the start, want 40ms", time.Duration(l.Start.Boot-mono))
			}
		} else if want := mono + int64(80*time.Millisecond); l.Start.Boot != want {
			t.Errorf("the lease counts from %v after the start, want 80ms", time.Duration(l.Start.Boot-mono))
		}
	}
}

// TestExpectMustBeAMajority: two groups of a list could each meet a smaller number (R26).
func TestExpectMustBeAMajority(t *testing.T) {
	peers := []core.Peer{{ID: "1"}, {ID: "2"}, {ID: "3"}, {ID: "4"}, {ID: "5"}, {ID: "6"}}
	for _, tt := range []struct {
		peers, expect int
		never, probes bool
	}{{5, 3, false, true}, {5, 2, false, false}, {6, 3, false, false}, {6, 4, false, true}, {3, 4, false, false}, {3, 0, false, false}, {5, 3, true, false}} {
		c, err := core.New(core.Options{
			State: core.HardState{ID: "1", Inc: core.Inc{1}, Boot: 1}, Peers: peers[:tt.peers], Expect: tt.expect, NeverBootstrap: tt.never,
			Timing: core.DefaultTiming(1), Rand: func(int64) int64 { return 0 },
		})
		if err != nil {
			t.Fatal(err)
		}
		c.Tick(core.Instant{Mono: 1, Boot: 1, Real: 1})
		if got := len(c.Ready().Messages) > 0; got != tt.probes {
			t.Errorf("expect %d of %d (never %v): proposes %v", tt.expect, tt.peers, tt.never, got)
		}
	}
}

// TestSingleVoterLeads: a cluster of one needs nobody.
func TestSingleVoterLeads(t *testing.T) {
	s := newSolo(t, "1", nil)
	s.tick(200 * time.Millisecond)
	if r := s.c.Status().Role; r != core.RoleCandidate {
		t.Fatalf("leads as %v before its vote is durable", r)
	}
	s.durable(s.seq)
	s.durable(s.seq)
	st := s.c.Status()
	if st.Role != core.RoleLeader || st.Taking || st.Lease.Left(s.now()) <= 0 {
		t.Fatalf("%+v", st)
	}
	seq, err := s.c.RequestRound(s.now())
	s.must(err)
	s.take()
	if !slices.ContainsFunc(s.evs, func(e core.Event) bool { return e.Kind == core.EventRound && e.Seq >= seq }) {
		t.Error("a round of one is not answered")
	}
}

// TestRevokedLeaseStaysRevoked: after a handover began, acknowledgements bring no lease back in that term (R22).
func TestRevokedLeaseStaysRevoked(t *testing.T) {
	s := newSolo(t, "123", nil)
	s.lead()
	s.must(s.step("2", core.Message{Type: core.MsgHBAck, Header: term(1), CfgKey: s.c.Status().Cfg.Key, Seq: 1}))
	if !s.c.Status().Lease.Valid {
		t.Fatal("no lease to begin with")
	}
	s.must(s.c.Transfer(s.now(), "2"))
	s.take()
	for range 4 {
		s.tick(40 * time.Millisecond)
		hb := s.got(core.MsgHB)
		s.must(s.step("2", core.Message{Type: core.MsgHBAck, Header: term(1), CfgKey: s.c.Status().Cfg.Key, Seq: hb[len(hb)-1].Seq}))
		if s.c.Status().Lease.Valid {
			t.Fatal("the lease is back")
		}
	}
	s.tick(100 * time.Millisecond)
	if st := s.c.Status(); st.Role != core.RoleFollower {
		t.Fatalf("still %v after a handover that nobody took up", st.Role)
	}
}

// TestStrayMessages: nothing of this may change a core or make it panic.
func TestStrayMessages(t *testing.T) {
	s := newSolo(t, "123", nil)
	s.lead()
	before := s.c.Fingerprint(s.now())
	for typ := range core.MessageType(40) {
		for _, h := range []core.Header{
			{},
			{From: "2"},
			{From: "2", To: "3"},
			{From: "1", To: "1"},
			{From: "9", To: "1"},
			{From: "2", To: "1", ClusterID: s.cfg.Hash()},
			{From: "2", To: "1", ClusterID: s.cfg.Hash(), Inc: core.Inc{9}, Boot: 1, Term: 99},
		} {
			m := core.Message{Type: typ, Header: h}
			if err := s.c.Step(s.now(), m); !errors.Is(err, core.ErrDropped) {
				t.Errorf("%v %+v: %v, want it dropped", typ, h, err)
			}
			s.c.Ready()
			if s.c.Admit(s.now(), h, true) || s.c.Admit(s.now(), h, false) {
				t.Errorf("%+v admitted", h)
			}
			s.c.Ready()
		}
	}
	if s.c.Fingerprint(s.now()) != before {
		t.Error("a stray message changed the core")
	}
}

// TestTimingValidate names each problem.
func TestTimingValidate(t *testing.T) {
	if err := core.DefaultTiming(1).Validate(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*core.Timing){
		"heartbeat": func(tm *core.Timing) { tm.Heartbeat = 0 },
		"lease":     func(tm *core.Timing) { tm.Heartbeat = tm.MinElection / 2 },
		"drift":     func(tm *core.Timing) { tm.Drift = 0.9 },
		"backoff":   func(tm *core.Timing) { tm.MaxBackoff = time.Millisecond },
	} {
		tm := core.DefaultTiming(1)
		change(&tm)
		if tm.Validate() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// A configuration holds as many members as the wire carries, and no more: one that could be neither sent nor stored would
// end each leader in turn.
func TestMembersAreBounded(t *testing.T) {
	ms := []core.Member{{ID: "1", Inc: core.Inc{'1'}, Voter: true}}
	for i := range core.MaxMembers - 1 {
		ms = append(ms, core.Member{ID: core.NodeID(fmt.Sprintf("learner%02d", i)), Inc: core.Inc{1, byte(i)}, Addr: "a:1"})
	}
	s := &solo{t: t, cfg: core.NewConfig(core.CfgKey{Ver: 1}, ms)}
	var err error
	s.c, err = core.New(core.Options{
		State:   core.HardState{ID: "1", Inc: core.Inc{'1'}, Boot: 1, Cfg: s.cfg, ClusterID: s.cfg.Hash()},
		Session: 1, Timing: core.DefaultTiming(1), Rand: func(int64) int64 { return 0 }, Now: s.now(),
		Membership: &core.Membership{}, Peers: []core.Peer{{ID: "z", Addr: "z:1"}},
	})
	s.must(err)
	s.tick(200 * time.Millisecond) // it has asked everybody what they remember of it
	s.tick(200 * time.Millisecond)
	s.durable(s.seq)
	s.durable(s.seq)
	add := core.Change{Kind: core.ChangeAdd, Member: core.Member{ID: "z", Inc: core.Inc{'z'}, Addr: "z:1"}}
	if err := s.c.Reconfigure(s.now(), add); !errors.Is(err, core.ErrTooManyMembers) {
		t.Fatalf("member %d: %v", core.MaxMembers+1, err)
	}
	s.must(s.step("z", core.Message{Type: core.MsgJoin, Addr: "z:1"}))
	if !slices.ContainsFunc(s.evs, func(e core.Event) bool {
		return e.Kind == core.EventJoinRefused && e.Peer == "z" && strings.Contains(e.Detail, "64 members")
	}) {
		t.Error("the newcomer is not refused, or not with the reason")
	}
	s.must(s.c.Reconfigure(s.now(), core.Change{Kind: core.ChangeRemove, Member: core.Member{ID: "learner05"}}))
	s.take()
	s.durable(s.seq)
	s.must(s.c.Reconfigure(s.now(), add))
}

// A member may have asked to join just before it heard of the first configuration. What it said of its address then is in
// that configuration: it is no news, and does not keep what the operator says from being tried.
func TestAnnouncedIsWhatTheConfigurationLacks(t *testing.T) {
	s := &solo{t: t, cfg: core.NewConfig(core.CfgKey{Ver: 1}, []core.Member{
		{ID: "1", Inc: core.Inc{'1'}, Addr: "one:1", Voter: true}, {ID: "2", Inc: core.Inc{'2'}, Addr: "two:1", Voter: true},
	})}
	var err error
	s.c, err = core.New(core.Options{
		State:   core.HardState{ID: "1", Inc: core.Inc{'1'}, Boot: 1, Cfg: s.cfg, ClusterID: s.cfg.Hash()},
		Session: 1, Timing: core.DefaultTiming(1), Rand: func(int64) int64 { return 0 }, Now: s.now(), Membership: &core.Membership{},
	})
	s.must(err)
	for _, said := range []struct{ addr, want string }{{"two:1", ""}, {"moved:1", "moved:1"}, {"two:1", ""}} {
		s.must(s.step("2", core.Message{Type: core.MsgJoin, Addr: said.addr}))
		if got := s.c.Announced(core.Message{Type: core.MsgHB, Header: core.Header{To: "2"}}); got != said.want {
			t.Errorf("it says that it is at %s, and is sought at %q, want %q", said.addr, got, said.want)
		}
	}
}
