package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/node/api/wire"
	"github.com/baton-ha/baton/node/chain"
	"github.com/baton-ha/baton/raftify"
	"github.com/baton-ha/baton/raftify/core"
)

var (
	_ api.Backend      = (*Node)(nil)
	_ api.AdminBackend = (*Node)(nil)
)

// readyLag is how many blocks a ready node may be behind the leader.
const readyLag = 50

// Submit hands tx to the leader, whoever that is meanwhile, and blocks until it is final or impossible.
func (n *Node) Submit(ctx context.Context, tx *block.Tx) (api.Receipt, error) {
	start := time.Now()
	p, err := n.router.submit(tx) //nolint:contextcheck // its way to the leader does not end with the request
	if err != nil {
		return api.Receipt{}, err
	}
	r, err := n.router.wait(ctx, p)
	if err == nil {
		n.metrics.submitted(start)
	}
	return r, err
}

// SubmitAsync checks tx and starts it on its way.
func (n *Node) SubmitAsync(_ context.Context, tx *block.Tx) (block.Hash, error) {
	if _, err := n.router.submit(tx); err != nil { //nolint:contextcheck // its way to the leader does not end with the request
		return block.Hash{}, err
	}
	return tx.Hash(), nil
}

// Receipt returns where a final transaction stands, false when this node knows of none.
func (n *Node) Receipt(ctx context.Context, hash block.Hash) (api.Receipt, bool, error) {
	r, ok, err := n.receipt(ctx, hash)
	return r, ok, elsewhereAnswer(n.mender.readable(err))
}

// Final returns a final block, api.ErrNotFound above the newest.
func (n *Node) Final(ctx context.Context, h block.Height) (block.Final, error) {
	f, err := n.final(ctx, h)
	if errors.Is(err, blockstore.ErrNotFound) || errors.Is(err, blockstore.ErrNotFinal) {
		return f, api.ErrNotFound
	}
	return f, elsewhereAnswer(err)
}

// Signer returns the processor key that signs height h.
func (n *Node) Signer(block.Height) [32]byte { return n.signer }

// Latest returns the newest final height.
func (n *Node) Latest(context.Context) block.Height { return n.finals.height() }

// Account reads an account from a final state; unless local, from one that holds all that was decided before the call.
func (n *Node) Account(ctx context.Context, pub [32]byte, local bool) (api.Account, error) {
	st, err := n.readable(ctx, local)
	if err != nil {
		return api.Account{}, err
	}
	a, err := account(st, pub)
	return a, n.unreadable(st, err)
}

// unreadable is what a client is told about an error of reading a state, nil for none. The node goes on while it reads: when
// many blocks became final meanwhile the state, or the block that it is proven by, may be pruned, and a newer one answers.
func (n *Node) unreadable(st *chain.State, err error) error {
	if n.outdated(st, err) || gone(err) {
		return &api.Error{
			Status: 503, Code: wire.CodeUnavailable, RetryAfter: time.Second,
			Message: "the state that this was to be read from was pruned meanwhile: try again",
		}
	}
	return n.mender.readable(err)
}

func account(st *chain.State, pub chain.PublicKey) (api.Account, error) {
	acc, err := st.Account(pub)
	if err != nil {
		return api.Account{}, fmt.Errorf("read account %v: %w", pub, err)
	}
	return api.Account{PublicKey: pub.String(), Nonce: acc.Nonce, Balances: acc.Balances, Height: st.Height()}, nil
}

// readable returns a final state; unless local, one that holds all that was decided before the call.
func (n *Node) readable(ctx context.Context, local bool) (*chain.State, error) {
	if local {
		return n.finals.state(), nil
	}
	return n.ConsistentState(ctx)
}

// ProvenAccount is Account with a proof.
func (n *Node) ProvenAccount(ctx context.Context, pub [32]byte, local bool) (api.Account, error) {
	st, err := n.readable(ctx, local)
	if err != nil {
		return api.Account{}, err
	}
	a, err := account(st, pub)
	if err != nil {
		return api.Account{}, n.unreadable(st, err)
	}
	entry, err := n.entry(st, chain.AccountKey(pub), true)
	a.Proof = entry.Proof
	return a, n.unreadable(st, err)
}

// StateEntry reads one entry of a final state, as Account does, with a proof if asked for.
func (n *Node) StateEntry(ctx context.Context, key []byte, local, proof bool) (api.StateEntry, error) {
	st, err := n.readable(ctx, local)
	if err != nil {
		return api.StateEntry{}, err
	}
	e, err := n.entry(st, key, proof)
	return e, n.unreadable(st, err)
}

func (n *Node) entry(st *chain.State, key []byte, proof bool) (api.StateEntry, error) {
	value, ok, err := st.Map().Get(key)
	if err != nil {
		return api.StateEntry{}, fmt.Errorf("read state %x: %w", key, err)
	}
	e := api.StateEntry{Key: key, Present: ok, Value: value, Height: st.Height()}
	if !proof {
		return e, nil
	}
	nodes, err := st.Map().Prove(key)
	if err != nil {
		return e, fmt.Errorf("prove state %x: %w", key, err)
	}
	f, err := n.finals.final(st.Height())
	if err != nil {
		return e, fmt.Errorf("prove state %x: %w", key, err)
	}
	e.Proof = wire.NewStateProof(f, n.signer, key, value, ok, nodes)
	return e, nil
}

