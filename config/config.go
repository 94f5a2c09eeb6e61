package config

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/baton-ha/baton/raftify"
	"github.com/baton-ha/baton/raftify/core"
)

// Config is one node's config.json. Make one with [DefaultConfig] or [Load]; it is a plain value and safe to copy,
// apart from its slices, which copies share.
type Config struct {
	// ID names the node in the cluster; it must be among Peer.Peers.
	ID string `json:"id"`
	// Roles is what the node does; see [RoleProcessor].
	Roles []string `json:"roles"`
	// DataDir holds the chain. It may be a mount point and may be deleted whole: the node is then a newcomer.
	DataDir string `json:"data_dir"`
	// StateDir holds the marker that this node was once in a cluster; empty means the folder of config.json.
	StateDir string `json:"state_dir"`
	// GenesisFile is the path of genesis.json.
	GenesisFile string `json:"genesis_file"`
	// Keys are the paths of the private keys.
	Keys Keys `json:"keys"`
	// Raftify configures the leader election; it has the keys of a raftify.json.
	Raftify Raftify `json:"raftify"`
	// Peer configures the authenticated link between the processors.
	Peer PeerLink `json:"peer"`
	// API configures the HTTP API.
	API API `json:"api"`
	// Log configures what is logged to stderr.
	Log Log `json:"log"`
	// Limits bounds what one node spends on its clients and peers.
	Limits Limits `json:"limits"`
	// State says how the state is stored.
	State State `json:"state"`
	// Retention bounds what stays on the disk.
	Retention Retention `json:"retention"`
	// Scrub says how stored data is looked through for damage.
	Scrub Scrub `json:"scrub"`
	// Sync says how the node catches up with others, and serves those that do.
	Sync Sync `json:"sync"`
	// ObjectStore is where `baton block export` and `import` find s3:// URLs; the node itself does not use it.
	ObjectStore ObjectStore `json:"object_store"`
	// Timing overrides the durations that follow from Raftify.Performance.
	Timing Timing `json:"timing"`

	dir string // absolute folder of config.json; "" when the value did not come from a file
}

// RoleProcessor is the role of a node that executes, stores and votes.
const RoleProcessor = "processor"

// Keys names the files with the node's private keys.
type Keys struct {
	// Node is the file of the node's own key, which authenticates it to its peers.
	Node string `json:"node"`
	// Processor is the file of the key that signs blocks; all processors hold the same one.
	Processor string `json:"processor"`
	// Passphrase is where the passphrase of those files is that are encrypted, the gossip key's among them.
	Passphrase Passphrase `json:"passphrase"`
}

// Raftify is the raftify section: the keys of a raftify.json.
type Raftify struct {
	// ID is the node's id in the election; empty means [Config.ID], and nothing else is allowed.
	ID string `json:"id"`
	// MaxNodes bounds how many nodes the cluster may grow to.
	MaxNodes int `json:"max_nodes"`
	// Expect is how many nodes found the cluster: those with the smallest ids. More than half of PeerList.
	Expect int `json:"expect"`
	// Encrypt is the gossip key, in hex (16, 24 or 32 bytes), or file:PATH of a file that holds it. It may be several,
	// separated by commas or in lines: the first encrypts, the others are accepted too, while the key is changed.
	Encrypt string `json:"encrypt"`
	// Performance multiplies the election's durations; 1 is the fastest.
	Performance int `json:"performance"`
	// LogLevel is the least level the election logs: DEBUG, INFO, WARN or ERR.
	LogLevel string `json:"log_level"`
	// BindAddr is the address that gossip listens on, without a port.
	BindAddr string `json:"bind_addr"`
	// BindPort is the port, TCP and UDP, that gossip listens on.
	BindPort int `json:"bind_port"`
	// AdvertiseAddr is the address, with or without a port, that others reach gossip at; empty means the bound one.
	AdvertiseAddr string `json:"advertise_addr"`
	// PeerList is every node's gossip address with its port, this node's included, in the order of Peer.Peers.
	PeerList []string `json:"peer_list"`
	// KickAfter is how long a voter must be silent before it may be demoted; "0" or "off" means never.
	KickAfter Duration `json:"kick_after"`
}

// PeerLink is the peer section: the TLS link that carries blocks, acknowledgements and sync.
type PeerLink struct {
	// Listen is the address and port to listen on.
	Listen string `json:"listen"`
	// Advertise is where others reach this node; empty means its own entry in Peers.
	Advertise string `json:"advertise"`
	// Peers is every node of the cluster, this one included.
	Peers []Peer `json:"peers"`
}

// Peer is one node as the others know it.
type Peer struct {
	// ID is the node's id.
	ID string `json:"id"`
	// Addr is the address and port of its peer link.
	Addr string `json:"addr"`
	// PublicKey is its node key, 64 hex digits.
	PublicKey string `json:"public_key"`
}

