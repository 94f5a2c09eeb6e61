package objectstore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/node/archive"
)

// store is an object store that fails as it is told to. What a real one does is tested in scripts/s3test.
type store struct {
	mu       sync.Mutex
	objects  map[string][]byte
	parts    map[string]map[int][]byte
	requests []string
	page     int
	// fault may answer a request itself, and says whether it did.
	fault func(n int, w http.ResponseWriter, r *http.Request, what string) bool
}

// look shows the store while it serves nobody: the end of a request that was hung up may come late.
func (s *store) look(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn()
}

func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := strings.TrimPrefix(r.URL.Path, "/bucket/")
	q := r.URL.Query()
	what := r.Method
	switch {
	case q.Has("list-type"):
		what = "list"
	case q.Has("uploads"):
		what = "begin"
	case q.Has("partNumber"):
		what = "part"
	case q.Has("uploadId"):
		what = map[string]string{http.MethodPost: "complete", http.MethodDelete: "abort"}[r.Method]
	}
	s.requests = append(s.requests, what)
	if s.fault != nil && s.fault(len(s.requests), w, r, what) {
		return
	}
	body, err := io.ReadAll(r.Body)
	sum := sha256.Sum256(body)
	if want := r.Header.Get("X-Amz-Content-Sha256"); err != nil || r.ContentLength > 0 && want != hex.EncodeToString(sum[:]) {
		answer(w, http.StatusBadRequest, "XAmzContentSHA256Mismatch")
		return
	}
	if !strings.Contains(r.Header.Get("Authorization"), "Credential=who/") {
		answer(w, http.StatusForbidden, "AccessDenied")
		return
	}
	switch what {
	case "list":
		s.list(w, q.Get("prefix"), max(q.Get("start-after"), q.Get("continuation-token")))
	case http.MethodPut:
		s.objects[key] = body
		w.Header().Set("ETag", etag(body))
	case http.MethodGet, http.MethodHead:
		s.get(w, r, key)
	case "begin":
		s.parts[key] = map[int][]byte{}
		_, _ = fmt.Fprintf(w, "<InitiateMultipartUploadResult><Bucket>bucket</Bucket><Key>%s</Key><UploadId>id</UploadId></InitiateMultipartUploadResult>", key)
	case "part":
		n, _ := strconv.Atoi(q.Get("partNumber"))
		s.parts[key][n] = body
		w.Header().Set("ETag", etag(body))
	case "complete":
		s.complete(w, key)
	case "abort":
		delete(s.parts, key)
		w.WriteHeader(http.StatusNoContent)
	}
}

func (s *store) complete(w http.ResponseWriter, key string) {
	parts, ok := s.parts[key]
	if !ok {
		answer(w, http.StatusNotFound, "NoSuchUpload")
		return
	}
	var all []byte
	for _, n := range slices.Sorted(maps.Keys(parts)) {
		all = append(all, parts[n]...)
	}
	s.objects[key] = all
	delete(s.parts, key)
	_, _ = fmt.Fprintf(w, "<CompleteMultipartUploadResult><Bucket>bucket</Bucket><Key>%s</Key><ETag>%s</ETag></CompleteMultipartUploadResult>", key, etag(all))
}

func (s *store) get(w http.ResponseWriter, r *http.Request, key string) {
	data, ok := s.objects[key]
	if !ok {
		answer(w, http.StatusNotFound, "NoSuchKey")
		return
	}
	if match := r.Header.Get("If-Match"); match != "" && match != etag(data) {
		answer(w, http.StatusPreconditionFailed, "PreconditionFailed")
		return
	}
	w.Header().Set("ETag", etag(data))
	http.ServeContent(w, r, "", time.Unix(1_700_000_000, 0), bytes.NewReader(data))
}

func (s *store) list(w http.ResponseWriter, prefix, after string) {
	type item struct {
		Key  string
		Size int
	}
	var out struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		IsTruncated           bool
		NextContinuationToken string
		Contents              []item
	}
	for _, key := range slices.Sorted(maps.Keys(s.objects)) {
		if !strings.HasPrefix(key, prefix) || key <= after {
			continue
		}
		if len(out.Contents) == s.page {
			out.IsTruncated, out.NextContinuationToken = true, out.Contents[s.page-1].Key
			break
		}
		out.Contents = append(out.Contents, item{key, len(s.objects[key])})
	}
	_ = xml.NewEncoder(w).Encode(out)
}

