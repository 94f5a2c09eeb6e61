package api_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/node/api/wire"
)

func TestReceipt(t *testing.T) {
	b := newBackend(3)
	base := serve(t, b, nil)
	f := b.chain[2]
	hash := f.Block.Txs[0].Hash()
	a := do(t, "GET", base+"/v1/transactions/"+hash.String(), "")
	want := fmt.Sprintf(`{"hash":"%s","height":2,"index":0,"block_hash":"%s"}`+"\n", hash, f.Block.Hash())
	if a.status != 200 || a.body != want {
		t.Errorf("got %d %s, want %s", a.status, a.body, want)
	}
	wantError(t, "unknown", do(t, "GET", base+"/v1/transactions/"+block.Hash{1}.String(), ""), 404, "not_found")
	wantError(t, "bad", do(t, "GET", base+"/v1/transactions/zz", ""), 400, "malformed")
}

func TestBlock(t *testing.T) {
	b := newBackend(3)
	base := serve(t, b, nil)
	pub := processorKey.Public().(ed25519.PublicKey)
	for path, height := range map[string]block.Height{"1": 1, "3": 3, "latest": 3, "0": 0} {
		a := do(t, "GET", base+"/v1/blocks/"+path, "")
		var got wire.Block
		if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != 200 {
			t.Fatalf("%s: %d %s %v", path, a.status, a.body, err)
		}
		want := b.chain[height]
		if got.Height != height || got.Hash != want.Block.Hash() || got.ParentHash != want.Block.Header.Parent {
			t.Errorf("%s: %s", path, a.body)
		}
		err := got.Verify(pub)
		if height == 0 {
			if !errors.Is(err, wire.ErrUnsigned) || !strings.Contains(a.body, `"transactions":[],"signature":"","signer":""`) {
				t.Errorf("genesis: %v, %s", err, a.body)
			}
		} else if err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	// The exact shape, for those who parse it by other means.
	f := b.chain[1]
	tx := f.Block.Txs[0]
	signer := processorPub()
	want := fmt.Sprintf(`{"height":1,"hash":"%s","parent_hash":"%s","time":1001,"chain_id":"test","chain_version":"1",`+
		`"state_root":"%s","proposer":"node1","term":3,"transactions":[{"hash":"%s",`+
		`"payload":"{\"n\":1,\"html\":\"<&>\"}","signature":"%s"}],"signature":"%s","signer":"%x"}`+"\n",
		f.Block.Hash(), b.chain[0].Block.Hash(), block.Hash{}, tx.Hash(), tx.Signature, f.Signature, signer[:])
	if a := do(t, "GET", base+"/v1/blocks/1", ""); a.body != want {
		t.Errorf("got  %s\nwant %s", a.body, want)
	}
	wantError(t, "above", do(t, "GET", base+"/v1/blocks/4", ""), 404, "not_found")
	for _, bad := range []string{"-1", "x", "1.0", "99999999999999999999", "%20"} {
		wantError(t, bad, do(t, "GET", base+"/v1/blocks/"+bad, ""), 400, "malformed")
	}
}

func TestBlocks(t *testing.T) {
	b := newBackend(1100)
	base := serve(t, b, nil)
	for _, c := range []struct {
		query       string
		first, many int
	}{
		{"", 0, 100},
		{"?from=5&limit=3", 5, 3},
		{"?from=1099&limit=10", 1099, 2},
		{"?from=1101", 0, 0},
		{"?from=18446744073709551615", 0, 0},
		{"?from=1&limit=1000000", 1, 1000},
		{"?from=1&limit=18446744073709551615", 1, 1000},
	} {
		a := do(t, "GET", base+"/v1/blocks"+c.query, "")
		var got wire.Blocks
		if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != 200 || got.Blocks == nil {
			t.Fatalf("%s: %d %.200s %v", c.query, a.status, a.body, err)
		}
		if a.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: content type %q", c.query, a.header.Get("Content-Type"))
		}
		if len(got.Blocks) != c.many {
			t.Errorf("%s: %d blocks, want %d", c.query, len(got.Blocks), c.many)
		}
		for i, g := range got.Blocks {
			if g.Height != block.Height(c.first+i) || g.Hash != b.chain[c.first+i].Block.Hash() {
				t.Errorf("%s: block %d is %d", c.query, i, g.Height)
			}
		}
	}
	for _, bad := range []string{"from=x", "limit=0", "limit=-1", "limit=x", "from=-1", "from=%zz"} {
		wantError(t, bad, do(t, "GET", base+"/v1/blocks?"+bad, ""), 400, "malformed")
	}
}

