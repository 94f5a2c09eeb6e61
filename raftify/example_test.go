package raftify_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/baton-ha/baton/raftify"
)

// A node that is alone needs neither a key nor the network. With more peers, set Peers, Expect and Encrypt.
func ExampleNode() {
	dir, err := os.MkdirTemp("", "vote")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir) //nolint:errcheck // an example's
	store, err := raftify.OpenFileStore(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close() //nolint:errcheck // after the node

	cfg := raftify.DefaultConfig()
	cfg.ID = "a"
	node, err := raftify.New(raftify.Options{Config: cfg, Store: store})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := node.Start(); err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	leader, err := node.WaitLeader(ctx)
	fmt.Println(leader, err)
	// Ask again before each thing that only the leader may do. To be certain of the present, ask a majority:
	fmt.Println(node.Round(ctx))
	fmt.Println(node.Shutdown(ctx))
	// Output:
	// a <nil>
	// <nil>
	// <nil>
}
