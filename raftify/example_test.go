package raftify_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/baton-ha/baton/raftify"
)

// One of several nodes does a job for as long as it leads. This one is alone, so it leads at once.
func ExampleNode_Leadership() {
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
	cfg, err := raftify.ParseConfig([]byte(`{"id": "a", "max_nodes": 3, "expect": 1}`), dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	node, err := raftify.Open(ctx, raftify.Options{Config: cfg, Store: store})
	if err != nil {
		fmt.Println(err)
		return
	}
	lead, err := node.Leadership(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(node.ID(), node.State(), "in term", lead.Term, lead.Err())
	fmt.Println(node.Shutdown(ctx))
	fmt.Println(lead.Err())
	// Output:
	// a leader in term 1 <nil>
	// <nil>
	// leadership was lost
}

// A mistake in a raftify.json is named, and so is every other.
func ExampleParseConfig() {
	_, err := raftify.ParseConfig([]byte(`{"id": "a", "max_node": 3, "bind_port": "7000"}`), ".")
	fmt.Println(err)
	// Output:
	// max_node: unknown key
	// bind_port: must be a whole number
}

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
