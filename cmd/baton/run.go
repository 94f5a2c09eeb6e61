package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/baton-ha/baton/config"
	"github.com/baton-ha/baton/node"
	"github.com/baton-ha/baton/node/peer"
	"github.com/baton-ha/baton/raftify/core"
)

func newRunCmd() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "run --config FILE", Short: "Run a node", Args: cobra.NoArgs,
		Long: "run runs one node until SIGTERM or SIGINT. It then hands the leadership over, if it has it, closes everything and\n" +
			"exits with status 0; a second signal ends it at once. Logs go to stderr.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			n, err := openNode(file)
			if err != nil {
				return err
			}
			return runNode(cmd, n)
		},
	}
	addConfig(cmd, &file)
	cobra.CheckErr(cmd.MarkFlagRequired("config"))
	return cmd
}

func runNode(cmd *cobra.Command, files *config.Node) error {
	held := &holdingWriter{to: cmd.ErrOrStderr()}
	cfg, err := nodeConfig(files, newLogger(held, files.Config.Log))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(cfg.StateDir, 0o700); err != nil {
		return fmt.Errorf("state_dir: %w", err)
	}
	n, err := node.New(cfg)
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
	return n.Run(cmd.Context())
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
	r.MaxNodes, r.Expect, r.Encrypt = c.Raftify.MaxNodes, c.Raftify.Expect, files.GossipKey
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
	cfg.API.Listen = c.API.Listen
	cfg.API.MaxConns, cfg.API.MaxSubmits, cfg.API.MaxReads = l.Connections, l.OpenRequests, l.OpenReads
	cfg.API.MaxStreams, cfg.API.MaxBodyBytes = l.EventStreams, int64(l.BodyBytes)
	cfg.Limits.MaxBlockBytes, cfg.Limits.MaxBlockTxs = l.BlockBytes, l.BlockTxs
	cfg.Limits.Pool.MaxTxs, cfg.Limits.Pool.MaxBytes = l.MempoolTxs, l.MempoolBytes
	return cfg, nil
}
