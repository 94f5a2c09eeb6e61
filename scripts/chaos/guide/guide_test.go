package guide

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/baton-ha/baton/scripts/chaos/internal/fabric"
	"github.com/baton-ha/baton/scripts/chaos/internal/sandbox"
)

const (
	guidePath = "../../OPERATING.md"
	// packageEnv has the path of the package, in the environment of the processes that this test starts of itself.
	packageEnv = "BATON_GUIDE_PACKAGE"
	// blockTime bounds one block on one machine.
	blockTime = 3 * time.Minute
	// exitUnavailable is the inside's status where no machines can be made.
	exitUnavailable = 77
)

func TestMain(m *testing.M) {
	switch {
	case sandbox.Inside():
		err := inside(os.Stdout)
		switch {
		case errors.Is(err, sandbox.ErrUnavailable):
			fmt.Println("unavailable:", err)
			os.Exit(exitUnavailable)
		case err != nil:
			fmt.Println("FAILED:", err)
			os.Exit(1)
		}
		os.Exit(0)
	case os.Getenv(packageEnv) != "":
		code, err := sandbox.Enter(context.Background())
		if err != nil {
			fmt.Println(err)
		}
		if errors.Is(err, sandbox.ErrUnavailable) {
			code = exitUnavailable
		}
		os.Exit(code)
	}
	os.Exit(m.Run())
}

func guide(t *testing.T) (string, []Block) {
	t.Helper()
	text, err := os.ReadFile(guidePath)
	if err != nil {
		t.Fatal(err)
	}
	blocks, err := Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return string(text), blocks
}

