package main

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/config"
	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/node/api/wire"
	"github.com/baton-ha/baton/node/chain"
)

var testStatus = wire.Status{
	ID: "node1", State: wire.StateFollower, Term: 4, Leader: "node2", Height: 9, ChainID: "here", ConfigVersion: 1, Quorum: 2,
	Members: []wire.Member{
		{ID: "node3", Voter: false, Alive: false, Height: 4},
		{ID: "node2", Voter: true, Alive: true, Height: 10},
		{ID: "node1", Voter: true, Alive: true, Height: 9},
	},
}

const testMembers = `  node1  follower  alive  height 9   lag 1  term 4
* node2  leader    alive  height 10  lag 0  term 4
  node3  learner   dead   height 4   lag 6  term 4
`

func TestStatus(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) { reply(t, w, http.StatusOK, testStatus) })
	if got := good(t, "status", "--api", closedURL()+","+url); got != testMembers {
		t.Errorf("status prints\n%s", got)
	}
	var got wire.Status
	readJSON(t, good(t, "status", "--json", "--api", url), &got)
	if got.ID != "node1" || len(got.Members) != 3 || got.Term != 4 {
		t.Errorf("status = %+v", got)
	}

	dead := closedURL()
	mustHave(t, refused(t, "status", "--api", dead), dead, "is it running?")

	_, conf := cluster(t)
	t.Setenv("BATON_API_LISTEN", strings.TrimPrefix(url, "http://"))
	if got := good(t, "status", "--config", conf); got != testMembers {
		t.Errorf("status of a config prints\n%s", got)
	}
}

func TestLocalURL(t *testing.T) {
	for listen, want := range map[string]string{
		"10.0.0.1:7002": "http://10.0.0.1:7002", ":7002": "http://127.0.0.1:7002", "0.0.0.0:1": "http://127.0.0.1:1",
		"[::]:7002": "http://[::1]:7002", "[fd00::1]:7": "http://[fd00::1]:7", "name:80": "http://name:80",
	} {
		if got := localURL(listen); got != want {
			t.Errorf("localURL(%s) = %s, want %s", listen, got, want)
		}
	}
}

// adminNode is a node behind an admin socket.
type adminNode struct{ to chan string }

func (n adminNode) Status() wire.Status { return testStatus }

func (n adminNode) Reload(context.Context, wire.ReloadRequest) (wire.Reloaded, error) {
	return wire.Reloaded{}, nil
}

func (n adminNode) Export(context.Context, io.Writer, block.Height, block.Height, bool) error {
	return nil
}
func (n adminNode) MemberChange(context.Context, wire.MemberRequest) error { return nil }

func (n adminNode) LeaderTransfer(_ context.Context, to string) error {
	if to == "node9" {
		return &wire.Error{Status: http.StatusUnprocessableEntity, Code: wire.CodeRejected, Message: "node9 is no voter"}
	}
	n.to <- to
	return nil
}

func TestAdminCommands(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 40))
	good(t, "init", "--out", dir)
	conf := filepath.Join(dir, "node1", "config.json")
	data := filepath.Join(dir, "node1", "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	node := adminNode{to: make(chan string, 2)}
	admin := api.NewAdmin(data, node, zerolog.Nop())
	if err := admin.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := admin.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})

	if got := good(t, "leader", "show", "--config", conf); got != "node2 leads, term 4\n" {
		t.Errorf("leader show prints %q", got)
	}
	var leader wire.Leader
	readJSON(t, good(t, "leader", "show", "--json", "--config", conf), &leader)
	if leader.Leader != "node2" || leader.Term != 4 {
		t.Errorf("leader = %+v", leader)
	}
	good(t, "leader", "transfer", "--config", conf, "--to", "node1")
	good(t, "leader", "transfer", "--config", conf)
	if a, b := <-node.to, <-node.to; a != "node1" || b != "" {
		t.Errorf("transferred to %q and %q", a, b)
	}
	mustHave(t, refused(t, "leader", "transfer", "--config", conf, "--to", "node9"), "node9 is no voter", "rejected")
	if got := good(t, "member", "list", "--config", conf); got != testMembers {
		t.Errorf("member list prints\n%s", got)
	}
	var members wire.Members
	readJSON(t, good(t, "member", "list", "--json", "--config", conf), &members)
	if len(members.Members) != 3 || members.Quorum != 2 || members.ConfigVersion != 1 {
		t.Errorf("members = %+v", members)
	}
}

