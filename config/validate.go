package config

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/node/archive/objectstore"
	"github.com/baton-ha/baton/node/chain"
)

const (
	maxNodes      = 64
	maxIDBytes    = 63
	maxBodyBytes  = block.MaxPayloadBytes
	maxBlockBytes = block.MaxBlockBytes
	maxQueue      = 1 << 24
	maxKickAfter  = 30 * 24 * time.Hour
	filePrefix    = "file:"
	minCacheBytes = 1 << 20
	minRetention  = 1000 // blocks: what others that were away for a moment ask for
)

// FieldError is one thing that is wrong with a config or a key file.
type FieldError struct {
	Field string // full key, such as "raftify.expect"
	Value any    // what stands there
	Want  string // what would have been right
}

// Error is the field, its value and what was wanted, on one line.
func (e *FieldError) Error() string {
	if s, ok := e.Value.(string); ok {
		return fmt.Sprintf("%s is %q: want %s", e.Field, s, e.Want)
	}
	return fmt.Sprintf("%s is %v: want %s", e.Field, e.Value, e.Want)
}

// problems collects field errors.
type problems struct{ errs []error }

func (p *problems) add(field string, value any, want string, args ...any) {
	p.errs = append(p.errs, &FieldError{Field: field, Value: value, Want: fmt.Sprintf(want, args...)})
}

func (p *problems) inRange(field string, value, least, most int) {
	if value < least || value > most {
		p.add(field, value, "%d to %d", least, most)
	}
}

func (p *problems) oneOf(field, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		p.add(field, value, "one of %s", strings.Join(allowed, ", "))
	}
}

func (p *problems) notEmpty(field, value, what string) {
	if value == "" {
		p.add(field, value, "%s", what)
	}
}

func (p *problems) id(field, value string) {
	if !validID(value) {
		p.add(field, value, "1 to %d letters, digits, dots, dashes or underscores, a letter or digit first", maxIDBytes)
	}
}

// Validate joins everything that is wrong with c, each part a [FieldError], or returns nil. It is pure: files that c
// names are not looked at; [Open] does that.
func (c *Config) Validate() error {
	var p problems
	p.id("id", c.ID)
	c.validateRoles(&p)
	p.notEmpty("data_dir", c.DataDir, "a folder for the chain")
	p.notEmpty("genesis_file", c.GenesisFile, "the path of genesis.json")
	p.notEmpty("keys.node", c.Keys.Node, "the path of the node's key file")
	p.notEmpty("keys.processor", c.Keys.Processor, "the path of the processor key file")
	if !c.Keys.Passphrase.valid() {
		p.add("keys.passphrase", string(c.Keys.Passphrase), "nothing, file:PATH, env:NAME or credential:NAME")
	}
	c.validateRaftify(&p)
	c.validatePeers(&p)
	c.API.validate(&p)
	c.validateListeners(&p)
	p.oneOf("log.level", c.Log.Level, "trace", "debug", "info", "warn", "error")
	p.oneOf("log.format", c.Log.Format, "console", "json")
	c.Limits.validate(&p)
	c.State.validate(&p)
	c.Retention.validate(&p)
	c.Scrub.validate(&p)
	c.Sync.validate(&p)
	c.Sync.listeners(&p, c)
	c.ObjectStore.validate(&p)
	c.validateTiming(&p)
	return errors.Join(p.errs...)
}

func (c *Config) validateRoles(p *problems) {
	if len(c.Roles) == 0 {
		p.add("roles", c.Roles, "at least %q", RoleProcessor)
	}
	seen := map[string]bool{}
	for i, role := range c.Roles {
		field := fmt.Sprintf("roles[%d]", i)
		p.oneOf(field, role, RoleProcessor)
		if seen[role] {
			p.add(field, role, "each role once")
		}
		seen[role] = true
	}
}

