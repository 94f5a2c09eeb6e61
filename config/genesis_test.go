package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/baton-ha/baton/node/chain"
)

const keyA, keyB = "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1", "b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2"

const goodGenesis = `{"chain_id":"baton-test","chain_version":"1","created":"2026-01-02T03:04:05Z",
 "processor":{"public_key":"` + keyA + `"},
 "listeners":{"quorum":1,"public_keys":["` + keyA + `","` + keyB + `"]},
 "approvers":{"quorum":0,"public_keys":[]},
 "balances":{"` + keyA + `":{"native":"1000000","gold":"5"}}}`

func writeGenesis(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "genesis.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadGenesis(t *testing.T) {
	g, err := LoadGenesis(writeGenesis(t, goodGenesis))
	if err != nil {
		t.Fatal(err)
	}
	if g.ChainID != "baton-test" || g.Listeners.Quorum != 1 || g.Processor.PublicKey.String() != keyA {
		t.Errorf("genesis = %+v", g)
	}
}

// The contract's examples of a bad genesis: each names the file and what is wrong.
func TestLoadGenesisRefuses(t *testing.T) {
	over := "115792089237316195423570985008687907853269984665640564039457584007913129639936" // 2^256
	tests := []struct{ name, old, new, want string }{
		{"chain id", `"baton-test"`, `""`, "chain_id"},
		{"version", `"chain_version":"1"`, `"chain_version":""`, "chain_version"},
		{"created", `2026-01-02T03:04:05Z`, `yesterday`, "created"},
		{"created number", `"2026-01-02T03:04:05Z"`, `1767323045`, "created"},
		{"created early", `2026-`, `1926-`, "created"},
		{"processor", `{"public_key":"a1`, `{"public_key":"`, "processor"},
		{"quorum above", `"quorum":1`, `"quorum":3`, "listeners"},
		{"quorum zero", `"quorum":1`, `"quorum":0`, "listeners"},
		{"quorum without keys", `"quorum":0`, `"quorum":1`, "approvers"},
		{"quorum duplicate", `"` + keyB + `"`, `"` + strings.ToUpper(keyA) + `"`, "listeners"},
		{"quorum key", `"` + keyB + `"`, `"x"`, "listeners"},
		{"balance key", `"balances":{"a1`, `"balances":{"`, "balances"},
		{"balance number", `"1000000"`, `1000000`, "native"},
		{"balance zero", `"1000000"`, `"0"`, "native"},
		{"balance sign", `"1000000"`, `"-1"`, "native"},
		{"balance over", `"1000000"`, `"` + over + `"`, "native"},
		{"asset", `"gold"`, `"g ld"`, "g ld"},
		{"duplicate asset", `"gold"`, `"native"`, "native"},
		{"duplicate", `"chain_id"`, `"chain_id":"x","chain_id"`, "chain_id"},
		{"unknown", `"chain_id"`, `"extra":1,"chain_id"`, "extra"},
		{"unknown below", `{"quorum":0`, `{"quorum":0,"more":0`, "more"},
		{"missing", `"chain_version":"1",`, ``, "chain_version"},
		{"trailing", `"gold":"5"}}}`, `"gold":"5"}}}{}`, "genesis"},
	}
	for _, tt := range tests {
		text := strings.Replace(goodGenesis, tt.old, tt.new, 1)
		if text == goodGenesis {
			t.Fatalf("%s changes nothing", tt.name)
		}
		path := writeGenesis(t, text)
		_, err := LoadGenesis(path)
		if !errors.Is(err, chain.ErrBadGenesis) || !strings.Contains(err.Error(), path) ||
			!strings.Contains(strings.TrimPrefix(err.Error(), "genesis "+path), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	missing := filepath.Join(t.TempDir(), "none.json")
	if _, err := LoadGenesis(missing); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), missing) {
		t.Errorf("missing file: %v", err)
	}
}
