package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/baton-ha/baton/config"
	"github.com/baton-ha/baton/node/chain"
	"github.com/baton-ha/baton/scripts/chaos/internal/sandbox"
)

// ports of every node, as `baton init` lays them out with --hosts.
const (
	basePort = 7000
	apiPort  = basePort + 2
)

// Options say what cluster to make.
type Options struct {
	// Binary is the baton program.
	Binary string
	// Dir is an empty folder for all files.
	Dir string
	// Hosts are the machines, one a node.
	Hosts []*sandbox.Host
	// Fund is the first balance of accounts, by public key in hex.
	Fund map[string]uint64
	// DiskBytes is the size of each node's disk.
	DiskBytes int64
	// Level is the raftify.performance of all nodes, 0: what baton init writes.
	Level int
	// Env is added to each node's environment.
	Env []string
}

// Cluster is a set of nodes. Make it with [New].
type Cluster struct {
	Nodes   []*Node
	Genesis *chain.Genesis
	Dir     string

	opts  Options
	trace bool // set before any node starts
	mu    sync.Mutex
	exits []Exit
}

// Exit is a process that ended without having been told to.
type Exit struct {
	At   time.Time
	Node string
	// Why is the exit status and the last lines of its log.
	Why string
	// Excused is set when something was wrong with its disk: to end is what R24 asks of it then.
	Excused bool
}

// New writes the files of a cluster. Nothing runs yet.
func New(ctx context.Context, o Options) (*Cluster, error) {
	args := []string{"init", "--nodes", strconv.Itoa(len(o.Hosts)), "--out", filepath.Join(o.Dir, "cluster")}
	hosts := make([]string, len(o.Hosts))
	for i, h := range o.Hosts {
		hosts[i] = h.Addr.String()
	}
	args = append(args, "--hosts", strings.Join(hosts, ","), "--base-port", strconv.Itoa(basePort))
	for key, amount := range o.Fund {
		args = append(args, "--fund", key+"="+strconv.FormatUint(amount, 10))
	}
	c := &Cluster{Dir: o.Dir, opts: o}
	if _, err := c.Baton(ctx, args...); err != nil {
		return nil, err
	}
	var err error
	if c.Genesis, err = config.LoadGenesis(filepath.Join(o.Dir, "cluster", "genesis.json")); err != nil {
		return nil, fmt.Errorf("read genesis: %w", err)
	}
	for i, h := range o.Hosts {
		id := "node" + strconv.Itoa(i+1)
		dir := filepath.Join(o.Dir, "cluster", id)
		c.Nodes = append(c.Nodes, &Node{
			ID: id, Index: i, Host: h, Dir: dir, Config: filepath.Join(dir, "config.json"),
			API: "http://" + netip.AddrPortFrom(h.Addr, apiPort).String(),
			Log: filepath.Join(o.Dir, id+".log"), Trace: filepath.Join(o.Dir, id+".trace"), c: c,
		})
		if o.Level > 0 {
			if err := c.Nodes[i].change(func(file map[string]any) error {
				section, ok := file["raftify"].(map[string]any)
				if !ok {
					return fmt.Errorf("%s: no section raftify", c.Nodes[i].Config)
				}
				section["performance"] = o.Level
				return nil
			}); err != nil {
				return nil, errors.Join(err, c.Close(""))
			}
		}
		if err := c.Nodes[i].mount(o.DiskBytes); err != nil {
			return nil, errors.Join(err, c.Close(""))
		}
	}
	return c, nil
}

// Baton runs the program in the sandbox's own namespace and returns what it printed. The error holds what it complained of.
func (c *Cluster) Baton(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, c.opts.Binary, args...)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("baton %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(complaint.String()))
	}
	return out.Bytes(), nil
}

// Can reports whether the program under test has a command, named by its words.
func (c *Cluster) Can(ctx context.Context, words ...string) bool {
	out, err := c.Baton(ctx, append(words, "--help")...)
	return err == nil && bytes.Contains(out, []byte("baton "+strings.Join(words, " ")))
}

// HasFlag reports whether a command of the program under test has a flag.
func (c *Cluster) HasFlag(ctx context.Context, command, flag string) bool {
	out, err := c.Baton(ctx, command, "--help")
	return err == nil && bytes.Contains(out, []byte("--"+flag))
}

// Trace says whether nodes write a trace from their next start on.
func (c *Cluster) Trace(on bool) { c.trace = on }

// URLs returns the nodes' APIs.
func (c *Cluster) URLs() []string {
	var urls []string
	for _, n := range c.Nodes {
		urls = append(urls, n.API)
	}
	return urls
}

// Node returns the node of an id, nil if there is none.
func (c *Cluster) Node(id string) *Node {
	for _, n := range c.Nodes {
		if n.ID == id {
			return n
		}
	}
	return nil
}

// Exits returns the processes that ended without having been told to.
func (c *Cluster) Exits() []Exit {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Exit(nil), c.exits...)
}

// Close kills all processes and takes their disks away; what is on them is copied to dir first, unless that is "".
func (c *Cluster) Close(dir string) error {
	var errs []error
	for _, n := range c.Nodes {
		n.Kill()
		errs = append(errs, n.unmount(dir))
	}
	return errors.Join(errs...)
}

// Admin makes one request of a node's admin socket.
func (n *Node) Admin(ctx context.Context, args ...string) error {
	_, err := n.c.Baton(ctx, append(args, "--config", n.Config)...)
	return err
}

// SetTop changes a top-level key of the node's configuration.
func (n *Node) SetTop(key string, value any) error {
	return n.change(func(file map[string]any) error {
		file[key] = value
		return nil
	})
}

// change rewrites the node's configuration.
func (n *Node) change(edit func(file map[string]any) error) error {
	data, err := os.ReadFile(n.Config)
	if err != nil {
		return err
	}
	var file map[string]any
	if err := json.Unmarshal(data, &file); err != nil {
		return fmt.Errorf("%s: %w", n.Config, err)
	}
	if err := edit(file); err != nil {
		return err
	}
	if data, err = json.MarshalIndent(file, "", "  "); err != nil {
		return err
	}
	return os.WriteFile(n.Config, data, 0o600)
}
