package demo

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/config"
	"github.com/baton-ha/baton/node/chain"
	"github.com/baton-ha/baton/node/client"
)

// node is one member of the cluster: its files and the process that runs it now, if any.
type node struct {
	id     string
	config string
	log    string
	data   string
	url    string

	mu   sync.Mutex
	proc *process // the newest, nil before the first
}

func (n *node) process() *process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.proc
}

// running is the node's process while it runs, else nil.
func (n *node) running() *process {
	if p := n.process(); p != nil && p.running() {
		return p
	}
	return nil
}

// cluster is a set of nodes on loopback, each a process, with their files in one folder. Its methods may be called from
// one goroutine; close may be called whatever happened.
type cluster struct {
	binary   string
	dir      string
	basePort int
	genesis  *chain.Genesis
	block0   block.Hash
	users    []ed25519.PrivateKey
	nodes    []*node
	spawner  *spawner
	http     *http.Client
	// died receives the first process that ended without being told to.
	died chan error
}

const (
	// startBalance is what genesis gives to every account.
	startBalance = 1_000_000_000
	// patience bounds every wait for something that a healthy cluster does in seconds.
	patience = 2 * time.Minute
)

// layOut writes the files of a cluster of n nodes and users funded accounts into dir. Nothing runs yet.
func layOut(binary, dir string, n, users, basePort int) (*cluster, error) {
	c := &cluster{binary: binary, dir: dir, basePort: basePort, died: make(chan error, 1)}
	fund := map[string]string{}
	for range users {
		key, err := config.NewKey()
		if err != nil {
			return nil, err
		}
		c.users = append(c.users, key)
		fund[hex.EncodeToString(config.PublicKey(key))] = fmt.Sprint(startBalance)
	}
	files, err := config.Init(config.InitOptions{Out: dir, Nodes: n, BasePort: basePort, Fund: fund})
	if err != nil {
		return nil, fmt.Errorf("lay out the cluster: %w", err)
	}
	for i, path := range files.Configs {
		folder := filepath.Dir(path)
		c.nodes = append(c.nodes, &node{
			id: filepath.Base(folder), config: path, log: filepath.Join(folder, "log"),
			data: filepath.Join(folder, "data"), url: files.APIURLs[i],
		})
	}
	if c.genesis, err = config.LoadGenesis(filepath.Join(dir, "genesis.json")); err != nil {
		return nil, err
	}
	executor, err := chain.New(c.genesis, chain.Ledger{})
	if err != nil {
		return nil, err
	}
	b, _, err := executor.Genesis(nil)
	if err != nil {
		return nil, err
	}
	c.block0 = b.Hash()
	c.spawner = newSpawner()
	c.http = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: users + 8}}
	return c, nil
}

// pub is the processor key that genesis names.
func (c *cluster) pub() ed25519.PublicKey { return c.genesis.Processor.PublicKey[:] }

// urls are the nodes' API addresses, beginning with node first.
func (c *cluster) urls(first int) []string {
	out := make([]string, len(c.nodes))
	for i := range c.nodes {
		out[i] = c.nodes[(first+i)%len(c.nodes)].url
	}
	return out
}

// client makes a client that asks node first before the others.
func (c *cluster) client(first int) (*client.Client, error) {
	return client.New(c.urls(first), client.Options{HTTP: c.http})
}

// only makes a client of one node alone.
func (c *cluster) only(n *node) (*client.Client, error) {
	return client.New([]string{n.url}, client.Options{HTTP: c.http, BackoffMax: 250 * time.Millisecond})
}

// start runs n, which must not be running.
func (c *cluster) start(n *node) (*process, error) {
	p, err := c.spawner.launch(c.binary, n.config, n.log, func(p *process) {
		err := fmt.Errorf("%s (pid %d) %w: %w; its log ends with: %s", n.id, p.pid, errDied, exitOf(p), tail(n.log, 8))
		select {
		case c.died <- err:
		default:
		}
	})
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", n.id, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.proc = p
	return p, nil
}

func exitOf(p *process) error {
	if p.err == nil {
		return errors.New("exit status 0")
	}
	return p.err
}

// startAll runs every node that does not run.
func (c *cluster) startAll() error {
	for _, n := range c.nodes {
		if n.running() != nil {
			continue
		}
		if _, err := c.start(n); err != nil {
			return err
		}
	}
	return nil
}

// byID returns the node of that id.
func (c *cluster) byID(id string) *node {
	for _, n := range c.nodes {
		if n.id == id {
			return n
		}
	}
	return nil
}

// stopAll ends every node with SIGTERM, the leader first each time so that it can hand over, and returns what went
// wrong. leader says who leads at the moment, "" if nobody does.
func (c *cluster) stopAll(ctx context.Context, leader func() string) error {
	var errs []error
	for range c.nodes {
		next := c.byID(leader())
		if next == nil || next.running() == nil {
			for _, n := range c.nodes {
				if n.running() != nil {
					next = n
				}
			}
		}
		if next == nil {
			break
		}
		if p := next.running(); p != nil {
			if _, err := p.terminate(ctx, patience); err != nil {
				errs = append(errs, fmt.Errorf("stop %s: %w", next.id, err))
			}
		}
	}
	return errors.Join(errs...)
}

// killAll ends every node with SIGKILL, all at once.
func (c *cluster) killAll() {
	var wg sync.WaitGroup
	for _, n := range c.nodes {
		if p := n.process(); p != nil {
			wg.Go(p.kill)
		}
	}
	wg.Wait()
}

// close kills whatever still runs.
func (c *cluster) close() {
	c.killAll()
	if c.spawner != nil {
		c.spawner.close()
		c.spawner = nil
	}
	if c.http != nil {
		c.http.CloseIdleConnections()
	}
}

// verifyFolders checks the data folders of all nodes, none of which may run.
func (c *cluster) verifyFolders() error {
	errs := make([]error, len(c.nodes))
	var wg sync.WaitGroup
	for i, n := range c.nodes {
		wg.Go(func() {
			report, err := blockstore.VerifyDir(nil, n.data, c.pub(), c.block0)
			if err == nil && !report.OK() {
				err = fmt.Errorf("data folder of %s: %w", n.id, errors.Join(report.Problems...))
			}
			errs[i] = err
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// complaints returns the lines of all logs that tell of an error, at most limit.
func (c *cluster) complaints(limit int) []string {
	var out []string
	for _, n := range c.nodes {
		data, err := os.ReadFile(n.log)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			bad := strings.Contains(line, " ERR ") || strings.Contains(line, " FTL ") ||
				strings.Contains(line, "panic") || strings.Contains(line, "DATA RACE")
			if bad && len(out) < limit {
				out = append(out, n.id+": "+strings.TrimSpace(line))
			}
		}
	}
	return out
}
