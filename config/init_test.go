package config

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite testdata")

func TestInitLayout(t *testing.T) {
	for name, opts := range map[string]InitOptions{
		"three_nodes": {Nodes: 3, Fund: map[string]string{keyA: "1000000"}},
		"hosts": {
			Hosts: []string{"10.0.0.1", "host-b.example", "fd00::3"}, ChainID: "my-chain", BasePort: 9000,
			Listeners: KofN{2, 3}, Approvers: KofN{1, 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			golden(t, filepath.Join("testdata", name+".txt"), dump(t, testCluster(t, opts)))
		})
	}
}

// dump lists every file below dir with its mode and text.
func dump(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	out.WriteString("What baton init writes, with keys from a fixed source: `go test ./config -update` rewrites this file.\n")
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		fmt.Fprintf(&out, "== %v %s\n", info.Mode(), name)
		if d.IsDir() {
			return nil
		}
		data, err := os.ReadFile(path)
		out.Write(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("differs from %s; got:\n%s", path, got)
	}
}

func TestInitWritesWhatOpenAccepts(t *testing.T) {
	for name, opts := range map[string]InitOptions{
		"one":   {Nodes: 1},
		"three": {},
		"five":  {Nodes: 5, BasePort: 20000, Listeners: KofN{2, 3}},
		"hosts": {Hosts: []string{"10.0.0.1", "10.0.0.2", "::1"}},
		"many":  {Nodes: 64, BasePort: 64903},
	} {
		t.Run(name, func(t *testing.T) {
			opts.Out = t.TempDir() // there, and empty
			res, err := Init(opts)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(res.ChainID, "baton-") || len(res.ChainID) != len("baton-")+8 {
				t.Errorf("chain id %q", res.ChainID)
			}
			for _, path := range res.Configs {
				n, err := Open(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := n.CheckProcessorKey(); err != nil {
					t.Error(err)
				}
				if len(n.GossipKeys) != 1 || len(n.GossipKeys[0]) != 32 {
					t.Errorf("gossip keys %x", n.GossipKeys)
				}
			}
		})
	}
}

func TestInitRefuses(t *testing.T) {
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Init(InitOptions{Out: full, Nodes: 1}); !errors.Is(err, ErrNotEmpty) || !strings.Contains(err.Error(), full) {
		t.Errorf("folder that is not empty: %v", err)
	}
	for name, tt := range map[string]struct {
		opts InitOptions
		want string
	}{
		"no out":         {InitOptions{}, "out is"},
		"too many":       {InitOptions{Out: "x", Nodes: 65}, "nodes is 65"},
		"negative":       {InitOptions{Out: "x", Nodes: -1}, "nodes is -1"},
		"ports":          {InitOptions{Out: "x", BasePort: 65530}, "base-port is 65530"},
		"port":           {InitOptions{Out: "x", BasePort: -1}, "base-port is -1"},
		"hosts":          {InitOptions{Out: "x", Nodes: 3, Hosts: []string{"a"}}, "hosts is \"a\""},
		"host twice":     {InitOptions{Out: "x", Hosts: []string{"A", "a"}}, "each host once"},
		"host port":      {InitOptions{Out: "x", Hosts: []string{"a:1"}}, "hosts is \"a:1\""},
		"wildcard":       {InitOptions{Out: "x", Hosts: []string{"0.0.0.0"}}, "hosts is"},
		"chain":          {InitOptions{Out: "x", ChainID: "a b"}, "chain-id is"},
		"fund key":       {InitOptions{Out: "x", Fund: map[string]string{"ab": "1"}}, "fund is \"ab\""},
		"fund amount":    {InitOptions{Out: "x", Fund: map[string]string{keyA: "1.5"}}, "fund is \"1.5\""},
		"out is no path": {InitOptions{Out: filepath.Join(full, "x", "y")}, "not a directory"},
	} {
		_, err := Init(tt.opts)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
	if _, err := os.Stat("x"); err == nil {
		t.Error("a refused init made its folder")
	}
}

func TestInitTakesAwayWhatItCouldNotFinish(t *testing.T) {
	out := t.TempDir()
	// the source runs dry after the processors' keys, in the middle of the listeners
	src := &dry{left: 4 + 32 + 32 + 3*32 + 40}
	if _, err := Init(InitOptions{Out: out, Rand: src, Listeners: KofN{2, 3}}); err == nil {
		t.Fatal("no error from a dry source")
	}
	if entries, err := os.ReadDir(out); err != nil || len(entries) > 0 {
		t.Errorf("left %v, %v", entries, err)
	}
}

type dry struct{ left int }

func (d *dry) Read(p []byte) (int, error) {
	if d.left < len(p) {
		return 0, errors.New("dry")
	}
	d.left -= len(p)
	return (&counter{n: uint32(d.left)}).Read(p)
}

func TestParseKofN(t *testing.T) {
	for text, want := range map[string]KofN{"2/3": {2, 3}, "1/1": {1, 1}, "64/64": {64, 64}} {
		if got, err := ParseKofN(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "3", "0/3", "4/3", "1/65", "a/b", "1/2/3", "-1/3"} {
		if got, err := ParseKofN(text); err == nil {
			t.Errorf("%q was read as %v", text, got)
		}
	}
}

// A folder for the packaged units is complete in itself: it is copied to /etc/baton of its host.
func TestInitSystemd(t *testing.T) {
	for name, c := range map[string]struct {
		hosts []string
		state string
	}{
		"one a host":         {[]string{"10.0.0.1", "10.0.0.2", "10.0.0.3"}, "/var/lib/baton"},
		"all on one machine": {nil, "/var/lib/baton/node2"},
	} {
		out := filepath.Join(t.TempDir(), "cluster")
		res, err := Init(InitOptions{Out: out, Nodes: 3, Hosts: c.hosts, Systemd: true})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		moved := filepath.Join(t.TempDir(), "etc")
		if err := os.CopyFS(moved, os.DirFS(filepath.Dir(res.Configs[1]))); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(out); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"node.json", "processor.json", "gossip.key"} { // CopyFS forgets modes
			if err := os.Chmod(filepath.Join(moved, "keys", key), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		n, err := Open(filepath.Join(moved, "config.json"))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if p := n.Config.Paths(); p.StateDir != c.state || p.DataDir != filepath.Join(c.state, "data") || p.Genesis != filepath.Join(moved, "genesis.json") {
			t.Errorf("%s: paths %+v", name, p)
		}
	}
}
