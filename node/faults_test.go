package node

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/node/api/wire"
	"github.com/baton-ha/baton/node/chain"
	"github.com/baton-ha/baton/node/replication"
	"github.com/baton-ha/baton/raftify"
	"github.com/baton-ha/baton/raftify/core"
)

func TestNewRefusesWhatDoesNotFit(t *testing.T) {
	other := testKey(201)
	for _, tt := range []struct {
		name string
		tune func(*Config)
		want error
	}{
		{"processor key of another chain", func(c *Config) { c.ProcessorKey = other }, ErrWrongKey},
		{"other genesis", func(c *Config) {
			g := *c.Genesis
			g.ChainID = "other"
			c.Genesis = &g
		}, ErrWrongChain},
		{"bad genesis", func(c *Config) {
			g := *c.Genesis
			g.ChainID = ""
			c.Genesis = &g
		}, chain.ErrBadGenesis},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCluster(t, 1, nil)
			c.start(0)
			c.leader()
			c.stop(0)
			cfg := c.cfgs[0]
			tt.tune(&cfg)
			if n, err := New(cfg); !errors.Is(err, tt.want) {
				if err == nil {
					_ = n.Close()
				}
				t.Fatalf("error %v, want %v", err, tt.want)
			}
		})
	}
	t.Run("folder in use", func(t *testing.T) {
		c := newCluster(t, 1, nil)
		c.start(0)
		if _, err := New(c.cfgs[0]); !errors.Is(err, blockstore.ErrInUse) || !strings.Contains(err.Error(), c.cfgs[0].DataDir) {
			t.Fatalf("error %v, want %v and the folder", err, blockstore.ErrInUse)
		}
	})
}

// The store tells of its failure from a goroutine of its own, maybe while the node is still being made: then New fails, or
// the election is silenced.
func TestFailureWhileBeingMade(t *testing.T) {
	full := errors.New("disk is full")
	c := newCluster(t, 1, nil)
	store, _ := c.folder()
	for name, fails := range map[string]func(fail func(), ready func()){
		"before": func(fail, ready func()) { fail(); ready() },
		"after":  func(fail, ready func()) { ready(); fail() },
		"meanwhile": func(fail, ready func()) {
			done := make(chan struct{})
			go func() { fail(); close(done) }()
			ready()
			<-done
		},
	} {
		n := &Node{cfg: c.cfgs[0], fatal: make(chan error, 1)}
		var told error
		fails(func() { n.fail(full) }, func() {
			var err error
			if n.raft, err = raftify.New(raftify.Options{Config: c.cfgs[0].Raftify, Store: electionStore{store}}); err != nil {
				t.Fatal(err)
			}
			told = n.failable()
		})
		if name == "before" && told == nil || name == "after" && told != nil || told != nil && !errors.Is(told, full) {
			t.Errorf("%s: New fails with %v", name, told)
		}
		if err := n.raft.Start(); err != nil {
			t.Fatal(err)
		}
		if told == nil {
			select {
			case <-n.raft.Stopped():
			case <-time.After(patience):
				t.Errorf("%s: the election goes on", name)
			}
		}
		if err := n.raft.Close(); err != nil {
			t.Error(err)
		}
	}
}

func wantAPIError(t *testing.T, err error, status int, code wire.Code) {
	t.Helper()
	if ae, ok := errors.AsType[*api.Error](err); !ok || ae.Status != status || ae.Code != code {
		t.Fatalf("error %v, want %d %s", err, status, code)
	}
}

func wantBadNonce(t *testing.T, err error, expected uint64) {
	t.Helper()
	wantAPIError(t, err, 409, wire.CodeBadNonce)
	if ae, _ := errors.AsType[*api.Error](err); ae.ExpectedNonce == nil || *ae.ExpectedNonce != expected {
		t.Errorf("expected nonce %v, want %d", ae.ExpectedNonce, expected)
	}
}

