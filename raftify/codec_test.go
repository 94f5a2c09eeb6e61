package raftify

import (
	"bytes"
	"errors"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/baton-ha/baton/raftify/core"
)

func sampleConfig(members int) *core.Config {
	var ms []core.Member
	for i := range members {
		ms = append(ms, core.Member{
			ID: core.NodeID("node" + string(rune('A'+i))), Inc: core.Inc{byte(i), 1},
			Addr: "10.0.0.1:7000", Voter: i%2 == 0,
		})
	}
	var pins []core.Pin
	for i := range members / 2 {
		pins = append(pins, core.Pin{
			ID: core.NodeID("node" + string(rune('A'+i))), State: core.PinState(i%4 + 1), Info: strings.Repeat("k", i),
		})
	}
	c := core.NewConfig(core.CfgKey{CTerm: 7, Ver: 3}, ms, pins...)
	return &c
}

func sampleMessages() []core.Message {
	h := core.Header{
		ClusterID: core.ClusterID{1, 2}, From: "a", To: "b", Inc: core.Inc{9}, Boot: 3, Session: 1 << 63, Term: 300,
	}
	return []core.Message{
		{Type: core.MsgPreVote, Header: h, NextTerm: 301, Seq: 2, Cfg: sampleConfig(3)},
		{Type: core.MsgPreVoteResp, Header: h, NextTerm: 301, Seq: 2, OK: true},
		{Type: core.MsgVote, Header: h, Cfg: sampleConfig(5), TransferOf: 299},
		{Type: core.MsgVoteResp, Header: h, OK: true, Attachment: []byte("report")},
		{Type: core.MsgHB, Header: h, Seq: 70000, Cfg: sampleConfig(1), Attachment: bytes.Repeat([]byte{7}, maxAttachmentBytes)},
		{Type: core.MsgHBAck, Header: h, Seq: 70000, CfgKey: core.CfgKey{CTerm: 1 << 40, Ver: 128}, Reachable: []core.NodeID{"a", "c"}, Unfit: true},
		{Type: core.MsgTimeoutNow, Header: h},
		{Type: core.MsgPreVote, Header: h, NextTerm: 301, Cfg: sampleConfig(3), Dead: sampleDeath()},
		{Type: core.MsgDeath, Header: core.Header{From: "c", To: "b"}, Dead: sampleDeath()},
		{Type: core.MsgBootInfo, Header: core.Header{From: "a", To: "b"}, Addr: "host.example:7000"},
		{Type: core.MsgBootPromise, Header: h, Promise: core.ClusterID{0xff}},
		{Type: core.MsgBootPropose, Header: h, Cfg: &core.Config{Key: core.CfgKey{Ver: 1}}},
	}
}

func TestMessageRoundTrip(t *testing.T) {
	for _, m := range sampleMessages() {
		b, err := EncodeMessage(&m)
		if err != nil {
			t.Fatalf("%v: %v", m.Type, err)
		}
		got, err := DecodeMessage(b)
		if err != nil {
			t.Fatalf("%v: %v", m.Type, err)
		}
		if !reflect.DeepEqual(got, m) {
			t.Errorf("%v: got %+v, want %+v", m.Type, got, m)
		}
		for i := range b {
			if _, err := DecodeMessage(b[:i]); !errors.Is(err, ErrMalformed) {
				t.Fatalf("%v cut to %d bytes: %v", m.Type, i, err)
			}
		}
		if _, err := DecodeMessage(append(b, 0)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%v with a trailing byte: %v", m.Type, err)
		}
	}
}

func TestMessageSharesNoMemory(t *testing.T) {
	m := sampleMessages()[3]
	b, err := EncodeMessage(&m)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeMessage(b)
	if err != nil {
		t.Fatal(err)
	}
	for i := range b {
		b[i] = 0xee
	}
	if !reflect.DeepEqual(got, m) {
		t.Errorf("message changed with the buffer: %+v", got)
	}
}

