package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/node/api/wire"
	"github.com/baton-ha/baton/node/chain"
	"github.com/baton-ha/baton/node/mempool"
	"github.com/baton-ha/baton/node/peer"
	"github.com/baton-ha/baton/node/trace"
	"github.com/baton-ha/baton/raftify"
)

// Limits bound what a node holds in memory and how it cuts blocks.
type Limits struct {
	// MaxInflight is how many blocks may be proposed and not yet committed.
	MaxInflight int
	// MaxBlockBytes and MaxBlockTxs bound one block.
	MaxBlockBytes int
	MaxBlockTxs   int
	// Pool bounds the transactions that wait for a block while this node leads.
	Pool mempool.Limits
	// MaxPending and MaxPendingBytes bound the transactions that this node took from clients and that are not final yet.
	MaxPending      int
	MaxPendingBytes int64
	// PendingFor is how long such a transaction is looked after.
	PendingFor time.Duration
	// CheckpointEvery is after how many blocks the state is written out, and CheckpointBytes after how much of it, in
	// memory, is new: whichever comes first. A restart executes at most so much, and what came while the checkpoint was
	// being written.
	CheckpointEvery block.Height
	CheckpointBytes int64
	// CacheBytes is for the store's caches, StateCacheBytes for the state's nodes beside what is new.
	CacheBytes      int64
	StateCacheBytes int64
	// FreeBytes is how much room the disk of DataDir should have: with less the node hands the lead over, with less than a
	// quarter it does not stand for election (PROTOCOL R24). 0: no matter.
	FreeBytes uint64
}

// Retention bounds what stays on the disk. The zero value keeps everything.
type Retention struct {
	// Checkpoints is how many of the newest stored states stay readable; 0 is an archive, which keeps all.
	Checkpoints int
	// Blocks is how many of the newest blocks stay with their bodies and signatures; 0 is all. A node that was away for
	// longer than all others keep them comes back by a state, if Sync.Mode lets it.
	Blocks block.Height
	// Receipts is of how many of the newest blocks the transactions can still be looked up, at least as many as Blocks; 0
	// is all. A transaction that is sent again after that is answered bad_nonce.
	Receipts block.Height
}

// minBlocks is the least that Retention.Blocks may be: what others that were away for a moment ask for.
const minBlocks = 1000

// DefaultRetention keeps all blocks and receipts, and a few states.
func DefaultRetention() Retention { return Retention{Checkpoints: 4} }

// Validate reports every bound that makes no sense.
func (r Retention) Validate() error {
	var errs []error
	if r.Checkpoints < 0 {
		errs = append(errs, fmt.Errorf("retention of %d checkpoints: must be at least 0", r.Checkpoints))
	}
	if r.Blocks > 0 && r.Blocks < minBlocks {
		errs = append(errs, fmt.Errorf("retention of %d blocks: must be at least %d, or 0 for all", r.Blocks, minBlocks))
	}
	if r.Receipts > 0 && (r.Blocks == 0 || r.Receipts < r.Blocks) {
		errs = append(errs, fmt.Errorf("retention of the receipts of %d blocks: must be at least that of blocks (%d), or 0 for all",
			r.Receipts, r.Blocks))
	}
	return errors.Join(errs...)
}

// DefaultLimits returns bounds for a machine with a few gigabytes.
func DefaultLimits() Limits {
	return Limits{
		MaxInflight: 4, MaxBlockBytes: 2 << 20, MaxBlockTxs: 4096,
		Pool:       mempool.DefaultLimits(),
		MaxPending: 16384, MaxPendingBytes: 64 << 20, PendingFor: 30 * time.Second,
		CheckpointEvery: 1000, CheckpointBytes: 64 << 20, CacheBytes: 64 << 20, StateCacheBytes: 192 << 20, FreeBytes: 256 << 20,
	}
}

// Validate reports every bound that makes no sense.
func (l Limits) Validate() error {
	var errs []error
	positive := func(name string, v int64) {
		if v < 1 {
			errs = append(errs, fmt.Errorf("limit %s is %d: must be at least 1", name, v))
		}
	}
	positive("max inflight", int64(l.MaxInflight))
	positive("max block bytes", int64(l.MaxBlockBytes))
	positive("max block txs", int64(l.MaxBlockTxs))
	positive("max pending", int64(l.MaxPending))
	positive("max pending bytes", l.MaxPendingBytes)
	positive("checkpoint every", int64(l.CheckpointEvery))
	positive("checkpoint bytes", l.CheckpointBytes)
	positive("cache bytes", l.CacheBytes)
	positive("state cache bytes", l.StateCacheBytes)
	positive("pending for", int64(l.PendingFor))
	return errors.Join(errs...)
}

// Config is what a Node is made of. Start from DefaultConfig.
type Config struct {
	ID       string
	DataDir  string // everything durable; nothing else may write there
	StateDir string // holds only the marker that this node was once in a cluster; "" keeps none
	Genesis  *chain.Genesis
	// Apps are the code versions that this node can execute; none means the built-in ledger.
	Apps         []chain.App
	ProcessorKey ed25519.PrivateKey
	Raftify      raftify.Config
	Peer         peer.Config
	API          api.Config
	Limits       Limits
	// Health, if not nil, says whether the application can do its work on this node; it is asked twice a second, one call
	// at a time, and no answer for two seconds is a bad one. On an error the node hands the lead over to a healthy one, if
	// there is one, and is the last to be elected; that does not stop it otherwise.
	Health    func(ctx context.Context) error
	Retention Retention
	Scrub     Scrub
	Sync      Sync
	// Reload, if not nil, reads the configuration again for the admin socket and takes over what may change (SetPeers,
	// SetGossipKeys, SetRateLimit, SetCertificate). It may be called concurrently.
	Reload func(ctx context.Context, req wire.ReloadRequest) (wire.Reloaded, error)
	// SupervisorPID is the process that watches over this one and tells the others when it ends, 0 for none. It is shown.
	SupervisorPID int
	Logger        zerolog.Logger
	// Trace is told what this node says, writes, decides, signs and believes. Nil, as a rule: nothing.
	Trace *trace.Writer
}

// DefaultConfig returns a configuration that lacks what only the user knows: ids, folders, genesis, keys, addresses.
func DefaultConfig() Config {
	return Config{
		Raftify: raftify.DefaultConfig(), Peer: peer.DefaultConfig(), API: api.DefaultConfig(),
		Limits: DefaultLimits(), Retention: DefaultRetention(), Scrub: DefaultScrub(), Sync: DefaultSync(), Logger: zerolog.Nop(),
	}
}

var (
	// ErrWrongChain is returned by New when the data folder holds another chain than the genesis says.
	ErrWrongChain = errors.New("data folder belongs to another chain")
	// ErrWrongKey is returned by New when the processor key is not the one that the chain knows.
	ErrWrongKey = errors.New("processor key is not the chain's")
	// ErrOldFolder is returned by New when the data folder is older than this node's last start: it was restored from a
	// backup, or copied from another machine, and has forgotten votes and acknowledgements that others rely on.
	ErrOldFolder = errors.New("data folder is older than this node's last start: it was restored, and may not vote with what it forgot")
	// ErrRolledBack is returned by Run when the chain does not hold what this node signed: the data folder is older than
	// its signatures.
	ErrRolledBack = errors.New("the chain does not hold the last block that this node signed: rolled-back data folder?")
)