func (c *Config) validateRaftify(p *problems) {
	r := &c.Raftify
	if r.ID != "" && r.ID != c.ID {
		p.add("raftify.id", r.ID, "nothing, or the same as id (%q)", c.ID)
	}
	p.inRange("raftify.max_nodes", r.MaxNodes, 1, maxNodes)
	n := len(r.PeerList)
	if n > r.MaxNodes {
		p.add("raftify.max_nodes", r.MaxNodes, "at least the %d nodes of raftify.peer_list", n)
	}
	if r.Expect <= n/2 || r.Expect > n {
		p.add("raftify.expect", r.Expect, "more than half of the %d nodes of raftify.peer_list, and at most all (%d to %d)",
			n, n/2+1, max(n, 1))
	}
	switch {
	case r.Encrypt == "" && n > 1:
		p.add("raftify.encrypt", "", "a key, since there is more than one peer: 32, 48 or 64 hex digits, or file:PATH")
	case r.Encrypt == filePrefix:
		p.add("raftify.encrypt", r.Encrypt, "a path after file:")
	case r.Encrypt != "" && !strings.HasPrefix(r.Encrypt, filePrefix):
		if _, err := parseGossipKeys(r.Encrypt); err != nil {
			p.add("raftify.encrypt", "(hidden)", "different keys of 32, 48 or 64 hex digits, separated by commas, or file:PATH")
		}
	}
	p.inRange("raftify.performance", r.Performance, 1, 100)
	p.oneOf("raftify.log_level", strings.ToUpper(r.LogLevel), "DEBUG", "INFO", "WARN", "ERR", "ERROR")
	if !validHost(r.BindAddr) {
		p.add("raftify.bind_addr", r.BindAddr, "an address or host name without a port")
	}
	p.inRange("raftify.bind_port", r.BindPort, 1, 65535)
	if r.KickAfter < 0 || r.KickAfter.Std() > maxKickAfter {
		p.add("raftify.kick_after", r.KickAfter.Std(), "0 (off) or at most %v", maxKickAfter)
	}
	c.validatePeerList(p)
}

func (c *Config) validatePeerList(p *problems) {
	r := &c.Raftify
	if len(r.PeerList) == 0 {
		p.add("raftify.peer_list", r.PeerList, "the gossip address of every node, this one included")
		return
	}
	seen := map[string]bool{}
	for i, addr := range r.PeerList {
		field := fmt.Sprintf("raftify.peer_list[%d]", i)
		if err := checkAddr(addr, true); err != nil {
			p.add(field, addr, "%v", err)
		}
		if seen[canonicalAddr(addr)] {
			p.add(field, addr, "each address once")
		}
		seen[canonicalAddr(addr)] = true
	}
	if r.AdvertiseAddr != "" && !validHost(r.AdvertiseAddr) {
		if err := checkAddr(r.AdvertiseAddr, true); err != nil {
			p.add("raftify.advertise_addr", r.AdvertiseAddr, "an address, with or without a port")
			return
		}
	}
	self := r.Gossip()
	host, _, _ := net.SplitHostPort(self)
	if isWildcard(host) {
		p.add("raftify.advertise_addr", r.AdvertiseAddr,
			"the address that others reach this node at, since raftify.bind_addr is %q", r.BindAddr)
		return
	}
	if validHost(r.BindAddr) && !seen[canonicalAddr(self)] {
		p.add("raftify.peer_list", r.PeerList, "this node's own gossip address %s among them", self)
	}
}

// Gossip is the address and port that others reach this node's gossip at.
func (r *Raftify) Gossip() string {
	if _, _, err := net.SplitHostPort(r.AdvertiseAddr); err == nil {
		return r.AdvertiseAddr
	}
	host := r.BindAddr
	if r.AdvertiseAddr != "" {
		host = r.AdvertiseAddr
	}
	return net.JoinHostPort(host, strconv.Itoa(r.BindPort))
}

func (c *Config) validatePeers(p *problems) {
	if n := len(c.Raftify.PeerList); len(c.Peer.Peers) != n {
		p.add("peer.peers", fmt.Sprintf("%d nodes", len(c.Peer.Peers)), "the same %d nodes as raftify.peer_list", n)
	}
	ids, addrs, keys := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for i, peer := range c.Peer.Peers {
		field := fmt.Sprintf("peer.peers[%d]", i)
		p.id(field+".id", peer.ID)
		if ids[peer.ID] {
			p.add(field+".id", peer.ID, "each id once")
		}
		if err := checkAddr(peer.Addr, true); err != nil {
			p.add(field+".addr", peer.Addr, "%v", err)
		}
		if addrs[canonicalAddr(peer.Addr)] {
			p.add(field+".addr", peer.Addr, "each address once")
		}
		key := strings.ToLower(peer.PublicKey)
		if _, err := ParsePublicKey(peer.PublicKey); err != nil {
			p.add(field+".public_key", peer.PublicKey, "64 hex digits")
		} else if keys[key] {
			p.add(field+".public_key", peer.PublicKey, "each key once")
		}
		ids[peer.ID], addrs[canonicalAddr(peer.Addr)], keys[key] = true, true, true
	}
	if !ids[c.ID] && c.ID != "" {
		p.add("id", c.ID, "one of the ids in peer.peers")
	}
	c.validateOrder(p)
}

