package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node"
	"github.com/baton-ha/baton/node/chain"
	"github.com/baton-ha/baton/node/peer"
	"github.com/baton-ha/baton/raftify/core"
)

// start times node.New on a store of many blocks.
func start(ctx context.Context, o options) (err error) {
	w, err := newWorld(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(w.dir)) }()
	t := time.Now()
	executed := int(w.limits.CheckpointEvery) / 2
	if err := w.chain(ctx, o.blocks-executed); err != nil {
		return err
	}
	for range executed {
		txs, err := w.transfers(1, func() chain.PublicKey { return account(1) })
		if err != nil {
			return err
		}
		done := make(chan error, 1)
		if _, err := w.build(txs, func(err error) { done <- err }); err != nil {
			return err
		}
		if err := <-done; err != nil {
			return err
		}
	}
	root := w.st.Root()
	u, err := w.store.DiskUsage()
	if err != nil {
		return err
	}
	if err := w.store.Close(); err != nil {
		return err
	}
	fmt.Printf("%d blocks, %d of them after the checkpoint, made in %.0f s; %d bytes a block\n",
		o.blocks, executed, since(t), u.StoreBytes/uint64(o.blocks))
	for range 3 {
		t := time.Now()
		n, err := node.New(w.nodeConfig())
		if err != nil {
			return err
		}
		fmt.Printf("ready after %.0f ms at height %d\n", 1000*since(t), n.Latest(ctx))
		if n.State().Root() != root || int(n.Latest(ctx)) != o.blocks {
			return errors.New("it came back with another state")
		}
		if err := n.Close(); err != nil {
			return err
		}
	}
	return nil
}

// chain stores blocks that nobody executed, and a checkpoint of the last one's state, which is that of genesis.
func (w *world) chain(ctx context.Context, blocks int) error {
	tip, st, err := w.genesis()
	if err != nil {
		return err
	}
	const group = 500
	for h := 0; h < blocks; {
		var b blockstore.Batch
		for range min(group, blocks-h) {
			h++
			header := tip.Header
			header.Height, header.Parent, header.Proposer, header.Term = block.Height(h), tip.Hash(), "node1", 1
			payload := fmt.Appendf(nil, `{"chain_id":"bench","number":%d,"padding":"%0160d"}`, h, h)
			tip = block.New(header, []*block.Tx{{Payload: payload, Signature: block.Signature{1}}})
			b.Append = append(b.Append, tip)
			b.Signed = append(b.Signed, blockstore.Signed{Height: block.Height(h), Hash: tip.Hash(), Signature: block.Signature{1}})
		}
		b.Commit = &blockstore.Commit{Height: block.Height(h), Hash: tip.Hash(), CTerm: 1, From: b.Append[0].Header.Height}
		if err := w.enqueue(b); err != nil {
			return err
		}
	}
	if _, err := w.store.SaveState(ctx, st.Map().Seal(), block.Height(blocks), tip.Hash()); err != nil {
		return err
	}
	return w.load()
}

// nodeConfig is that of a cluster of one on the world's store.
func (w *world) nodeConfig() node.Config {
	cfg := node.DefaultConfig()
	cfg.ID, cfg.DataDir, cfg.Genesis, cfg.ProcessorKey = "node1", filepath.Join(w.dir, "data"), w.gen, w.proc
	cfg.Limits, cfg.Logger = w.limits, zerolog.Nop()
	key := seeded(3, 0)
	gossip := free()
	cfg.Peer.ID, cfg.Peer.Listen, cfg.Peer.Key = "node1", "127.0.0.1:0", key
	pub := public(key)
	cfg.Peer.Peers = []peer.Peer{{ID: "node1", Addr: "127.0.0.1:1", PublicKey: pub[:]}}
	cfg.Raftify.ID, cfg.Raftify.BindAddr, cfg.Raftify.BindPort = "node1", "127.0.0.1", gossip
	addr := fmt.Sprintf("127.0.0.1:%d", gossip)
	cfg.Raftify.Peers, cfg.Raftify.PeerList = []core.Peer{{ID: "node1", Addr: addr}}, []string{addr}
	cfg.Raftify.MaxNodes, cfg.Raftify.Expect, cfg.Raftify.Encrypt = 1, 1, make([]byte, 32)
	cfg.API.Listen = "127.0.0.1:0"
	return cfg
}

// free is a port that was free a moment ago.
func free() int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0
	}
	defer func() { _ = l.Close() }()
	if a, ok := l.Addr().(*net.TCPAddr); ok {
		return a.Port
	}
	return 0
}
