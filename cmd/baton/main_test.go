package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// asBaton is set in the environment of processes that tests start: they are baton itself.
const asBaton = "TEST_AS_BATON"

// TestMain makes the test binary a baton for the commands that start another process of themselves.
func TestMain(m *testing.M) {
	if os.Getenv(asBaton) != "" {
		main()
		return
	}
	if err := os.Setenv(asBaton, "1"); err != nil {
		panic(err)
	}
	m.Run()
}

// baton runs one command line as main would.
func baton(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = execute(t.Context(), args, &out, &errs)
	if (code == 0) != (errs.Len() == 0) {
		t.Errorf("baton %v: status %d with stderr %q", args, code, errs.String())
	}
	return code, out.String(), errs.String()
}

// good is the stdout of a command that must succeed.
func good(t *testing.T, args ...string) string {
	t.Helper()
	code, stdout, stderr := baton(t, args...)
	if code != 0 {
		t.Fatalf("baton %v: status %d, %s", args, code, stderr)
	}
	return stdout
}

// refused is the one line of a command that must fail.
func refused(t *testing.T, args ...string) string {
	t.Helper()
	code, stdout, stderr := baton(t, args...)
	if code != 1 {
		t.Errorf("baton %v: status %d, stdout %q", args, code, stdout)
	}
	if strings.Count(stderr, "\n") != 1 || !strings.HasSuffix(stderr, "\n") || !strings.HasPrefix(stderr, "baton: ") {
		t.Errorf("baton %v: stderr is not one line: %q", args, stderr)
	}
	return stderr
}

func mustHave(t *testing.T, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("%q does not have %q", text, want)
		}
	}
}

// cluster lays out a new cluster and returns its folder and its first config.
func cluster(t *testing.T, args ...string) (dir, configFile string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "cluster")
	good(t, append([]string{"init", "--out", dir}, args...)...)
	return dir, filepath.Join(dir, "node1", "config.json")
}

func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s.URL
}

// closedURL is an address at which nobody listens.
func closedURL() string {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	return s.URL
}

func readJSON(t *testing.T, text string, v any) {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(text))
	if err := dec.Decode(v); err != nil || dec.More() {
		t.Fatalf("not one JSON value: %v: %s", err, text)
	}
}

func TestEveryCommandHasHelp(t *testing.T) {
	root := newRoot()
	var walk func(path []string)
	seen := 0
	walk = func(path []string) {
		seen++
		mustHave(t, good(t, append(path, "--help")...), "Usage:", "baton "+strings.Join(path, " "))
		cmd, _, err := root.Find(path)
		if err != nil {
			t.Fatal(err)
		}
		if cmd.Short == "" {
			t.Errorf("%v has no short help", path)
		}
		for _, sub := range cmd.Commands() {
			walk(append(slices.Clip(path), sub.Name()))
		}
	}
	for _, cmd := range root.Commands() {
		walk([]string{cmd.Name()})
	}
	if seen < 15 {
		t.Errorf("only %d commands", seen)
	}
	mustHave(t, good(t), "Usage:", "init", "status")
}

