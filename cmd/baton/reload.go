package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/baton-ha/baton/cmd/baton/internal/supervise"
	"github.com/baton-ha/baton/config"
	"github.com/baton-ha/baton/node"
	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/node/api/wire"
)

func newReloadCmd() *cobra.Command {
	var admin adminFlags
	cmd := &cobra.Command{
		Use: "reload --config FILE", Short: "Have a running node read its configuration again", Args: cobra.NoArgs,
		Long: "reload has the node take over what may change while it runs: log.level, the addresses of its peers, the gossip keys\n" +
			"(raftify.encrypt), api.rate_limit and api.rate_burst, sync.rate, and the API's certificate. It says what changed and what\n" +
			"needs a restart. A configuration that is broken changes nothing. SIGHUP does the same, and says so in the log; this command\n" +
			"hands the node the gossip keys as it reads them itself, since a service may see only those of its start.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(admin.config)
			if err != nil {
				return err
			}
			keys, err := cfg.GossipKeys()
			if err != nil {
				return fmt.Errorf("%w (SIGHUP has the node read them itself)", err)
			}
			var req wire.ReloadRequest
			for _, k := range keys {
				req.GossipKeys = append(req.GossipKeys, hex.EncodeToString(k))
			}
			var done wire.Reloaded
			if err := admin.call(cmd.Context(), http.MethodPost, "/reload", req, &done); err != nil {
				return err
			}
			if admin.asJSON {
				return printJSON(cmd, done)
			}
			return printf(cmd, "%s\n", reloadText(done))
		},
	}
	admin.add(cmd)
	return cmd
}

func reloadText(r wire.Reloaded) string {
	text := "nothing changed"
	if len(r.Changed) > 0 {
		text = "changed: " + strings.Join(r.Changed, ", ")
	}
	if len(r.Restart) > 0 {
		text += "; needs a restart: " + strings.Join(r.Restart, ", ")
	}
	return text
}

// reloader reads a running node's configuration again. It is safe for concurrent use.
type reloader struct {
	file   string
	gate   *logGate
	log    zerolog.Logger
	parent *supervise.Parent

	mu   sync.Mutex
	n    *node.Node
	now  *config.Node // what holds; keys that need a restart stay as they were
	ring [][]byte     // the gossip keys that hold, whoever read them
}

// Keys that may change while a node runs, with all that stands under them.
const (
	keyLevel     = "log.level"
	keyPeers     = "peer.peers"
	keyPeerList  = "raftify.peer_list"
	keyEncrypt   = "raftify.encrypt"
	keyRateLimit = "api.rate_limit"
	keyRateBurst = "api.rate_burst"
	keySyncRate  = "sync.rate"
	keyTLSCert   = "api.tls_cert"
	keyTLSKey    = "api.tls_key"
)

// hangup is reload for a signal: the log has the answer.
func (r *reloader) hangup(ctx context.Context) { _, _ = r.reload(ctx, wire.ReloadRequest{}) }

// reload reads the files again, takes over what may change, and logs and returns what did.
func (r *reloader) reload(_ context.Context, req wire.ReloadRequest) (wire.Reloaded, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.n.Started():
		_ = r.parent.Reloading()
		defer func() { _ = r.parent.Ready() }()
	default: // it is not ready, and must not say so
	}
	done, err := r.take(req)
	if err != nil {
		r.log.Error().Str("why", oneLine(err)).Msg("configuration not read again, nothing has changed")
		return done, api.NotReloadable(oneLine(err))
	}
	r.log.Log().Str(zerolog.LevelFieldName, zerolog.InfoLevel.String()).
		Strs("changed", done.Changed).Strs("restart", done.Restart).Msg("configuration read again: " + reloadText(done))
	return done, nil
}

