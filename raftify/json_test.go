package raftify

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/baton-ha/baton/raftify/core"
)

const goodJSON = `{
	"id": "b", "max_nodes": 5, "expect": 2, "encrypt": "file:gossip.key", "performance": 2, "log_level": "INFO",
	"bind_addr": "10.0.0.2", "bind_port": 7000, "kick_after": "5m",
	"peer_list": ["a@10.0.0.1:7000", "b@10.0.0.2:7000", "c@10.0.0.3:7000"]
}`

func TestLoadConfig(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key := strings.Repeat("ab", 32)
	write("gossip.key", key+"\n")
	c, err := LoadConfig(write("raftify.json", goodJSON))
	if err != nil {
		t.Fatal(err)
	}
	if c.ID != "b" || c.MaxNodes != 5 || c.Expect != 2 || c.Performance != 2 || c.LogLevel != "INFO" || c.KickAfter != 5*time.Minute ||
		c.BindAddr != "10.0.0.2" || c.BindPort != 7000 || !bytes.Equal(c.Encrypt, bytes.Repeat([]byte{0xab}, 32)) ||
		len(c.Peers) != 3 || c.Peers[0] != (core.Peer{ID: "a", Addr: "10.0.0.1:7000"}) {
		t.Errorf("%+v", c)
	}

	// A file of the original: addresses alone.
	c, err = ParseConfig([]byte(`{"id": "My_Node", "max_nodes": 3, "expect": 3, "encrypt": ["`+key+`", "`+strings.Repeat("cd", 16)+`"],
		"performance": 1, "log_level": "WARN", "bind_addr": "192.168.0.25", "bind_port": 3000,
		"peer_list": ["192.168.0.25:3000", "192.168.0.26:3000", "192.168.0.27:3000"]}`), dir)
	if err != nil {
		t.Fatal(err)
	}
	if c.ID != "192.168.0.25:3000" || c.Peers[2].ID != "192.168.0.27:3000" || len(c.EncryptAlso) != 1 {
		t.Errorf("%+v", c)
	}
	if _, err := LoadConfig(filepath.Join(dir, "none.json")); err == nil {
		t.Error("a file that is not there was read")
	}
}

func TestParseConfigRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ from, to, want string }{
		"unknown key":     {`"expect"`, `"expects"`, "expects: unknown key"},
		"twice":           {`"expect": 2`, `"expect": 2, "expect": 2`, "expect: key stands twice"},
		"other case":      {`"expect"`, `"Expect"`, "Expect: unknown key"},
		"a text":          {`"max_nodes": 5`, `"max_nodes": "5"`, "max_nodes: must be a whole number"},
		"half a node":     {`"max_nodes": 5`, `"max_nodes": 5.5`, "max_nodes: must be a whole number"},
		"null":            {`"id": "b"`, `"id": null`, "id: must be a text"},
		"bare duration":   {`"5m"`, `300`, "kick_after: must be a duration"},
		"bad duration":    {`"5m"`, `"5"`, "kick_after is"},
		"key file":        {`file:gossip.key`, `file:none`, "encrypt: open"},
		"key":             {`file:gossip.key`, `secret`, "encrypt: must be 32, 48 or 64 hex digits"},
		"short key":       {`file:gossip.key`, `abcd`, "encrypt has 2 bytes"},
		"mixed":           {`c@10`, `10`, "all entries have the form"},
		"not a member":    {`"id": "b"`, `"id": "d"`, `this node, "d", must be among them`},
		"validate":        {`"expect": 2`, `"expect": 1`, "expect is 1"},
		"list of numbers": {`["a@10.0.0.1:7000",`, `[1,`, "peer_list: must be"},
		"cut off":         {"}", "", "not JSON"},
		"more":            {"}", "} {}", "something follows"},
		"an array":        {"{", "[", "not a JSON object"},
	} {
		_, err := ParseConfig([]byte(strings.Replace(goodJSON, tc.from, tc.to, 1)), keyDir(t))
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error shows the key: %v", name, err)
		}
	}
	_, err := ParseConfig([]byte(`{"a": 1, "b": 2, "max_nodes": "x"}`), "")
	for _, want := range []string{"a: unknown", "b: unknown", "max_nodes: must"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}

func keyDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "gossip.key"), []byte(strings.Repeat("ab", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}
