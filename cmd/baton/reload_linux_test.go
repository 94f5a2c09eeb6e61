package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"filippo.io/age"

	"github.com/baton-ha/baton/node/api/wire"
)

// edit changes a config.json as an operator does.
func edit(t *testing.T, path string, change func(file map[string]any)) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var file map[string]any
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	change(file)
	if data, err = json.Marshal(file); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// section returns a section of a config.json, which it makes if it is not there.
func section(file map[string]any, name string) map[string]any {
	if s, ok := file[name].(map[string]any); ok {
		return s
	}
	s := map[string]any{}
	file[name] = s
	return s
}

// SIGHUP reaches the worker through its supervisor, which tells the service manager; a broken file changes nothing and is
// one line of the log; `baton reload` answers whoever asks.
func TestReload(t *testing.T) {
	host := ownHost()
	_, conf := cluster(t, "--nodes", "1", "--hosts", host)
	url := at(host)
	manager := playManager(t)
	heard := func(want string) {
		t.Helper()
		manager.told(t, want, func(said string) bool { return strings.HasPrefix(said, want) })
	}
	hangup := func(worker int) {
		t.Helper()
		if err := syscall.Kill(worker, syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		heard("RELOADING=1\nMONOTONIC_USEC=")
		heard("READY=1")
	}
	node := start(t, conf)
	st := awaitStatus(t, url, "it leads", func(st wire.Status) bool { return st.State == wire.StateLeader })
	heard("READY=1")

	edit(t, conf, func(file map[string]any) { section(file, "log")["level"] = "debug" })
	hangup(os.Getpid()) // this process is the supervisor
	awaitStatus(t, url, "an answer that is logged at debug", func(wire.Status) bool { return true })
	edit(t, conf, func(file map[string]any) { section(file, "log")["level"] = "loud" })
	hangup(st.PID) // the worker itself: a terminal that is closed sends it to both
	mustHave(t, refused(t, "reload", "--config", conf), "log.level", "loud")
	edit(t, conf, func(file map[string]any) { section(file, "log")["level"] = "warn" })
	mustHave(t, good(t, "reload", "--config", conf), "changed: log.level")
	mustHave(t, good(t, "reload", "--config", conf), "nothing changed")

	edit(t, conf, func(file map[string]any) {
		section(file, "api")["rate_limit"] = 1
		section(file, "sync")["rate"] = 1 << 20
		section(file, "limits")["open_reads"] = 7
		file["data_dir"] = "elsewhere"
	})
	if err := os.Rename(filepath.Join(filepath.Dir(conf), "keys", "node.json"), filepath.Join(filepath.Dir(conf), "keys", "old.json")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("BATON_DATA_DIR", "data") // where this command finds the admin socket; the node's own environment is older
	mustHave(t, refused(t, "reload", "--config", conf), "node.json")
	if err := os.Rename(filepath.Join(filepath.Dir(conf), "keys", "old.json"), filepath.Join(filepath.Dir(conf), "keys", "node.json")); err != nil {
		t.Fatal(err)
	}
	var done wire.Reloaded
	if err := json.Unmarshal([]byte(good(t, "reload", "--config", conf, "--json")), &done); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(done.Changed, []string{"api.rate_limit", "sync.rate"}) || !slices.Equal(done.Restart, []string{"data_dir", "limits.open_reads"}) {
		t.Errorf("reloaded %+v", done)
	}
	limited := false
	for range 1000 {
		resp, err := http.Get(url + "/v1/status") //nolint:noctx // of a test
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if limited = resp.StatusCode == http.StatusTooManyRequests; limited {
			break
		}
	}
	if !limited {
		t.Error("the limit is not in force")
	}

	profile := filepath.Join(t.TempDir(), "heap")
	good(t, "debug", "pprof", "heap", "--config", conf, "--out", profile)
	if info, err := os.Stat(profile); err != nil || info.Size() == 0 {
		t.Errorf("profile: %v", err)
	}
	mustHave(t, refused(t, "debug", "pprof", "none", "--config", conf, "--out", profile+"2"), "no profile")

	code, log := node.wait(t)
	if code != 0 {
		t.Errorf("status %d, log:\n%s", code, log)
	}
	mustHave(t, log, "configuration read again: changed: log.level", "configuration read again: nothing changed", "DBG ")
	var broken []string
	for line := range strings.Lines(log) {
		if strings.Contains(line, "nothing has changed") {
			broken = append(broken, line)
		}
	}
	if len(broken) != 2 {
		t.Fatalf("%d lines of broken files, want 2:\n%s", len(broken), log)
	}
	mustHave(t, broken[0], "log.level", "loud")
	mustHave(t, broken[1], "node.json")
	if _, after, _ := strings.Cut(log, "changed: api.rate_limit"); strings.Contains(after, "INF ") || strings.Contains(after, "DBG ") {
		t.Errorf("at level warn it logs\n%s", after)
	}
}

// A node without a majority takes new addresses and gossip keys all the same: they may be what it lacks. Who its peers
// are is another matter.
func TestReloadPeersAndKeys(t *testing.T) {
	host := ownHost()
	_, conf := cluster(t, "--nodes", "3", "--hosts", host+","+ownHost()+","+ownHost())
	key := filepath.Join(filepath.Dir(conf), "keys", "gossip.key")
	node := start(t, conf)
	awaitStatus(t, at(host), "it serves", func(wire.Status) bool { return true })
	edit(t, conf, func(file map[string]any) {
		section(file, "peer")["peers"].([]any)[1].(map[string]any)["addr"] = "127.0.0.1:1"
		section(file, "raftify")["peer_list"].([]any)[1] = "127.0.0.1:2"
	})
	mustHave(t, good(t, "reload", "--config", conf), "changed: peer.peers, raftify.peer_list\n")
	edit(t, conf, func(file map[string]any) {
		section(file, "peer")["peers"].([]any)[1].(map[string]any)["public_key"] = strings.Repeat("ab", 32)
	})
	mustHave(t, good(t, "reload", "--config", conf), "nothing changed; needs a restart: peer.peers\n")

	old, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	next := good(t, "key", "gossip")
	for _, ring := range []string{string(old) + next, next + string(old), next} {
		if err := os.WriteFile(key, []byte(ring), 0o600); err != nil {
			t.Fatal(err)
		}
		mustHave(t, good(t, "reload", "--config", conf), "changed: raftify.encrypt;")
		mustHave(t, good(t, "reload", "--config", conf), "nothing changed;")
	}
	if err := os.WriteFile(key, []byte(next+next), 0o600); err != nil {
		t.Fatal(err)
	}
	mustHave(t, refused(t, "reload", "--config", conf), "gossip.key", "twice")
	if code, log := node.wait(t); code != 0 {
		t.Errorf("status %d, log:\n%s", code, log)
	}
}

func seal(t *testing.T, path, phrase string) {
	t.Helper()
	to, err := age.NewScryptRecipient(phrase)
	if err != nil {
		t.Fatal(err)
	}
	to.SetWorkFactor(8)
	plain, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w, err := age.Encrypt(&out, to)
	if err == nil {
		_, err = w.Write(plain)
	}
	if err == nil {
		err = w.Close()
	}
	if err == nil {
		err = os.WriteFile(path, out.Bytes(), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// What `baton key` encrypts a node starts with, and `baton key decrypt` gives back; with no or the wrong passphrase the
// node says which file and what to set.
func TestEncryptedKeys(t *testing.T) {
	host := ownHost()
	dir, conf := cluster(t, "--nodes", "1", "--hosts", host)
	phrase := filepath.Join(dir, "phrase")
	if err := os.WriteFile(phrase, []byte("a long passphrase\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	from := "file:" + phrase
	keys := filepath.Join(dir, "node1", "keys")
	gossip, plain := filepath.Join(keys, "gossip.key"), filepath.Join(dir, "plain")
	before, err := os.ReadFile(gossip)
	if err != nil {
		t.Fatal(err)
	}
	mustHave(t, good(t, "key", "encrypt", "--key", gossip, "--passphrase-from", from), "is encrypted")
	after, err := os.ReadFile(gossip)
	if err != nil || strings.Contains(string(after), strings.TrimSpace(string(before))) || !strings.HasPrefix(string(after), "-----BEGIN AGE") {
		t.Fatalf("%v, %s", err, after)
	}
	mustHave(t, refused(t, "key", "encrypt", "--key", gossip, "--passphrase-from", from), "encrypted already")
	good(t, "key", "decrypt", "--key", gossip, "--out", plain, "--passphrase-from", from)
	if back, err := os.ReadFile(plain); err != nil || string(back) != string(before) {
		t.Errorf("%v, came back as %q", err, back)
	}
	if err := os.Rename(plain, gossip); err != nil {
		t.Fatal(err)
	}
	// Files of age itself are as good, and these cost next to nothing to open.
	for _, name := range []string{"node.json", "processor.json", "gossip.key"} {
		seal(t, filepath.Join(keys, name), "a long passphrase")
	}
	mustHave(t, refused(t, "run", "--config", conf), "node.json", "keys.passphrase")
	edit(t, conf, func(file map[string]any) { section(file, "keys")["passphrase"] = "file:../phrase" })
	mustHave(t, good(t, "config", "check", "--config", conf), "is good")
	node := start(t, conf)
	awaitStatus(t, at(host), "it leads", func(st wire.Status) bool { return st.State == wire.StateLeader })
	mustHave(t, good(t, "reload", "--config", conf), "nothing changed\n")
	if code, log := node.wait(t); code != 0 {
		t.Errorf("status %d, log:\n%s", code, log)
	}

	me := filepath.Join(dir, "me.json")
	mustHave(t, refused(t, "key", "new", "--out", me, "--encrypt"), "--passphrase-from")
	public := good(t, "key", "new", "--out", me, "--encrypt", "--passphrase-from", from)
	mustHave(t, refused(t, "key", "show", "--key", me), "is encrypted")
	t.Setenv("BATON_KEYS_PASSPHRASE", from)
	if got := good(t, "key", "show", "--key", me); got != public {
		t.Errorf("the key is %s, was %s", got, public)
	}
	t.Setenv("BATON_KEYS_PASSPHRASE", "env:NOT_SET")
	mustHave(t, refused(t, "key", "show", "--key", me), "NOT_SET")
}
