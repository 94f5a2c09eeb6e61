package main

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/config"
	"github.com/baton-ha/baton/node/chain"
	fastsync "github.com/baton-ha/baton/node/sync"
)

// ahead is the store of a node that others fetch from. Every tenth state is stored.
type ahead struct {
	t     *testing.T
	files *config.Node
	store *blockstore.Store
	ex    *chain.Executor
	st    *chain.State
	url   string
}

func newAhead(t *testing.T, conf string) *ahead {
	t.Helper()
	a := &ahead{t: t}
	var err error
	if a.files, err = config.Open(conf); err != nil {
		t.Fatal(err)
	}
	if a.ex, err = chain.New(a.files.Genesis, chain.Ledger{}); err != nil {
		t.Fatal(err)
	}
	if a.store, err = blockstore.Open(blockstore.Options{Dir: filepath.Join(t.TempDir(), "ahead"), Logger: zerolog.Nop()}); err != nil {
		t.Fatal(err)
	}
	zero, st, err := a.ex.Genesis(a.store)
	if err != nil {
		t.Fatal(err)
	}
	a.st = st
	a.write(blockstore.Batch{Append: []*block.Block{zero}})
	server := fastsync.NewServer(fastsync.ServerConfig{
		Store: a.store, ChainID: a.files.Genesis.ChainID, Genesis: zero.Hash(), Logger: zerolog.Nop(),
	})
	web := httptest.NewServer(server)
	a.url = web.URL
	t.Cleanup(func() {
		web.Close()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := a.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

func (a *ahead) write(b blockstore.Batch) {
	a.t.Helper()
	done := make(chan error, 1)
	a.store.Enqueue(b, func(err error) { done <- err })
	if err := <-done; err != nil {
		a.t.Fatal(err)
	}
}

// grow makes final blocks up to a height, each with a payment.
func (a *ahead) grow(keyFile string, to block.Height) {
	a.t.Helper()
	key, err := config.LoadKey(keyFile)
	if err != nil {
		a.t.Fatal(err)
	}
	for h := a.st.Height() + 1; h <= to; h++ {
		payload, err := json.Marshal(map[string]any{
			"chain_id": a.files.Genesis.ChainID, "public_key": fmt.Sprintf("%x", []byte(config.PublicKey(key))), "nonce": h - 1,
			"messages": []any{map[string]any{"type": "transfer", "to": fmt.Sprintf("%064x", h), "asset": "native", "amount": "5"}},
		})
		if err != nil {
			a.t.Fatal(err)
		}
		tx, err := a.ex.Parse(block.SignTx(key, payload))
		if err != nil {
			a.t.Fatal(err)
		}
		b, next, _, err := a.ex.Build(a.st, chain.BuildSpec{Proposer: "node1", Term: 1, NowMs: int64(h), MaxBytes: 1 << 20, MaxTxs: 10}, []*chain.Tx{tx}) //nolint:gosec // small
		if err != nil || b == nil {
			a.t.Fatal(b, err)
		}
		a.st = next
		a.write(blockstore.Batch{
			Append: []*block.Block{b}, Commit: &blockstore.Commit{Height: h, Hash: b.Hash(), CTerm: 1, From: h},
			Signed: []blockstore.Signed{{Height: h, Hash: b.Hash(), Signature: block.Sign(a.files.ProcessorKey, b.Hash())}},
		})
		if h%10 == 0 {
			if _, err := a.store.SaveState(a.t.Context(), a.st.Map().Seal(), h, b.Hash()); err != nil {
				a.t.Fatal(err)
			}
		}
	}
}

// A folder is filled with the newest state and the blocks since, is brought up to date later, and is a newcomer's.
func TestSync(t *testing.T) {
	me := filepath.Join(t.TempDir(), "me.json")
	pub := strings.TrimSpace(good(t, "key", "new", "--out", me))
	dir, conf := cluster(t, "--hosts", strings.Join([]string{ownHost(), ownHost(), ownHost()}, ","), "--fund", pub+"=1000000")
	a := newAhead(t, conf)
	data := filepath.Join(dir, "node1/data")

	mustHave(t, refused(t, "sync", "--config", conf), "no peer serves it", "node2: ", "node3: ")
	mustHave(t, refused(t, "sync", "--config", conf, "--from", "127.0.0.1:1"), "--from 127.0.0.1:1")
	mustHave(t, refused(t, "sync", "--config", conf, "--from", a.url), a.url)
	a.grow(me, 35)
	mustHave(t, good(t, "sync", "--config", conf, "--from", a.url), "state of block 30", "at block 35")
	mustHave(t, good(t, "block", "verify", "--config", conf), "35")
	mustHave(t, good(t, "sync", "--config", conf, "--from", a.url), "at block 35")
	a.grow(me, 52)
	var last step
	for line := range strings.Lines(good(t, "sync", "--config", conf, "--from", a.url, "--json")) {
		last = step{}
		readJSON(t, line, &last)
	}
	if last.Phase != "done" || last.Height != 52 || last.Bytes == 0 {
		t.Errorf("%+v", last)
	}
	s, err := blockstore.Open(blockstore.Options{Dir: data, Logger: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	if tip, hash := s.Tip(); tip != 52 || hash != a.st.BlockHash() || s.Base() != 50 || s.Election() != nil || s.Import() != blockstore.ImportedJoins {
		t.Errorf("tip %d, base %d, import %d", tip, s.Base(), s.Import())
	}
	mustHave(t, refused(t, "sync", "--config", conf, "--from", a.url), data, "in use")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	t.Run("modes", func(t *testing.T) {
		for mode, base := range map[string]block.Height{"block": 0, "archive": 0, "from:25": 20, "from:3": 10, "state": 50} {
			folder := filepath.Join(t.TempDir(), "data")
			t.Setenv("BATON_DATA_DIR", folder)
			mustHave(t, good(t, "sync", "--config", conf, "--from", a.url, "--mode", mode), "at block 52")
			r, err := blockstore.OpenReader(nil, folder)
			if err != nil {
				t.Fatal(err)
			}
			if r.Base() != base || r.Committed().Height != 52 {
				t.Errorf("%s: blocks from %d to %d", mode, r.Base(), r.Committed().Height)
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			mustHave(t, good(t, "block", "verify", "--config", conf), "52")
		}
		mustHave(t, refused(t, "sync", "--config", conf, "--from", a.url, "--mode", "fast"), "sync.mode")
	})
	t.Run("pin", func(t *testing.T) {
		t.Setenv("BATON_DATA_DIR", filepath.Join(t.TempDir(), "data"))
		t.Setenv("BATON_SYNC_PIN_HEIGHT", "44")
		t.Setenv("BATON_SYNC_PIN_HASH", strings.Repeat("ab", 32))
		for _, mode := range []string{"state", "block"} {
			mustHave(t, refused(t, "sync", "--config", conf, "--from", a.url, "--mode", mode), "pinned")
		}
		hash, err := a.store.HashAt(44)
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv("BATON_SYNC_PIN_HASH", hash.String())
		mustHave(t, good(t, "sync", "--config", conf, "--from", a.url), "at block 52")
	})
	t.Run("another chain", func(t *testing.T) {
		_, other := cluster(t)
		mustHave(t, refused(t, "sync", "--config", other, "--from", a.url), "it serves chain")
	})
	t.Run("a folder in which a node has run", func(t *testing.T) {
		folder := filepath.Join(t.TempDir(), "data")
		s, err := blockstore.Open(blockstore.Options{Dir: folder, Logger: zerolog.Nop()})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		s.Enqueue(blockstore.Batch{Election: []byte("a vote")}, func(err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		t.Setenv("BATON_DATA_DIR", folder)
		mustHave(t, refused(t, "sync", "--config", conf, "--from", a.url), folder, "a node has run in it")
	})
}
