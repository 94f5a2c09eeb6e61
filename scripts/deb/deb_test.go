package deb

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// skip skips a test that this machine cannot run; in CI it must be able to, unless its kernel gives out no namespaces.
func skip(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" && os.Getuid() == 0 && exec.CommandContext(t.Context(), "unshare", "--mount", "--pid", "--net", "--fork", "true").Run() == nil {
		t.Fatalf(format+": CI must have it", args...)
	}
	t.Skipf(format, args...)
}

func need(t *testing.T, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			skip(t, "%v", err)
		}
	}
}

// build makes a package of a version and returns its path.
func build(t *testing.T, version string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "./build.sh", t.TempDir())
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1700000000", "VERSION="+version)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("build: %v\n%s", err, complaint.String())
	}
	return strings.TrimSpace(string(out))
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// The same sources make the same bytes, at any time and in any folder; what is in them is what a node needs and nothing
// that an operator owns.
func TestPackage(t *testing.T) {
	need(t, "dpkg-deb")
	first, second := build(t, "v1.0.0"), build(t, "v1.0.0")
	if !bytes.Equal(read(t, first), read(t, second)) {
		t.Error("two builds of the same sources differ")
	}
	list := output(t, "dpkg-deb", "--contents", first)
	for _, want := range []string{
		"-rwxr-xr-x root/root", "./usr/bin/baton\n", "./usr/lib/systemd/system/baton.service\n", "./usr/lib/systemd/system/baton@.service\n",
		"./usr/lib/sysusers.d/baton.conf\n", "./usr/lib/tmpfiles.d/baton.conf\n", "./usr/share/man/man1/baton.1.gz\n",
		"./usr/share/man/man1/baton-member-add.1.gz\n", "./usr/share/bash-completion/completions/baton\n", "./usr/share/zsh/vendor-completions/_baton\n",
		"./usr/share/fish/vendor_completions.d/baton.fish\n", "./usr/share/doc/baton/OPERATING.md\n", "./usr/share/doc/baton/examples/config.json\n",
		"./usr/share/doc/baton/copyright\n",
	} {
		if !strings.Contains(list, want) {
			t.Errorf("the package lacks %q:\n%s", want, list)
		}
	}
	for line := range strings.Lines(list) {
		path := line[strings.Index(line, "./"):]
		if strings.HasPrefix(path, "./var") || strings.HasPrefix(path, "./etc") && path != "./etc/\n" && path != "./etc/baton/\n" && path != "./etc/baton/keys/\n" {
			t.Errorf("the package owns %s", line)
		}
		if !strings.Contains(line, "root/root") || !strings.Contains(line, "2023-11-14") {
			t.Errorf("owner or time: %s", line)
		}
	}
	if fields := output(t, "dpkg-deb", "--field", first, "Package", "Version", "Architecture"); !strings.Contains(fields, "Version: 1.0.0\n") {
		t.Errorf("fields:\n%s", fields)
	}
}

// For real: installed on a fresh system, a cluster of one laid out and started, upgraded while it runs, removed and purged.
func TestInstallUpgradeRemove(t *testing.T) {
	need(t, "dpkg", "unshare", "chroot")
	if os.Getuid() != 0 {
		skip(t, "needs root")
	}
	root := os.Getenv("BATON_DEB_ROOT")
	if root == "" {
		root = "/"
	}
	dir := t.TempDir()
	for name, version := range map[string]string{"old.deb": "v1.0.0", "new.deb": "v1.1.0"} {
		if err := os.WriteFile(filepath.Join(dir, name), read(t, build(t, version)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	inside, err := filepath.Abs("testdata/inside.sh")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "--pid", "--net", "--ipc", "--fork", "--kill-child", "--propagation", "private",
		inside, root, dir)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if cmd.ProcessState.ExitCode() == 77 {
		skip(t, "no overlay can be mounted")
	}
	if err != nil {
		t.Fatalf("%v", err)
	}
	if !strings.HasSuffix(string(out), "all is well\n") {
		t.Error("the script did not come to its end")
	}
}
