package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/config"
	"github.com/baton-ha/baton/node/api/wire"
	"github.com/baton-ha/baton/node/chain"
)

// provenFiles lays a cluster out and writes proofs of its genesis state, and of the same state under a signed block.
func provenFiles(t *testing.T) (dir, genesis, account, absent, zero string) {
	t.Helper()
	user := strings.Repeat("ab", 32)
	dir, _ = cluster(t, "--fund", user+"=77")
	files, err := config.Open(filepath.Join(dir, "node1", "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	ex, err := chain.New(files.Genesis, chain.Ledger{})
	if err != nil {
		t.Fatal(err)
	}
	first, st, err := ex.Genesis(nil)
	if err != nil {
		t.Fatal(err)
	}
	h := first.Header
	h.Height = 1
	b := block.New(h, nil)
	signed := block.Final{Block: b, Signature: block.Sign(files.ProcessorKey, b.Hash())}
	prove := func(f block.Final, key []byte) *wire.StateProof {
		nodes, err := st.Map().Prove(key)
		if err != nil {
			t.Fatal(err)
		}
		value, ok, err := st.Map().Get(key)
		if err != nil {
			t.Fatal(err)
		}
		return wire.NewStateProof(f, files.Genesis.Processor.PublicKey, key, value, ok, nodes)
	}
	write := func(name string, v any) string {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pub, err := chain.ParsePublicKey(user)
	if err != nil {
		t.Fatal(err)
	}
	account = write("account.json", wire.Account{
		PublicKey: user, Balances: map[string]string{"native": "77"}, Height: 1, Proof: prove(signed, chain.AccountKey(pub)),
	})
	p := prove(signed, []byte("nothing"))
	absent = write("absent.json", wire.StateEntry{Key: p.Key, Height: 1, Proof: p})
	zero = write("zero.json", prove(block.Final{Block: first}, []byte("c/chain_id")))
	return dir, filepath.Join(dir, "genesis.json"), account, absent, zero
}

func TestProofVerify(t *testing.T) {
	dir, genesis, account, absent, zero := provenFiles(t)
	mustHave(t, good(t, "proof", "verify", account, "--genesis", genesis), "proven: after block 1", "native:77")
	mustHave(t, good(t, "proof", "verify", absent, "--config", filepath.Join(dir, "node2", "config.json")), "had no value")
	mustHave(t, good(t, "proof", "verify", zero, "--genesis", genesis), "after block 0", hex.EncodeToString([]byte("c/chain_id")))
	files, err := config.Open(filepath.Join(dir, "node1", "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	key := files.Genesis.Processor.PublicKey.String()
	var out proven
	readJSON(t, good(t, "proof", "verify", account, "--processor-key", key, "--json"), &out)
	if !out.OK || out.Height != 1 || !out.Present || out.Account == nil || out.Account.Balances["native"] != "77" {
		t.Errorf("%+v", out)
	}

	edits := 0
	edit := func(path string, old, with string) string {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(data), old) {
			t.Fatalf("%s is not in %s", old, data)
		}
		edits++
		bad := fmt.Sprintf("%s.%d", path, edits)
		if err := os.WriteFile(bad, []byte(strings.Replace(string(data), old, with, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		return bad
	}
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"balance":           {[]string{edit(account, `"native":"77"`, `"native":"78"`), "--genesis", genesis}, "balances are not those of the proof"},
		"another account":   {[]string{edit(account, `"public_key":"ab`, `"public_key":"ba`), "--genesis", genesis}, "another key"},
		"there after all":   {[]string{edit(absent, `"present":false`, `"present":true`), "--genesis", genesis}, "about something else"},
		"header":            {[]string{edit(account, `"term":0`, `"term":1`), "--genesis", genesis}, "do not match its hash"},
		"genesis by a key":  {[]string{zero, "--processor-key", key}, "not signed"},
		"another key":       {[]string{account, "--processor-key", strings.Repeat("01", 32)}, "not the processor's"},
		"no proof":          {[]string{genesis, "--genesis", genesis}, "?proof=1"},
		"no file":           {[]string{filepath.Join(dir, "nowhere"), "--genesis", genesis}, "nowhere"},
		"nothing to trust":  {[]string{account}, "genesis"},
		"not a key":         {[]string{account, "--processor-key", "zz"}, "--processor-key"},
		"two kinds of root": {[]string{account, "--processor-key", key, "--genesis", genesis}, "processor-key"},
	} {
		t.Run(name, func(t *testing.T) {
			mustHave(t, refused(t, append([]string{"proof", "verify"}, c.args...)...), c.want)
		})
	}
}
