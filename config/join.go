package config

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// JoinOptions say what further node [Join] lays out.
type JoinOptions struct {
	// Like is the config.json of a node of the cluster, whose files this process may read.
	Like string
	// ID and Host are the newcomer's; its ports are those of Like's node.
	ID, Host string
	// Out is the folder to write; it is made, and must be empty if it is there.
	Out string
}

// JoinResult tells what Join wrote, and what `member add` needs to know.
type JoinResult struct {
	Config    string `json:"config"`
	ID        string `json:"id"`
	PublicKey string `json:"public_key"`
	Gossip    string `json:"gossip_addr"`
	Peer      string `json:"peer_addr"`
}

// Join writes the files of a node that joins a cluster that is there: a config like that of one of its nodes, with the
// newcomer among the peers, a key of its own, and copies of genesis, processor key and gossip keys, encrypted ones as they
// are. It refuses a folder that is not empty, and after an error takes away what it wrote.
func Join(opts JoinOptions) (*JoinResult, error) {
	like, err := Load(opts.Like)
	if err != nil {
		return nil, err
	}
	if _, taken := like.addressed(opts.ID); taken {
		return nil, &FieldError{Field: "id", Value: opts.ID, Want: "an id that no peer in " + opts.Like + " has"}
	}
	if !validHost(opts.Host) || isWildcard(opts.Host) {
		return nil, &FieldError{Field: "host", Value: opts.Host, Want: "an IP address or host name that the other nodes can reach"}
	}
	if err := prepareOut(opts.Out); err != nil {
		return nil, err
	}
	res, err := like.join(opts)
	if err != nil {
		return nil, errors.Join(err, clearOut(opts.Out))
	}
	return res, nil
}

// addressed is the peer of an id, and whether there is one.
func (c *Config) addressed(id string) (Peer, bool) {
	i := slices.IndexFunc(c.Peer.Peers, func(p Peer) bool { return p.ID == id })
	if i < 0 {
		return Peer{}, false
	}
	return c.Peer.Peers[i], true
}

func (c *Config) join(opts JoinOptions) (*JoinResult, error) {
	self, _ := c.Self()
	_, peerPort, errPeer := net.SplitHostPort(self.Addr)
	_, apiPort, errAPI := net.SplitHostPort(c.API.Listen)
	_, gossipPort, errGossip := net.SplitHostPort(c.Raftify.Gossip())
	if err := errors.Join(errPeer, errAPI, errGossip); err != nil {
		return nil, err
	}
	key, err := NewKey()
	if err != nil {
		return nil, err
	}
	res := &JoinResult{
		Config: filepath.Join(opts.Out, "config.json"), ID: opts.ID, PublicKey: publicHex(key),
		Gossip: net.JoinHostPort(opts.Host, gossipPort), Peer: net.JoinHostPort(opts.Host, peerPort),
	}
	next := *c
	next.ID, next.Raftify.ID, next.dir = opts.ID, opts.ID, ""
	next.Raftify.BindAddr, next.Raftify.AdvertiseAddr, next.Peer.Advertise = opts.Host, "", ""
	if next.Raftify.BindPort, err = strconv.Atoi(gossipPort); err != nil {
		return nil, fmt.Errorf("gossip port: %w", err)
	}
	next.Raftify.PeerList = append(slices.Clone(c.Raftify.PeerList), res.Gossip)
	next.Peer.Peers = append(slices.Clone(c.Peer.Peers), Peer{ID: opts.ID, Addr: res.Peer, PublicKey: res.PublicKey})
	n := len(next.Peer.Peers)
	next.Raftify.MaxNodes, next.Raftify.Expect = max(c.Raftify.MaxNodes, n), max(c.Raftify.Expect, n/2+1)
	next.Peer.Listen, next.API.Listen = res.Peer, net.JoinHostPort(opts.Host, apiPort)
	next.GenesisFile, next.Keys.Node, next.Keys.Processor = genesisName, "keys/node.json", "keys/processor.json"
	keys := filepath.Join(opts.Out, "keys")
	if err := os.Mkdir(keys, 0o700); err != nil {
		return nil, err
	}
	copies := map[string]string{c.Paths().ProcessorKey: filepath.Join(keys, "processor.json")}
	if path, ok := strings.CutPrefix(c.Raftify.Encrypt, filePrefix); ok {
		next.Raftify.Encrypt = filePrefix + "keys/gossip.key"
		copies[c.Resolve(path)] = filepath.Join(keys, "gossip.key")
	}
	if err := next.Validate(); err != nil {
		return nil, err
	}
	var errs []error
	for from, to := range copies {
		data, err := readSecret(from)
		if err == nil {
			err = writeNew(to, data, 0o600)
		}
		errs = append(errs, err)
	}
	genesis, err := readBounded(c.Paths().Genesis, maxGenesisBytes)
	if err == nil {
		err = writeNew(filepath.Join(opts.Out, genesisName), genesis, 0o644)
	}
	errs = append(errs, err, WriteKey(filepath.Join(keys, "node.json"), key), writeJSON(res.Config, &next))
	return res, errors.Join(errs...)
}
