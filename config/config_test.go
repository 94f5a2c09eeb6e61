package config

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

// testCluster writes a cluster of n nodes whose keys follow from a fixed source, and returns its folder.
func testCluster(t *testing.T, opts InitOptions) string {
	t.Helper()
	opts.Out = filepath.Join(t.TempDir(), "cluster")
	opts.Rand = &counter{}
	opts.Now = time.Date(2026, 1, 2, 3, 4, 5, 678, time.FixedZone("east", 3600))
	if _, err := Init(opts); err != nil {
		t.Fatal(err)
	}
	return opts.Out
}

// counter is a source of bytes that are different enough and always the same.
type counter struct{ n uint32 }

func (c *counter) Read(p []byte) (int, error) {
	for i := range p {
		c.n = c.n*1664525 + 1013904223
		p[i] = byte(c.n >> 24)
	}
	return len(p), nil
}

// validJSON is the config of node1 of a new three-node cluster.
func validJSON(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(testCluster(t, InitOptions{Nodes: 3}), "node1", "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// edited is valid with the value at a dotted path replaced; a nil value takes the key away.
func edited(t *testing.T, valid []byte, path string, value any) []byte {
	t.Helper()
	var tree map[string]any
	if err := json.Unmarshal(valid, &tree); err != nil {
		t.Fatal(err)
	}
	at := tree
	keys := strings.Split(path, ".")
	for _, key := range keys[:len(keys)-1] {
		next, ok := at[key].(map[string]any)
		if !ok {
			next = map[string]any{}
			at[key] = next
		}
		at = next
	}
	if at[keys[len(keys)-1]] = value; value == nil {
		delete(at, keys[len(keys)-1])
	}
	data, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestParseKeepsWhatInitWrote(t *testing.T) {
	cfg, err := Parse(validJSON(t), "/etc/baton", nil)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.ID != "node1" || cfg.Raftify.ID != "node1" || cfg.Raftify.Expect != 3 || cfg.API.Listen != "127.0.0.1:7002" {
		t.Errorf("unexpected config: %+v", cfg)
	}
	if got := cfg.Raftify.KickAfter.Std(); got != 10*time.Minute {
		t.Errorf("kick_after = %v", got)
	}
	if cfg.Limits != DefaultConfig().Limits {
		t.Errorf("limits = %+v", cfg.Limits)
	}
	if cfg.State != DefaultConfig().State || cfg.Retention != (Retention{}) {
		t.Errorf("state = %+v, retention = %+v", cfg.State, cfg.Retention)
	}
	want := Paths{
		DataDir: "/etc/baton/data", StateDir: "/etc/baton", Genesis: "/etc/genesis.json",
		NodeKey: "/etc/baton/keys/node.json", ProcessorKey: "/etc/baton/keys/processor.json",
	}
	if got := cfg.Paths(); got != want {
		t.Errorf("paths = %+v, want %+v", got, want)
	}
}

func TestParseRefuses(t *testing.T) {
	valid := validJSON(t)
	var tree struct {
		Peer PeerLink `json:"peer"`
	}
	if err := json.Unmarshal(valid, &tree); err != nil {
		t.Fatal(err)
	}
	peers := func(change func(p []Peer) []Peer) []Peer {
		return change(append([]Peer(nil), tree.Peer.Peers...))
	}
	list := []any{"127.0.0.1:7000", "127.0.0.1:7010", "127.0.0.1:7020"}
	tests := []struct {
		path  string
		value any
		want  string // must stand in the error
	}{
		{"id", "", "id is"},
		{"id", "a b", "id is"},
		{"id", strings.Repeat("x", 64), "id is"},
		{"id", "node9", "id is \"node9\": want one of the ids in peer.peers"},
		{"id", 7, "id: want a text in quotes"},
		{"roles", []any{}, "roles is"},
		{"roles", []any{"king"}, "roles[0] is \"king\""},
		{"roles", []any{"processor", "processor"}, "roles[1] is"},
		{"roles", "processor", "roles: want a list"},
		{"data_dir", "", "data_dir is"},
		{"genesis_file", "", "genesis_file is"},
		{"keys.node", "", "keys.node is"},
		{"keys.processor", "", "keys.processor is"},
		{"keys.other", "x", "keys.other: unknown key"},
		{"keys", nil, ""},
		{"keys", []any{}, "keys: want an object, got a list"},
		{"surprise", 1, "surprise: unknown key"},
		{"ID", "node1", "ID: unknown key"},
		{"raftify.bind_prot", 1, "raftify.bind_prot: unknown key"},
		{"raftify.id", "node2", "raftify.id is"},
		{"raftify.max_nodes", 0, "raftify.max_nodes is 0"},
		{"raftify.max_nodes", 2, "raftify.max_nodes is 2: want at least the 3 nodes"},
		{"raftify.max_nodes", 65, "raftify.max_nodes is 65: want 1 to 64"},
		{"raftify.max_nodes", "3", "raftify.max_nodes: want a whole number"},
		{"raftify.max_nodes", 3.5, "raftify.max_nodes: want a whole number"},
		{"raftify.expect", 1, "raftify.expect is 1: want more than half"},
		{"raftify.expect", 2, ""},
		{"raftify.expect", 4, "raftify.expect is 4"},
		{"raftify.expect", 0, "raftify.expect is 0"},
		{"raftify.encrypt", "", "raftify.encrypt is"},
		{"raftify.encrypt", "file:", "raftify.encrypt is"},
		{"raftify.encrypt", "abcd", "raftify.encrypt is"},
		{"raftify.encrypt", strings.Repeat("zz", 32), "raftify.encrypt is"},
		{"raftify.encrypt", strings.Repeat("ab", 32), ""},
		{"raftify.encrypt", strings.Repeat("ab", 24), ""},
		{"raftify.encrypt", strings.Repeat("ab", 16), ""},
		{"raftify.encrypt", strings.Repeat("ab", 17), "raftify.encrypt is"},
		{"raftify.performance", 0, "raftify.performance is 0: want 1 to"},
		{"raftify.performance", -1, "raftify.performance is -1"},
		{"raftify.log_level", "LOUD", "raftify.log_level is"},
		{"raftify.log_level", "debug", ""},
		{"raftify.bind_addr", "", "raftify.bind_addr is"},
		{"raftify.bind_addr", "127.0.0.1:7000", "raftify.bind_addr is"},
		{"raftify.bind_addr", "0.0.0.0", "raftify.advertise_addr is"},
		{"raftify.bind_port", 0, "raftify.bind_port is 0"},
		{"raftify.bind_port", 65536, "raftify.bind_port is 65536"},
		{"raftify.bind_port", 7099, "raftify.peer_list is"},
		{"raftify.advertise_addr", "127.0.0.1:7000", ""},
		{"raftify.advertise_addr", "127.0.0.1:7010", "both lists have one order"},
		{"raftify.advertise_addr", "1.2.3.4:0", "raftify.advertise_addr is"},
		{"raftify.advertise_addr", "10.1.1.1", "raftify.peer_list is"},
		{"raftify.peer_list", []any{}, "raftify.peer_list is"},
		{"raftify.peer_list", []any{list[0], list[1], list[1]}, "raftify.peer_list[2] is"},
		{"raftify.peer_list", []any{list[0], list[1], "127.0.0.1"}, "raftify.peer_list[2] is"},
		{"raftify.peer_list", []any{list[0], list[1], "0.0.0.0:7020"}, "raftify.peer_list[2] is"},
		{"raftify.peer_list", list[:2], "peer.peers is \"3 nodes\": want the same 2 nodes"},
		{"raftify.peer_list", list[1:], "this node's own gossip address 127.0.0.1:7000"},
		{"raftify.peer_list", []any{list[1], list[0], list[2]}, "both lists have one order"},
		{"raftify.peer_list", []any{list[0], list[2], list[1]}, ""},
		{"raftify.kick_after", 600, "raftify.kick_after: want a duration in quotes"},
		{"raftify.kick_after", "600", "raftify.kick_after: \"600\" is not a duration"},
		{"raftify.kick_after", "-1s", "raftify.kick_after is -1s"},
		{"raftify.kick_after", "9000h", "raftify.kick_after is 9000h"},
		{"peer.listen", "127.0.0.1", "peer.listen is"},
		{"peer.listen", "127.0.0.1:0", "peer.listen is"},
		{"peer.listen", ":7001", ""},
		{"peer.listen", "127.0.0.1:7000", "peer.listen is \"127.0.0.1:7000\": want another port"},
		{"peer.advertise", "nowhere", "peer.advertise is"},
		{"peer.peers", []any{}, "peer.peers is"},
		{"peer.peers", peers(func(p []Peer) []Peer { p[1].ID = "node1"; return p }), "peer.peers[1].id is"},
		{"peer.peers", peers(func(p []Peer) []Peer { p[1].ID = "../x"; return p }), "peer.peers[1].id is"},
		{"peer.peers", peers(func(p []Peer) []Peer { p[1].Addr = p[0].Addr; return p }), "peer.peers[1].addr is"},
		{"peer.peers", peers(func(p []Peer) []Peer { p[1].Addr = "x"; return p }), "peer.peers[1].addr is"},
		{"peer.peers", peers(func(p []Peer) []Peer {
			p[1].PublicKey = strings.ToUpper(p[0].PublicKey)
			return p
		}), "peer.peers[1].public_key is"},
		{"peer.peers", peers(func(p []Peer) []Peer { p[2].PublicKey = "ab"; return p }), "peer.peers[2].public_key is"},
		{"peer.peers", []any{map[string]any{"name": "node1"}}, "peer.peers[0].name: unknown key"},
		{"api.listen", "", "api.listen is"},
		{"api.listen", "127.0.0.1:99999", "api.listen is"},
		{"api.listen", "0.0.0.0:7001", "api.listen is \"0.0.0.0:7001\": want another port than peer.listen"},
		{"api.listen", nil, ""},
		{"log.level", "loud", "log.level is"},
		{"log.format", "xml", "log.format is"},
		{"limits.body_bytes", 2 << 20, "limits.body_bytes is"},
		{"limits.mempool_txs", 0, "limits.mempool_txs is 0"},
		{"limits.connections", -5, "limits.connections is -5"},
		{"limits.state_cache_bytes", 1000, "limits.state_cache_bytes is 1000"},
		{"state.keep", 0, "state.keep is 0"},
		{"state.archive", 1, "state.archive"},
		{"state.checkpoint_bytes", 5, "state.checkpoint_bytes is 5"},
		{"retention.blocks", 10, "retention.blocks is 10: want 1000"},
		{"retention.receipts", 5000, "retention.receipts is 5000: want 0"},
		{"limits.connections", 5000, "limits.connections is 5000: want more than"},
		{"sync.mode", "fast", "sync.mode is \"fast\": want state, block, archive or from:HEIGHT"},
		{"sync.mode", "from:0", "sync.mode is"},
		{"sync.mode", "from:x", "sync.mode is"},
		{"sync.mode", "from:77", ""},
		{"sync.mode", "archive", ""},
		{"sync.pin", map[string]any{"height": 5, "hash": strings.Repeat("ab", 32)}, ""},
		{"sync.pin", map[string]any{"height": 5}, "sync.pin.hash is"},
		{"sync.pin", map[string]any{"height": 5, "hash": strings.Repeat("00", 32)}, "sync.pin.hash is"},
		{"sync.pin", map[string]any{"hash": strings.Repeat("ab", 32)}, "sync.pin.height is 0"},
		{"sync.pin", map[string]any{"height": -5, "hash": strings.Repeat("ab", 32)}, "sync.pin.height is -5"},
		{"sync.pin", map[string]any{"block": 5}, "sync.pin.block: unknown key"},
		{"sync.listen", "127.0.0.1:7003", ""},
		{"sync.listen", "127.0.0.1", "sync.listen is"},
		{"sync.listen", "127.0.0.1:7002", "sync.listen is \"127.0.0.1:7002\": want another port than api.listen"},
		{"sync.listen", ":7001", "want another port than peer.listen"},
		{"sync.listen", ":7000", "want another port than raftify.bind_port"},
		{"sync.rate", 0, ""},
		{"sync.rate", 1000, "sync.rate is 1000: want 65536"},
		{"sync.rate", -1, "sync.rate is -1"},
		{"sync.sources", []any{"http://10.0.0.1:7003", "https://sync.example.org/chain"}, ""},
		{"sync.sources", []any{"http://10.0.0.1:7003", "http://10.0.0.1:7003"}, "sync.sources[1] is"},
		{"sync.sources", []any{"10.0.0.1:7003"}, "sync.sources[0] is"},
		{"sync.sources", []any{"ftp://10.0.0.1"}, "sync.sources[0] is"},
		{"sync.sources", []any{"http://10.0.0.1?x=1"}, "sync.sources[0] is"},
		{"timing.heartbeat", "0.5ms", "timing.heartbeat is"},
		{"timing.heartbeat", "20ms", ""},
		{"timing.heartbeat", "199ms", "timing: lease of"},
		{"timing.election_timeout", "2h", "timing.election_timeout is"},
		{"timing", map[string]any{"heartbeat": "10ms", "election_timeout": "90ms"}, ""},
		{"timing", map[string]any{"heartbeat": 10}, "timing.heartbeat: want a duration"},
	}
	for _, tt := range tests {
		value, _ := json.Marshal(tt.value)
		t.Run(tt.path+"="+string(value), func(t *testing.T) {
			_, err := Parse(edited(t, valid, tt.path, tt.value), "/x", nil)
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("error %v, want it to have %q", err, tt.want)
			}
		})
	}
}

func TestParseRefusesText(t *testing.T) {
	valid := string(validJSON(t))
	tests := []struct {
		name, text, want string
		is               error
	}{
		{"empty", "", "not JSON", nil},
		{"not json", "{\n\n  \"id\": ,}", "line 3: not JSON", nil},
		{"list", "[]", "the file: want an object", nil},
		{"null", "null", "the file: want an object, got null", nil},
		{"trailing", valid + "{}", "not JSON", nil},
		{"not utf-8", "{\"id\":\"\xff\"}", "not UTF-8", nil},
		{"duplicate", strings.Replace(valid, `"id": "node1"`, `"id": "node1", "id": "node2"`, 1), "id: key stands twice", ErrDuplicateKey},
		{"duplicate below", strings.Replace(valid, `"listen": "127.0.0.1:7002"`, `"listen": "127.0.0.1:7002", "listen": ""`, 1), "api.listen: key stands twice", ErrDuplicateKey},
		{"duplicate in list", strings.Replace(valid, `"addr": "127.0.0.1:7011"`, `"addr": "127.0.0.1:7011", "addr": ""`, 1), "peer.peers[1].addr: key stands twice", ErrDuplicateKey},
		{"unknown twice", strings.Replace(valid, `"id": "node1"`, `"id": "node1", "a": 1, "b": {"c": [1]}`, 1), "b: unknown key", ErrUnknownKey},
		{"deep", strings.Repeat("[", 100) + strings.Repeat("]", 100), "nested deeper", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse([]byte(tt.text), "/x", nil)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want it to have %q", err, tt.want)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("error %v is not %v", err, tt.is)
			}
		})
	}
}