func TestMessageRefused(t *testing.T) {
	good := sampleMessages()[5]
	valid, err := EncodeMessage(&good)
	if err != nil {
		t.Fatal(err)
	}
	swap := func(old, repl string) []byte {
		b := bytes.Replace(valid, []byte(old), []byte(repl), 1)
		if bytes.Equal(b, valid) {
			t.Fatalf("%x is not in %x", old, valid)
		}
		return b
	}
	many := core.Message{Type: core.MsgVote, Cfg: sampleConfig(maxMembers + 1)}
	unsorted := core.Message{Type: core.MsgVote, Cfg: &core.Config{Members: []core.Member{{ID: "b"}, {ID: "a"}}}}
	twice := core.Message{Type: core.MsgVote, Cfg: &core.Config{Members: []core.Member{{ID: "a"}, {ID: "a"}}}}
	unsortedPins := core.Message{Type: core.MsgVote, Cfg: &core.Config{Pins: []core.Pin{{ID: "b", State: 1}, {ID: "a", State: 1}}}}
	noState := core.Message{Type: core.MsgVote, Cfg: &core.Config{Pins: []core.Pin{{ID: "b"}}}}
	longInfo := core.Message{Type: core.MsgVote, Cfg: &core.Config{
		Pins: []core.Pin{{ID: "b", State: 1, Info: strings.Repeat("x", core.MaxPinInfoBytes+1)}},
	}}
	attached := core.Message{Type: core.MsgHB, Attachment: make([]byte, maxAttachmentBytes+1)}
	longID := core.Message{Type: core.MsgHB, Header: core.Header{From: core.NodeID(strings.Repeat("x", maxIDBytes+1))}}
	for name, b := range map[string][]byte{
		"empty":            {},
		"other version":    append([]byte{wireVersion + 1}, valid[1:]...),
		"type zero":        append(bytes.Clone(valid[:4]), append([]byte{0}, valid[5:]...)...),
		"long form of one": swap("\xa1a", "\xd9\x01a"), // str8 for a text that fits a fixstr
		"huge array":       append(bytes.Clone(valid[:1]), 0xdd, 0xff, 0xff, 0xff, 0xff),
		"huge bytes":       append(bytes.Clone(valid[:5]), 0xc6, 0xff, 0xff, 0xff, 0xff),
		"too many members": appendMessage(&many),
		"members unsorted": appendMessage(&unsorted),
		"member twice":     appendMessage(&twice),
		"pins unsorted":    appendMessage(&unsortedPins),
		"pin of no state":  appendMessage(&noState),
		"long pin":         appendMessage(&longInfo),
		"long attachment":  appendMessage(&attached),
		"long id":          appendMessage(&longID),
		"map, not array":   {wireVersion, 0x80},
		"over the limit":   make([]byte, maxMessageBytes+1),
	} {
		if m, err := DecodeMessage(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
	for name, m := range map[string]core.Message{"members": many, "attachment": attached, "id": longID} {
		if _, err := EncodeMessage(&m); err == nil {
			t.Errorf("%s: encoded what no decoder takes", name)
		}
	}
}

func TestBiggestMessageFits(t *testing.T) {
	id := func(i int) core.NodeID {
		return core.NodeID(strings.Repeat("x", maxIDBytes-1) + string(rune('!'+i)))
	}
	m := core.Message{Type: core.MsgHB, Header: core.Header{From: id(0), To: id(1)}, Attachment: make([]byte, maxAttachmentBytes)}
	m.Addr = strings.Repeat("y", maxAddrBytes)
	cfg := core.Config{}
	for i := range maxMembers {
		m.Reachable = append(m.Reachable, id(i))
		cfg.Members = append(cfg.Members, core.Member{ID: id(i), Addr: m.Addr})
	}
	m.Cfg = &cfg
	b, err := EncodeMessage(&m)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := DecodeMessage(b); err != nil {
		t.Fatalf("%d bytes: %v", len(b), err)
	}
	hs := core.HardState{ID: id(0), Inc: core.Inc{1}, Boot: 1, Vote: core.Vote{Kind: core.VoteFor, ID: id(2)}, Cfg: cfg}
	b, err = EncodeState(hs)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := DecodeState(b); err != nil {
		t.Fatalf("state of %d bytes: %v", len(b), err)
	}
}

func sampleStates() []core.HardState {
	return []core.HardState{
		{ID: "a", Inc: core.Inc{1}, Boot: 1, Vote: core.Vote{Kind: core.VoteNone}},
		{ID: "a", Inc: core.Inc{1}, Boot: 7, Term: 12, Vote: core.Vote{Kind: core.VoteFor, ID: "b"}, Cfg: *sampleConfig(3), ClusterID: core.ClusterID{4}},
		{ID: "a", Inc: core.Inc{1}, Boot: 1 << 60, Term: 1, Vote: core.Vote{Kind: core.VoteClosed}, Promise: core.ClusterID{5}},
	}
}

func TestStateRoundTrip(t *testing.T) {
	for _, hs := range sampleStates() {
		b, err := EncodeState(hs)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeState(b)
		if err != nil || !reflect.DeepEqual(got, hs) {
			t.Errorf("got %+v, %v, want %+v", got, err, hs)
		}
		for i := range b {
			if _, err := DecodeState(b[:i]); !errors.Is(err, ErrMalformed) {
				t.Fatalf("cut to %d bytes: %v", i, err)
			}
		}
		if _, err := DecodeState(append(b, 0)); !errors.Is(err, ErrMalformed) {
			t.Errorf("trailing byte: %v", err)
		}
	}
	ok := sampleStates()[1]
	for name, change := range map[string]func(*core.HardState){
		"no vote kind":     func(hs *core.HardState) { hs.Vote = core.Vote{} },
		"vote for nobody":  func(hs *core.HardState) { hs.Vote.ID = "" },
		"closed for one":   func(hs *core.HardState) { hs.Vote.Kind = core.VoteClosed },
		"no incarnation":   func(hs *core.HardState) { hs.Inc = core.Inc{} },
		"never started":    func(hs *core.HardState) { hs.Boot = 0 },
		"without an id":    func(hs *core.HardState) { hs.ID = "" },
		"unknown vote":     func(hs *core.HardState) { hs.Vote = core.Vote{Kind: 9} },
		"unsorted members": func(hs *core.HardState) { hs.Cfg.Members = []core.Member{{ID: "b"}, {ID: "a"}} },
	} {
		hs := ok
		change(&hs)
		if _, err := DecodeState(appendState(&hs)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDecodeMessage(f *testing.F) {
	for _, m := range sampleMessages() {
		b, err := EncodeMessage(&m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte{wireVersion, 0xdd, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		m, err := DecodeMessage(b)
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 16<<20 {
			t.Fatalf("%d bytes made the decoder allocate %d", len(b), grown)
		}
		if err != nil {
			return
		}
		again, err := EncodeMessage(&m)
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("accepted %x, encodes as %x (%v)", b, again, err)
		}
	})
}

func FuzzDecodeState(f *testing.F) {
	for _, hs := range sampleStates() {
		b, err := EncodeState(hs)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		hs, err := DecodeState(b)
		if err != nil {
			return
		}
		again, err := EncodeState(hs)
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("accepted %x, encodes as %x (%v)", b, again, err)
		}
	})
}
