package config

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/baton-ha/baton/node/chain"
)

// ErrNotEmpty is returned when Init is asked to write into a folder that has something in it.
var ErrNotEmpty = errors.New("folder is not empty")

// portsPerNode is how far the ports of two nodes on one address lie apart.
const portsPerNode = 10

const (
	genesisName = "genesis.json"
	serviceDir  = "/var/lib/baton" // StateDirectory of scripts/systemd
)

// InitOptions says what cluster [Init] lays out.
type InitOptions struct {
	// Out is the folder to write; it is made, and must be empty if it is there.
	Out string
	// Nodes is how many nodes; 0 means as many as Hosts, or 3 without Hosts.
	Nodes int
	// ChainID names the chain; empty means baton- and 8 random hex digits.
	ChainID string
	// Hosts is one address or host name a node; empty means that all are on 127.0.0.1.
	Hosts []string
	// Systemd lays the nodes' folders out for the units of the package: nodeI is what belongs into /etc/baton of its host,
	// or into /etc/baton/nodeI without Hosts, with a genesis.json of its own and all data under /var/lib/baton.
	Systemd bool
	// BasePort is the first port; 0 means 7000.
	BasePort int
	// Fund is the first native balance of public keys in hex, as decimal amounts.
	Fund map[string]string
	// Listeners and Approvers ask for K-of-N key sets, kept under Out/listeners and Out/approvers.
	Listeners, Approvers KofN
	// Now is when the chain is said to be created; zero means the time of the call.
	Now time.Time
	// Rand is where keys come from; nil means the system's secure source. Only tests set it.
	Rand io.Reader
}

// KofN is a quorum of K among N.
type KofN struct{ K, N int }

// ParseKofN reads K/N, with 1 <= K <= N <= 64.
func ParseKofN(text string) (KofN, error) {
	left, right, _ := strings.Cut(text, "/")
	k, errK := strconv.Atoi(left)
	n, errN := strconv.Atoi(right)
	if errK != nil || errN != nil || k < 1 || k > n || n > maxNodes {
		return KofN{}, fmt.Errorf("%q is not a quorum such as 2/3: want K/N with 1 <= K <= N <= %d", text, maxNodes)
	}
	return KofN{K: k, N: n}, nil
}

// InitResult tells what Init wrote.
type InitResult struct {
	Dir     string   `json:"dir"`
	ChainID string   `json:"chain_id"`
	Configs []string `json:"configs"`  // the path of every node's config.json
	APIURLs []string `json:"api_urls"` // every node's API, in the same order
}

// Init writes a new cluster: genesis.json, and for every node I nodeI/config.json and nodeI/keys. What it writes passes
// [Open]. Keys are mode 0600 in folders of mode 0700. It refuses a folder that is not empty, and after an error takes
// away what it wrote.
func Init(opts InitOptions) (*InitResult, error) {
	opts, err := opts.complete()
	if err != nil {
		return nil, err
	}
	if err := prepareOut(opts.Out); err != nil {
		return nil, err
	}
	res, err := (&layout{InitOptions: opts}).write()
	if err != nil {
		return nil, errors.Join(err, clearOut(opts.Out))
	}
	return res, nil
}

// complete fills in defaults and checks everything that can be checked before a file is written.
func (o InitOptions) complete() (InitOptions, error) {
	if o.Nodes == 0 {
		o.Nodes = max(len(o.Hosts), 0)
		if o.Nodes == 0 {
			o.Nodes = 3
		}
	}
	if o.BasePort == 0 {
		o.BasePort = 7000
	}
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.ChainID == "" {
		var suffix [4]byte
		if _, err := io.ReadFull(o.Rand, suffix[:]); err != nil {
			return o, fmt.Errorf("draw a chain id: %w", err)
		}
		o.ChainID = "baton-" + hex.EncodeToString(suffix[:])
	}
	var p problems
	p.notEmpty("out", o.Out, "a folder to write into")
	p.inRange("nodes", o.Nodes, 1, maxNodes)
	p.id("chain-id", o.ChainID)
	if len(o.Hosts) > 0 && len(o.Hosts) != o.Nodes {
		p.add("hosts", strings.Join(o.Hosts, ","), "one host for each of the %d nodes", o.Nodes)
	}
	seen := map[string]bool{}
	for _, host := range o.Hosts {
		if !validHost(host) || isWildcard(host) {
			p.add("hosts", host, "an IP address or host name that the other nodes can reach")
		} else if seen[canonicalAddr(net.JoinHostPort(host, "1"))] {
			p.add("hosts", host, "each host once")
		}
		seen[canonicalAddr(net.JoinHostPort(host, "1"))] = true
	}
	if last := o.port(o.Nodes-1, 2); o.BasePort < 1 || last > 65535 {
		p.add("base-port", o.BasePort, "1 to %d, so that the last port is at most 65535", 65535-(last-o.BasePort))
	}
	for _, key := range slices.Sorted(maps.Keys(o.Fund)) {
		if _, err := ParsePublicKey(key); err != nil {
			p.add("fund", key, "a public key of 64 hex digits before the =")
		}
		if amount, err := chain.ParseAmount(o.Fund[key]); err != nil || amount.IsZero() {
			p.add("fund", o.Fund[key], "an amount after the =: a decimal integer, more than 0 and less than 2^256")
		}
	}
	return o, errors.Join(p.errs...)
}