func TestValidateJoinsAllProblems(t *testing.T) {
	cfg := Config{}
	err := cfg.Validate()
	for _, field := range []string{"id", "roles", "data_dir", "genesis_file", "keys.node", "raftify.expect", "peer.listen", "api.listen", "log.level", "limits.peer_queue"} {
		if !strings.Contains(err.Error(), field+" is") {
			t.Errorf("nothing about %s in %v", field, err)
		}
	}
	var fe *FieldError
	if !errors.As(err, &fe) || fe.Field != "id" || fe.Want == "" {
		t.Errorf("first problem is %+v", fe)
	}
}

func TestEnvironmentOverrides(t *testing.T) {
	valid := validJSON(t)
	env := map[string]string{
		"BATON_ID":                 "node2",
		"BATON_RAFTIFY_BIND_PORT":  "7010",
		"BATON_PEER_LISTEN":        "127.0.0.1:7011",
		"BATON_API_LISTEN":         ":8080",
		"BATON_API_PAGE":           "false",
		"BATON_DATA_DIR":           "/var/lib/baton",
		"BATON_STATE_DIR":          "state",
		"BATON_RAFTIFY_KICK_AFTER": "1h",
		"BATON_RAFTIFY_PEER_LIST":  "127.0.0.1:7000, 127.0.0.1:7010",
		"BATON_RAFTIFY_EXPECT":     "2",
		"BATON_LOG_LEVEL":          "",
		"BATON_LIMITS_MEMPOOL_TXS": "9",
		"BATON_PEER_PEERS": `[{"id":"node1","addr":"127.0.0.1:7001","public_key":"` + strings.Repeat("01", 32) + `"},
			{"id":"node2","addr":"127.0.0.1:7011","public_key":"` + strings.Repeat("02", 32) + `"}]`,
		"BATON_SERVICE_HOST": "made up by a container platform",
	}
	cfg, err := Parse(valid, "/etc/baton", func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	if cfg.ID != "node2" || cfg.Raftify.BindPort != 7010 || cfg.API.Listen != ":8080" || cfg.API.Page || cfg.Log.Level != "info" ||
		cfg.Raftify.KickAfter.Std() != time.Hour || cfg.Limits.MempoolTxs != 9 || len(cfg.Peer.Peers) != 2 ||
		!reflect.DeepEqual(cfg.Raftify.PeerList, []string{"127.0.0.1:7000", "127.0.0.1:7010"}) {
		t.Errorf("config = %+v", cfg)
	}
	if p := cfg.Paths(); p.DataDir != "/var/lib/baton" || p.StateDir != "/etc/baton/state" {
		t.Errorf("paths = %+v", p)
	}
}

// A file that was written before there was a page has one.
func TestPageIsOnUnlessSaid(t *testing.T) {
	for text, want := range map[string]bool{
		`"listen": "127.0.0.1:7002"`: true, `"listen": "127.0.0.1:7002", "page": false`: false, `"listen": "127.0.0.1:7002", "page": true`: true,
	} {
		valid := regexp.MustCompile(`"listen": "127.0.0.1:7002"(,\s*"page": true)?`).ReplaceAllString(string(validJSON(t)), text)
		cfg, err := Parse([]byte(valid), "/x", nil)
		if err != nil || cfg.API.Page != want {
			t.Errorf("%s: %v %v", text, cfg, err)
		}
	}
}

func TestEnvironmentErrorsNameTheVariable(t *testing.T) {
	valid := validJSON(t)
	for name, tt := range map[string]struct{ value, want string }{
		"BATON_RAFTIFY_BIND_PORT":  {"many", "raftify.bind_port"},
		"BATON_RAFTIFY_KICK_AFTER": {"10", "not a duration"},
		"BATON_PEER_PEERS":         {`[{"nome":"x"}]`, "unknown key"},
		"BATON_API_PAGE":           {"perhaps", "true or false"},
	} {
		_, err := Parse(valid, "/x", func(n string) string {
			if n == name {
				return tt.value
			}
			return ""
		})
		if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s=%s: %v", name, tt.value, err)
		}
	}
	_, err := Parse(valid, "/x", func(n string) string {
		if n == "BATON_API_LISTEN" {
			return "nowhere"
		}
		return ""
	})
	if err == nil || !strings.Contains(err.Error(), "api.listen") {
		t.Errorf("BATON_API_LISTEN: %v", err)
	}
}

