package page_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/baton-ha/baton/node/api/page"
)

func serve(t *testing.T) (*http.ServeMux, []*page.File) {
	t.Helper()
	files, err := page.Files()
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for _, f := range files {
		mux.Handle(f.Path, f)
	}
	return mux, files
}

func get(t *testing.T, mux http.Handler, method, path string, header map[string]string) *http.Response {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
	for k, v := range header {
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	return w.Result()
}

func TestHeaders(t *testing.T) {
	mux, files := serve(t)
	kinds := map[string]bool{}
	for _, f := range files {
		path := strings.TrimSuffix(f.Path, "{$}")
		a := get(t, mux, "GET", path, nil)
		kind := a.Header.Get("Content-Type")
		kinds[kind] = true
		tag := a.Header.Get("ETag")
		csp := a.Header.Get("Content-Security-Policy")
		if a.StatusCode != 200 || tag == "" || a.Header.Get("X-Content-Type-Options") != "nosniff" ||
			a.Header.Get("Cache-Control") != "no-cache" || a.Header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: %d %v", path, a.StatusCode, a.Header)
		}
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: the policy lacks %s: %s", path, want, csp)
			}
		}
		if strings.Contains(csp, "unsafe") || strings.Contains(csp, "*") {
			t.Errorf("%s: the policy is %s", path, csp)
		}
		if a := get(t, mux, "GET", path, map[string]string{"If-None-Match": tag}); a.StatusCode != http.StatusNotModified || a.ContentLength > 0 {
			t.Errorf("%s again: %d", path, a.StatusCode)
		}
		if a := get(t, mux, "GET", path, map[string]string{"If-None-Match": `"old"`}); a.StatusCode != 200 {
			t.Errorf("%s with an old tag: %d", path, a.StatusCode)
		}
	}
	for _, kind := range []string{"text/html; charset=utf-8", "text/css; charset=utf-8", "text/javascript; charset=utf-8", "image/svg+xml"} {
		if !kinds[kind] {
			t.Errorf("no file is %s", kind)
		}
	}
}

var (
	reference = regexp.MustCompile(`(?:src|href)="([^"#]+)"|(?:from|import) '([^']+)'`)
	// What a policy without 'unsafe-inline' would refuse, and what would make HTML out of text.
	forbidden = regexp.MustCompile(`(?i)<script>|<style|\sstyle=|\son[a-z]+="|javascript:|innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|https?://[^w]`)
)

// Nothing is loaded from elsewhere, and whatever is referred to is there.
func TestSelfContained(t *testing.T) {
	mux, files := serve(t)
	served := map[string]bool{}
	for _, f := range files {
		served[strings.TrimSuffix(f.Path, "{$}")] = true
	}
	for path := range served {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", path, nil))
		text := w.Body.String()
		if bad := forbidden.FindString(text); bad != "" {
			t.Errorf("%s holds %q", path, bad)
		}
		for _, m := range reference.FindAllStringSubmatch(text, -1) {
			to := m[1] + m[2]
			if rest, ok := strings.CutPrefix(to, "./"); ok {
				to = "/page/" + rest
			}
			if !served[to] && !strings.HasPrefix(to, "/v1/") && to != "/metrics" {
				t.Errorf("%s refers to %q, which is not served", path, to)
			}
		}
	}
}