// Status returns what this node knows, without waiting for anybody.
func (n *Node) Status() api.Status {
	s := n.raft.Status()
	st := n.finals.state()
	out := api.Status{
		ID: n.cfg.ID, State: wire.State(s.Role.String()), Term: uint64(s.Term), Leader: string(s.Leader),
		Height: st.Height(), Base: n.store.Base(), TipHash: st.BlockHash(), StateRoot: st.Root(), ChainID: st.ChainID(),
		ChainVersion: st.ChainVersion(), CodeVersion: strings.Join(n.ex.CodeVersions(), ","),
		ConfigVersion: s.Cfg.Key.Ver, Quorum: s.Cfg.Majority(), LeaseMs: n.raft.Lease().Milliseconds(),
		PID: os.Getpid(), SupervisorPID: n.cfg.SupervisorPID, Members: []api.Member{},
	}
	if s.Taking {
		out.State = wire.StateCandidate // it does not lead before its takeover is done
	}
	v := n.view.Load()
	if p, busy, _ := n.syncer.progress(); busy {
		out.Syncing = true
		out.Sync = &wire.SyncStatus{
			Height: p.Height, Done: p.Done, Bytes: p.Bytes, Pieces: p.Pieces,
			BytesPerSecond: int64(p.BytesPerSecond), RemainingMs: p.Remaining.Milliseconds(),
		}
	}
	out.Syncing = out.Syncing || v.leaderHeight > st.Height()+readyLag
	for _, m := range n.raft.Members() {
		h := n.outlook.height(string(m.ID))
		if string(m.ID) == n.cfg.ID {
			h = st.Height()
		}
		pin, _ := s.Cfg.Pin(m.ID)
		out.Members = append(out.Members, api.Member{
			ID: string(m.ID), Voter: m.Voter, Alive: m.Alive, Height: h, Held: pin.State == core.PinHeld,
		})
	}
	for _, p := range s.Cfg.Pins {
		switch p.State {
		case core.PinInvited:
			out.Invited = append(out.Invited, string(p.ID))
		case core.PinBarred:
			out.Removed = append(out.Removed, string(p.ID))
		case core.PinMember, core.PinHeld:
		}
	}
	out.Health = n.health.text()
	if text := n.mender.text(); text != "" {
		out.Health = text
	}
	return out
}

// Ready returns nil when this node is caught up and in contact with a leader.
func (n *Node) Ready() error {
	v := n.view.Load()
	h := n.finals.height()
	switch {
	case v.leader == "" || v.leader == n.cfg.ID && !v.leading:
		return errors.New("no contact with a leader")
	case n.stranger(v.leader) != "":
		return errors.New(n.stranger(v.leader))
	case v.leaderHeight > h+readyLag:
		return fmt.Errorf("%d blocks behind the leader", v.leaderHeight-h)
	}
	return nil
}

// Leading reports whether this node leads under a lease that is valid now.
func (n *Node) Leading() bool { return n.raft.Leading() }

// Subscribe returns the events from now on.
func (n *Node) Subscribe(ctx context.Context) <-chan api.Event {
	return n.hub.subscribe(ctx, subscriberBuffer)
}

// Gatherer returns this node's metrics.
func (n *Node) Gatherer() prometheus.Gatherer { return n.metrics.reg }

// LeaderTransfer hands leadership to a voter, "" for the best one, wherever the leader is.
func (n *Node) LeaderTransfer(ctx context.Context, to string) error {
	v := n.view.Load()
	if v.leader == "" {
		return api.NoLeader(0)
	}
	if v.leader == to {
		return nil
	}
	if !v.leading {
		return n.askTransfer(ctx, v.leader, to)
	}
	err := n.raft.Transfer(ctx, core.NodeID(to))
	switch {
	case err == nil:
		return nil
	case errors.Is(err, core.ErrNotVoter):
		return &api.Error{Status: 422, Code: wire.CodeRejected, Message: fmt.Sprintf(
			"%q is not another voter of the cluster; the voters are %s", to, n.voters())}
	case errors.Is(err, core.ErrUnfit):
		return &api.Error{Status: 422, Code: wire.CodeRejected, Message: fmt.Sprintf("%q says that it is not fit to lead: see its status", to)}
	case errors.Is(err, core.ErrUnreachable):
		return &api.Error{Status: 503, Code: wire.CodeUnavailable, Message: fmt.Sprintf("%q does not answer the leader", to)}
	case errors.Is(err, core.ErrTransferring), errors.Is(err, core.ErrNotLeader), errors.Is(err, raftify.ErrTransferFailed):
		return &api.Error{Status: 503, Code: wire.CodeUnavailable, Message: err.Error()}
	}
	return err
}

// askTransfer passes the wish on to the leader.
func (n *Node) askTransfer(ctx context.Context, leader, to string) error {
	return n.askLeader(ctx, leader, reqTransfer, []byte(to))
}

func (n *Node) askLeader(ctx context.Context, leader string, kind byte, what []byte) error {
	b, err := n.link.Request(ctx, leader, kind, what)
	if err != nil {
		return &api.Error{Status: 503, Code: wire.CodeUnavailable, Message: fmt.Sprintf("ask the leader %s: %v", leader, err)}
	}
	if len(b) == 0 {
		return nil
	}
	refusal, err := decodeAnswer(b)
	if err != nil {
		return fmt.Errorf("answer of the leader %s: %w", leader, err)
	}
	return refusal
}