// signedChain is genesis of a laid-out cluster and one signed block on it.
func signedChain(t *testing.T, dir string) (genesis *block.Block, first block.Final, pub ed25519.PublicKey) {
	t.Helper()
	n, err := config.Open(filepath.Join(dir, "node1", "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	executor, err := chain.New(n.Genesis, chain.Ledger{})
	if err != nil {
		t.Fatal(err)
	}
	genesis, _, err = executor.Genesis(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := block.New(block.Header{
		ChainID: n.Genesis.ChainID, Height: 1, Parent: genesis.Hash(), TimeMs: genesis.Header.TimeMs + 1, ChainVersion: "1",
		Proposer: "node1", Term: 1,
	}, []*block.Tx{block.SignTx(n.NodeKey, []byte(`{"chain_id":"x"}`))})
	return genesis, block.Final{Block: b, Signature: block.Sign(n.ProcessorKey, b.Hash())}, config.PublicKey(n.ProcessorKey)
}

func TestBlockShow(t *testing.T) {
	dir, conf := cluster(t)
	_, first, pub := signedChain(t, dir)
	shown := wire.NewBlock(first, [32]byte(pub))
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/blocks/1" && r.URL.Path != "/v1/blocks/latest" {
			reply(t, w, http.StatusNotFound, (&wire.Error{Code: wire.CodeNotFound, Message: "there is no such block yet"}).Body())
			return
		}
		reply(t, w, http.StatusOK, shown)
	})
	genesis := filepath.Join(dir, "genesis.json")
	for _, height := range []string{"1", "latest"} {
		mustHave(t, good(t, "block", "show", height, "--api", url, "--genesis", genesis),
			"height      1\n", first.Block.Hash().String(), "(verified)", `{"chain_id":"x"}`, hex.EncodeToString(pub))
	}
	var got wire.Block
	readJSON(t, good(t, "block", "show", "1", "--json", "--api", url), &got)
	if got.Hash != first.Block.Hash() || len(got.Transactions) != 1 {
		t.Errorf("block = %+v", got)
	}
	mustHave(t, refused(t, "block", "show", "2", "--api", url), "height 2")

	other, _ := cluster(t)
	mustHave(t, refused(t, "block", "show", "1", "--api", url, "--genesis", filepath.Join(other, "genesis.json")), "signature")
	t.Setenv("BATON_API_LISTEN", strings.TrimPrefix(url, "http://"))
	mustHave(t, good(t, "block", "show", "1", "--config", conf), "(verified)")
	shown.Proposer = "node2"
	mustHave(t, refused(t, "block", "show", "1", "--api", url), "hash")
}

func TestBlockVerify(t *testing.T) {
	dir, conf := cluster(t)
	genesis, first, _ := signedChain(t, dir)
	data := filepath.Join(dir, "node1", "data")
	store, err := blockstore.Open(blockstore.Options{Dir: data, Logger: zerolog.Nop(), Fatal: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	term := uint64(1)
	done := make(chan error, 1)
	store.Enqueue(blockstore.Batch{
		Append: []*block.Block{genesis, first.Block},
		Synced: &term,
		Commit: &blockstore.Commit{Height: 1, Hash: first.Block.Hash(), CTerm: 1, From: 1},
		Signed: []blockstore.Signed{{Height: 1, Hash: first.Block.Hash(), Signature: first.Signature}},
	}, func(err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	mustHave(t, refused(t, "block", "verify", "--config", conf), data, "stop the node first")
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}

	mustHave(t, good(t, "block", "verify", "--config", conf), data, "is good", "1 signed")
	var got verified
	readJSON(t, good(t, "block", "verify", "--json", "--data-dir", data, "--genesis", filepath.Join(dir, "genesis.json")), &got)
	if !got.OK || got.Height != 1 || got.Hash != first.Block.Hash() || got.Transactions != 1 || len(got.Problems) != 0 {
		t.Errorf("verify = %+v", got)
	}

	other, _ := cluster(t)
	mustHave(t, refused(t, "block", "verify", "--data-dir", data, "--genesis", filepath.Join(other, "genesis.json")),
		"is damaged", "genesis", "and 1 more", "start the node")
	missing := filepath.Join(dir, "none")
	mustHave(t, refused(t, "block", "verify", "--data-dir", missing, "--config", conf), missing)
}