// A range of large blocks ends early, but goes on from where it ended.
func TestBlocksLarge(t *testing.T) {
	b := newBackend(0)
	big := make([]byte, 1<<20)
	for i := range big {
		big[i] = 'x'
	}
	tx := block.SignTx(userKey, big)
	large := block.New(block.Header{Height: 1}, []*block.Tx{tx, tx, tx, tx, tx, tx, tx})
	b.final = func(context.Context, block.Height) (block.Final, error) { return block.Final{Block: large}, nil }
	for range 10 {
		b.grow()
	}
	base := serve(t, b, nil)
	a := do(t, "GET", base+"/v1/blocks?from=1&limit=10", "")
	if n := strings.Count(a.body, `"parent_hash"`); n != 5 || !strings.HasSuffix(a.body, "]}\n") {
		t.Errorf("%d blocks in %d bytes, want 5, the first above 32 MiB", n, len(a.body))
	}
}

// What fails in the middle of a range must not pass for the end of the chain.
func TestBlocksBreak(t *testing.T) {
	b := newBackend(5)
	b.final = func(_ context.Context, h block.Height) (block.Final, error) {
		if h == 3 {
			return block.Final{}, errors.New("disk")
		}
		return b.chain[h], nil
	}
	base := serve(t, b, nil)
	wantError(t, "first", do(t, "GET", base+"/v1/blocks?from=3", ""), 500, "internal")
	conn := dial(t, base)
	say(t, conn, "GET /v1/blocks HTTP/1.0\r\nHost: x\r\n\r\n")
	var sb strings.Builder
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		sb.Write(buf[:n])
		if err != nil {
			break
		}
	}
	if strings.Contains(sb.String(), "]}\n") && strings.HasSuffix(sb.String(), "]}\n") {
		t.Errorf("looks whole: %s", sb.String())
	}
}

func TestAccount(t *testing.T) {
	b := newBackend(0)
	var local bool
	var give error
	key := [32]byte{0xab, 31: 0xcd}
	b.account = func(_ context.Context, pub [32]byte, l bool) (api.Account, error) {
		local = l
		if pub != key {
			t.Errorf("key %x", pub)
		}
		return api.Account{Nonce: 5, Balances: map[string]string{"native": "7"}, Height: 2}, give
	}
	base := serve(t, b, nil)
	url := fmt.Sprintf("%s/v1/accounts/%x", base, key[:])
	for query, wantLocal := range map[string]bool{"": false, "?consistency=linearizable": false, "?consistency=local": true} {
		a := do(t, "GET", url+query, "")
		want := fmt.Sprintf(`{"public_key":"%x","nonce":5,"balances":{"native":"7"},"height":2}`+"\n", key[:])
		if a.status != 200 || a.body != want || local != wantLocal {
			t.Errorf("%q: %d %s local %v", query, a.status, a.body, local)
		}
	}
	wantError(t, "consistency", do(t, "GET", url+"?consistency=eventual", ""), 400, "malformed")
	wantError(t, "short", do(t, "GET", base+"/v1/accounts/abcd", ""), 400, "malformed")
	wantError(t, "not hex", do(t, "GET", base+"/v1/accounts/"+strings.Repeat("zz", 32), ""), 400, "malformed")
	give = api.NoLeader(2 * time.Second)
	a := do(t, "GET", url, "")
	if wantError(t, "no leader", a, 503, "no_leader"); a.header.Get("Retry-After") != "2" {
		t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
	}
	give = context.DeadlineExceeded
	wantError(t, "too slow", do(t, "GET", url, ""), 503, "no_leader")
	give = errors.New("disk")
	wantError(t, "fault", do(t, "GET", url, ""), 500, "internal")
	b.account = nil
	if a := do(t, "GET", url, ""); !strings.Contains(a.body, `"balances":{}`) {
		t.Errorf("no balances: %s", a.body)
	}
}

func TestStatusAndHealth(t *testing.T) {
	b := newBackend(0)
	base := serve(t, b, nil)
	want := fmt.Sprintf(`{"id":"node1","state":"leader","term":3,"leader":"node1","height":0,"base":0,"tip_hash":"%[1]s",`+
		`"state_root":"%[1]s","chain_id":"test","chain_version":"","code_version":"","members":[],"config_version":0,`+
		`"quorum":2,"lease_ms":70,"syncing":false,"pid":7,"supervisor_pid":0,"health":""}`+"\n", block.Hash{})
	if a := do(t, "GET", base+"/v1/status", ""); a.status != 200 || a.body != want {
		t.Errorf("got %s, want %s", a.body, want)
	}
	b.status.Members = []api.Member{{ID: "node1", Voter: true, Alive: true, Height: 4}}
	if a := do(t, "GET", base+"/v1/status", ""); !strings.Contains(a.body,
		`"members":[{"id":"node1","voter":true,"alive":true,"height":4}]`) {
		t.Errorf("members: %s", a.body)
	}
	if a := do(t, "GET", base+"/healthz", ""); a.status != 200 || a.body != `{"status":"ok"}`+"\n" {
		t.Errorf("healthz: %d %s", a.status, a.body)
	}
	if a := do(t, "HEAD", base+"/healthz", ""); a.status != 200 || a.body != "" {
		t.Errorf("HEAD healthz: %d %s", a.status, a.body)
	}
	if a := do(t, "GET", base+"/readyz", ""); a.status != 200 {
		t.Errorf("readyz: %d %s", a.status, a.body)
	}
	b.ready = errors.New("60 blocks behind")
	if d := wantError(t, "readyz", do(t, "GET", base+"/readyz", ""), 503, "not_ready"); d.Message != "60 blocks behind" {
		t.Errorf("readyz: %s", d.Message)
	}
	wantError(t, "leader", do(t, "GET", base+"/leader", ""), 503, "not_leader")
	b.leading = true
	if a := do(t, "GET", base+"/leader", ""); a.status != 200 || a.body != `{"leader":"node1","term":3,"lease_ms":70}`+"\n" {
		t.Errorf("leader: %d %s", a.status, a.body)
	}
}

