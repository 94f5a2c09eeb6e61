package config

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// What a node that joins is given passes Open, has the cluster's secrets and a key of its own, and knows everybody.
func TestJoin(t *testing.T) {
	dir := t.TempDir()
	if _, err := Init(InitOptions{Out: filepath.Join(dir, "cluster"), Hosts: []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"}, Systemd: true}); err != nil {
		t.Fatal(err)
	}
	like := filepath.Join(dir, "cluster", "node2", "config.json")
	opts := JoinOptions{Like: like, ID: "node4", Host: "10.0.0.4", Out: filepath.Join(dir, "node4")}
	res, err := Join(opts)
	if err != nil {
		t.Fatal(err)
	}
	if res.Gossip != "10.0.0.4:7000" || res.Peer != "10.0.0.4:7001" {
		t.Errorf("%+v", res)
	}
	old, err := Open(like)
	if err != nil {
		t.Fatal(err)
	}
	n, err := Open(res.Config)
	if err != nil {
		t.Fatal(err)
	}
	c := n.Config
	if self, ok := c.Self(); !ok || c.ID != "node4" || self.PublicKey != res.PublicKey || len(c.Peer.Peers) != 4 || c.API.Listen != "10.0.0.4:7002" {
		t.Errorf("config %+v", c)
	}
	if c.Raftify.Expect != 3 || c.Raftify.MaxNodes != 4 || c.DataDir != "/var/lib/baton/data" {
		t.Errorf("expect %d, max_nodes %d, data_dir %s", c.Raftify.Expect, c.Raftify.MaxNodes, c.DataDir)
	}
	if !n.ProcessorKey.Equal(old.ProcessorKey) || !bytes.Equal(n.GossipKeys[0], old.GossipKeys[0]) || n.NodeKey.Equal(old.NodeKey) {
		t.Error("other secrets")
	}
	if err := n.CheckProcessorKey(); err != nil {
		t.Error(err)
	}
	if _, err := Join(opts); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("twice: %v", err)
	}
	for _, bad := range []JoinOptions{
		{Like: like, ID: "node3", Host: "10.0.0.4"},
		{Like: like, ID: "a b", Host: "10.0.0.4"},
		{Like: like, ID: "node5", Host: "0.0.0.0"},
		{Like: like, ID: "node5", Host: "10.0.0.1"},
	} {
		bad.Out = filepath.Join(dir, "bad")
		if _, err := Join(bad); err == nil {
			t.Errorf("%+v is laid out", bad)
		}
		if left, err := os.ReadDir(bad.Out); err == nil && len(left) > 0 {
			t.Errorf("%+v leaves %v", bad, left)
		}
	}
}
