package s3test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/node/archive/objectstore"
)

// world is a node with its chain, and an object store.
type world struct {
	t      *testing.T
	dir    string
	baton  string
	api    string
	key    string
	node   *exec.Cmd
	store  *server
	height int
}

const (
	chainURL = "s3://" + bucket + "/shared/chain"
	receiver = "00000000000000000000000000000000000000000000000000000000000000aa"
)

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), store: startServer(t)}
	w.baton = filepath.Join(w.dir, "baton")
	build := exec.CommandContext(t.Context(), "go", "-C", "../..", "build", "-o", w.baton, "./cmd/baton")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	w.key = filepath.Join(w.dir, "me.json")
	pub := strings.TrimSpace(w.must("key", "new", "--out", w.key))
	port := freePorts(t)
	w.api = fmt.Sprintf("http://127.0.0.1:%d", port+2)
	w.must("init", "--nodes", "1", "--base-port", fmt.Sprint(port), "--out", w.path("cluster"), "--fund", pub+"=100000")
	// States are stored often, so that there are some.
	conf, err := os.ReadFile(w.config())
	must(t, err)
	var c map[string]any
	must(t, json.Unmarshal(conf, &c))
	c["state"] = map[string]any{"checkpoint_blocks": 5}
	conf, err = json.Marshal(c)
	must(t, err)
	must(t, os.WriteFile(w.config(), conf, 0o600))
	return w
}

// freePorts is the first of three ports that nobody uses.
func freePorts(t *testing.T) int {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		port := l.Addr().(*net.TCPAddr).Port
		free := port < 65000
		for i := 1; i < 3; i++ {
			m, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+i))
			if err != nil {
				free = false
				continue
			}
			must(t, m.Close())
		}
		must(t, l.Close())
		if free {
			return port
		}
	}
	t.Fatal("no three free ports in a row")
	return 0
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }
func (w *world) config() string          { return w.path("cluster/node1/config.json") }
func (w *world) genesis() string         { return w.path("cluster/genesis.json") }

func (w *world) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(w.t.Context(), w.baton, args...)
	cmd.Env = w.store.env()
	return cmd
}

// run runs baton; no secret may be in what it prints.
func (w *world) run(args ...string) (string, error) {
	out, err := w.command(args...).CombinedOutput()
	if strings.Contains(string(out), secretKey) {
		w.t.Fatalf("baton %v prints a secret:\n%s", args, out)
	}
	return string(out), err
}

func (w *world) must(args ...string) string {
	w.t.Helper()
	out, err := w.run(args...)
	if err != nil {
		w.t.Fatalf("baton %v: %v\n%s", args, err, out)
	}
	return out
}

func (w *world) refused(want string, args ...string) {
	w.t.Helper()
	out, err := w.run(args...)
	if err == nil || !strings.Contains(out, want) || strings.Count(out, "\n") != 1 {
		w.t.Errorf("baton %v: %v, want one line with %q:\n%s", args, err, want, out)
	}
}

func (w *world) startNode() {
	w.t.Helper()
	w.node = w.command("run", "--config", w.config(), "--no-supervise")
	must(w.t, w.node.Start())
	w.t.Cleanup(func() { w.stopNode(syscall.SIGKILL) })
}

func (w *world) stopNode(how syscall.Signal) {
	if w.node != nil {
		_ = w.node.Process.Signal(how)
		_ = w.node.Wait()
		w.node = nil
	}
}

// grow adds blocks to the chain.
func (w *world) grow(n int) {
	w.t.Helper()
	for range n {
		w.height++
		out := w.must("tx", "transfer", "--api", w.api, "--key", w.key, "--to", receiver, "--amount", "1")
		if !strings.Contains(out, fmt.Sprintf("block %d", w.height)) {
			w.t.Fatalf("not block %d: %s", w.height, out)
		}
	}
}

// export exports until all that there is is there: the newest signature comes to the disk a moment later.
func (w *world) export(args ...string) {
	w.t.Helper()
	out := ""
	until(w.t, "the export", func() bool {
		out = w.must(append([]string{"block", "export", "--out", chainURL, "--config", w.config()}, args...)...)
		return w.stored() >= w.height
	}, func() string { return out })
}

// stored is the highest block of the store.
func (w *world) stored() (h int) {
	for _, name := range w.store.objects(w.t, "blocks-") {
		var from, to int
		if _, err := fmt.Sscanf(filepath.Base(name), "blocks-%d-%d.baton", &from, &to); err != nil {
			w.t.Fatal(name, err)
		}
		h = max(h, to)
	}
	return h
}

// imports imports into a new folder, and verifies it with all that is known.
func (w *world) imports(want int, args ...string) {
	w.t.Helper()
	fresh := filepath.Join(w.t.TempDir(), "data")
	w.must(append([]string{"block", "import", "--in", chainURL, "--data-dir", fresh, "--genesis", w.genesis()}, args...)...)
	w.verify(fresh, want)
}

func (w *world) verify(folder string, want int) {
	w.t.Helper()
	var v struct {
		OK     bool
		Height int
		Hash   string
	}
	must(w.t, json.Unmarshal([]byte(w.must("block", "verify", "--execute", "--json", "--data-dir", folder, "--genesis", w.genesis())), &v))
	if !v.OK || v.Height != want {
		w.t.Errorf("%+v, want height %d", v, want)
	}
}