// API is the api section.
type API struct {
	// Listen is the address and port of the HTTP API.
	Listen string `json:"listen"`
	// Page says whether the node serves a page for people at / of that address.
	Page bool `json:"page"`
	// TLSCert and TLSKey are the paths of a certificate with its chain and of its key, PEM both. Empty: plain HTTP.
	TLSCert string `json:"tls_cert"`
	TLSKey  string `json:"tls_key"`
	// RateLimit is how many requests a second one client address may make; more are answered 429. 0: as many as it likes.
	// Health checks, metrics and the files of the page do not count.
	RateLimit int `json:"rate_limit"`
	// RateBurst is how many it may make at once after a pause; 0 is one second's worth.
	RateBurst int `json:"rate_burst"`
}

// Log is the log section.
type Log struct {
	// Level is the least level that is logged: trace, debug, info, warn or error.
	Level string `json:"level"`
	// Format is console, for people, or json.
	Format string `json:"format"`
}

// Limits is the limits section. All are at least 1; caches are at least a megabyte.
type Limits struct {
	// BodyBytes is the largest request body, in bytes; larger ones are answered 413.
	BodyBytes int `json:"body_bytes"`
	// Connections is how many API connections may be open at once; more wait. It must be more than OpenRequests, OpenReads
	// and EventStreams together, so that health checks always find one.
	Connections int `json:"connections"`
	// OpenRequests is how many transactions may wait for their block at once; more are answered 429.
	OpenRequests int `json:"open_requests"`
	// OpenReads is how many other requests may be served at once; more are answered 429.
	OpenReads int `json:"open_reads"`
	// EventStreams is how many /v1/events streams may be open at once.
	EventStreams int `json:"event_streams"`
	// MempoolTxs is how many transactions may wait to be proposed.
	MempoolTxs int `json:"mempool_txs"`
	// MempoolBytes is how many bytes of transactions may wait to be proposed.
	MempoolBytes int `json:"mempool_bytes"`
	// BlockTxs is how many transactions a block may have.
	BlockTxs int `json:"block_txs"`
	// BlockBytes is how many bytes of transactions a block may have.
	BlockBytes int `json:"block_bytes"`
	// PeerQueue is how many messages may wait to be sent to one peer.
	PeerQueue int `json:"peer_queue"`
	// FreeBytes is how much room the disk of DataDir should have: with less the node hands the lead over.
	FreeBytes int `json:"free_bytes"`
	// StoreCacheBytes is the memory for recent blocks and for the database's own cache.
	StoreCacheBytes int `json:"store_cache_bytes"`
	// StateCacheBytes is the memory for parts of the state that are on the disk. What is new since the last checkpoint
	// comes on top: see State.CheckpointBytes.
	StateCacheBytes int `json:"state_cache_bytes"`
}

// State is the state section.
type State struct {
	// Keep is how many of the newest stored states stay readable; the older ones' parts are deleted.
	Keep int `json:"keep"`
	// Archive keeps all of them, whatever Keep says.
	Archive bool `json:"archive"`
	// CheckpointBlocks is after how many blocks the state is stored, if it is not for CheckpointBytes.
	CheckpointBlocks int `json:"checkpoint_blocks"`
	// CheckpointBytes is after how much new state in memory it is stored. A few times as much may be held while the disk is
	// slow.
	CheckpointBytes int `json:"checkpoint_bytes"`
}

// Retention is the retention section. Zero means all.
type Retention struct {
	// Blocks is how many of the newest blocks stay, with their signatures.
	Blocks int `json:"blocks"`
	// Receipts is of how many of the newest blocks the transactions can be looked up, no fewer than Blocks.
	Receipts int `json:"receipts"`
}

// Scrub is the scrub section.
type Scrub struct {
	// Interval is the time between two passes over all blocks and the newest stored state; "off" is never.
	Interval Duration `json:"interval"`
	// BytesPerSecond bounds how much a pass reads.
	BytesPerSecond int `json:"bytes_per_second"`
}

// ObjectStore is the object_store section: a store with the S3 API. What is empty comes from the standard AWS environment.
type ObjectStore struct {
	// Endpoint is the store's URL; without a scheme it is https. Empty: Amazon's.
	Endpoint string `json:"endpoint"`
	// Region is the bucket's.
	Region string `json:"region"`
	// AccessKey says who asks.
	AccessKey string `json:"access_key"`
	// SecretKey is file:PATH of a file whose first line is the secret of AccessKey and that only its owner may read.
	SecretKey string `json:"secret_key"`
	// CAFile is the path of the certificates that may vouch for the store, PEM; empty: the system's.
	CAFile string `json:"ca_file"`
}

// Timing is the timing section; it must be the same on all nodes. Zero means: as it follows from raftify.performance.
type Timing struct {
	// Heartbeat is how often a leader sends.
	Heartbeat Duration `json:"heartbeat"`
	// ElectionTimeout is the least time without a leader before a node asks for votes. Leases follow from it.
	ElectionTimeout Duration `json:"election_timeout"`
}

// Duration is a [time.Duration] that is written as a text such as "150ms" and refuses a bare number.
type Duration time.Duration

