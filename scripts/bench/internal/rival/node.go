package rival

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/node/api/wire"
	"github.com/baton-ha/baton/node/chain"
)

// Member is one node of the cluster.
type Member struct {
	ID      string `json:"id"`
	Raft    string `json:"raft"`
	Forward string `json:"forward"`
	API     string `json:"api"`
}

// Config is what one node is started with.
type Config struct {
	ID      string   `json:"id"`
	DataDir string   `json:"data_dir"`
	Genesis string   `json:"genesis"`
	Members []Member `json:"members"`
}

// Node is one process of the peer.
type Node struct {
	cfg    Config
	self   Member
	ex     *chain.Executor
	ledger *ledger
	raft   *raft.Raft
	others map[raft.ServerID]*forwarder
	reg    *prometheus.Registry
}

var _ api.Backend = (*Node)(nil)

// Run runs a node until ctx ends.
func Run(ctx context.Context, cfg Config) error {
	n := &Node{cfg: cfg, others: map[raft.ServerID]*forwarder{}, reg: prometheus.NewRegistry()}
	text, err := os.ReadFile(cfg.Genesis)
	if err != nil {
		return err
	}
	var g chain.Genesis
	if err := json.Unmarshal(text, &g); err != nil {
		return fmt.Errorf("genesis: %w", err)
	}
	if n.ex, err = chain.New(&g, chain.Ledger{}); err != nil {
		return err
	}
	if n.ledger, err = newLedger(&g, n.ex); err != nil {
		return err
	}
	for _, m := range cfg.Members {
		if m.ID == cfg.ID {
			n.self = m
		} else {
			n.others[raft.ServerID(m.ID)] = &forwarder{addr: m.Forward}
		}
	}
	stop, err := n.startRaft()
	if err != nil {
		return err
	}
	defer stop()
	l, err := net.Listen("tcp", n.self.Forward)
	if err != nil {
		return err
	}
	defer l.Close() //nolint:errcheck // the process ends
	go n.accept(l)
	acfg := api.DefaultConfig()
	acfg.Listen, acfg.Page = n.self.API, false
	server, err := api.New(acfg, n, zerolog.New(os.Stderr).Level(zerolog.InfoLevel))
	if err != nil {
		return err
	}
	if err := server.Start(ctx); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
	case err = <-server.Failed():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	return errors.Join(err, ignoreTimeout(server.Shutdown(drain)))
}