// validateOrder checks that this node has the same place in both lists. Every node checking its own, all places are.
func (c *Config) validateOrder(p *problems) {
	gossip := canonicalAddr(c.Raftify.Gossip())
	inList := slices.IndexFunc(c.Raftify.PeerList, func(a string) bool { return canonicalAddr(a) == gossip })
	inPeers := slices.IndexFunc(c.Peer.Peers, func(q Peer) bool { return q.ID == c.ID })
	if inList >= 0 && inPeers >= 0 && inList != inPeers {
		p.add(fmt.Sprintf("raftify.peer_list[%d]", inList), c.Raftify.PeerList[inList],
			"this node's gossip address at [%d], its place in peer.peers: both lists have one order", inPeers)
	}
}

// validateListeners checks what the node binds, and that no two of them are the same.
func (c *Config) validateListeners(p *problems) {
	if err := checkAddr(c.Peer.Listen, false); err != nil {
		p.add("peer.listen", c.Peer.Listen, "%v", err)
	}
	if c.Peer.Advertise != "" {
		if err := checkAddr(c.Peer.Advertise, true); err != nil {
			p.add("peer.advertise", c.Peer.Advertise, "%v", err)
		}
	}
	if err := checkAddr(c.API.Listen, false); err != nil {
		p.add("api.listen", c.API.Listen, "%v", err)
	}
	gossip := net.JoinHostPort(c.Raftify.BindAddr, strconv.Itoa(c.Raftify.BindPort))
	if overlap(c.Peer.Listen, gossip) {
		p.add("peer.listen", c.Peer.Listen, "another port than raftify.bind_port")
	}
	if overlap(c.API.Listen, gossip) {
		p.add("api.listen", c.API.Listen, "another port than raftify.bind_port")
	}
	if overlap(c.API.Listen, c.Peer.Listen) {
		p.add("api.listen", c.API.Listen, "another port than peer.listen")
	}
}

func (a *API) validate(p *problems) {
	if (a.TLSCert == "") != (a.TLSKey == "") {
		p.add("api.tls_cert", a.TLSCert, "both api.tls_cert and api.tls_key, or neither")
	}
	p.inRange("api.rate_limit", a.RateLimit, 0, maxQueue)
	p.inRange("api.rate_burst", a.RateBurst, 0, maxQueue)
}

func (s *State) validate(p *problems) {
	p.inRange("state.keep", s.Keep, 1, 1<<20)
	p.inRange("state.checkpoint_blocks", s.CheckpointBlocks, 1, 1<<20)
	p.inRange("state.checkpoint_bytes", s.CheckpointBytes, minCacheBytes, math.MaxInt32)
}

func (r *Retention) validate(p *problems) {
	if r.Blocks != 0 {
		p.inRange("retention.blocks", r.Blocks, minRetention, math.MaxInt32)
	}
	if r.Receipts != 0 && (r.Blocks == 0 || r.Receipts < r.Blocks) {
		p.add("retention.receipts", r.Receipts, "0, for all, or no fewer than retention.blocks (%d)", r.Blocks)
	}
}

func (s *Scrub) validate(p *problems) {
	if s.Interval != 0 && s.Interval < Duration(time.Second) {
		p.add("scrub.interval", s.Interval.Std(), "at least 1s, or off")
	}
	p.inRange("scrub.bytes_per_second", s.BytesPerSecond, 1024, math.MaxInt32)
}

func (o *ObjectStore) validate(p *problems) {
	if o.Endpoint != "" {
		if _, err := objectstore.ParseEndpoint(o.Endpoint); err != nil {
			p.add("object_store.endpoint", "(hidden)", "%s", strings.TrimPrefix(err.Error(), "want "))
		}
	}
	if err := objectstore.CheckRegion(o.Region); err != nil {
		p.add("object_store.region", o.Region, "letters, digits and dashes")
	}
	switch path, isFile := strings.CutPrefix(o.SecretKey, filePrefix); {
	case o.SecretKey != "" && (!isFile || path == ""):
		p.add("object_store.secret_key", "(hidden)", "file:PATH: the secret itself does not stand in a config")
	case (o.SecretKey == "") != (o.AccessKey == ""):
		p.add("object_store.access_key", o.AccessKey, "both object_store.access_key and object_store.secret_key, or neither")
	}
}

