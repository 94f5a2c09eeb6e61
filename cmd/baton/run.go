package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/cmd/baton/internal/supervise"
	"github.com/baton-ha/baton/config"
	"github.com/baton-ha/baton/node"
	"github.com/baton-ha/baton/node/peer"
	"github.com/baton-ha/baton/node/trace"
	"github.com/baton-ha/baton/raftify/core"
)

func newRunCmd() *cobra.Command {
	var (
		file, traceFile string
		alone, worker   bool
	)
	cmd := &cobra.Command{
		Use: "run --config FILE", Short: "Run a node", Args: cobra.NoArgs,
		Long: "run runs one node until SIGTERM or SIGINT. It then hands the leadership over, if it has it, closes everything and\n" +
			"exits with status 0; a second signal ends it at once. Logs go to stderr.\n\n" +
			"The node runs in a process of its own. When that is killed, the one that was started tells the other nodes at once,\n" +
			"so that they need not wait for a timeout, and starts it again. With --no-supervise there is one process only.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !alone && !worker {
				return superviseNode(cmd, file, traceFile)
			}
			hangups, done := hangups()
			defer done()
			parent := supervise.Alone()
			if worker {
				var err error
				if parent, err = supervise.Attach(func() { os.Exit(1) }); err != nil {
					return err
				}
			}
			n, err := openNode(file)
			if err != nil {
				return err
			}
			return runNode(cmd, file, n, parent, traceFile, hangups)
		},
	}
	addConfig(cmd, &file)
	cmd.Flags().StringVar(&traceFile, "trace", "", "append what the node says, writes and decides to this file, as JSON lines, for a checker")
	cobra.CheckErr(cmd.MarkFlagRequired("config"))
	cmd.Flags().BoolVar(&alone, "no-supervise", false, "run the node in this very process, for debuggers and containers that restart it")
	cmd.Flags().BoolVar(&worker, "worker", false, "be the process of a supervised node")
	cobra.CheckErr(cmd.Flags().MarkHidden("worker"))
	return cmd
}

// exitError is the exit status of a worker that has said itself what is wrong.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("the node ended with status %d", int(e)) }

// superviseNode runs the node as a process of its own. The configuration is the worker's to read and to complain about.
func superviseNode(cmd *cobra.Command, file, traceFile string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("start the node's process: %w; --no-supervise does without it", err)
	}
	stderr := cmd.ErrOrStderr()
	if _, file := stderr.(*os.File); !file {
		stderr = &lockedWriter{to: stderr}
	}
	worker := []string{self, "run", "--config", file, "--worker"}
	if traceFile != "" {
		worker = append(worker, "--trace", traceFile)
	}
	hangups, done := hangups()
	defer done()
	status, err := supervise.Run(cmd.Context(), supervise.Options{
		Command: worker, Reload: hangups,
		Stdout: cmd.OutOrStdout(), Stderr: stderr,
		Logger: func(level, format string) zerolog.Logger {
			return newLogger(stderr, config.Log{Level: level, Format: format})
		},
		Notify: supervise.NotifySystemd,
	})
	if err == nil && status != 0 {
		return exitError(status)
	}
	return err
}

// hangups delivers SIGHUP from now on: it does not end the process any more, not even when its terminal is closed.
func hangups() (_ <-chan os.Signal, done func()) {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, syscall.SIGHUP)
	return ch, func() { signal.Stop(ch) }
}

func runNode(cmd *cobra.Command, file string, files *config.Node, parent *supervise.Parent, traceFile string, hangups <-chan os.Signal) error {
	keepHeadroom()
	held := &holdingWriter{to: cmd.ErrOrStderr()}
	log, gate := newGatedLogger(held, files.Config.Log)
	cfg, err := nodeConfig(files, log)
	if err != nil {
		return err
	}
	cfg.SupervisorPID = parent.PID()
	if err := os.MkdirAll(cfg.StateDir, 0o700); err != nil {
		return fmt.Errorf("state_dir: %w", err)
	}
	if traceFile != "" {
		f, err := os.OpenFile(traceFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return fmt.Errorf("--trace: %w", err)
		}
		defer f.Close() //nolint:errcheck // what counts was written before it had an effect
		cfg.Trace = trace.New(f, cfg.Logger)
	}
	again := &reloader{file: file, gate: gate, log: log, parent: parent, now: files, ring: files.GossipKeys}
	cfg.Reload = again.reload
	n, err := newNode(cmd.Context(), cfg, parent.PID() > 0)
	if errors.Is(err, node.ErrWrongKey) {
		// Of the two texts the one that names the file helps more.
		err = errors.Join(files.CheckProcessorKey(), err)
	}
	if err != nil {
		return err
	}
	if err := held.release(); err != nil {
		return err
	}
	breakRules(n)
	again.n = n
	hello := supervise.Hello{Notice: n.DeathNotice(), LogLevel: files.Config.Log.Level, LogFormat: files.Config.Log.Format}
	if err := errors.Join(parent.Hello(hello), parent.Targets(n.NoticeTargets())); err != nil {
		return errors.Join(err, n.Close())
	}
	ctx, ended := context.WithCancel(parent.Context(cmd.Context()))
	var reports sync.WaitGroup
	defer reports.Wait()
	defer ended()
	reports.Go(func() { report(ctx, n, parent) })
	reports.Go(func() {
		for {
			select {
			case <-hangups:
			case <-parent.Reloads():
			case <-ctx.Done():
				return
			}
			again.hangup(ctx)
		}
	})
	err = n.Run(ctx)
	if errors.Is(err, node.ErrStateDamaged) && parent.PID() > 0 {
		cfg.Logger.Error().Err(err).Msg("starting again")
		return exitError(statusAgain)
	}
	return err
}

