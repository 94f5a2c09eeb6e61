package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/baton-ha/baton/node/archive/objectstore"
)

func TestObjectStoreIsChecked(t *testing.T) {
	for _, c := range []struct {
		store ObjectStore
		field string
	}{
		{ObjectStore{}, ""},
		{ObjectStore{Endpoint: "s3.example.com:9000", Region: "eu-central-1", AccessKey: "who", SecretKey: "file:keys/s3"}, ""},
		{ObjectStore{Endpoint: "https://who:secret@host"}, "object_store.endpoint"},
		{ObjectStore{Endpoint: "ftp://host"}, "object_store.endpoint"},
		{ObjectStore{Region: "a b"}, "object_store.region"},
		{ObjectStore{AccessKey: "who"}, "object_store.access_key"},
		{ObjectStore{SecretKey: "file:keys/s3"}, "object_store.access_key"},
		{ObjectStore{AccessKey: "who", SecretKey: "secret"}, "object_store.secret_key"},
		{ObjectStore{AccessKey: "who", SecretKey: "file:"}, "object_store.secret_key"},
	} {
		var p problems
		c.store.validate(&p)
		err := errors.Join(p.errs...)
		if (err == nil) != (c.field == "") || err != nil && (!strings.HasPrefix(err.Error(), c.field+" ") || strings.Contains(err.Error(), "secret@") || strings.Contains(err.Error(), `"secret"`)) {
			t.Errorf("%+v: %v", c.store, err)
		}
	}
}

// The section comes first, then the environment; a secret that others may read is refused, and no error holds it.
func TestObjectStoreOptions(t *testing.T) {
	dir := t.TempDir()
	env := map[string]string{"AWS_ENDPOINT_URL": "https://second", "AWS_ENDPOINT_URL_S3": "https://first", "AWS_DEFAULT_REGION": "there"}
	getenv := func(name string) string { return env[name] }
	o, err := ObjectStoreOptions(nil, getenv)
	if want := (objectstore.Options{Endpoint: "https://first", Region: "there"}); err != nil || o != want {
		t.Errorf("%+v %v", o, err)
	}
	c := DefaultConfig()
	c.dir = dir
	c.ObjectStore = ObjectStore{Endpoint: "https://mine", Region: "here", AccessKey: "who", SecretKey: "file:s3"}
	if _, err := ObjectStoreOptions(&c, getenv); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	path := filepath.Join(dir, "s3")
	for text, good := range map[string]bool{"hidden\n": true, "hidden \r\nmore": true, "\nhidden": false} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		o, err = ObjectStoreOptions(&c, getenv)
		want := objectstore.Options{Endpoint: "https://mine", Region: "here", AccessKey: "who", SecretKey: "hidden"}
		if good && (err != nil || o != want) || !good && (err == nil || strings.Contains(err.Error(), "hidden")) {
			t.Errorf("%q: %+v %v", text, o, err)
		}
	}
	if err := os.WriteFile(path, []byte("hidden\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ObjectStoreOptions(&c, getenv); err == nil || strings.Contains(err.Error(), "hidden") {
		t.Errorf("readable by others: %v", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	c.ObjectStore.CAFile = "s3"
	if _, err := ObjectStoreOptions(&c, getenv); err == nil || strings.Contains(err.Error(), "hidden") {
		t.Errorf("no certificate: %v", err)
	}
}
