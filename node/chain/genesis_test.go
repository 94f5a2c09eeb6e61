package chain

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/baton-ha/baton/blockstore/block"
)

func TestGenesisFile(t *testing.T) {
	g := testGenesis(newWallets(3))
	data, err := json.MarshalIndent(*g, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseGenesis(data)
	if err != nil {
		t.Fatalf("%v in %s", err, data)
	}
	back.Approvers.PublicKeys = nil // was nil, is empty
	if !reflect.DeepEqual(back, g) {
		t.Errorf("%s\nread back as %+v", data, back)
	}
}

func genesisText() string {
	a, b := newWallet(0).pub, newWallet(1).pub
	return fmt.Sprintf(`{"chain_id":"c1","chain_version":"1","created":"2026-01-02T03:04:05Z",
		"processor":{"public_key":"%s"},
		"listeners":{"quorum":1,"public_keys":["%s","%s"]},"approvers":{"quorum":0,"public_keys":[]},
		"balances":{"%s":{"native":"5"},"%s":{"gold":"6","native":"7"}}}`, a, a, b, a, b)
}

func TestParseGenesisRefuses(t *testing.T) {
	good := genesisText()
	if _, err := ParseGenesis([]byte(good)); err != nil {
		t.Fatal(err)
	}
	a, b := newWallet(0).pub.String(), newWallet(1).pub.String()
	largest, _ := Amount{}.Sub(NewAmount(1))
	for _, c := range []struct{ name, from, to, text string }{
		{"not JSON", `{"chain_id"`, `{chain_id`, "field name"},
		{"unknown field", `"chain_id"`, `"extra":1,"chain_id"`, `"extra"`},
		{"missing field", `"chain_version":"1",`, ``, `"chain_version"`},
		{"missing listeners", `"listeners"`, `"listener"`, `"listeners" is missing`},
		{"twice", `"chain_id":"c1"`, `"chain_id":"c1","chain_id":"c1"`, "twice"},
		{"empty id", `"c1"`, `""`, "chain_id"},
		{"id with a space", `"c1"`, `"c 1"`, "chain_id"},
		{"created", `2026-01-02T03:04:05Z`, `yesterday`, "created"},
		{"created long ago", `2026-`, `1926-`, "created"},
		{"processor", `"processor":{"public_key":"` + a, `"processor":{"public_key":"` + a[2:], "processor"},
		{"zero processor", `"processor":{"public_key":"` + a, `"processor":{"public_key":"` + strings.Repeat("0", 64), "processor"},
		{"unknown field in processor", `"processor":{`, `"processor":{"x":1,`, "processor"},
		{"quorum above", `"quorum":1`, `"quorum":3`, "listeners: quorum 3"},
		{"quorum zero", `"quorum":1`, `"quorum":0`, "listeners: quorum 0"},
		{"quorum negative", `"quorum":1`, `"quorum":-1`, "quorum"},
		{"listener twice", `["` + a + `","` + b + `"]`, `["` + a + `","` + strings.ToUpper(a) + `"]`, "twice"},
		{"listener bad", `["` + a, `["` + a[1:], "public_keys[0]"},
		{"listener no text", `["` + a + `"`, `[5`, "public_keys[0]"},
		{"account name", `"` + a + `":{`, `"` + a[1:] + `":{`, "balances"},
		{"account twice", `"` + b + `":{`, `"` + strings.ToUpper(a) + `":{`, "twice"},
		{"balance is a number", `"5"`, `5`, "native"},
		{"balance negative", `"5"`, `"-5"`, "native"},
		{"balance zero", `"5"`, `"0"`, "zero"},
		{"no balance", `{"native":"5"}`, `{}`, "empty"},
		{"bad asset", `{"native":"5"}`, `{"na tive":"5"}`, "asset"},
		{"too much in all", `"5"`, `"` + largest.String() + `"`, "2^256"},
	} {
		text := strings.Replace(good, c.from, c.to, 1)
		if text == good {
			t.Fatalf("%s: nothing replaced", c.name)
		}
		if _, err := ParseGenesis([]byte(text)); !errors.Is(err, ErrBadGenesis) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want %q", c.name, err, c.text)
		}
	}
}

func TestValidateReportsEverything(t *testing.T) {
	err := (&Genesis{Listeners: SignerSet{Quorum: 2}}).Validate()
	for _, field := range []string{"chain_id", "chain_version", "created", "processor", "listeners"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s is not named: %v", field, err)
		}
	}
}