func TestNothingIsLeftOut(t *testing.T) {
	text, blocks := guide(t)
	if len(blocks) < 20 {
		t.Errorf("%d blocks: the guide is not what it was", len(blocks))
	}
	if left := Unrun(text, blocks); len(left) > 0 {
		t.Errorf("commands that no block has: %q", left)
	}
	for _, bad := range []string{"```\nx\n```\n", "```sh\nx\n```\n", "```sh on=node1\nx\n", "```text\nx\n```\n", "```sh on=node9\nx\n```\n"} {
		if _, err := Parse(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	if got := Missing("a…c\nd\n", "x\nabc\ne\n"); !slices.Equal(got, []string{"d"}) {
		t.Errorf("missing %q", got)
	}
	if got := Unrun("`baton x` and `baton y`", []Block{{Kind: "sh", Text: "baton x\n"}}); !slices.Equal(got, []string{"baton y"}) {
		t.Errorf("left out %q", got)
	}
}

// Every command of the guide, on three machines and a fourth that comes and goes.
func TestGuide(t *testing.T) {
	guide(t)
	skip := func(format string, args ...any) {
		t.Helper()
		if os.Getenv("CI") == "true" && os.Getuid() == 0 && exec.CommandContext(t.Context(), "unshare", "--net", "--pid", "--mount", "--fork", "true").Run() == nil {
			t.Fatalf(format+": CI must have it", args...)
		}
		t.Skipf(format, args...)
	}
	if os.Getuid() != 0 {
		skip("needs root")
	}
	for _, tool := range []string{"dpkg", "setpriv", "setsid", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			skip("%v", err)
		}
	}
	build := exec.CommandContext(t.Context(), "../../deb/build.sh", t.TempDir())
	build.Stderr = os.Stderr
	deb, err := build.Output()
	if err != nil {
		t.Fatalf("make the package: %v", err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), packageEnv+"="+strings.TrimSpace(string(deb)))
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() == exitUnavailable {
		skip("%s", out)
	}
	if err != nil || !strings.HasSuffix(string(out), "the guide holds\n") {
		t.Fatalf("%v\n%s", err, out)
	}
	if testing.Verbose() {
		t.Logf("%s", out)
	}
}

// machine is a host with a root of its own.
type machine struct {
	name string
	root string
	host *sandbox.Host
}

// inside makes the machines and carries the guide out.
func inside(out io.Writer) error {
	if err := sandbox.Prepare(); err != nil {
		return err
	}
	text, err := os.ReadFile(guidePath)
	if err != nil {
		return err
	}
	blocks, err := Parse(string(text))
	if err != nil {
		return err
	}
	machines, err := makeMachines(4)
	if err != nil {
		return err
	}
	cards := make([]*sandbox.Card, len(machines))
	for i, m := range machines {
		cards[i] = m.host.Card()
	}
	net := fabric.New(1, 0, 0, cards...)
	defer net.Close() //nolint:errcheck // all of it ends with this process
	printed := ""
	for _, b := range blocks {
		if b.Kind == "text" {
			if left := Missing(b.Text, printed); len(left) > 0 {
				return fmt.Errorf("line %d: %q was not printed, but\n%s", b.Line, left, printed)
			}
			continue
		}
		printed = ""
		for _, m := range machines {
			if m.name != b.On && (b.On != "each" || m.name == "node4") {
				continue
			}
			begun := time.Now()
			text, err := m.run(b.Text)
			printed += text
			fmt.Fprintf(out, "== line %d on %s (%v)\n%s%s", b.Line, m.name, time.Since(begun).Round(time.Millisecond), b.Text, text) //nolint:errcheck // a test's
			if err != nil {
				log, _ := os.ReadFile(filepath.Join(m.root, "run/baton.log"))
				return fmt.Errorf("line %d on %s: %w\n%s\nthe node's log:\n%s", b.Line, m.name, err, text, log[max(0, len(log)-4000):])
			}
		}
	}
	fmt.Fprintln(out, "the guide holds") //nolint:errcheck // a test's
	return nil
}

// run runs a block on the machine, as root in its home.
func (m *machine) run(script string) (string, error) {
	cmd := exec.Command("chroot", m.root, "/bin/bash", "-c", "cd /root && set -euo pipefail\n"+script)
	cmd.Env = []string{"HOME=/root", "LC_ALL=C.UTF-8", "MACHINE=" + m.host.Addr.String(), "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	var out bytes.Buffer
	// A file, not a pipe: what the script leaves running has it open too.
	log, err := os.CreateTemp("", "block")
	if err != nil {
		return "", err
	}
	defer os.Remove(log.Name()) //nolint:errcheck // the sandbox's own
	defer log.Close()           //nolint:errcheck // only read from
	cmd.Stdout, cmd.Stderr = log, log
	if err := m.host.Start(cmd); err != nil {
		return "", err
	}
	timer := time.AfterFunc(blockTime, func() { _ = cmd.Process.Kill() })
	err = cmd.Wait()
	timer.Stop()
	if _, seek := log.Seek(0, io.SeekStart); seek != nil {
		return "", errors.Join(err, seek)
	}
	_, read := io.Copy(&out, log)
	return out.String(), errors.Join(err, read)
}

// makeMachines makes hosts 10.0.0.1 and so on. Each has this machine's files, and what it writes is in memory.
func makeMachines(n int) ([]*machine, error) {
	const base = "/mnt"
	if err := unix.Mount("tmpfs", base, "tmpfs", 0, "size=3g"); err != nil {
		return nil, fmt.Errorf("%w: tmpfs: %w", sandbox.ErrUnavailable, err)
	}
	deb, err := os.ReadFile(os.Getenv(packageEnv))
	if err != nil {
		return nil, err
	}
	var out []*machine
	for i := range n {
		addr := netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)})
		dir := filepath.Join(base, addr.String())
		m := &machine{name: fmt.Sprintf("node%d", i+1), root: filepath.Join(dir, "root")}
		for _, sub := range []string{"upper", "work", "root"} {
			if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
				return nil, err
			}
		}
		layers := fmt.Sprintf("lowerdir=/,upperdir=%s/upper,workdir=%s/work", dir, dir)
		if err := unix.Mount("overlay", m.root, "overlay", 0, layers); err != nil {
			return nil, fmt.Errorf("%w: overlay: %w", sandbox.ErrUnavailable, err)
		}
		if m.host, err = sandbox.NewHost(addr); err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	for _, m := range out {
		if err := m.furnish(out, deb); err != nil {
			return nil, fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return out, nil
}

func (m *machine) furnish(all []*machine, deb []byte) error {
	in := func(path string) string { return filepath.Join(m.root, path) }
	// Without that file the manual's index is not made anew, which takes longer than everything else in the guide.
	for _, path := range []string{"etc/baton", "var/lib/baton", "root", "usr/bin/baton", "var/lib/man-db/auto-update"} {
		if err := os.RemoveAll(in(path)); err != nil {
			return err
		}
	}
	for _, path := range []string{"root", "run", "tmp", "proc", "dev", "usr/local/bin"} {
		if err := os.MkdirAll(in(path), 0o755); err != nil {
			return err
		}
	}
	for _, path := range []string{"run", "tmp"} {
		if err := unix.Mount("tmpfs", in(path), "tmpfs", 0, ""); err != nil {
			return err
		}
	}
	for _, path := range []string{"/proc", "/dev"} {
		if err := unix.Mount(path, in(path), "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return err
		}
	}
	for _, other := range all {
		at := in(filepath.Join("machines", other.host.Addr.String()))
		if err := os.MkdirAll(at, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(other.root, at, "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	for _, tool := range []string{"systemctl", "journalctl", "scp", "hostname"} {
		b, err := os.ReadFile(filepath.Join("testdata", tool))
		if err != nil {
			return err
		}
		if err := os.WriteFile(in("usr/local/bin/"+tool), b, 0o755); err != nil { //nolint:gosec // it is run
			return err
		}
	}
	return errors.Join(os.WriteFile(in("root/baton.deb"), deb, 0o600), os.WriteFile(in("root/passphrase"), []byte("a long passphrase\n"), 0o600))
}