// MarshalText writes d as [time.Duration.String] does, but "10m" for "10m0s". It never fails.
func (d Duration) MarshalText() ([]byte, error) {
	text := time.Duration(d).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return []byte(text), nil
}

// UnmarshalText reads what [time.ParseDuration] reads, and "off" and the empty text as zero.
func (d *Duration) UnmarshalText(text []byte) error {
	if len(text) == 0 || string(text) == "off" {
		*d = 0
		return nil
	}
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration such as \"150ms\" or \"10m\"", text)
	}
	*d = Duration(v)
	return nil
}

// Std is d as the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// DefaultConfig is what a config.json starts from: everything that has a sensible value for any cluster. It does not
// validate on its own, since ids, keys, addresses and peers have no such value.
func DefaultConfig() Config {
	return Config{
		Roles:       []string{RoleProcessor},
		DataDir:     "data",
		GenesisFile: "../genesis.json",
		Keys:        Keys{Node: "keys/node.json", Processor: "keys/processor.json"},
		Raftify: Raftify{
			MaxNodes:    5,
			Expect:      1,
			Performance: 1,
			LogLevel:    "WARN",
			BindAddr:    "127.0.0.1",
			BindPort:    7000,
			KickAfter:   Duration(10 * time.Minute),
		},
		Peer: PeerLink{Listen: "127.0.0.1:7001"},
		API:  API{Listen: "127.0.0.1:7002", Page: true},
		Log:  Log{Level: "info", Format: "console"},
		Limits: Limits{
			BodyBytes:    maxBodyBytes,
			Connections:  8192,
			OpenRequests: 4096,
			OpenReads:    512,
			EventStreams: 512,
			MempoolTxs:   50_000,
			MempoolBytes: 64 << 20,
			BlockTxs:     4096,
			BlockBytes:   2 << 20,
			PeerQueue:    4096,
			FreeBytes:    256 << 20,

			StoreCacheBytes: 64 << 20,
			StateCacheBytes: 192 << 20,
		},
		State: State{Keep: 4, CheckpointBlocks: 1000, CheckpointBytes: 64 << 20},
		Scrub: Scrub{Interval: Duration(24 * time.Hour), BytesPerSecond: 4 << 20},
		Sync:  Sync{Mode: "state", Rate: 32 << 20, Sources: []string{}},
	}
}

// Dir is the absolute folder of the config.json that c was loaded from, or "" when it was not loaded from a file.
func (c *Config) Dir() string { return c.dir }

// Resolve makes a path that stands in c absolute: a relative one is relative to the folder of config.json.
func (c *Config) Resolve(path string) string {
	if filepath.IsAbs(path) || c.dir == "" {
		return path
	}
	return filepath.Join(c.dir, path)
}

// Paths are the resolved paths of a config.
type Paths struct {
	DataDir      string // the chain
	StateDir     string // the marker that this node was in a cluster
	Genesis      string // genesis.json
	NodeKey      string // the node's own key
	ProcessorKey string // the key that signs blocks
	TLSCert      string // the API's certificate, "" without one
	TLSKey       string // its key
}

// Paths resolves every path that stands in c.
func (c *Config) Paths() Paths {
	p := Paths{
		DataDir:      c.Resolve(c.DataDir),
		StateDir:     c.dir,
		Genesis:      c.Resolve(c.GenesisFile),
		NodeKey:      c.Resolve(c.Keys.Node),
		ProcessorKey: c.Resolve(c.Keys.Processor),
	}
	if c.StateDir != "" {
		p.StateDir = c.Resolve(c.StateDir)
	}
	if c.API.TLSCert != "" {
		p.TLSCert, p.TLSKey = c.Resolve(c.API.TLSCert), c.Resolve(c.API.TLSKey)
	}
	return p
}

// RaftTiming is the election's durations: those of raftify.performance, with what the timing section replaces.
func (c *Config) RaftTiming() core.Timing {
	t := raftify.TimingOf(c.Raftify.Performance)
	if c.Timing.Heartbeat != 0 {
		t.Heartbeat = c.Timing.Heartbeat.Std()
	}
	if c.Timing.ElectionTimeout != 0 {
		t.MinElection = c.Timing.ElectionTimeout.Std()
	}
	return t
}

// GossipPeers are the ids of Peer.Peers with the gossip addresses of Raftify.PeerList, which has the same order.
func (c *Config) GossipPeers() []core.Peer {
	peers := make([]core.Peer, 0, len(c.Peer.Peers))
	for i, p := range c.Peer.Peers {
		if i < len(c.Raftify.PeerList) {
			peers = append(peers, core.Peer{ID: core.NodeID(p.ID), Addr: c.Raftify.PeerList[i]})
		}
	}
	return peers
}

// Self is this node's own entry in Peer.Peers, and whether there is one.
func (c *Config) Self() (Peer, bool) {
	for _, p := range c.Peer.Peers {
		if p.ID == c.ID {
			return p, true
		}
	}
	return Peer{}, false
}
