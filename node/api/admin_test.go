package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/node/api/wire"
)

func startAdmin(t *testing.T, dir string, b api.AdminBackend) *api.Admin {
	t.Helper()
	a := api.NewAdmin(dir, b, zerolog.Nop())
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := a.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return a
}

func admin(t *testing.T, dir, method, path, body string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://admin"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := api.AdminClient(dir).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, resp)
}

func TestAdmin(t *testing.T) {
	b := newBackend(0)
	var to []string
	var give error
	b.transfer = func(_ context.Context, id string) error {
		to = append(to, id)
		return give
	}
	dir := t.TempDir()
	startAdmin(t, dir, b)
	if a := admin(t, dir, "GET", "/leader", ""); a.status != 200 || a.body != `{"leader":"node1","term":3,"lease_ms":70}`+"\n" {
		t.Errorf("leader: %d %s", a.status, a.body)
	}
	if a := admin(t, dir, "GET", "/members", ""); a.status != 200 || a.body != `{"members":[],"config_version":0,"quorum":2}`+"\n" {
		t.Errorf("members: %d %s", a.status, a.body)
	}
	if a := admin(t, dir, "GET", "/status", ""); a.status != 200 || !strings.Contains(a.body, `"members":[]`) {
		t.Errorf("status: %d %s", a.status, a.body)
	}
	for _, body := range []string{`{"to":"node2"}`, `{"to":""}`, `{}`, ``} {
		if a := admin(t, dir, "POST", "/leader/transfer", body); a.status != 200 || !strings.Contains(a.body, `"leader":"node1"`) {
			t.Errorf("transfer %s: %d %s", body, a.status, a.body)
		}
	}
	if fmt.Sprint(to) != "[node2   ]" {
		t.Errorf("transferred to %q", to)
	}
	for _, bad := range []string{`{"to":1}`, `{"too":"x"}`, `x`, `{"to":"a","to":"b"}`} {
		wantError(t, bad, admin(t, dir, "POST", "/leader/transfer", bad), 400, "malformed")
	}
	wantError(t, "large", admin(t, dir, "POST", "/leader/transfer", strings.Repeat(" ", 5000)), 413, "too_large")
	give = api.Rejected("node9 is no voter")
	wantError(t, "refused", admin(t, dir, "POST", "/leader/transfer", `{"to":"node9"}`), 422, "rejected")
	give = context.DeadlineExceeded
	wantError(t, "too slow", admin(t, dir, "POST", "/leader/transfer", ``), 503, "unavailable")
	wantError(t, "path", admin(t, dir, "GET", "/v1/status", ""), 404, "not_found")
	if a := admin(t, dir, "POST", "/members", `{"op":"remove","id":"node3"}`); a.status != 200 || !strings.Contains(a.body, `"members"`) {
		t.Errorf("remove: %d %s", a.status, a.body)
	}
	if a := admin(t, dir, "POST", "/members", `{"op":"remove"}`); a.status != 200 {
		t.Errorf("leave: %d %s", a.status, a.body)
	}
	whole := wire.MemberRequest{Op: "add", ID: "node4", Key: "00", Addr: "10.0.0.4:7000", PeerAddr: "10.0.0.4:7001", Force: true}
	if a := admin(t, dir, "POST", "/members",
		`{"op":"add","id":"node4","key":"00","addr":"10.0.0.4:7000","peer_addr":"10.0.0.4:7001","force":true}`); a.status != 200 {
		t.Errorf("add: %d %s", a.status, a.body)
	}
	want := []wire.MemberRequest{{Op: "remove", ID: "node3"}, {Op: "remove", ID: b.Status().ID}, whole}
	if !slices.Equal(b.changes, want) {
		t.Errorf("changes %+v, want %+v", b.changes, want)
	}
	wantError(t, "unknown field", admin(t, dir, "POST", "/members", `{"op":"add","id":"a","colour":"red"}`), 400, "malformed")
	wantError(t, "two objects", admin(t, dir, "POST", "/members", `{"op":"add","id":"a"}{}`), 400, "malformed")
	wantError(t, "no object", admin(t, dir, "POST", "/members", ``), 400, "malformed")
	wantError(t, "stranger", admin(t, dir, "POST", "/members", `{"op":"promote","id":"stranger"}`), 422, "rejected")
	wantError(t, "op", admin(t, dir, "POST", "/members", `{"op":"explode","id":"node3"}`), 400, "malformed")
	wantError(t, "method", admin(t, dir, "GET", "/leader/transfer", ""), 405, "method_not_allowed")
}

func TestAdminSocketFile(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("a", 100), strings.Repeat("b", 100))
	if err := os.MkdirAll(long, 0o755); err != nil {
		t.Fatal(err)
	}
	b := newBackend(0)
	first := startAdmin(t, long, b)
	path := filepath.Join(long, api.AdminSocket)
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Fatalf("%v %v", info, err)
	}
	if a := admin(t, long, "GET", "/status", ""); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	second := api.NewAdmin(long, b, zerolog.Nop())
	if err := second.Start(t.Context()); !errors.Is(err, api.ErrAdminInUse) {
		t.Errorf("beside a live one: %v", err)
	}
	if a := admin(t, long, "GET", "/status", ""); a.status != 200 {
		t.Errorf("the live one no longer answers: %d", a.status)
	}
	if err := first.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after the shutdown: %v", err)
	}
	if _, err := api.DialAdmin(t.Context(), long); !errors.Is(err, api.ErrNoAdmin) {
		t.Errorf("nobody there: %v", err)
	}
}

func TestAdminStaleSocket(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, api.AdminSocket)
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = l.Close() // as a killed process leaves it
	if _, err := api.DialAdmin(t.Context(), dir); !errors.Is(err, api.ErrNoAdmin) {
		t.Errorf("stale socket: %v", err)
	}
	startAdmin(t, dir, newBackend(0))
	if a := admin(t, dir, "GET", "/status", ""); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// Only a socket is ever removed.
func TestAdminForeignFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, api.AdminSocket)
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := api.NewAdmin(dir, newBackend(0), zerolog.Nop()).Start(t.Context()); err == nil {
		t.Fatal("replaced a file")
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "mine" {
		t.Errorf("%q %v", data, err)
	}
	missing := filepath.Join(dir, "missing")
	if err := api.NewAdmin(missing, newBackend(0), zerolog.Nop()).Start(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	if _, err := api.DialAdmin(t.Context(), missing); !errors.Is(err, api.ErrNoAdmin) {
		t.Errorf("no folder: %v", err)
	}
}

// An export is streamed. What fails before it begins is an answer; what fails later cuts it off, so that nobody takes it
// for whole.
func TestAdminExport(t *testing.T) {
	dir := t.TempDir()
	if _, err := api.AdminExport(t.Context(), dir, 1, 2, false); !errors.Is(err, api.ErrNoAdmin) {
		t.Errorf("no node: %v", err)
	}
	startAdmin(t, dir, newBackend(0))
	for _, c := range []struct {
		from, to  uint64
		text, err string
	}{
		{0, 0, "0 to 0, state true", ""}, {3, 9, "3 to 9, state true", ""}, {9, 3, "", "nothing there"}, {1, 13, "", "EOF"},
	} {
		body, err := api.AdminExport(t.Context(), dir, c.from, c.to, true)
		var got []byte
		if err == nil {
			got, err = io.ReadAll(body)
			if err := body.Close(); err != nil {
				t.Error(err)
			}
		}
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) || err == nil && string(got) != c.text {
			t.Errorf("%d to %d: %q %v", c.from, c.to, got, err)
		}
	}
}