func (r *reloader) take(req wire.ReloadRequest) (wire.Reloaded, error) {
	none := wire.Reloaded{Changed: []string{}, Restart: []string{}}
	next, err := config.Open(r.file)
	if err != nil {
		return none, err
	}
	ring := r.ring
	if !reflect.DeepEqual(next.GossipKeys, r.now.GossipKeys) {
		ring = next.GossipKeys
	}
	if req.GossipKeys != nil {
		if ring, err = parseRing(req.GossipKeys); err != nil {
			return none, err
		}
	}
	cfg, err := nodeConfig(next, zerolog.Nop())
	if err != nil {
		return none, err
	}

	// From here on nothing fails for what a file says; what cannot be taken over waits for a restart.
	old, now := settings(r.now.Config), settings(next.Config)
	changed, restart := map[string]bool{}, map[string]bool{}
	for key := range now {
		if !reflect.DeepEqual(old[key], now[key]) {
			restart[key] = true
		}
	}
	if !bytes.Equal(next.NodeKey, r.now.NodeKey) {
		restart["keys.node"] = true
	}
	if !bytes.Equal(next.ProcessorKey, r.now.ProcessorKey) {
		restart["keys.processor"] = true
	}
	if !reflect.DeepEqual(next.Genesis, r.now.Genesis) {
		restart["genesis_file"] = true
	}
	took := func(keys ...string) {
		for _, key := range keys {
			if restart[key] {
				delete(restart, key)
				changed[key] = true
			}
		}
	}
	if restart[keyLevel] {
		level, format := next.Config.Log.Level, r.now.Config.Log.Format
		r.gate.set(level)
		_ = r.parent.Level(level, format)
		r.now.Config.Log.Level = level
		took(keyLevel)
	}
	if restart[keyPeers] || restart[keyPeerList] {
		err := r.n.SetPeers(cfg.Peer.Peers, cfg.Raftify.Peers, cfg.Raftify.PeerList)
		switch {
		case err == nil:
			r.now.Config.Peer.Peers, r.now.Config.Raftify.PeerList = next.Config.Peer.Peers, next.Config.Raftify.PeerList
			took(keyPeers, keyPeerList)
		case !errors.Is(err, node.ErrOtherPeers):
			return none, err
		}
	}
	if !reflect.DeepEqual(ring, r.ring) {
		restart[keyEncrypt] = true
		if len(ring) > 0 && r.n.SetGossipKeys(ring) == nil {
			r.ring = ring
			took(keyEncrypt)
		}
	} else if reflect.DeepEqual(next.GossipKeys, r.now.GossipKeys) || reflect.DeepEqual(next.GossipKeys, r.ring) {
		delete(restart, keyEncrypt) // the same keys, written otherwise
	}
	r.now.GossipKeys = next.GossipKeys
	if restart[keyRateLimit] || restart[keyRateBurst] {
		r.n.SetRateLimit(next.Config.API.RateLimit, next.Config.API.RateBurst)
		r.now.Config.API.RateLimit, r.now.Config.API.RateBurst = next.Config.API.RateLimit, next.Config.API.RateBurst
		took(keyRateLimit, keyRateBurst)
	}
	if restart[keySyncRate] {
		r.n.SetSyncRate(next.Config.Sync.Rate)
		r.now.Config.Sync.Rate = next.Config.Sync.Rate
		took(keySyncRate)
	}
	if next.TLS != nil && r.now.TLS != nil && !sameCertificate(next, r.now) {
		if err := r.n.SetCertificate(*next.TLS); err != nil {
			return none, err
		}
		r.now.TLS = next.TLS
		r.now.Config.API.TLSCert, r.now.Config.API.TLSKey = next.Config.API.TLSCert, next.Config.API.TLSKey
		restart[keyTLSCert] = true
		took(keyTLSCert, keyTLSKey)
	}
	return wire.Reloaded{Changed: sorted(changed), Restart: sorted(restart)}, nil
}

func sameCertificate(a, b *config.Node) bool {
	return slices.EqualFunc(a.TLS.Certificate, b.TLS.Certificate, bytes.Equal)
}

func sorted(set map[string]bool) []string {
	list := slices.Sorted(maps.Keys(set))
	if list == nil {
		list = []string{}
	}
	return list
}

func parseRing(texts []string) ([][]byte, error) {
	var ring [][]byte
	for _, text := range texts {
		key, err := hex.DecodeString(text)
		if err != nil {
			return nil, errors.New("gossip keys: not hex digits")
		}
		ring = append(ring, key)
	}
	if err := config.CheckSecret([]byte(strings.Join(texts, ","))); err != nil {
		return nil, fmt.Errorf("gossip keys: %w", err)
	}
	return ring, nil
}

// settings is a configuration as full keys and their values; a list is one value.
func settings(c *config.Config) map[string]any {
	flat := map[string]any{}
	var walk func(prefix string, v any)
	walk = func(prefix string, v any) {
		section, ok := v.(map[string]any)
		if !ok {
			flat[prefix] = v
			return
		}
		for key, v := range section {
			if prefix != "" {
				key = prefix + "." + key
			}
			walk(key, v)
		}
	}
	var tree map[string]any
	data, err := json.Marshal(c)
	if err == nil {
		err = json.Unmarshal(data, &tree)
	}
	if err != nil {
		panic(fmt.Sprintf("baton: invariant broken: a configuration is no JSON: %v", err))
	}
	walk("", tree)
	return flat
}