func ignoreTimeout(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

func (n *Node) startRaft() (stop func(), err error) {
	log := hclog.New(&hclog.LoggerOptions{Name: "raft", Level: hclog.Warn, Output: os.Stderr})
	walDir := filepath.Join(n.cfg.DataDir, "wal")
	if err := os.MkdirAll(walDir, 0o700); err != nil {
		return nil, err
	}
	store, err := wal.Open(walDir) // syncs each append before it returns: that is its default, and it has no other
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	snaps, err := raft.NewFileSnapshotStoreWithLogger(n.cfg.DataDir, 2, log)
	if err != nil {
		return nil, fmt.Errorf("snapshots: %w", err)
	}
	trans, err := raft.NewTCPTransportWithLogger(n.self.Raft, nil, 3, 10*time.Second, log)
	if err != nil {
		return nil, fmt.Errorf("transport: %w", err)
	}
	cfg := raft.DefaultConfig()
	cfg.LocalID, cfg.Logger = raft.ServerID(n.cfg.ID), log
	// Its best settings for this load: as many entries to one fsync and one message as wait.
	cfg.MaxAppendEntries, cfg.BatchApplyCh = 1024, true
	n.raft, err = raft.NewRaft(cfg, n.ledger, store, store, snaps, trans)
	if err != nil {
		return nil, fmt.Errorf("raft: %w", err)
	}
	if last, err := store.LastIndex(); err != nil || last == 0 {
		var servers raft.Configuration
		for _, m := range n.cfg.Members {
			servers.Servers = append(servers.Servers, raft.Server{ID: raft.ServerID(m.ID), Address: raft.ServerAddress(m.Raft)})
		}
		if err := n.raft.BootstrapCluster(servers).Error(); err != nil {
			return nil, fmt.Errorf("bootstrap: %w", err)
		}
	}
	return func() {
		_ = n.raft.Shutdown().Error()
		if c, ok := any(store).(io.Closer); ok {
			_ = c.Close()
		}
	}, nil
}

// applyTimeout bounds the wait for a place in raft's queue.
const applyTimeout = 5 * time.Second

// lead has a transaction committed and applied, if this node leads.
func (n *Node) lead(data []byte) (kind byte, number uint64, text string) {
	raw, err := decodeTx(data)
	if err == nil {
		_, err = n.ex.Parse(raw)
	}
	if err != nil {
		return answerReject, 0, err.Error()
	}
	f := n.raft.Apply(data, applyTimeout)
	if err := f.Error(); err != nil {
		return answerLost, 0, err.Error()
	}
	o := f.Response().(outcome)
	switch {
	case o.wrong:
		return answerNonce, o.expected, ""
	case o.err != nil:
		return answerReject, 0, o.err.Error()
	}
	return answerDone, o.index, ""
}

// Submit implements api.Backend.
func (n *Node) Submit(ctx context.Context, tx *block.Tx) (api.Receipt, error) {
	if _, err := n.ex.Parse(tx); err != nil {
		return api.Receipt{}, api.Malformed(err.Error())
	}
	data := encodeTx(tx)
	_, leader := n.raft.LeaderWithID()
	var kind byte
	var number uint64
	var text string
	if leader == raft.ServerID(n.cfg.ID) {
		kind, number, text = n.lead(data)
	} else {
		f := n.others[leader]
		if f == nil {
			return api.Receipt{}, api.NoLeader(0)
		}
		a, err := f.hand(ctx, data)
		switch {
		case err != nil:
			return api.Receipt{}, api.UnknownOutcome()
		case len(a) == 9 && (a[0] == answerDone || a[0] == answerNonce):
			kind, number = a[0], binary.BigEndian.Uint64(a[1:])
		case len(a) > 0:
			kind, text = a[0], string(a[1:])
		}
	}
	switch kind {
	case answerDone:
		return api.Receipt{Hash: tx.Hash(), Height: block.Height(number)}, nil
	case answerNonce:
		return api.Receipt{}, api.BadNonce(number)
	case answerReject:
		return api.Receipt{}, api.Rejected(text)
	}
	return api.Receipt{}, api.UnknownOutcome()
}

// SubmitAsync implements api.Backend.
func (n *Node) SubmitAsync(ctx context.Context, tx *block.Tx) (block.Hash, error) {
	go func() { _, _ = n.Submit(context.WithoutCancel(ctx), tx) }()
	return tx.Hash(), nil
}

// Receipt implements api.Backend: the peer keeps no index of transactions.
func (n *Node) Receipt(context.Context, block.Hash) (api.Receipt, bool, error) {
	return api.Receipt{}, false, nil
}

// Final implements api.Backend: the peer has no blocks.
func (n *Node) Final(context.Context, block.Height) (block.Final, error) {
	return block.Final{}, api.ErrNotFound
}

// Signer implements api.Backend.
func (n *Node) Signer(block.Height) [32]byte { return [32]byte{} }

// Latest implements api.Backend.
func (n *Node) Latest(context.Context) block.Height { return block.Height(n.raft.AppliedIndex()) }

// Account implements api.Backend with what this node has.
func (n *Node) Account(_ context.Context, pub [32]byte, _ bool) (api.Account, error) {
	h, applied := n.ledger.account(pub)
	return api.Account{
		PublicKey: chain.PublicKey(pub).String(), Nonce: h.Nonce, Height: block.Height(applied),
		Balances: map[string]string{chain.NativeAsset: strconv.FormatUint(h.Balance, 10)},
	}, nil
}

// ProvenAccount implements api.Backend: this ledger is no tree, so there is nothing to prove with.
func (n *Node) ProvenAccount(context.Context, [32]byte, bool) (api.Account, error) {
	return api.Account{}, &api.Error{Status: 422, Code: wire.CodeRejected, Message: "this ledger has no proofs"}
}

// StateEntry implements api.Backend: accounts are all that this ledger has.
func (n *Node) StateEntry(context.Context, []byte, bool, bool) (api.StateEntry, error) {
	return api.StateEntry{}, &api.Error{Status: 422, Code: wire.CodeRejected, Message: "this ledger has accounts alone"}
}

// Status implements api.Backend.
func (n *Node) Status() api.Status {
	_, leader := n.raft.LeaderWithID()
	state := wire.StateFollower
	if n.raft.State() == raft.Leader {
		state = wire.StateLeader
	}
	return api.Status{
		ID: n.cfg.ID, State: state, Term: n.raft.CurrentTerm(), Leader: string(leader),
		Height: block.Height(n.raft.AppliedIndex()), PID: os.Getpid(), Members: []api.Member{},
	}
}

// Ready implements api.Backend.
func (n *Node) Ready() error {
	if _, leader := n.raft.LeaderWithID(); leader == "" {
		return errors.New("no leader")
	}
	return nil
}

// Leading implements api.Backend.
func (n *Node) Leading() bool { return n.raft.State() == raft.Leader }

// Subscribe implements api.Backend: the peer has no events.
func (n *Node) Subscribe(ctx context.Context) <-chan api.Event {
	c := make(chan api.Event)
	context.AfterFunc(ctx, func() { close(c) })
	return c
}

// Cluster implements api.Backend: the peer tells of itself alone.
func (n *Node) Cluster() api.Cluster { return api.Cluster{Node: n.cfg.ID} }

// WatchCluster implements api.Backend: there is nothing to watch.
func (n *Node) WatchCluster(ctx context.Context) <-chan *api.Cluster {
	c := make(chan *api.Cluster)
	context.AfterFunc(ctx, func() { close(c) })
	return c
}

// Leaders implements api.Backend: the peer does not remember who led.
func (n *Node) Leaders() api.Leaders { return api.Leaders{Node: n.cfg.ID} }

// Gatherer implements api.Backend.
func (n *Node) Gatherer() prometheus.Gatherer { return n.reg }