func etag(data []byte) string {
	sum := sha256.Sum256(data)
	return `"` + hex.EncodeToString(sum[:16]) + `"`
}

func answer(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>no</Message></Error>", code)
}

// hangUp ends the connection.
func hangUp(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		err = conn.Close()
	}
	if err != nil {
		panic(err)
	}
}

// pauses are counted, not made.
type pauses struct{ all []time.Duration }

func (p *pauses) pause(_ context.Context, d time.Duration) error {
	p.all = append(p.all, d)
	return nil
}

func start(t *testing.T, s *store, idle time.Duration) (*Bucket, *pauses) {
	t.Helper()
	s.objects, s.parts, s.page = map[string][]byte{}, map[string]map[int][]byte{}, 1000
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	b, err := open("s3://bucket/some/where", Options{Endpoint: server.URL, AccessKey: "who", SecretKey: "s"}, zerolog.Nop(), idle)
	if err != nil {
		t.Fatal(err)
	}
	p := &pauses{}
	b.pause, b.partBytes = p.pause, 1000
	return b, p
}

func content(n int) []byte {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(i * i >> 3)
	}
	return data
}

func read(t *testing.T, b *Bucket, name string) ([]byte, error) {
	t.Helper()
	r, err := b.Open(t.Context(), name)
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // only read from
	return io.ReadAll(r)
}

func TestObjects(t *testing.T) {
	s := &store{}
	b, _ := start(t, s, idle)
	for _, n := range []int{0, 1, 999, 1000, 1001, 2000, 4321} {
		name := "x/" + strconv.Itoa(n)
		if got, err := b.Put(t.Context(), name, bytes.NewReader(content(n))); err != nil || got != int64(n) {
			t.Fatalf("%d: %d %v", n, got, err)
		}
		if !bytes.Equal(s.objects["some/where/"+name], content(n)) {
			t.Errorf("%d bytes are stored otherwise", n)
		}
		if got, err := read(t, b, name); err != nil || !bytes.Equal(got, content(n)) {
			t.Errorf("%d bytes are read otherwise: %v", n, err)
		}
	}
	if len(s.parts) > 0 {
		t.Errorf("uploads are left: %v", s.parts)
	}
	s.objects["some/whereelse"], s.page = nil, 2
	var names []string
	if err := b.List(t.Context(), "x/", func(name string) error { names = append(names, name); return nil }); err != nil || len(names) != 7 {
		t.Errorf("%q %v", names, err)
	}
	stop := errors.New("enough")
	if err := b.List(t.Context(), "", func(string) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
	if _, err := read(t, b, "x/none"); !errors.Is(err, archive.ErrChanged) {
		t.Errorf("deleted: %v", err)
	}
}

// What an exporter could not read to its end is stored neither whole nor in part.
func TestPutOfHalf(t *testing.T) {
	s := &store{}
	b, p := start(t, s, idle)
	for _, why := range []error{errors.New("cut"), io.ErrUnexpectedEOF, fmt.Errorf("wrapped: %w", io.EOF)} {
		for _, n := range []int{0, 500, 1000, 1700, 3000} {
			if _, err := b.Put(t.Context(), "x", io.MultiReader(bytes.NewReader(content(n)), broken{why})); !errors.Is(err, why) {
				t.Errorf("%v after %d: %v", why, n, err)
			}
			s.look(func() {
				if len(s.objects) > 0 || len(s.parts) > 0 {
					t.Fatalf("%v after %d: objects %v, uploads %v", why, n, len(s.objects), len(s.parts))
				}
			})
		}
	}
	if len(p.all) > 0 {
		t.Error("nothing of it was worth another try")
	}
}

type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

// Whichever requests fail, and however, what is tried a few times is done or is an error, and there is an object only if it
// is whole.
func TestFaults(t *testing.T) {
	for how, fail := range map[string]func(w http.ResponseWriter, r *http.Request){
		"500": func(w http.ResponseWriter, _ *http.Request) {
			answer(w, http.StatusInternalServerError, "InternalError")
		},
		"503":       func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusServiceUnavailable, "SlowDown") },
		"429":       func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusTooManyRequests, "TooManyRequests") },
		"hangs up":  func(w http.ResponseWriter, _ *http.Request) { hangUp(w) },
		"half read": func(w http.ResponseWriter, r *http.Request) { _, _ = io.CopyN(io.Discard, r.Body, 100); hangUp(w) },
		"digest":    func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusBadRequest, "BadDigest") },
	} {
		t.Run(how, func(t *testing.T) {
			for _, n := range []int{700, 3700} {
				for fails := 1; fails <= 9; fails++ {
					s := &store{}
					b, p := start(t, s, idle)
					down := false
					s.fault = func(n int, w http.ResponseWriter, r *http.Request, what string) bool {
						if what == "abort" || !down && n%fails != 0 {
							return false
						}
						down = fails == 1
						fail(w, r)
						return true
					}
					_, err := b.Put(t.Context(), "x", bytes.NewReader(content(n)))
					var (
						object   []byte
						there    bool
						requests []string
						parts    int
					)
					s.look(func() {
						object, there = s.objects["some/where/x"]
						requests, parts = slices.Clone(s.requests), len(s.parts)
					})
					if fails == 1 {
						if err == nil || there || len(p.all) != maxTries-1 || len(requests) > maxTries+1 {
							t.Fatalf("away for good: %v after %v and %v", err, p.all, requests)
						}
						continue
					}
					if err != nil || !bytes.Equal(object, content(n)) || parts > 0 {
						t.Fatalf("every %dth request fails: %v after %v", fails, err, requests)
					}
				}
			}
		})
	}
}