// Everything in the file must change the genesis hash, and that of what it is made of; how it is written must not.
func TestGenesisHashCoversTheFile(t *testing.T) {
	hash := func(text string) (block.Hash, [32]byte) {
		g, err := ParseGenesis([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		apps := []App{Ledger{}}
		if g.ChainVersion != LedgerVersion {
			apps = append(apps, renamed{version: g.ChainVersion})
		}
		e := newExecutor(t, g, apps...)
		b, s, err := e.Genesis(nil)
		if err != nil {
			t.Fatal(err)
		}
		h := b.Header
		if h.Height != 0 || !h.Parent.IsZero() || h.TxCount != 0 || h.Proposer != "" || h.Term != 0 ||
			h.TimeMs != g.Created.UnixMilli() || h.StateRoot != s.Root() || s.BlockHash() != b.Hash() || s.Height() != 0 {
			t.Fatalf("genesis header %+v", h)
		}
		return b.Hash(), e.GenesisSource()
	}
	good := genesisText()
	want, source := hash(good)
	a, b, other := newWallet(0).pub.String(), newWallet(1).pub.String(), newWallet(2).pub.String()
	for _, c := range []struct {
		name, from, to string
		same           bool
	}{
		{"itself", "", "", true},
		{"case of hex", a, strings.ToUpper(a), true},
		{"order of listeners", `["` + a + `","` + b + `"]`, `["` + b + `","` + a + `"]`, true},
		{"order of assets", `"gold":"6","native":"7"`, `"native":"7","gold":"6"`, true},
		{"time zone", `2026-01-02T03:04:05Z`, `2026-01-02T04:04:05+01:00`, true},
		{"chain id", `"c1"`, `"c2"`, false},
		{"chain version", `"chain_version":"1"`, `"chain_version":"2"`, false},
		{"created", `05Z`, `06Z`, false},
		{"created, below a millisecond", `05Z`, `05.000000001Z`, false},
		{"processor", `"processor":{"public_key":"` + a, `"processor":{"public_key":"` + other, false},
		{"listeners' quorum", `"quorum":1`, `"quorum":2`, false},
		{"listener", `["` + a, `["` + other, false},
		{"approver", `"quorum":0,"public_keys":[]`, `"quorum":1,"public_keys":["` + a + `"]`, false},
		{"balance", `"5"`, `"4"`, false},
		{"asset", `"gold"`, `"golf"`, false},
		{"owner", `"` + b + `":{`, `"` + other + `":{`, false},
	} {
		text := strings.Replace(good, c.from, c.to, 1)
		if got, from := hash(text); (got == want) != c.same || (from == source) != c.same {
			t.Errorf("%s: same hash is %v, same source %v", c.name, got == want, from == source)
		}
	}
}

// Chains in the field have this hash: it may never change.
func TestGenesisGolden(t *testing.T) {
	g, err := ParseGenesis([]byte(genesisText()))
	if err != nil {
		t.Fatal(err)
	}
	b, s, err := newExecutor(t, g).Genesis(nil)
	if err != nil {
		t.Fatal(err)
	}
	const (
		root = "5e03444a3f112af677766e3869516a552618de3a642567505d7e8ab698fa5754"
		hash = "e6aaec02e68aee47602fda44e0c2220bee6d154eded045ca3c81047acda13e28"
	)
	if s.Root().String() != root || b.Hash().String() != hash {
		t.Errorf("root %s, hash %s", s.Root(), b.Hash())
	}
}

func TestNewRefuses(t *testing.T) {
	g := testGenesis(newWallets(1))
	if _, err := New(g); !errors.Is(err, ErrNoCode) {
		t.Errorf("no app: %v", err)
	}
	if _, err := New(g, renamed{version: "2"}); !errors.Is(err, ErrNoCode) {
		t.Errorf("other version: %v", err)
	}
	if _, err := New(g, Ledger{}, Ledger{}); !errors.Is(err, ErrBadApp) {
		t.Errorf("twice: %v", err)
	}
	if _, err := New(g, Ledger{}, renamed{version: "a b"}); !errors.Is(err, ErrBadApp) {
		t.Errorf("bad version: %v", err)
	}
	g.Created = time.Time{}
	if _, err := New(g, Ledger{}); !errors.Is(err, ErrBadGenesis) {
		t.Errorf("bad genesis: %v", err)
	}
}

func TestExecutorKeepsItsOwnGenesis(t *testing.T) {
	ws := newWallets(2)
	g := testGenesis(ws)
	e := newExecutor(t, g)
	before, _, _ := e.Genesis(nil)
	g.Balances[ws[0].pub][NativeAsset] = NewAmount(1)
	g.Listeners.PublicKeys[0] = ws[1].pub
	if after, _, _ := e.Genesis(nil); after.Hash() != before.Hash() {
		t.Error("the caller's genesis is shared")
	}
}

// renamed is the ledger under another code version.
type renamed struct {
	Ledger
	version string
}

func (r renamed) CodeVersion() string { return r.version }