// statusAgain is the exit status of a worker that wants to be started again.
const statusAgain = 3

// folderPatience is how long a worker waits for a data folder that is in use: that of a supervisor that was killed hands
// the leadership over before it ends.
const folderPatience = 3 * time.Second

// newNode makes the node, with patience for its folder if need be.
func newNode(ctx context.Context, cfg node.Config, patient bool) (*node.Node, error) {
	ctx, cancel := context.WithTimeout(ctx, folderPatience)
	defer cancel()
	for {
		n, err := node.New(cfg)
		if !patient || !errors.Is(err, blockstore.ErrInUse) {
			return n, err
		}
		again := time.NewTimer(10 * time.Millisecond)
		select {
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return nil, err
		}
	}
}

// turnEvery is how often a node says that its owner loop turns, and whom to tell of its death. A watchdog must wait for
// several times as long.
const turnEvery = time.Second

// report tells whoever looks after this process how it is, until ctx ends. That nobody listens any more shows elsewhere.
func report(ctx context.Context, n *node.Node, parent *supervise.Parent) {
	tick := time.NewTicker(turnEvery)
	defer tick.Stop()
	started := n.Started()
	for {
		select {
		case <-started:
			started = nil
			_ = parent.Ready()
		case <-tick.C:
			turned, cancel := context.WithTimeout(ctx, turnEvery)
			if n.Turned(turned) == nil {
				_ = parent.Turned()
			}
			cancel()
			_ = parent.Targets(n.NoticeTargets())
		case <-ctx.Done():
			_ = parent.Stopping()
			return
		}
	}
}

// nodeConfig is what a node is made of, from its files.
func nodeConfig(files *config.Node, log zerolog.Logger) (node.Config, error) {
	c, paths := files.Config, files.Config.Paths()
	cfg := node.DefaultConfig()
	cfg.ID, cfg.DataDir, cfg.StateDir = c.ID, paths.DataDir, paths.StateDir
	cfg.Genesis, cfg.ProcessorKey = files.Genesis, files.ProcessorKey
	cfg.Logger = log

	r := &cfg.Raftify
	r.ID, r.Peers, r.PeerList = core.NodeID(c.ID), c.GossipPeers(), c.Raftify.PeerList
	r.BindAddr, r.BindPort, r.AdvertiseAddr = c.Raftify.BindAddr, c.Raftify.BindPort, c.Raftify.AdvertiseAddr
	r.MaxNodes, r.Expect = c.Raftify.MaxNodes, c.Raftify.Expect
	if len(files.GossipKeys) > 0 {
		r.Encrypt, r.EncryptAlso = files.GossipKeys[0], files.GossipKeys[1:]
	}
	r.Performance, r.KickAfter, r.LogLevel = c.Raftify.Performance, c.Raftify.KickAfter.Std(), c.Raftify.LogLevel
	timing := c.RaftTiming()
	r.Timing = &timing

	cfg.Peer.ID, cfg.Peer.Listen, cfg.Peer.Key = c.ID, c.Peer.Listen, files.NodeKey
	cfg.Peer.QueueFrames = c.Limits.PeerQueue
	for _, p := range c.Peer.Peers {
		key, err := config.ParsePublicKey(p.PublicKey)
		if err != nil {
			return cfg, fmt.Errorf("peer.peers: %s: %w", p.ID, err)
		}
		if p.ID == c.ID && c.Peer.Advertise != "" {
			p.Addr = c.Peer.Advertise
		}
		cfg.Peer.Peers = append(cfg.Peer.Peers, peer.Peer{ID: p.ID, Addr: p.Addr, PublicKey: key})
	}

	l := c.Limits
	cfg.API.Listen, cfg.API.Page, cfg.API.Certificate = c.API.Listen, c.API.Page, files.TLS
	cfg.API.RateLimit, cfg.API.RateBurst = c.API.RateLimit, c.API.RateBurst
	cfg.API.MaxConns, cfg.API.MaxSubmits, cfg.API.MaxReads = l.Connections, l.OpenRequests, l.OpenReads
	cfg.API.MaxStreams, cfg.API.MaxBodyBytes = l.EventStreams, int64(l.BodyBytes)
	cfg.Limits.MaxBlockBytes, cfg.Limits.MaxBlockTxs = l.BlockBytes, l.BlockTxs
	cfg.Limits.FreeBytes = uint64(l.FreeBytes) //nolint:gosec // checked to be positive
	cfg.Limits.CacheBytes, cfg.Limits.StateCacheBytes = int64(l.StoreCacheBytes), int64(l.StateCacheBytes)
	cfg.Limits.CheckpointEvery, cfg.Limits.CheckpointBytes = block.Height(c.State.CheckpointBlocks), int64(c.State.CheckpointBytes)
	cfg.Scrub = node.Scrub{Every: c.Scrub.Interval.Std(), BytesPerSecond: c.Scrub.BytesPerSecond}
	cfg.Retention = node.Retention{
		Checkpoints: c.State.Keep, Blocks: block.Height(c.Retention.Blocks), Receipts: block.Height(c.Retention.Receipts),
	}
	if c.State.Archive {
		cfg.Retention.Checkpoints = 0
	}
	cfg.Limits.Pool.MaxTxs, cfg.Limits.Pool.MaxBytes = l.MempoolTxs, l.MempoolBytes
	sync, err := c.Sync.Node()
	if err != nil {
		return cfg, err
	}
	cfg.Sync = sync
	return cfg, nil
}
