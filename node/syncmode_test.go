package node

import (
	"testing"

	"github.com/baton-ha/baton/blockstore/block"
)

func TestParseSyncMode(t *testing.T) {
	for text, want := range map[string]struct {
		mode SyncMode
		from block.Height
	}{
		"state": {SyncState, 0}, "block": {SyncBlock, 0}, "archive": {SyncArchive, 0}, "from:1": {SyncFrom, 1},
		"from:18446744073709551615": {SyncFrom, 1<<64 - 1},
		"":                          {}, "from": {}, "from:": {}, "from:0": {}, "from:-1": {}, "from:1x": {}, "State": {}, "from:18446744073709551616": {},
	} {
		mode, from, err := ParseSyncMode(text)
		if mode != want.mode || from != want.from || (err == nil) != (want.mode != 0) {
			t.Errorf("%q is %v %d, %v", text, mode, from, err)
		}
	}
}

func TestSyncValidate(t *testing.T) {
	good := DefaultSync()
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Sync){
		"no mode":           func(s *Sync) { s.Mode = 0 },
		"unknown mode":      func(s *Sync) { s.Mode = 9 },
		"from nowhere":      func(s *Sync) { s.Mode = SyncFrom },
		"height of another": func(s *Sync) { s.From = 3 },
		"pin without hash":  func(s *Sync) { s.Pin.Height = 3 },
		"hash alone":        func(s *Sync) { s.Pin.Hash[0] = 3 },
		"listen nowhere":    func(s *Sync) { s.Listen = "here" },
		"rate":              func(s *Sync) { s.Rate = 1 },
		"negative rate":     func(s *Sync) { s.Rate = -1 },
		"source":            func(s *Sync) { s.Sources = []string{"host:7"} },
	} {
		s := DefaultSync()
		if change(&s); s.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