// port is the port of node i, from 0, for service offset: 0 gossip, 1 peer, 2 api.
func (o *InitOptions) port(i, offset int) int {
	if len(o.Hosts) > 0 {
		return o.BasePort + offset
	}
	return o.BasePort + portsPerNode*i + offset
}

func (o *InitOptions) addr(i, offset int) string {
	return net.JoinHostPort(o.host(i), strconv.Itoa(o.port(i, offset)))
}

func (o *InitOptions) host(i int) string {
	if len(o.Hosts) > 0 {
		return o.Hosts[i]
	}
	return "127.0.0.1"
}

// layout writes one cluster.
type layout struct {
	InitOptions
	processor ed25519.PrivateKey
	gossip    [32]byte
	nodes     []ed25519.PrivateKey
	peers     []Peer
	peerList  []string
}

func (l *layout) write() (*InitResult, error) {
	if err := l.draw(); err != nil {
		return nil, err
	}
	genesis, err := l.genesis()
	if err != nil {
		return nil, err
	}
	if err := writeJSON(filepath.Join(l.Out, genesisName), genesis); err != nil {
		return nil, err
	}
	res := &InitResult{Dir: l.Out, ChainID: l.ChainID}
	for i := range l.Nodes {
		path, err := l.writeNode(i)
		if err == nil && l.Systemd {
			err = writeJSON(filepath.Join(l.Out, nodeName(i), genesisName), genesis)
		}
		if err != nil {
			return nil, err
		}
		res.Configs = append(res.Configs, path)
		res.APIURLs = append(res.APIURLs, "http://"+l.addr(i, 2))
	}
	return res, nil
}

// genesis makes the first state, and the keys of the listeners and approvers in it.
func (l *layout) genesis() (*chain.Genesis, error) {
	g := &chain.Genesis{
		ChainID:      l.ChainID,
		ChainVersion: chain.LedgerVersion,
		Created:      l.Now.UTC().Truncate(time.Second),
		Processor:    chain.Processor{PublicKey: chain.PublicKey(PublicKey(l.processor))},
		Balances:     map[chain.PublicKey]map[string]chain.Amount{},
	}
	for text, amount := range l.Fund {
		key, errKey := chain.ParsePublicKey(text)
		a, errAmount := chain.ParseAmount(amount)
		if err := errors.Join(errKey, errAmount); err != nil {
			return nil, err
		}
		g.Balances[key] = map[string]chain.Amount{chain.NativeAsset: a}
	}
	var err error
	if g.Listeners, err = l.writeQuorum("listener", l.Listeners); err != nil {
		return nil, err
	}
	if g.Approvers, err = l.writeQuorum("approver", l.Approvers); err != nil {
		return nil, err
	}
	return g, g.Validate()
}

// draw makes all keys of the processors, in a fixed order, and the lists that every node's config repeats.
func (l *layout) draw() error {
	var err error
	if l.processor, err = newKey(l.Rand); err != nil {
		return err
	}
	if _, err := io.ReadFull(l.Rand, l.gossip[:]); err != nil {
		return fmt.Errorf("draw the gossip key: %w", err)
	}
	for i := range l.Nodes {
		key, err := newKey(l.Rand)
		if err != nil {
			return err
		}
		l.nodes = append(l.nodes, key)
		l.peers = append(l.peers, Peer{ID: nodeName(i), Addr: l.addr(i, 1), PublicKey: publicHex(key)})
		l.peerList = append(l.peerList, l.addr(i, 0))
	}
	return nil
}