// Every key has a variable, and no two keys share one.
func TestEnvironmentNamesAreUnique(t *testing.T) {
	seen := map[string]string{}
	var walk func(typ reflect.Type, path string)
	walk = func(typ reflect.Type, path string) {
		for f := range typ.Fields() {
			if !f.IsExported() {
				continue
			}
			key := strings.TrimPrefix(path+"."+tagOf(f), ".")
			if tagOf(f) == "" || tagOf(f) != strings.ToLower(tagOf(f)) || strings.Contains(tagOf(f), ".") {
				t.Errorf("field %s has the tag %q", f.Name, tagOf(f))
			}
			if f.Type.Kind() == reflect.Struct {
				walk(f.Type, key)
				continue
			}
			name := EnvName(key)
			if other, taken := seen[name]; taken {
				t.Errorf("%s is the variable of %s and of %s", name, other, key)
			}
			seen[name] = key
		}
	}
	walk(reflect.TypeFor[Config](), "")
	if len(seen) < 30 {
		t.Errorf("only %d variables", len(seen))
	}
}

func TestLoadNamesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	if _, err := Load(path); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("missing file: %v", err)
	}
	if err := os.WriteFile(path, make([]byte, maxConfigBytes+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), path) {
		t.Errorf("huge file: %v", err)
	}
}

func TestKickAfterOff(t *testing.T) {
	for _, text := range []string{"0", "0s", "off"} {
		cfg, err := Parse(edited(t, validJSON(t), "raftify.kick_after", text), "/etc/baton", nil)
		if err != nil || cfg.Raftify.KickAfter != 0 {
			t.Errorf("%q: %v, %v", text, cfg, err)
		}
	}
}

func TestDurationText(t *testing.T) {
	for d, want := range map[time.Duration]string{
		10 * time.Minute: "10m", time.Hour: "1h", 90 * time.Second: "1m30s", 150 * time.Millisecond: "150ms",
		time.Second: "1s", 0: "0s", 10 * time.Hour: "10h", 100 * time.Second: "1m40s",
	} {
		text, _ := Duration(d).MarshalText()
		var back Duration
		if err := back.UnmarshalText(text); err != nil || back.Std() != d || string(text) != want {
			t.Errorf("%v is written %s and read %v, %v", d, text, back.Std(), err)
		}
	}
}
