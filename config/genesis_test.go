package config

import (
	"strings"
	"testing"
)

const keyA, keyB = "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1", "b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2"

const goodGenesis = `{"chain_id":"baton-test","chain_version":"1","created":"2026-01-02T03:04:05Z",
 "processor":{"public_key":"` + keyA + `"},
 "listeners":{"quorum":1,"public_keys":["` + keyA + `","` + keyB + `"]},
 "approvers":{"quorum":0,"public_keys":[]},
 "balances":{"` + keyA + `":{"native":"1000000","gold":"5"}}}`

func TestParseGenesis(t *testing.T) {
	g, err := ParseGenesis([]byte(goodGenesis))
	if err != nil {
		t.Fatal(err)
	}
	if g.ChainID != "baton-test" || g.Listeners.K != 1 || g.Balances[keyA]["native"] != "1000000" {
		t.Errorf("genesis = %+v", g)
	}
	if at, err := g.CreatedTime(); err != nil || at.Unix() != 1767323045 {
		t.Errorf("created = %v, %v", at, err)
	}
}

func TestParseGenesisRefuses(t *testing.T) {
	over := "115792089237316195423570985008687907853269984665640564039457584007913129639936" // 2^256
	tests := []struct{ name, old, new, want string }{
		{"chain id", `"baton-test"`, `""`, "chain_id is"},
		{"chain id chars", `"baton-test"`, `"a/b"`, "chain_id is"},
		{"version", `"chain_version":"1"`, `"chain_version":""`, "chain_version is"},
		{"created", `2026-01-02T03:04:05Z`, `yesterday`, "created is"},
		{"created zone", `03:04:05Z`, `03:04:05+01:00`, "created is"},
		{"created number", `"2026-01-02T03:04:05Z"`, `1767323045`, "created: want a text"},
		{"created early", `2026-`, `1926-`, "created is"},
		{"processor", `{"public_key":"a1`, `{"public_key":"`, "processor.public_key is"},
		{"quorum above", `"quorum":1`, `"quorum":3`, "listeners.quorum is 3"},
		{"quorum zero", `"quorum":1`, `"quorum":0`, "listeners.quorum is 0"},
		{"quorum without keys", `"quorum":0`, `"quorum":1`, "approvers.quorum is 1"},
		{"quorum duplicate", `"` + keyB + `"`, `"` + strings.ToUpper(keyA) + `"`, "listeners.public_keys[1] is"},
		{"quorum key", `"` + keyB + `"`, `"x"`, "listeners.public_keys[1] is"},
		{"balance key", `"balances":{"a1`, `"balances":{"`, "balances is"},
		{"balance number", `"1000000"`, `1000000`, "balances." + keyA + ".native: want a text"},
		{"balance zero", `"1000000"`, `"0"`, "balances." + keyA + ".native is"},
		{"balance sign", `"1000000"`, `"-1"`, "native is"},
		{"balance plus", `"1000000"`, `"+1"`, "native is"},
		{"balance zeros", `"1000000"`, `"01"`, "native is"},
		{"balance hex", `"1000000"`, `"0x1"`, "native is"},
		{"balance over", `"1000000"`, `"` + over + `"`, "native is"},
		{"asset", `"gold"`, `"g ld"`, "asset names"},
		{"duplicate asset", `"gold"`, `"native"`, "native: key stands twice"},
		{"unknown", `"chain_id"`, `"extra":1,"chain_id"`, "extra: unknown key"},
		{"unknown below", `{"quorum":0`, `{"quorom":0`, "approvers.quorom: unknown key"},
		{"null", `"balances":{`, `"listeners":null,"balances":{`, "listeners: want an object, got null"},
	}
	for _, tt := range tests {
		text := strings.Replace(goodGenesis, tt.old, tt.new, 1)
		if text == goodGenesis {
			t.Fatalf("%s changes nothing", tt.name)
		}
		if _, err := ParseGenesis([]byte(text)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	upper := strings.Replace(goodGenesis, `"balances":{`, `"balances":{"`+strings.ToUpper(keyA)+`":{"native":"1"},`, 1)
	if _, err := ParseGenesis([]byte(upper)); err == nil || !strings.Contains(err.Error(), "each public key once") {
		t.Errorf("the same key in two cases: %v", err)
	}
}

func TestParseAmountBounds(t *testing.T) {
	most := "115792089237316195423570985008687907853269984665640564039457584007913129639935"
	for text, ok := range map[string]bool{
		"1": true, most: true, most[:77] + "6": false, "": false, "1e3": false, "1.0": false, " 1": false, "٣": false,
		strings.Repeat("9", 78): false, strings.Repeat("9", 1<<20): false,
	} {
		n, err := ParseAmount(text)
		if (err == nil) != ok || (ok && n.String() != text) {
			t.Errorf("ParseAmount(%.90q) = %v, %v", text, n, err)
		}
		if err != nil && len(err.Error()) > 300 {
			t.Errorf("the error repeats %d bytes", len(err.Error()))
		}
	}
}