// Every node gives the same final answers, whichever leads.
func TestRefusalsAreFinalOnEveryNode(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.startAll()
	c.leader()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	first := c.transfer(0, 0, pub(c.users[1]), "5")
	want, err := finally(ctx, c.nodes[0], first)
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range c.nodes {
		if got, err := finally(ctx, n, first); err != nil || got != want {
			t.Errorf("node%d: the same transaction again: %+v %v, want %+v", i+1, got, err, want)
		}
		_, err := finally(ctx, n, c.transfer(0, 0, pub(c.users[2]), "6"))
		wantBadNonce(t, err, 1)
		_, err = finally(ctx, n, c.transfer(0, 1, pub(c.users[2]), "99999999"))
		wantAPIError(t, err, 422, wire.CodeRejected)
		_, err = finally(ctx, n, c.transfer(0, 7, pub(c.users[2]), "1"))
		wantBadNonce(t, err, 1) // though it is far ahead
		bad := *c.transfer(0, 1, pub(c.users[2]), "1")
		bad.Signature[3] ^= 1
		_, err = n.Submit(ctx, &bad)
		wantAPIError(t, err, 401, wire.CodeBadSignature)
		acc, err := n.Account(ctx, pub(c.users[1]), false)
		if err != nil || acc.Balances["native"] != "1000005" {
			t.Errorf("node%d: %+v %v", i+1, acc, err)
		}
	}
	if blocks := c.settled(); len(blocks) != 2 {
		t.Errorf("%d blocks, want genesis and one: refusals enter no block", len(blocks))
	}
}

// Transactions of one account that arrive in the wrong order wait for each other.
func TestNoncesAheadWait(t *testing.T) {
	c := newCluster(t, 3, func(cfg *Config) { cfg.Limits.Pool.AheadWait = patience })
	c.startAll()
	c.leader()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	errs := make(chan error, 3)
	for _, nonce := range []uint64{2, 1, 0} {
		go func() {
			_, err := finally(ctx, c.nodes[nonce], c.transfer(0, nonce, pub(c.users[1]), "1"))
			errs <- err
		}()
	}
	for range 3 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	c.settled()
}

// A node that was away catches up block by block, from whoever has them, and executes none that it had.
func TestReturningNodeCatchesUp(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.startAll()
	lead := c.leader()
	away := (lead + 1) % 3
	send := func(from, to uint64) {
		t.Helper()
		for nonce := from; nonce < to; nonce++ {
			c.submit(lead, nonce)
		}
	}
	send(0, 30)
	c.settled()
	c.stop(away)
	send(30, 700) // far more than the leader keeps in memory
	c.start(away)
	c.settled()
	c.until("the node is ready", func() bool { return c.nodes[away].Ready() == nil })
	// It serves and leads as well as the others.
	c.lead(away)
	lead = away
	send(700, 710)
	c.settled()
}

// A leader that is stopped hands over; the clients' transactions go on, and nothing is lost when all stop at once.
func TestHandoverOnStop(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.startAll()
	lead := c.leader()
	term := c.nodes[lead].Status().Term
	other := (lead + 1) % 3
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	receipts := map[block.Hash]api.Receipt{}
	send := func(nonce uint64) {
		t.Helper()
		tx := c.transfer(0, nonce, pub(c.users[1]), "1")
		r, err := finally(ctx, c.nodes[other], tx)
		if err != nil {
			t.Fatalf("nonce %d: %v", nonce, err)
		}
		receipts[tx.Hash()] = r
	}
	send(0)
	c.stop(lead)
	send(1)
	if s := c.nodes[other].Status(); s.Term <= term {
		t.Errorf("term %d after the handover from a leader of term %d", s.Term, term)
	}
	c.start(lead)
	send(2)
	checkReceipts(t, c.settled(), receipts)
	c.stopAll()
	c.startAll()
	c.leader()
	checkReceipts(t, c.settled(), receipts)
	send(3)
}

// The minority can neither decide nor read; the majority goes on.
func TestMinorityServesNothingNew(t *testing.T) {
	c := newCluster(t, 3, func(cfg *Config) {
		cfg.Limits.PendingFor = 3 * time.Second
	})
	c.startAll()
	lead := c.leader()
	a, b := (lead+1)%3, (lead+2)%3
	c.stop(a)
	c.stop(b)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c.until("the leader without a majority steps down", func() bool { return !c.nodes[lead].Leading() })
	_, err := c.nodes[lead].Account(ctx, pub(c.users[0]), false)
	wantAPIError(t, err, 503, wire.CodeNoLeader)
	if _, err := c.nodes[lead].Account(ctx, pub(c.users[0]), true); err != nil {
		t.Errorf("a local read needs no leader: %v", err)
	}
	tx := c.transfer(0, 0, pub(c.users[1]), "1")
	if _, err = c.nodes[lead].Submit(ctx, tx); err == nil {
		t.Fatal("a minority answered a transaction")
	}
	if c.nodes[lead].Ready() == nil {
		t.Error("a node without a leader says that it is ready")
	}
	c.start(a)
	c.leader()
	if _, err := finally(ctx, c.nodes[a], tx); err != nil {
		t.Fatal(err)
	}
}

