package config

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"testing"

	"github.com/baton-ha/baton/node/chain"
)

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"id":"node1","raftify":{"bind_port":7000,"kick_after":"1m"},"peer":{"peers":[{"id":"a"}]}}`))
	f.Add([]byte(`{"id":"a","id":"b"}`))
	f.Add([]byte(`[[[[`))
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, err := Parse(data, "/x", nil)
		if err != nil {
			return
		}
		if err := cfg.Validate(); err != nil {
			t.Errorf("accepted an invalid config: %v", err)
		}
		again, err := json.Marshal(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(again, "/x", nil); err != nil {
			t.Errorf("its own JSON is refused: %v", err)
		}
	})
}

func FuzzParseGenesis(f *testing.F) {
	f.Add([]byte(goodGenesis))
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := chain.ParseGenesis(data)
		if err != nil {
			return
		}
		again, err := json.Marshal(g)
		if err != nil {
			t.Fatal(err)
		}
		back, err := chain.ParseGenesis(again)
		if err != nil {
			t.Fatalf("its own JSON is refused: %v", err)
		}
		third, err := json.Marshal(back)
		if err != nil || !bytes.Equal(again, third) {
			t.Errorf("changed on the way: %s and %s, %v", again, third, err)
		}
	})
}

func FuzzDecodeKey(f *testing.F) {
	f.Add(EncodeKey(ed25519.NewKeyFromSeed(testSeed)))
	f.Fuzz(func(t *testing.T, data []byte) {
		key, err := DecodeKey(data)
		if err != nil {
			return
		}
		back, err := DecodeKey(EncodeKey(key))
		if err != nil || !back.Equal(key) {
			t.Errorf("round trip: %v", err)
		}
	})
}
