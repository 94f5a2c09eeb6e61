package config

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
)

const phrase = "correct horse battery staple"

func writeSecret(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func encrypted(t *testing.T, plain []byte) string {
	t.Helper()
	sealed, err := encryptSecret(plain, phrase, 10) // what a file costs stands in the file
	if err != nil {
		t.Fatal(err)
	}
	return string(sealed)
}

// A node whose three keys are encrypted opens with the passphrase that its config names, in each of the three ways, and
// says one clear thing otherwise. Neither key nor passphrase is ever in what it says.
func TestEncryptedKeys(t *testing.T) {
	dir := t.TempDir()
	if _, err := Init(InitOptions{Out: dir, Nodes: 3, BasePort: 7000}); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "node1", "config.json")
	before, err := Open(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"node.json", "processor.json", "gossip.key"} {
		path := filepath.Join(dir, "node1", "keys", name)
		plain, err := ReadSecretFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := ReplaceSecretFile(path, []byte(encrypted(t, plain))); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Fatalf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	writeSecret(t, filepath.Join(dir, "node1", "phrase"), phrase+"\n")
	writeSecret(t, filepath.Join(dir, "node1", "wrong"), "wrong\n")
	writeSecret(t, filepath.Join(dir, "node1", "empty"), "\n"+phrase)
	t.Setenv("SOME_PHRASE", phrase)
	t.Setenv("CREDENTIALS_DIRECTORY", filepath.Join(dir, "node1"))
	for from, want := range map[string]string{
		"file:phrase": "", "env:SOME_PHRASE": "", "credential:phrase": "",
		"":                  "keys.passphrase must say",
		"file:wrong":        "wrong passphrase",
		"file:none":         "no such file",
		"file:empty":        "its first line has 0 bytes",
		"env:NONE":          "its first line has 0 bytes",
		"credential:../a":   "keys.passphrase is",
		"correct horse":     "keys.passphrase is",
		"file:":             "keys.passphrase is",
		"credential:absent": "no such file",
	} {
		t.Setenv(EnvName("keys.passphrase"), from)
		n, err := Open(config)
		switch {
		case want != "":
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), phrase) {
				t.Errorf("%q: %v, want %q", from, err, want)
			}
		case err != nil:
			t.Errorf("%q: %v", from, err)
		case !n.NodeKey.Equal(before.NodeKey) || !n.ProcessorKey.Equal(before.ProcessorKey) || !bytes.Equal(n.GossipKeys[0], before.GossipKeys[0]):
			t.Errorf("%q: other keys than before", from)
		}
	}
}

// A file that asks for more work than a second is refused before the work is done; one that age made by itself is as good.
func TestDecryptSecret(t *testing.T) {
	for _, tt := range []struct {
		work int
		want string
	}{{10, ""}, {19, "work factor"}, {30, "work factor"}} {
		to, err := age.NewScryptRecipient(phrase)
		if err != nil {
			t.Fatal(err)
		}
		to.SetWorkFactor(10)
		var file bytes.Buffer
		w, err := age.Encrypt(&file, to)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte("secret")); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		// What the header says is worked through before anything can be verified.
		text := strings.Replace(file.String(), " 10\n", fmt.Sprintf(" %d\n", tt.work), 1)
		plain, err := DecryptSecret([]byte(text), phrase)
		if tt.want == "" && (err != nil || string(plain) != "secret") {
			t.Errorf("%d: %q, %v", tt.work, plain, err)
		}
		if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%d: %v", tt.work, err)
		}
	}
	sealed := encrypted(t, []byte("secret"))
	costly, err := EncryptSecret([]byte("secret"), phrase)
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := DecryptSecret(costly, phrase); err != nil || string(plain) != "secret" {
		t.Errorf("our own file: %q, %v", plain, err)
	}
	if _, err := DecryptSecret([]byte(sealed), "other"); !errors.Is(err, ErrPassphrase) {
		t.Errorf("another passphrase: %v", err)
	}
	damaged := strings.Replace(sealed, "\n", "\nAA", 1)
	if _, err := DecryptSecret([]byte(damaged), phrase); err == nil {
		t.Error("a damaged file opens")
	}
}

func TestCheckSecret(t *testing.T) {
	key, err := newKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for text, good := range map[string]bool{
		string(EncodeKey(key)): true, strings.Repeat("ab", 32) + "\n": true, strings.Repeat("ab", 32) + "\n" + strings.Repeat("cd", 16): true,
		"hello": false, "": false, strings.Repeat("ab\n", 32): false,
	} {
		if err := CheckSecret([]byte(text)); (err == nil) != good {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}

func TestGossipKeyRing(t *testing.T) {
	a, b := strings.Repeat("ab", 32), strings.Repeat("cd", 16)
	for text, want := range map[string]int{
		a: 1, a + "," + b: 2, a + "\n" + b + "\n": 2, " " + a + "\r\n\r\n" + b: 2, a + "," + a: 0, a + "," + strings.ToUpper(a): 0, "": 0, a + ",x": 0,
		strings.Repeat("01", 16) + "," + strings.Repeat("02", 16) + "," + strings.Repeat("03", 16) + "," + strings.Repeat("04", 16) + "," + b: 0,
	} {
		keys, err := parseGossipKeys(text)
		if len(keys) != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %d keys, %v; want %d", text, len(keys), err, want)
		}
	}
}
