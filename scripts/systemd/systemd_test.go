package systemd

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for what must come.
const patience = 3 * time.Minute

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// tool returns the path of a program, or skips the test: in CI it must be there.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatalf("%v: CI must have it", err)
	}
	if err != nil {
		t.Skipf("%v", err)
	}
	return path
}

// The two units are one: whoever mends the one must mend the other.
func TestUnitsDifferInTheInstanceOnly(t *testing.T) {
	one, many := settings(t, "baton.service"), settings(t, "baton@.service")
	if len(one) != len(many) {
		t.Fatalf("%d and %d settings", len(one), len(many))
	}
	differ := 0
	for i := range one {
		if one[i] == many[i] {
			continue
		}
		differ++
		if got := strings.NewReplacer("/%i", "", " %i", "").Replace(many[i]); got != one[i] {
			t.Errorf("baton@.service has %q, baton.service %q", many[i], one[i])
		}
	}
	if differ == 0 {
		t.Error("the instance does not show")
	}
}

// settings returns the lines of a unit that say something.
func settings(t *testing.T, file string) []string {
	t.Helper()
	var out []string
	for line := range strings.Lines(read(t, file)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			out = append(out, line)
		}
	}
	return out
}

// all returns the values of one setting of baton.service, in order.
func all(t *testing.T, key string) []string {
	t.Helper()
	var out []string
	for _, line := range settings(t, "baton.service") {
		if v, ok := strings.CutPrefix(line, key+"="); ok {
			out = append(out, v)
		}
	}
	if len(out) == 0 {
		t.Fatalf("baton.service says nothing of %s", key)
	}
	return out
}

func TestVerify(t *testing.T) {
	analyze, dir := tool(t, "systemd-analyze"), t.TempDir()
	for from, to := range map[string]string{"baton.service": "baton.service", "baton@.service": "baton@node1.service"} {
		// The program is not installed here.
		unit := strings.ReplaceAll(read(t, from), "/usr/bin/baton ", "/bin/true ")
		if err := os.WriteFile(filepath.Join(dir, to), []byte(unit), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", filepath.Join(dir, to)).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", from, err, out)
		}
	}
}

// At most 2.0 of 10, by systemd's own measure of what a broken-into service could do.
func TestSecurity(t *testing.T) {
	analyze := tool(t, "systemd-analyze")
	for _, unit := range []string{"baton.service", "baton@.service"} {
		path := unit
		if strings.Contains(unit, "@") {
			path = filepath.Join(t.TempDir(), "baton@node1.service")
			if err := os.WriteFile(path, []byte(read(t, unit)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		out, err := exec.CommandContext(t.Context(), analyze, "security", "--offline=true", "--no-pager", "--threshold=20", path).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", unit, err, out)
		}
	}
}

// What the unit says is enough to run a node that `baton init --systemd` laid out: its credentials, its environment, the
// notifications that it waits for, and its stop signal, which only the main process gets.
func TestServiceRuns(t *testing.T) {
	bin, root := filepath.Join(t.TempDir(), "baton"), t.TempDir()
	run(t, "go", "build", "-o", bin, "github.com/baton-ha/baton/cmd/baton")
	// An address of loopback of this test's own: nobody else has a port there.
	host := fmt.Sprintf("127.%d.%d.%d", 10+rand.IntN(200), rand.IntN(250), 1+rand.IntN(250))
	run(t, bin, "init", "--systemd", "--nodes", "1", "--hosts", host, "--out", filepath.Join(root, "cluster"))
	etc := filepath.Join(root, "cluster", "node1")
	inRoot := strings.NewReplacer("/etc/baton/", etc+"/", "/usr/bin/baton", bin)

	credentials := filepath.Join(root, "credentials")
	if err := os.Mkdir(credentials, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range all(t, "LoadCredential") {
		name, from, _ := strings.Cut(c, ":")
		// The mode that systemd's access control lists show.
		if err := os.WriteFile(filepath.Join(credentials, name), []byte(read(t, inRoot.Replace(from))), 0o440); err != nil {
			t.Fatal(err)
		}
	}
	kept := filepath.Join(root, "kept")
	if err := os.Rename(filepath.Join(etc, "keys"), kept); err != nil { // the service cannot read those
		t.Fatal(err)
	}

	manager := listen(t, filepath.Join(root, "notify"))
	words := strings.Fields(inRoot.Replace(all(t, "ExecStart")[0]))
	var log bytes.Buffer
	cmd := exec.CommandContext(t.Context(), words[0], words[1:]...)
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+filepath.Join(root, "notify"), "CREDENTIALS_DIRECTORY="+credentials,
		"BATON_DATA_DIR="+filepath.Join(root, "var", "data"), "BATON_STATE_DIR="+filepath.Join(root, "var"))
	for _, line := range all(t, "Environment") {
		cmd.Env = append(cmd.Env, strings.Fields(strings.ReplaceAll(line, "%d", credentials))...)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the node's log:\n%s", log.String())
		}
	})

	manager.wait(t, "READY=1")
	manager.wait(t, "WATCHDOG=1")
	manager.wait(t, "WATCHDOG=1")

	// A reload, by whoever sees the keys in /etc/baton and not the service's credentials: the admin socket is the service's.
	if err := os.CopyFS(filepath.Join(etc, "keys"), os.DirFS(kept)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(etc, "keys", "gossip.key"), 0o600); err != nil {
		t.Fatal(err)
	}
	words = strings.Fields(strings.TrimPrefix(inRoot.Replace(all(t, "ExecReload")[0]), "+"))
	reload := exec.CommandContext(t.Context(), words[0], words[1:]...)
	reload.Env = slices.Clone(cmd.Env)
	if out, err := reload.CombinedOutput(); err != nil || !strings.Contains(string(out), "nothing changed") {
		t.Errorf("reload: %v\n%s", err, out)
	}
	manager.wait(t, "READY=1")

	if got := all(t, "KillSignal")[0]; got != "SIGTERM" {
		t.Fatalf("the unit stops with %s", got)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	manager.wait(t, "STOPPING=1")
	if err := cmd.Wait(); err != nil {
		t.Errorf("stopped with %v", err)
	}
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// serviceManager is the end of the notify socket that systemd holds.
type serviceManager struct{ conn *net.UnixConn }

func listen(t *testing.T, path string) *serviceManager {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &serviceManager{conn}
}

// wait reads until the service says want.
func (m *serviceManager) wait(t *testing.T, want string) {
	t.Helper()
	if err := m.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4096)
	for {
		n, err := m.conn.Read(b)
		if err != nil {
			t.Fatalf("wait for %s: %v", want, err)
		}
		if slices.Contains(strings.Split(string(b[:n]), "\n"), want) {
			return
		}
	}
}