// What another try would not change is tried once, and the error says what it was, without the secret.
func TestRefusals(t *testing.T) {
	for code, want := range map[string]int{"AccessDenied": 403, "NoSuchBucket": 404, "NotImplemented": 501, "InvalidRequest": 400} {
		s := &store{}
		b, p := start(t, s, idle)
		s.fault = func(_ int, w http.ResponseWriter, _ *http.Request, _ string) bool { answer(w, want, code); return true }
		err := b.List(t.Context(), "", func(string) error { return nil })
		if status(err) != want || len(p.all) > 0 {
			t.Errorf("%s: %v after %v", code, err, p.all)
		}
	}
}

// The answer to the last request is lost; the store has done it.
func TestLostAnswer(t *testing.T) {
	s := &store{}
	b, _ := start(t, s, idle)
	lost := false
	s.fault = func(_ int, w http.ResponseWriter, r *http.Request, what string) bool {
		if what != "complete" || lost {
			return false
		}
		lost = true
		s.complete(httptest.NewRecorder(), strings.TrimPrefix(r.URL.Path, "/bucket/"))
		hangUp(w)
		return true
	}
	if n, err := b.Put(t.Context(), "x", bytes.NewReader(content(2500))); err != nil || n != 2500 || !lost {
		t.Errorf("%d %v", n, err)
	}
}

// A read that breaks off goes on where it was, with what is the same object, and ends in an error that is no end otherwise.
func TestReadGoesOn(t *testing.T) {
	s := &store{}
	b, p := start(t, s, idle)
	data := content(5000)
	s.objects["some/where/x"] = data
	cut := func(w http.ResponseWriter, r *http.Request, n int) {
		from := 0
		if text := r.Header.Get("Range"); text != "" {
			_, _ = fmt.Sscanf(text, "bytes=%d-", &from)
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(data)-1, len(data)))
		}
		w.Header().Set("ETag", etag(data))
		w.Header().Set("Last-Modified", time.Unix(1_700_000_000, 0).UTC().Format(http.TimeFormat))
		w.Header().Set("Content-Length", strconv.Itoa(len(data)-from))
		if from > 0 {
			w.WriteHeader(http.StatusPartialContent)
		}
		_, _ = w.Write(data[from:min(from+n, len(data))])
		if from+n < len(data) {
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
	}
	s.fault = func(_ int, w http.ResponseWriter, r *http.Request, _ string) bool { cut(w, r, 300); return true }
	if got, err := read(t, b, "x"); err != nil || !bytes.Equal(got, data) || len(p.all) < 10 {
		t.Errorf("%d bytes, %v, %d pauses", len(got), err, len(p.all))
	}
	p.all = nil
	s.look(func() {
		s.requests = nil
		s.fault = func(n int, w http.ResponseWriter, r *http.Request, _ string) bool {
			cut(w, r, 300*min(1, max(0, 2-n)))
			return true
		}
	})
	requests := func() (n int) {
		s.look(func() { n = len(s.requests) })
		return n
	}
	if got, err := read(t, b, "x"); err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || len(got) != 300 || requests() > maxTries+1 {
		t.Errorf("%d bytes, %v, %d requests", len(got), err, requests())
	}
	s.look(func() {
		s.requests = nil
		s.fault = func(n int, w http.ResponseWriter, r *http.Request, _ string) bool {
			if n > 1 {
				s.objects["some/where/x"] = content(4000)
				return false
			}
			cut(w, r, 300)
			return true
		}
	})
	if got, err := read(t, b, "x"); !errors.Is(err, archive.ErrChanged) || !bytes.Equal(got, data[:300]) {
		t.Errorf("replaced: %d bytes, %v", len(got), err)
	}
}

