package node_test

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/baton-ha/baton/node"
	"github.com/baton-ha/baton/node/chain"
	"github.com/baton-ha/baton/node/client"
	"github.com/baton-ha/baton/raftify/core"
)

// counter is an application of a few lines: it adds up what each sender adds.
type counter struct{}

func (counter) Name() string                                 { return "counter" }
func (counter) CodeVersion() string                          { return "counter-1" }
func (counter) MessageTypes() []string                       { return []string{"add"} }
func (counter) Genesis(*chain.Context, *chain.Genesis) error { return nil }

func (counter) Decode(_ string, f *chain.Fields) (any, error) {
	by := f.Uint64("by")
	return by, f.Err()
}

func (counter) Execute(ctx *chain.Context, m chain.Message) error {
	sender := ctx.Sender()
	old, _, err := ctx.Get(sender[:])
	if err != nil {
		return err
	}
	sum := total(old) + m.Value.(uint64)
	return ctx.Set(sender[:], binary.BigEndian.AppendUint64(nil, sum))
}

func total(stored []byte) uint64 {
	if len(stored) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(stored)
}

// Example embeds a node with an application of one's own: a chain of one processor, one transaction, one read. A
// cluster differs in the list of peers only.
func Example() {
	dir, err := os.MkdirTemp("", "counter")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	processor := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	var pub chain.PublicKey
	copy(pub[:], processor.Public().(ed25519.PublicKey))

	cfg := node.DefaultConfig()
	cfg.ID, cfg.DataDir, cfg.StateDir = "only", dir, dir
	cfg.Apps = []chain.App{counter{}}
	cfg.ProcessorKey = processor
	cfg.Genesis = &chain.Genesis{
		ChainID: "count", ChainVersion: counter{}.CodeVersion(), Created: time.Unix(0, 0).UTC(),
		Processor: chain.Processor{PublicKey: pub},
	}
	cfg.Raftify.ID = core.NodeID(cfg.ID)
	cfg.Peer.ID, cfg.Peer.Listen, cfg.Peer.Key = cfg.ID, "127.0.0.1:0", processor
	cfg.API.Listen = "127.0.0.1:0"

	n, err := node.New(cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()

	// Whoever has a key may send; the API at n.APIAddr() takes the same transaction over HTTP.
	sender := ed25519.NewKeyFromSeed(append(make([]byte, ed25519.SeedSize-1), 7))
	for nonce, by := range []int{40, 2} {
		tx, err := client.Build("count", sender, uint64(nonce), 0, json.RawMessage(fmt.Sprintf(`{"type":"add","by":%d}`, by)))
		if err != nil {
			fmt.Println(err)
			break
		}
		r, err := n.Submit(ctx, tx)
		if err != nil {
			fmt.Println(err)
			break
		}
		fmt.Println("final at height", r.Height)
	}
	state, err := n.ConsistentState(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	stored, _, err := state.AppValue("counter", sender.Public().(ed25519.PublicKey))
	fmt.Println("counted", total(stored), err)
	stop()
	fmt.Println("stopped", <-done)
	// Output:
	// final at height 1
	// final at height 2
	// counted 42 <nil>
	// stopped <nil>
}