func TestUsageErrorsAreOneLine(t *testing.T) {
	_, conf := cluster(t)
	for _, tt := range []struct {
		args string
		want string
	}{
		{"bogus", "bogus"},
		{"stat", "stat"},
		{"key", "want one of new, show"},
		{"key bogus", "unknown command \"bogus\""},
		{"leader bogus", "want one of show, transfer"},
		{"--bogus", "--bogus"},
		{"init", "out"},
		{"init --out x --nodes zero", "--nodes"},
		{"init --out x --nodes 0", "--nodes is 0"},
		{"init --out x --fund abc", "--fund is \"abc\""},
		{"init --out x --fund ab=1", "fund is \"ab\""},
		{"init --out x --fund a=1 --fund A=2", "twice"},
		{"init --out x --listeners 3/2", "--listeners"},
		{"init --out x --approvers 3", "--approvers"},
		{"init extra --out x", "extra"},
		{"config check", "config"},
		{"config check --config none.json", "none.json"},
		{"key show", "key"},
		{"key show --key none.json", "none.json"},
		{"status", "api"},
		{"status --api x --config y", "api"},
		{"status --api ftp://x", "ftp://x"},
		{"status --config none.json", "none.json"},
		{"status --timeout 0s --api http://127.0.0.1:1", "--timeout is 0s"},
		{"block show", "arg"},
		{"block show high --api http://127.0.0.1:1", "\"high\" is no height"},
		{"block show -1 --api http://127.0.0.1:1", "-1"},
		{"block verify", "genesis"},
		{"block verify --genesis none.json --data-dir none", "none.json"},
		{"leader show", "config"},
		{"leader show --config " + conf, "no node serves the admin socket"},
		{"member list --config " + conf, "no node serves the admin socket"},
		{"member add --id node4 --addr 10.0.0.4:7000 --config " + conf, "need --key"},
		{"member add --id node4 --addr 10.0.0.4:7000 --key 12zz --config " + conf, "64 hex digits"},
		{"member add --id node4 --key " + receiver + " --config " + conf, "--key needs --addr"},
		{"member add --config " + conf, "required flag(s) \"id\""},
		{"member remove --id= --config " + conf, "name the member"},
		{"tx transfer --api http://x", "required"},
		{"tx transfer --api http://x --key k --to ab --amount 1", "--to"},
		{"tx transfer --api http://x --key k --amount 1.5 --to " + strings.Repeat("ab", 32), "--amount"},
		{"tx transfer --api http://x --key none.json --amount 1 --to " + strings.Repeat("ab", 32), "none.json"},
		{"tx send --api http://x --key k --message []", "--message"},
		{"tx send --api http://x --key k --message {}", "--message"},
	} {
		mustHave(t, refused(t, strings.Fields(tt.args)...), tt.want)
	}
	if _, err := os.Stat("x"); err == nil {
		t.Error("a refused init wrote something")
	}
}

func TestVersion(t *testing.T) {
	mustHave(t, good(t, "version"), "baton dev (go")
	var v map[string]string
	readJSON(t, good(t, "version", "--json"), &v)
	if v["version"] != "dev" {
		t.Errorf("version = %v", v)
	}
}

func TestInitAndConfigCheck(t *testing.T) {
	dir, conf := cluster(t, "--nodes", "5", "--base-port", "8000", "--chain-id", "here", "--listeners", "2/3")
	mustHave(t, good(t, "config", "check", "--config", conf), "node1", "5 nodes", "here")
	var res struct {
		OK      bool   `json:"ok"`
		ChainID string `json:"chain_id"`
		Config  struct {
			ID  string `json:"id"`
			API struct {
				Listen string `json:"listen"`
			} `json:"api"`
		} `json:"config"`
	}
	readJSON(t, good(t, "config", "check", "--json", "--config", filepath.Join(dir, "node5/config.json")), &res)
	if !res.OK || res.ChainID != "here" || res.Config.ID != "node5" || res.Config.API.Listen != "127.0.0.1:8042" {
		t.Errorf("config check = %+v", res)
	}
	mustHave(t, refused(t, "init", "--out", dir), dir, "not empty")

	var made struct {
		Configs []string `json:"configs"`
		APIURLs []string `json:"api_urls"`
	}
	readJSON(t, good(t, "init", "--json", "--hosts", "10.0.0.1,10.0.0.2", "--out", filepath.Join(t.TempDir(), "h")), &made)
	if len(made.Configs) != 2 || made.APIURLs[1] != "http://10.0.0.2:7002" {
		t.Errorf("init = %+v", made)
	}
}

// init ends with what to type next, which depends on how the files are laid out.
func TestInitSaysHowToStart(t *testing.T) {
	for name, tt := range map[string]struct {
		args []string
		want string // DIR is the folder
	}{
		"loopback": {nil, "  baton run --config DIR/node2/config.json    # http://127.0.0.1:7012"},
		"hosts":    {[]string{"--hosts", "10.0.0.1,10.0.0.2,10.0.0.3"}, "  baton run --config DIR/node2/config.json    # http://10.0.0.2:7002"},
		"units of one host": {
			[]string{"--systemd"}, "  cp -a DIR/node2 /etc/baton/ && systemctl enable --now baton@node2    # http://127.0.0.1:7012",
		},
		"units": {
			[]string{"--systemd", "--hosts", "10.0.0.1,10.0.0.2,10.0.0.3"},
			"  scp -pr DIR/node2/. root@10.0.0.2:/etc/baton/ && ssh root@10.0.0.2 systemctl enable --now baton    # http://10.0.0.2:7002",
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "new")
			mustHave(t, good(t, append([]string{"init", "--out", dir}, tt.args...)...), strings.ReplaceAll(tt.want, "DIR", dir)+"\n")
		})
	}
}