// A failed fsync ends the node; nothing is answered after it (R24).
func TestStoreFailureStopsTheNode(t *testing.T) {
	c := newCluster(t, 1, nil)
	c.start(0)
	c.leader()
	n := c.nodes[0]
	c.nodes[0] = nil
	want := errors.New("disk on fire")
	n.fail(want)
	select {
	case err := <-n.done:
		if !errors.Is(err, want) {
			t.Fatalf("Run returned %v", err)
		}
	case <-time.After(patience):
		t.Fatal("Run does not end")
	}
	if n.Leading() {
		t.Error("a failed node leads")
	}
}

// A folder whose marker says that it was a member never founds another cluster (R26).
func TestEmptyFolderOfAMemberDoesNotBootstrap(t *testing.T) {
	c := newCluster(t, 1, nil)
	c.start(0)
	c.leader()
	c.until("the marker is written", c.nodes[0].marked)
	c.stop(0)
	c.cfgs[0].DataDir = filepath.Join(c.dir, "fresh")
	c.start(0)
	ended := make(chan struct{})
	time.AfterFunc(10*c.cfgs[0].Raftify.Timings().MinElection, func() { close(ended) })
	<-ended
	if s := c.nodes[0].raft.Status(); s.Cfg.Key != (core.CfgKey{}) || c.nodes[0].Leading() {
		t.Fatalf("a member with an empty folder founded a cluster: %+v", s.Cfg)
	}
}

// drifting is the ledger with a bug that only one machine has.
type drifting struct{ chain.Ledger }

func (d drifting) Execute(ctx *chain.Context, m chain.Message) error {
	if err := d.Ledger.Execute(ctx, m); err != nil {
		return err
	}
	return ctx.Set([]byte("bug"), []byte{1})
}

// A processor that reaches another state says so, acknowledges nothing and cannot keep the lead; the others go on
// (R13).
func TestProcessorWithAnotherStateIsOverruled(t *testing.T) {
	c := newCluster(t, 3, func(cfg *Config) {
		if cfg.ID == "node3" {
			cfg.Apps = []chain.App{drifting{}}
		}
	})
	c.startAll()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c.lead(2) // its first block is refused by both others
	for nonce := range uint64(5) {
		r, err := finally(ctx, c.nodes[nonce%2], c.transfer(0, nonce, pub(c.users[1]), "1"))
		if err != nil {
			t.Fatalf("nonce %d: %v", nonce, err)
		}
		if r.Height != block.Height(nonce+1) {
			t.Errorf("nonce %d at height %d", nonce, r.Height)
		}
	}
	if c.nodes[2].Latest(ctx) != 0 {
		t.Errorf("the faulty node has final block %d, whose state it cannot have", c.nodes[2].Latest(ctx))
	}
	c.until("the faulty node asks for an operator", func() bool { return c.nodes[2].alarms(t) > 0 })
	c.stop(2)
	c.settled()
}

// idle returns the first node, which does not run, and a transaction.
func (c *cluster) idle() (*Node, *chain.Tx) {
	c.t.Helper()
	n, err := New(c.cfgs[0])
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = n.Close() })
	tx, err := n.ex.Parse(c.transfer(0, 0, pub(c.users[1]), "5"))
	if err != nil {
		c.t.Fatal(err)
	}
	return n, tx
}

// A refusal that was decided before the leader's takeover is acknowledged is not told: an older leader's block may
// still come behind the state that it was decided on.
func TestRefusalWaitsForTheTakeover(t *testing.T) {
	c := newCluster(t, 1, nil)
	n, tx := c.idle()
	p := &pending{tx: tx, done: make(chan struct{})}
	n.router.pending[tx.Hash()] = p
	n.router.origins[tx.Hash()] = []string{c.cfgs[0].ID}
	n.view.Store(&view{leading: true, leader: c.cfgs[0].ID})
	at := replication.Ref{Hash: n.finals.state().BlockHash()}
	n.router.refuse(tx.Hash(), &chain.TxError{Kind: chain.Rejected, Message: "no"}, at)
	select {
	case <-p.done:
		t.Fatal("refused before the takeover was acknowledged")
	default:
	}
	n.view.Store(&view{leading: true, counted: true, leader: c.cfgs[0].ID})
	n.router.releaseVerdicts()
	<-p.done
	wantAPIError(t, p.err, 422, wire.CodeRejected)
}
