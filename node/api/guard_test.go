package api_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/node/api/wire"
)

// A client that asks too often is told so, with when to try again; health checks are not counted, and others not hurt.
func TestRateLimit(t *testing.T) {
	s, base := start(t, newBackend(1), func(c *api.Config) { c.RateLimit, c.RateBurst = 1, 3 })
	var last answer
	for range 4 {
		last = do(t, "GET", base+"/v1/status", "")
	}
	// The machine may be slow enough to pay one off meanwhile: it cannot pay off what a loop asks for.
	for i := 0; last.status == 200 && i < 1000; i++ {
		last = do(t, "GET", base+"/v1/status", "")
	}
	wantError(t, "too often", last, 429, "overloaded")
	if got := last.header.Get("Retry-After"); got != "1" {
		t.Errorf("Retry-After is %q", got)
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/healthz", "/readyz", "/metrics"} {
		if a := do(t, "GET", base+path, ""); a.status != 200 {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	s.SetRateLimit(0, 0)
	for range 20 {
		if a := do(t, "GET", base+"/v1/status", ""); a.status != 200 {
			t.Fatalf("without a limit: %d %s", a.status, a.body)
		}
	}
}

func selfSigned(t *testing.T, serial int64) tls.Certificate {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// With a certificate the API is HTTPS and nothing else, and the certificate is replaced without a pause.
func TestTLS(t *testing.T) {
	first, second := selfSigned(t, 1), selfSigned(t, 2)
	s, base := start(t, newBackend(1), func(c *api.Config) { c.Certificate = &first })
	base = strings.Replace(base, "http:", "https:", 1)
	get := func(trusted tls.Certificate) (int, error) {
		roots := x509.NewCertPool()
		roots.AddCert(trusted.Leaf)
		client := &http.Client{Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true, ForceAttemptHTTP2: true,
		}}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/v1/status", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close() //nolint:errcheck // only read from
		if resp.ProtoMajor != 1 {
			t.Errorf("spoke %s", resp.Proto)
		}
		return resp.StatusCode, nil
	}
	if status, err := get(first); status != 200 || err != nil {
		t.Errorf("%d, %v", status, err)
	}
	if err := s.SetCertificate(second); err != nil {
		t.Fatal(err)
	}
	if _, err := get(first); err == nil {
		t.Error("the old certificate is served")
	}
	if status, err := get(second); status != 200 || err != nil {
		t.Errorf("the new one: %d, %v", status, err)
	}
	if a := do(t, "GET", strings.Replace(base, "https:", "http:", 1)+"/v1/status", ""); a.status == 200 {
		t.Error("plain HTTP is served too")
	}
	plain, _ := start(t, newBackend(1), nil)
	if err := plain.SetCertificate(first); !errors.Is(err, api.ErrNoTLS) {
		t.Errorf("a certificate for plain HTTP: %v", err)
	}
}

func TestProfilesAreOnTheAdminSocketAlone(t *testing.T) {
	b := newBackend(1)
	dir := t.TempDir()
	startAdmin(t, dir, b)
	for path, magic := range map[string]string{
		"/debug/pprof/heap": "\x1f\x8b", "/debug/pprof/goroutine?debug=1": "goroutine profile:", "/debug/pprof/profile?seconds=0": "\x1f\x8b",
		"/debug/pprof/trace?seconds=0": "go 1",
	} {
		if a := admin(t, dir, "GET", path, ""); a.status != 200 || !strings.HasPrefix(a.body, magic) {
			t.Errorf("%s: %d %.20q", path, a.status, a.body)
		}
	}
	wantError(t, "unknown", admin(t, dir, "GET", "/debug/pprof/none", ""), 404, "not_found")
	wantError(t, "too long", admin(t, dir, "GET", "/debug/pprof/profile?seconds=301", ""), 400, "malformed")
	base := serve(t, b, nil)
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap"} {
		wantError(t, path, do(t, "GET", base+path, ""), 404, "not_found")
	}
}

func TestAdminReload(t *testing.T) {
	b := newBackend(1)
	var got wire.ReloadRequest
	var give error
	b.reload = func(_ context.Context, req wire.ReloadRequest) (wire.Reloaded, error) {
		got = req
		return wire.Reloaded{Changed: []string{"log.level"}, Restart: []string{}}, give
	}
	dir := t.TempDir()
	startAdmin(t, dir, b)
	for _, body := range []string{"", "{}", `{"gossip_keys":["ab"]}`} {
		if a := admin(t, dir, "POST", "/reload", body); a.status != 200 || a.body != `{"changed":["log.level"],"restart":[]}`+"\n" {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
	if len(got.GossipKeys) != 1 {
		t.Errorf("asked with %+v", got)
	}
	for _, bad := range []string{`{"x":1}`, `{} {}`, `[]`} {
		wantError(t, bad, admin(t, dir, "POST", "/reload", bad), 400, "malformed")
	}
	give = api.NotReloadable("log.level is odd")
	if e := wantError(t, "broken", admin(t, dir, "POST", "/reload", ""), 422, "rejected"); e.Message != "log.level is odd" {
		t.Errorf("said %q", e.Message)
	}
}