func TestConfigCheckIsOneLineThatNamesTheThing(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(dir, conf string) error
		want  []string
	}{
		"unknown key": {
			func(_, conf string) error { return replace(conf, `"raftify": {`, `"raftify": {"bind_prot": 1,`) },
			[]string{"raftify.bind_prot", "unknown key"},
		},
		"duplicate key": {
			func(_, conf string) error { return replace(conf, `"id": "node1"`, `"id": "node1", "id": "node1"`) },
			[]string{"id", "twice"},
		},
		"bad values": {
			func(_, conf string) error { return replace(conf, `"expect": 3`, `"expect": 1`) },
			[]string{"raftify.expect is 1"},
		},
		"two bad values": {func(_, conf string) error {
			return replace(conf, `"level": "info"`, `"level": "loud"`, `"expect": 3`, `"expect": 9`)
		}, []string{"raftify.expect is 9", "; log.level is \"loud\""}},
		"open key": {
			func(dir, _ string) error { return os.Chmod(filepath.Join(dir, "node1/keys/node.json"), 0o644) },
			[]string{"node1/keys/node.json", "chmod 600"},
		},
		"not a peer": {
			func(_, conf string) error {
				return replace(conf, `"id": "node1",`+"\n  \"roles\"", `"id": "node9", "roles"`)
			},
			[]string{"id is \"node9\"", "peer.peers"},
		},
		"foreign processor key": {func(dir, _ string) error {
			return os.Rename(filepath.Join(dir, "node2/keys/node.json"), filepath.Join(dir, "node1/keys/processor.json"))
		}, []string{"keys/processor.json", "genesis.json"}},
		"no genesis": {
			func(dir, _ string) error { return os.Remove(filepath.Join(dir, "genesis.json")) },
			[]string{"genesis.json", "no such file"},
		},
		"not json": {
			func(_, conf string) error { return replace(conf, `"log": {`, `"log" {`) },
			[]string{"config.json", "not JSON"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, conf := cluster(t)
			if err := tt.spoil(dir, conf); err != nil {
				t.Fatal(err)
			}
			mustHave(t, refused(t, "config", "check", "--config", conf), tt.want...)
		})
	}
}

// replace replaces texts that must be in the file.
func replace(path string, pairs ...string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	changed := strings.NewReplacer(pairs...).Replace(string(data))
	if changed == string(data) {
		return os.ErrInvalid
	}
	return os.WriteFile(path, []byte(changed), 0o600)
}

func TestConfigCheckSeesTheEnvironment(t *testing.T) {
	_, conf := cluster(t)
	t.Setenv("BATON_API_LISTEN", "nowhere")
	mustHave(t, refused(t, "config", "check", "--config", conf), "api.listen is \"nowhere\"")
}

func TestKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "me.json")
	pub := strings.TrimSpace(good(t, "key", "new", "--out", path))
	if len(pub) != 64 {
		t.Errorf("public key %q", pub)
	}
	if shown := strings.TrimSpace(good(t, "key", "show", "--key", path)); shown != pub {
		t.Errorf("shown %q, made %q", shown, pub)
	}
	var shown publicKey
	readJSON(t, good(t, "key", "show", "--json", "--key", path), &shown)
	if shown != (publicKey{"ed25519", pub, path}) {
		t.Errorf("shown %+v", shown)
	}
	before, _ := os.ReadFile(path)
	mustHave(t, refused(t, "key", "new", "--out", path), path, "not overwritten")
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("the key was overwritten")
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	mustHave(t, refused(t, "key", "show", "--key", path), path, "chmod 600")

	printed := filepath.Join(t.TempDir(), "printed.json")
	if err := os.WriteFile(printed, []byte(good(t, "key", "new")), 0o600); err != nil {
		t.Fatal(err)
	}
	good(t, "key", "show", "--key", printed)
}