func TestMetrics(t *testing.T) {
	base := serve(t, newBackend(0), nil)
	do(t, "GET", base+"/v1/blocks/0", "")
	do(t, "GET", base+"/no/such/path", "")
	a := do(t, "GET", base+"/metrics", "")
	for _, want := range []string{
		"baton_test_total 0", "baton_api_reads 0", "baton_api_held_bytes 0",
		`baton_api_requests_total{method="GET",path="/v1/blocks/{height}",status="200"} 1`,
		`baton_api_requests_total{method="GET",path="other",status="404"} 1`,
	} {
		if !strings.Contains(a.body, want) {
			t.Errorf("no %s in\n%s", want, a.body)
		}
	}
}

func TestUnknownPathsAndMethods(t *testing.T) {
	base := serve(t, newBackend(0), nil)
	for _, path := range []string{"/v1", "/v1/blocks/", "/v1/blocks/1/2", "/v1/transactions/", "/debug/pprof/", "/v2/status"} {
		wantError(t, path, do(t, "GET", base+path, ""), 404, "not_found")
	}
	for _, c := range []struct{ method, path, allow string }{
		{"GET", "/v1/transactions", "POST"},
		{"PUT", "/v1/transactions", "POST"},
		{"POST", "/v1/status", "GET, HEAD"},
		{"DELETE", "/v1/blocks/1", "GET, HEAD"},
		{"OPTIONS", "/v1/events", "GET, HEAD"},
		{"MADEUP", "/healthz", "GET, HEAD"},
	} {
		a := do(t, c.method, base+c.path, "")
		wantError(t, c.method+c.path, a, 405, "method_not_allowed")
		if a.header.Get("Allow") != c.allow {
			t.Errorf("%s %s: Allow %q", c.method, c.path, a.header.Get("Allow"))
		}
	}
}

func TestState(t *testing.T) {
	b := newBackend(0)
	var give error
	b.state = func(_ context.Context, key []byte, local, proof bool) (api.StateEntry, error) {
		e := api.StateEntry{Key: key, Present: true, Value: fmt.Appendf(nil, "%t", local), Height: 2}
		if proof {
			e.Proof = &wire.StateProof{Key: key}
		}
		return e, give
	}
	base := serve(t, b, nil)
	for query, want := range map[string]string{
		"":                     `{"key":"612f00","present":true,"value":"66616c7365","height":2}` + "\n",
		"?consistency=local":   `{"key":"612f00","present":true,"value":"74727565","height":2}` + "\n",
		"?proof=0":             `{"key":"612f00","present":true,"value":"66616c7365","height":2}` + "\n",
		"?proof=1":             `"proof":{"key":"612f00"`,
		"?proof=true":          `"proof":{"key":"612f00"`,
		"?proof=2":             `malformed`,
		"?consistency=perhaps": `malformed`,
	} {
		if a := do(t, "GET", base+"/v1/state/612F00"+query, ""); a.body != want && (want[0] == '{' || !strings.Contains(a.body, want)) {
			t.Errorf("%q: %s", query, a.body)
		}
	}
	for _, bad := range []string{"zz", "abc", strings.Repeat("ab", 513), "%20"} {
		wantError(t, bad, do(t, "GET", base+"/v1/state/"+bad, ""), 400, "malformed")
	}
	if a := do(t, "GET", base+"/v1/state/"+strings.Repeat("ab", 512), ""); a.status != 200 {
		t.Errorf("the longest key: %d %s", a.status, a.body)
	}
	if a := do(t, "GET", base+"/v1/accounts/"+strings.Repeat("ab", 32)+"?proof=1", ""); !strings.Contains(a.body, `"proof":{"key":"abab`) {
		t.Errorf("account: %s", a.body)
	}
	give = api.NoLeader(0)
	wantError(t, "no leader", do(t, "GET", base+"/v1/state/61", ""), 503, "no_leader")
	give = context.DeadlineExceeded
	wantError(t, "too slow", do(t, "GET", base+"/v1/state/61", ""), 503, "no_leader")
}
