package config

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var testSeed = bytes.Repeat([]byte{7}, ed25519.SeedSize)

func TestKeyRoundTrip(t *testing.T) {
	key := ed25519.NewKeyFromSeed(testSeed)
	path := filepath.Join(t.TempDir(), "node.json")
	if err := WriteKey(path, key); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	got, err := LoadKey(path)
	if err != nil || !got.Equal(key) {
		t.Fatalf("read back %x, %v", got, err)
	}
	if err := WriteKey(path, ed25519.NewKeyFromSeed(make([]byte, 32))); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second write: %v", err)
	}
	if got, err := LoadKey(path); err != nil || !got.Equal(key) {
		t.Errorf("the second write changed the file: %x, %v", got, err)
	}
}

func TestLoadKeyRefusesWhatOthersMayRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.json")
	if err := WriteKey(path, ed25519.NewKeyFromSeed(testSeed)); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o601} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadKey(path); !errors.Is(err, ErrKeyReadable) || !strings.Contains(err.Error(), path) {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKey(path); err != nil {
		t.Errorf("mode 0400: %v", err)
	}
	if _, err := LoadKey(t.TempDir()); err == nil {
		t.Error("a folder was read as a key")
	}
}

func TestDecodeKeyRefuses(t *testing.T) {
	good := string(EncodeKey(ed25519.NewKeyFromSeed(testSeed)))
	seed := strings.Repeat("07", 32)
	tests := []struct{ name, text, want string }{
		{"type", strings.Replace(good, "ed25519", "rsa", 1), "type is"},
		{"mismatch", strings.Replace(good, seed, strings.Repeat("08", 32), 1), "public_key does not belong"},
		{"short seed", strings.Replace(good, seed, seed[2:], 1), "private_key is"},
		{"no hex", strings.Replace(good, seed, strings.Repeat("zz", 32), 1), "private_key is"},
		{"unknown", strings.Replace(good, `"type"`, `"kind": 1, "type"`, 1), "kind: unknown key"},
		{"duplicate", strings.Replace(good, `"type"`, `"type": "ed25519", "type"`, 1), "type: key stands twice"},
		{"trailing", good + "x", "not JSON"},
		{"empty", "", "not JSON"},
		{"public", strings.Replace(good, `"public_key": "`, `"public_key": "00`, 1), "public_key is"},
		{"large", good + strings.Repeat(" ", maxKeyBytes), "too large"},
	}
	for _, tt := range tests {
		_, err := DecodeKey([]byte(tt.text))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), seed) {
			t.Errorf("%s: the error tells the secret: %v", tt.name, err)
		}
	}
}

func TestGossipKey(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("good.key", strings.Repeat("ab", 32)+"\n", 0o600)
	write("open.key", strings.Repeat("ab", 32), 0o644)
	write("bad.key", "hello", 0o600)
	cfg := DefaultConfig()
	cfg.dir = dir
	for encrypt, want := range map[string]string{
		"file:good.key": "", "file:open.key": "may be read by others", "file:bad.key": "not a key", "file:none": "no such file",
		"": "", strings.Repeat("ab", 16): "", "file:" + filepath.Join(dir, "good.key"): "",
	} {
		cfg.Raftify.Encrypt = encrypt
		key, err := cfg.GossipKeys()
		if want == "" && (err != nil || (encrypt != "" && len(key) != 1)) {
			t.Errorf("%q: %x, %v", encrypt, key, err)
		}
		if want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "raftify.encrypt")) {
			t.Errorf("%q: %v, want %q", encrypt, err, want)
		}
	}
}

// systemd shows the access control list of a credential as a bit of the group; anywhere else that bit is a mistake.
func TestLoadKeyFromCredentials(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "node.json")
	key, err := newKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteKey(path, key); err != nil {
		t.Fatal(err)
	}
	load := func(mode os.FileMode, credentials string) error {
		t.Helper()
		t.Setenv("CREDENTIALS_DIRECTORY", credentials)
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := LoadKey(path)
		return err
	}
	if err := load(0o440, dir+"/"); err != nil {
		t.Errorf("a credential: %v", err)
	}
	for name, err := range map[string]error{
		"credential that others may read": load(0o444, dir),
		"no credential":                   load(0o440, ""),
		"credentials elsewhere":           load(0o440, filepath.Dir(dir)),
	} {
		if !errors.Is(err, ErrKeyReadable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
