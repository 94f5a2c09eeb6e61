package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOpenChecksTheFiles(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(dir string) error // dir is nodeI's parent
		want  []string
	}{
		{"node key open to others", func(dir string) error {
			return os.Chmod(filepath.Join(dir, "node1/keys/node.json"), 0o644)
		}, []string{"keys/node.json", "may be read by others", "chmod 600"}},
		{"processor key open to the group", func(dir string) error {
			return os.Chmod(filepath.Join(dir, "node1/keys/processor.json"), 0o640)
		}, []string{"keys/processor.json", "may be read by others"}},
		{"gossip key open to others", func(dir string) error {
			return os.Chmod(filepath.Join(dir, "node1/keys/gossip.key"), 0o644)
		}, []string{"raftify.encrypt", "keys/gossip.key"}},
		{"no genesis", func(dir string) error {
			return os.Remove(filepath.Join(dir, "genesis.json"))
		}, []string{"genesis.json", "no such file"}},
		{"node key of another", func(dir string) error {
			return os.Rename(filepath.Join(dir, "node2/keys/node.json"), filepath.Join(dir, "node1/keys/node.json"))
		}, []string{"keys/node.json", "peer.peers", "node1"}},
		{"data_dir a file", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "node1/data"), nil, 0o600)
		}, []string{"data_dir is", "want a folder"}},
		{"two at once", func(dir string) error {
			if err := os.Remove(filepath.Join(dir, "genesis.json")); err != nil {
				return err
			}
			return os.Chmod(filepath.Join(dir, "node1/keys/node.json"), 0o644)
		}, []string{"genesis.json", "keys/node.json"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := testCluster(t, InitOptions{Nodes: 3})
			if err := tt.spoil(dir); err != nil {
				t.Fatal(err)
			}
			_, err := Open(filepath.Join(dir, "node1", "config.json"))
			for _, want := range tt.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%v, want %q", err, want)
				}
			}
		})
	}
}

func TestCheckProcessorKey(t *testing.T) {
	dir := testCluster(t, InitOptions{Nodes: 1})
	path := filepath.Join(dir, "node1/keys/processor.json")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteKey(path, key); err != nil {
		t.Fatal(err)
	}
	n, err := Open(filepath.Join(dir, "node1/config.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.CheckProcessorKey(); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "genesis.json") {
		t.Errorf("a processor key that is not genesis's: %v", err)
	}
}