// A chain in a bucket: it grows by increments, from a running node and from a stopped one, from several at the same time and
// in spite of a store that dies; a new node starts from it; damage is found and mended.
func TestSharedChain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.startNode()
	w.refused("nothing of this chain", "block", "import", "--in", chainURL, "--data-dir", w.path("none"), "--genesis", w.genesis())
	w.grow(7)
	w.export()
	w.imports(7)
	w.grow(6)
	w.export()
	w.export("--state")
	if len(w.store.objects(t, "state-")) == 0 {
		t.Error("no state is stored")
	}
	w.imports(13)
	w.imports(13, "--state")

	// Several at the same time, of a node that makes blocks meanwhile.
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			if out, err := w.run("block", "export", "--out", chainURL, "--config", w.config()); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	w.grow(5)
	group.Wait()
	w.stopNode(syscall.SIGTERM)
	w.export()
	w.imports(18)
	if out := w.must("block", "export", "--out", chainURL, "--config", w.config()); !strings.Contains(out, "nothing new") {
		t.Errorf("%s", out)
	}

	// The secret may be in a file that the config names. A wrong one is refused, and the error does not have it.
	secret := w.path("cluster/node1/keys/s3")
	must(t, os.WriteFile(secret, []byte(secretKey+"\n"), 0o600))
	conf, err := os.ReadFile(w.config())
	must(t, err)
	section := fmt.Sprintf(`{"object_store":{"endpoint":%q,"region":"us-east-1","access_key":%q,"secret_key":"file:keys/s3","ca_file":%q},`,
		w.store.endpoint, accessKey, w.store.ca)
	must(t, os.WriteFile(w.config(), append([]byte(section), bytes.TrimSpace(conf)[1:]...), 0o600))
	w.must("block", "import", "--in", chainURL, "--config", w.config(), "--data-dir", w.path("byconfig"))
	must(t, os.WriteFile(secret, []byte("wrong "+secretKey[:5]+"\n"), 0o600))
	w.refused("signature", "block", "export", "--out", chainURL, "--config", w.config())
	w.refused("certificate", "block", "import", "--in", chainURL, "--data-dir", w.path("tls"), "--genesis", w.genesis(),
		"--endpoint", "https://localhost:"+w.store.endpoint[strings.LastIndex(w.store.endpoint, ":")+1:])
	must(t, os.WriteFile(w.config(), conf, 0o600))

	// What is damaged in the store is not taken, and is put right by an export of its range.
	first := w.store.objects(t, "blocks-00000000000000000001-")
	if len(first) != 1 {
		t.Fatalf("%q", first)
	}
	data, err := os.ReadFile(first[0])
	must(t, err)
	data[len(data)/2] ^= 1
	must(t, os.WriteFile(first[0], data, 0o600))
	half := w.path("half")
	w.refused(filepath.Base(first[0]), "block", "import", "--in", chainURL, "--data-dir", half, "--genesis", w.genesis())
	w.must("block", "export", "--out", chainURL, "--config", w.config(), "--from", "1")
	w.must("block", "import", "--in", chainURL, "--data-dir", half, "--genesis", w.genesis())
	w.verify(half, 18)

	// A store that dies is an error; it comes back with what it had, and the import goes on.
	w.store.kill(t)
	w.store.start(t)
	w.imports(18)

	// A node that has nothing but its config starts from it and goes on.
	must(t, os.RemoveAll(w.path("cluster/node1/data")))
	markers, err := filepath.Glob(w.path("cluster/node1/*.member"))
	must(t, err)
	for _, marker := range markers {
		must(t, os.Remove(marker))
	}
	w.must("block", "import", "--in", chainURL, "--config", w.config(), "--found", "--state")
	w.startNode()
	w.grow(1)
	w.export()
	w.imports(19)
}

// An upload whose process is killed in the middle leaves no object.
func TestKilledUpload(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	self, err := os.Executable()
	must(t, err)
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(s.env(), putterEnv+"="+s.endpoint)
	out, err := cmd.StdoutPipe()
	must(t, err)
	cmd.Stderr = os.Stderr
	must(t, cmd.Start())
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.Contains(line, "does not come") {
		t.Fatal(line, err)
	}
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	ca, o := s.ca, objectstore.Options{Endpoint: s.endpoint, AccessKey: accessKey, SecretKey: secretKey}
	o.CA = pool(t, ca)
	b, err := objectstore.Open("s3://"+bucket, o, zerolog.Nop())
	must(t, err)
	must(t, b.List(t.Context(), "", func(name string) error { t.Errorf("there is %s", name); return nil }))

	// The same, whole: more than one part, read back the same.
	data := bytes.Repeat([]byte("0123456789abcdef"), 40<<16)
	n, err := b.Put(t.Context(), "whole/x", bytes.NewReader(data))
	if err != nil || n != int64(len(data)) {
		t.Fatal(n, err)
	}
	r, err := b.Open(t.Context(), "whole/x")
	must(t, err)
	var got bytes.Buffer
	_, err = got.ReadFrom(r)
	must(t, err)
	must(t, r.Close())
	if !bytes.Equal(got.Bytes(), data) {
		t.Error("it is read back otherwise")
	}
}

// Listings of more than a page.
func TestManyObjects(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	b, err := objectstore.Open("s3://"+bucket+"/many", objectstore.Options{
		Endpoint: s.endpoint, AccessKey: accessKey, SecretKey: secretKey, CA: pool(t, s.ca),
	}, zerolog.Nop())
	must(t, err)
	const n = 1203
	numbers := make(chan int)
	var writers sync.WaitGroup
	for range 8 {
		writers.Go(func() {
			for i := range numbers {
				if _, err := b.Put(t.Context(), fmt.Sprintf("x/%d", i), strings.NewReader("x")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range n {
		numbers <- i
	}
	close(numbers)
	writers.Wait()
	seen := map[string]bool{}
	must(t, b.List(t.Context(), "x/", func(name string) error { seen[name] = true; return nil }))
	if len(seen) != n || !seen["x/0"] || !seen[fmt.Sprintf("x/%d", n-1)] {
		t.Errorf("%d objects", len(seen))
	}
}