func (l *layout) writeNode(i int) (string, error) {
	dir := filepath.Join(l.Out, nodeName(i))
	keys := filepath.Join(dir, "keys")
	if err := errors.Join(os.Mkdir(dir, 0o755), os.Mkdir(keys, 0o700)); err != nil {
		return "", err
	}
	cfg := DefaultConfig()
	cfg.ID = nodeName(i)
	cfg.Raftify.MaxNodes, cfg.Raftify.Expect = l.Nodes, l.Nodes
	cfg.Raftify.Encrypt = filePrefix + "keys/gossip.key"
	cfg.Raftify.BindAddr, cfg.Raftify.BindPort = l.host(i), l.port(i, 0)
	cfg.Raftify.PeerList = l.peerList
	cfg.Peer.Listen, cfg.Peer.Peers = l.addr(i, 1), l.peers
	cfg.API.Listen = l.addr(i, 2)
	if l.Systemd {
		state := serviceDir
		if len(l.Hosts) == 0 {
			state = filepath.Join(serviceDir, nodeName(i))
		}
		cfg.GenesisFile, cfg.StateDir, cfg.DataDir = genesisName, state, filepath.Join(state, "data")
	}
	if err := cfg.Validate(); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "config.json")
	return path, errors.Join(
		WriteKey(filepath.Join(keys, "node.json"), l.nodes[i]),
		WriteKey(filepath.Join(keys, "processor.json"), l.processor),
		writeNew(filepath.Join(keys, "gossip.key"), []byte(hex.EncodeToString(l.gossip[:])+"\n"), 0o600),
		writeJSON(path, cfg.file()),
	)
}

// fileKeys and fileAPI are those sections without the keys that no operator needs to see at first.
type (
	fileKeys struct {
		Node      string `json:"node"`
		Processor string `json:"processor"`
	}
	fileAPI struct {
		Listen string `json:"listen"`
	}
)

// file is c without the sections that no operator needs to see at first.
func (c *Config) file() any {
	return struct {
		ID          string   `json:"id"`
		Roles       []string `json:"roles"`
		DataDir     string   `json:"data_dir"`
		StateDir    string   `json:"state_dir"`
		GenesisFile string   `json:"genesis_file"`
		Keys        fileKeys `json:"keys"`
		Raftify     Raftify  `json:"raftify"`
		Peer        PeerLink `json:"peer"`
		API         fileAPI  `json:"api"`
		Log         Log      `json:"log"`
	}{
		c.ID, c.Roles, c.DataDir, c.StateDir, c.GenesisFile,
		fileKeys{c.Keys.Node, c.Keys.Processor},
		c.Raftify, c.Peer,
		fileAPI{c.API.Listen},
		c.Log,
	}
}

// writeQuorum makes the keys of one quorum in their own folder, such as listeners/listener1.json.
func (l *layout) writeQuorum(name string, q KofN) (chain.SignerSet, error) {
	set := chain.SignerSet{Quorum: q.K, PublicKeys: []chain.PublicKey{}}
	if q.N == 0 {
		return set, nil
	}
	dir := filepath.Join(l.Out, name+"s")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return set, err
	}
	for i := range q.N {
		key, err := newKey(l.Rand)
		if err != nil {
			return set, err
		}
		if err := WriteKey(filepath.Join(dir, name+strconv.Itoa(i+1)+".json"), key); err != nil {
			return set, err
		}
		set.PublicKeys = append(set.PublicKeys, chain.PublicKey(PublicKey(key)))
	}
	return set, nil
}

// NewKey makes a key from the system's secure source.
func NewKey() (ed25519.PrivateKey, error) { return newKey(rand.Reader) }

func newKey(source io.Reader) (ed25519.PrivateKey, error) {
	var seed [ed25519.SeedSize]byte
	if _, err := io.ReadFull(source, seed[:]); err != nil {
		return nil, fmt.Errorf("draw a key: %w", err)
	}
	return ed25519.NewKeyFromSeed(seed[:]), nil
}

// NewGossipKey makes the text of a gossip key's file from the system's secure source.
func NewGossipKey() (string, error) {
	var key [32]byte
	if _, err := io.ReadFull(rand.Reader, key[:]); err != nil {
		return "", fmt.Errorf("draw the gossip key: %w", err)
	}
	return hex.EncodeToString(key[:]) + "\n", nil
}

func nodeName(i int) string { return "node" + strconv.Itoa(i+1) }

func publicHex(key ed25519.PrivateKey) string { return hex.EncodeToString(PublicKey(key)) }

func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return writeNew(path, append(data, '\n'), 0o644)
}

// prepareOut makes dir, or finds it empty.
func prepareOut(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s: %w (it has %s); name a new folder", dir, ErrNotEmpty, entries[0].Name())
	}
	return nil
}

// clearOut takes away what is in dir, which prepareOut found empty.
func clearOut(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}