func (l *Limits) validate(p *problems) {
	p.inRange("limits.body_bytes", l.BodyBytes, 1024, maxBodyBytes)
	p.inRange("limits.connections", l.Connections, 1, maxQueue)
	p.inRange("limits.open_requests", l.OpenRequests, 1, maxQueue)
	p.inRange("limits.open_reads", l.OpenReads, 1, maxQueue)
	p.inRange("limits.event_streams", l.EventStreams, 1, maxQueue)
	if used := l.OpenRequests + l.OpenReads + l.EventStreams; l.Connections <= used {
		p.add("limits.connections", l.Connections, "more than open_requests, open_reads and event_streams together (%d)", used)
	}
	p.inRange("limits.mempool_txs", l.MempoolTxs, 1, maxQueue)
	p.inRange("limits.mempool_bytes", l.MempoolBytes, maxBodyBytes, 1<<31-1)
	p.inRange("limits.block_txs", l.BlockTxs, 1, block.MaxTxs)
	p.inRange("limits.block_bytes", l.BlockBytes, maxBodyBytes, maxBlockBytes)
	p.inRange("limits.peer_queue", l.PeerQueue, 16, maxQueue)
	p.inRange("limits.free_bytes", l.FreeBytes, 1, 1<<50)
	p.inRange("limits.store_cache_bytes", l.StoreCacheBytes, minCacheBytes, math.MaxInt32)
	p.inRange("limits.state_cache_bytes", l.StateCacheBytes, minCacheBytes, math.MaxInt32)
	if l.BodyBytes > l.BlockBytes && l.BlockBytes >= maxBodyBytes {
		p.add("limits.body_bytes", l.BodyBytes, "at most limits.block_bytes (%d)", l.BlockBytes)
	}
}

func (c *Config) validateTiming(p *problems) {
	ok := true
	for _, d := range []struct {
		field string
		value Duration
	}{{"timing.heartbeat", c.Timing.Heartbeat}, {"timing.election_timeout", c.Timing.ElectionTimeout}} {
		if d.value != 0 && (d.value.Std() < time.Millisecond || d.value.Std() > time.Minute) {
			p.add(d.field, d.value.Std(), "1ms to 1m0s, or nothing")
			ok = false
		}
	}
	if !ok || c.Timing == (Timing{}) {
		return
	}
	if err := c.RaftTiming().Validate(); err != nil {
		p.errs = append(p.errs, fmt.Errorf("timing: %w", err))
	}
}

// ParsePublicKey reads 64 hex digits.
func ParsePublicKey(text string) (ed25519.PublicKey, error) {
	key, err := chain.ParsePublicKey(text)
	if err != nil {
		return nil, fmt.Errorf("%.80q: %w", text, err)
	}
	return key[:], nil
}

func validID(id string) bool {
	if id == "" || len(id) > maxIDBytes {
		return false
	}
	for i, r := range id {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		case i > 0 && (r == '.' || r == '-' || r == '_'):
		default:
			return false
		}
	}
	return true
}

// validHost says whether host can stand before a port: an IP address or a host name.
func validHost(host string) bool {
	if host == "" || len(host) > 253 {
		return false
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(host, "."), ".") {
		if len(label) > 63 || !validID(label) {
			return false
		}
	}
	return true
}

// checkAddr checks host:port; reachable refuses what only a listener may be: an empty or wildcard host.
func checkAddr(addr string, reachable bool) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return errors.New("an address with its port, such as 10.0.0.1:7000")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return errors.New("a port from 1 to 65535")
	}
	if host == "" && !reachable {
		return nil
	}
	if !validHost(host) {
		return errors.New("an IP address or host name before the port")
	}
	if reachable && isWildcard(host) {
		return errors.New("an address that others can reach")
	}
	return nil
}

func isWildcard(host string) bool {
	if host == "" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsUnspecified()
}

// canonicalAddr is the one spelling that two spellings of the same address share.
func canonicalAddr(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		host = ip.Unmap().String()
	}
	if n, err := strconv.ParseUint(port, 10, 16); err == nil {
		port = strconv.FormatUint(n, 10)
	}
	return net.JoinHostPort(strings.ToLower(host), port)
}

// overlap says whether two listeners want the same port of the same address.
func overlap(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(canonicalAddr(a))
	hostB, portB, errB := net.SplitHostPort(canonicalAddr(b))
	if errA != nil || errB != nil || portA != portB {
		return false
	}
	return hostA == hostB || isWildcard(hostA) || isWildcard(hostB)
}
