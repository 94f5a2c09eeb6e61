package main

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/config"
	"github.com/baton-ha/baton/node/api/wire"
)

const receiver = "c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3"

// fakeNode answers as a node whose chain is "here" and on which the sender's next nonce is 7.
type fakeNode struct {
	t      *testing.T
	answer func(w http.ResponseWriter, tx *block.Tx)

	mu  sync.Mutex
	txs []*block.Tx
}

func (n *fakeNode) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.URL.Path == "/v1/status":
		reply(n.t, w, http.StatusOK, wire.Status{ID: "node1", ChainID: "here"})
	case strings.HasPrefix(r.URL.Path, "/v1/accounts/"):
		reply(n.t, w, http.StatusOK, wire.Account{PublicKey: r.URL.Path[len("/v1/accounts/"):], Nonce: 7})
	case r.URL.Path == "/v1/transactions" && r.Method == http.MethodPost:
		var req wire.TxRequest
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
			n.t.Errorf("bad request: %v", err)
		}
		tx := &block.Tx{Payload: []byte(req.Payload), Signature: req.Signature}
		n.mu.Lock()
		n.txs = append(n.txs, tx)
		n.mu.Unlock()
		n.answer(w, tx)
	default:
		n.t.Errorf("unexpected %s %s", r.Method, r.URL)
		http.NotFound(w, r)
	}
}

func reply(t *testing.T, w http.ResponseWriter, status int, v any) {
	t.Helper()
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		t.Errorf("answer: %v", err)
	}
}

func final(t *testing.T) func(w http.ResponseWriter, tx *block.Tx) {
	t.Helper()
	return func(w http.ResponseWriter, tx *block.Tx) {
		reply(t, w, http.StatusOK, wire.Receipt{Hash: tx.Hash(), Height: 12, Index: 3, BlockHash: block.Hash{1}})
	}
}

func refusal(t *testing.T, status int, code wire.Code, message string) func(w http.ResponseWriter, tx *block.Tx) {
	t.Helper()
	return func(w http.ResponseWriter, _ *block.Tx) {
		w.Header().Set("Retry-After", "60")
		reply(t, w, status, (&wire.Error{Code: code, Message: message}).Body())
	}
}

func newKeyFile(t *testing.T) (path string, key ed25519.PrivateKey) {
	t.Helper()
	key = ed25519.NewKeyFromSeed([]byte(strings.Repeat("k", 32)))
	path = filepath.Join(t.TempDir(), "me.json")
	if err := config.WriteKey(path, key); err != nil {
		t.Fatal(err)
	}
	return path, key
}

func TestTransferSignsWhatTheContractSays(t *testing.T) {
	node := &fakeNode{t: t, answer: final(t)}
	file, key := newKeyFile(t)
	url := serve(t, node.serve)
	out := good(t, "tx", "transfer", "--api", url, "--key", file, "--to", strings.ToUpper(receiver), "--amount", "5", "--json")
	tx := node.txs[0]
	want := `{"chain_id":"here","public_key":"` + hex.EncodeToString(config.PublicKey(key)) +
		`","nonce":7,"messages":[{"type":"transfer","to":"` + receiver + `","asset":"native","amount":"5"}]}`
	if string(tx.Payload) != want {
		t.Errorf("payload is %s, want %s", tx.Payload, want)
	}
	if !tx.Verify(config.PublicKey(key)) {
		t.Error("the signature is not the key's")
	}
	var receipt wire.Receipt
	readJSON(t, out, &receipt)
	if receipt != (wire.Receipt{Hash: tx.Hash(), Height: 12, Index: 3, BlockHash: block.Hash{1}}) {
		t.Errorf("receipt = %+v", receipt)
	}
	mustHave(t, good(t, "tx", "transfer", "--api", url, "--key", file, "--to", receiver, "--amount", "5",
		"--nonce", "0", "--chain-id", "there", "--asset", "gold", "--max-height", "99"), tx.Hash().String()[:0], "block 12")
	mustHave(t, string(node.txs[1].Payload), `"chain_id":"there"`, `"nonce":0`, `"asset":"gold"`, `"max_height":99`)
}

func TestSendTakesAnyMessage(t *testing.T) {
	node := &fakeNode{t: t, answer: final(t)}
	file, _ := newKeyFile(t)
	good(t, "tx", "send", "--api", serve(t, node.serve), "--key", file, "--message", `{ "type": "note", "text": "a<b&c" }`)
	mustHave(t, string(node.txs[0].Payload), `"messages":[{"type":"note","text":"a<b&c"}]`)
}

// A dead node and one without a leader are passed over, and the transaction that the third takes is the same one.
func TestTransferTriesTheOtherNodes(t *testing.T) {
	lost := &fakeNode{t: t, answer: refusal(t, http.StatusServiceUnavailable, wire.CodeNoLeader, "no leader")}
	well := &fakeNode{t: t, answer: final(t)}
	file, _ := newKeyFile(t)
	// The client goes on with the node that answered last, which is the one without a leader, and from there to the next.
	urls := strings.Join([]string{closedURL(), serve(t, lost.serve), serve(t, well.serve)}, ",")
	good(t, "tx", "transfer", "--api", urls, "--key", file, "--to", receiver, "--amount", "5")
	if len(lost.txs) == 0 || len(well.txs) != 1 || lost.txs[0].Hash() != well.txs[0].Hash() ||
		lost.txs[0].Signature != well.txs[0].Signature {
		t.Errorf("the first node got %d, the second %d", len(lost.txs), len(well.txs))
	}
}

func TestTransferRefusals(t *testing.T) {
	file, _ := newKeyFile(t)
	args := func(url string, more ...string) []string {
		return append([]string{"tx", "transfer", "--api", url, "--key", file, "--to", receiver, "--amount", "5"}, more...)
	}
	for name, tt := range map[string]struct {
		answer func(w http.ResponseWriter, tx *block.Tx)
		want   []string
	}{
		"rejected": {
			refusal(t, http.StatusUnprocessableEntity, wire.CodeRejected, "balance is 3,\n5 is more"),
			[]string{"rejected", "balance is 3,; 5 is more"},
		},
		"nonce": {
			refusal(t, http.StatusConflict, wire.CodeBadNonce, "nonce 7 is used"),
			[]string{"bad_nonce", "nonce 7"},
		},
		"unknown outcome": {
			refusal(t, http.StatusGatewayTimeout, wire.CodeUnknownOutcome, "took too long"),
			[]string{"outcome", "--nonce 7"},
		},
		"no leader": {
			refusal(t, http.StatusServiceUnavailable, wire.CodeNoLeader, "no leader"),
			[]string{"no node took the request", "no_leader"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			node := &fakeNode{t: t, answer: tt.answer}
			mustHave(t, refused(t, args(serve(t, node.serve), "--timeout", "2s")...), tt.want...)
		})
	}
	url := closedURL()
	mustHave(t, refused(t, args(url, "--timeout", "1s")...), url)
}