// A store that takes a connection and says nothing costs time, not for ever.
func TestSilence(t *testing.T) {
	s := &store{}
	b, p := start(t, s, 20*time.Millisecond)
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	first := true
	s.fault = func(_ int, _ http.ResponseWriter, _ *http.Request, _ string) bool {
		if first {
			first = false
			s.mu.Unlock()
			<-hang
			s.mu.Lock()
			return true
		}
		return false
	}
	if _, err := b.Put(t.Context(), "x", bytes.NewReader(content(10))); err != nil || len(p.all) == 0 {
		t.Errorf("%v after %v", err, p.all)
	}
}

// A listing without an end is given up.
func TestEndlessAnswer(t *testing.T) {
	s := &store{}
	b, _ := start(t, s, idle)
	s.fault = func(_ int, w http.ResponseWriter, _ *http.Request, _ string) bool {
		_, _ = io.WriteString(w, "<ListBucketResult><Contents><Key>")
		for _, err := w.Write(bytes.Repeat([]byte("x"), 1<<16)); err == nil; {
			_, err = w.Write(bytes.Repeat([]byte("x"), 1<<16))
		}
		return true
	}
	if err := b.List(t.Context(), "", func(string) error { return nil }); !errors.Is(err, errAnswerTooLong) {
		t.Error(err)
	}
}

func TestCalledOff(t *testing.T) {
	s := &store{}
	b, _ := start(t, s, idle)
	ctx, cancel := context.WithCancel(t.Context())
	s.fault = func(_ int, w http.ResponseWriter, _ *http.Request, what string) bool {
		if what == "part" {
			cancel()
			answer(w, http.StatusInternalServerError, "InternalError")
			return true
		}
		return false
	}
	_, err := b.Put(ctx, "x", bytes.NewReader(content(2500)))
	s.look(func() {
		if err == nil || len(s.objects) > 0 || len(s.parts) > 0 {
			t.Errorf("%v, %v", err, s.requests)
		}
	})
}

func TestOptions(t *testing.T) {
	for _, url := range []string{"", "s3://", "s3:///x", "s3://B", "http://bucket/x", "s3://bucket/../x", "s3://bucket/a//b", "s3://bucket/a b", "s3://a..b/x"} {
		if _, err := Open(url, Options{AccessKey: "a", SecretKey: "b"}, zerolog.Nop()); err == nil {
			t.Errorf("%q is taken", url)
		}
	}
	for _, endpoint := range []string{"ftp://x", "https://", "https://user:pass@host", "https://host/path", "https://host?x=1", "https://ho st"} {
		_, err := Open("s3://bucket/x", Options{Endpoint: endpoint, AccessKey: "a", SecretKey: "b"}, zerolog.Nop())
		if err == nil || strings.Contains(err.Error(), "pass") {
			t.Errorf("%q: %v", endpoint, err)
		}
	}
	for endpoint, secure := range map[string]bool{"": true, "host": true, "host:9000": true, "https://host": true, "http://host": false} {
		o := Options{Endpoint: endpoint}
		if _, tls, err := o.host(); err != nil || tls != secure {
			t.Errorf("%q: TLS %v, %v", endpoint, tls, err)
		}
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_ACCESS_KEY", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	t.Setenv("AWS_SECRET_KEY", "")
	t.Setenv("AWS_CONFIG_FILE", t.TempDir()+"/none")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", t.TempDir()+"/none")
	if _, err := Open("s3://bucket", Options{}, zerolog.Nop()); !errors.Is(err, ErrNoCredentials) {
		t.Errorf("nobody: %v", err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "who")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	if _, err := Open("s3://bucket", Options{}, zerolog.Nop()); err != nil {
		t.Error(err)
	}
	if _, err := Open("s3://bucket", Options{Region: "x/y"}, zerolog.Nop()); err == nil {
		t.Error("a region with a slash")
	}
}
