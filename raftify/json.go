package raftify

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/baton-ha/baton/raftify/core"
)

const (
	maxConfigBytes = 1 << 20
	maxKeyBytes    = 4 << 10
)

// LoadConfig reads a raftify.json. See ParseConfig; paths of key files are relative to the file's folder.
func LoadConfig(path string) (Config, error) {
	data, err := readSmall(path, maxConfigBytes)
	if err != nil {
		return Config{}, fmt.Errorf("load config: %w", err)
	}
	c, err := ParseConfig(data, filepath.Dir(path))
	if err != nil {
		return Config{}, fmt.Errorf("load config %s: %w", path, err)
	}
	return c, nil
}

// ParseConfig reads the text of a raftify.json and checks it with Validate. What a key does not say is as in
// DefaultConfig. Unknown keys and keys that stand twice are refused, and the error names every problem. The keys are
//
//	id              the node's name
//	max_nodes       see Config.MaxNodes
//	expect          see Config.Expect
//	encrypt         the gossip key, in hex or as file:PATH (relative to dir); or a list of them: the first is used,
//	                the others are accepted from nodes that still use them
//	performance     see TimingOf
//	log_level       DEBUG, INFO, WARN or ERROR
//	bind_addr, bind_port, advertise_addr
//	peer_list       the gossip addresses of all nodes, this one included, each as ID@HOST:PORT or all as HOST:PORT
//	kick_after      a duration such as "10m"; "0" or "off" is never
//
// Where peer_list has no ids, an address is also the id of its node in the cluster, and id is then only a name for people:
// Config.ID is this node's address in the list.
func ParseConfig(data []byte, dir string) (Config, error) {
	p := parser{dir: dir, cfg: DefaultConfig()}
	p.object(data)
	if len(p.errs) == 0 {
		p.peers()
	}
	if len(p.errs) == 0 {
		p.fail(p.cfg.Validate())
	}
	if err := errors.Join(p.errs...); err != nil {
		return Config{}, err
	}
	return p.cfg, nil
}

type parser struct {
	dir  string
	cfg  Config
	list []string
	errs []error
}

func (p *parser) fail(err error) {
	if err != nil {
		p.errs = append(p.errs, err)
	}
}

// object reads the keys of the one object that a file is.
func (p *parser) object(data []byte) {
	d := json.NewDecoder(bytes.NewReader(data))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		p.fail(errors.New("not a JSON object"))
		return
	}
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			p.fail(fmt.Errorf("not JSON: %w", err))
			return
		}
		key, _ := t.(string)
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			p.fail(fmt.Errorf("%s: not JSON: %w", key, err))
			return
		}
		if seen[key] {
			p.fail(fmt.Errorf("%s: key stands twice", key))
		}
		seen[key] = true
		p.key(key, raw)
	}
	if _, err := d.Token(); err != nil {
		p.fail(fmt.Errorf("not JSON: %w", err))
	} else if _, err := d.Token(); !errors.Is(err, io.EOF) {
		p.fail(errors.New("something follows the object"))
	}
}

func (p *parser) key(key string, raw json.RawMessage) {
	c := &p.cfg
	switch key {
	case "id":
		decode(p, key, "a text", raw, (*string)(&c.ID))
	case "max_nodes":
		decode(p, key, "a whole number", raw, &c.MaxNodes)
	case "expect":
		decode(p, key, "a whole number", raw, &c.Expect)
	case "encrypt":
		p.encrypt(raw)
	case "performance":
		decode(p, key, "a whole number", raw, &c.Performance)
	case "log_level":
		decode(p, key, "a text", raw, &c.LogLevel)
	case "bind_addr":
		decode(p, key, "a text", raw, &c.BindAddr)
	case "bind_port":
		decode(p, key, "a whole number", raw, &c.BindPort)
	case "advertise_addr":
		decode(p, key, "a text", raw, &c.AdvertiseAddr)
	case "peer_list":
		decode(p, key, "a list of addresses", raw, &p.list)
	case "kick_after":
		text := ""
		if decode(p, key, `a duration such as "10m"`, raw, &text) {
			if text == "off" {
				text = "0"
			}
			d, err := time.ParseDuration(text)
			if err != nil {
				p.fail(fmt.Errorf("kick_after is %q: must be a duration such as \"10m\"", text))
			}
			c.KickAfter = d
		}
	default:
		p.fail(fmt.Errorf("%s: unknown key", key))
	}
}

func decode[T any](p *parser, key, want string, raw json.RawMessage, v *T) bool {
	if string(raw) == "null" || json.Unmarshal(raw, v) != nil {
		p.fail(fmt.Errorf("%s: must be %s", key, want))
		return false
	}
	return true
}

func (p *parser) encrypt(raw json.RawMessage) {
	var texts []string
	one := ""
	if json.Unmarshal(raw, &one) == nil {
		texts = []string{one}
	} else if json.Unmarshal(raw, &texts) != nil {
		p.fail(errors.New("encrypt: must be a key or a list of keys, in hex or as file:PATH"))
		return
	}
	for i, text := range texts {
		key, err := p.secret(text)
		switch {
		case err != nil:
			p.fail(err)
		case i == 0:
			p.cfg.Encrypt = key
		default:
			p.cfg.EncryptAlso = append(p.cfg.EncryptAlso, key)
		}
	}
}

// secret never puts a key into an error.
func (p *parser) secret(text string) ([]byte, error) {
	if path, ok := strings.CutPrefix(text, "file:"); ok {
		if !filepath.IsAbs(path) {
			path = filepath.Join(p.dir, path)
		}
		b, err := readSmall(path, maxKeyBytes)
		if err != nil {
			return nil, fmt.Errorf("encrypt: %w", err)
		}
		text = strings.TrimSpace(string(b))
	}
	key, err := hex.DecodeString(text)
	if err != nil {
		return nil, errors.New("encrypt: must be 32, 48 or 64 hex digits, or file:PATH of a file that holds them")
	}
	return key, nil
}

// peers makes the ids and addresses of peer_list.
func (p *parser) peers() {
	named := 0
	for _, entry := range p.list {
		id, addr, ok := strings.Cut(entry, "@")
		if ok {
			named++
		} else {
			id, addr = entry, entry
		}
		p.cfg.Peers = append(p.cfg.Peers, core.Peer{ID: core.NodeID(id), Addr: addr})
		p.cfg.PeerList = append(p.cfg.PeerList, addr)
	}
	switch {
	case named > 0 && named < len(p.list):
		p.fail(errors.New("peer_list: either all entries have the form ID@HOST:PORT or none"))
	case named == 0 && len(p.list) > 0:
		own := net.JoinHostPort(p.cfg.BindAddr, strconv.Itoa(p.cfg.BindPort))
		if p.cfg.AdvertiseAddr != "" {
			own = p.cfg.advertised()
		}
		if !slices.Contains(p.list, own) {
			p.fail(fmt.Errorf("peer_list: this node's own address %s must be in it", own))
		}
		p.cfg.ID = core.NodeID(own)
	}
}

func readSmall(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return b, nil
}
