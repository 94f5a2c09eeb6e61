package sync

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/blockstore/merkle"
	"github.com/baton-ha/baton/node/internal/storetest"
	"github.com/baton-ha/baton/node/peer"
)

func get(t *testing.T, h http.Handler, method, path, body string, head ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	for i := 0; i < len(head); i += 2 {
		r.Header.Set(head[i], head[i+1])
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return rec
}

// A piece of state is the same for ever and says so; a cache that has it is not sent it again.
func TestPiecesAreImmutable(t *testing.T) {
	w := newWorld(t, 1)
	b := w.add(accounts(100, 1, 0), 0)
	s := w.server(0)
	path := fmt.Sprintf("%s%s?root=%s&pos=", pathState, b.Header.StateRoot, b.Header.StateRoot)
	first := get(t, s, http.MethodGet, path, "")
	tag := first.Header().Get("Etag")
	if first.Code != 200 || tag == "" || !strings.Contains(first.Header().Get("Cache-Control"), "immutable") {
		t.Fatalf("%d %v", first.Code, first.Header())
	}
	if again := get(t, s, http.MethodGet, path, "", "If-None-Match", tag); again.Code != http.StatusNotModified || again.Body.Len() > 0 {
		t.Errorf("%d, %d bytes", again.Code, again.Body.Len())
	}
	// Whatever state it stands in: a newer one is asked for, the piece has not changed there.
	w.add([]merkle.Change{{Key: accounts(100, 1, 0)[0].Key, Value: []byte("new")}}, 0)
	if again := get(t, s, http.MethodGet, path, ""); !bytes.Equal(again.Body.Bytes(), first.Body.Bytes()) || again.Header().Get("Etag") != tag {
		t.Error("the piece has changed")
	}
	// The root is only a hint.
	kid, err := merkle.ReadNode(first.Body.Bytes()[4:4+int(first.Body.Bytes()[2])<<8+int(first.Body.Bytes()[3])], 0)
	if err != nil {
		t.Fatal(err)
	}
	k := kid.Children[1]
	path = fmt.Sprintf("%s%s?pos=%s&root=%s", pathState, block.Hash(k.Hash), position(kid.Below(nil, k)), block.Hash{1})
	if again := get(t, s, http.MethodGet, path, ""); again.Code != 200 {
		t.Errorf("by hash and position: %d %s", again.Code, again.Body)
	}
}

// What cannot be answered is refused with what is wrong, and read from nothing.
func TestBadRequests(t *testing.T) {
	w := newWorld(t, 1)
	b := w.add(accounts(100, 1, 0), 0)
	s := w.server(0)
	root := b.Header.StateRoot.String()
	for _, c := range []struct {
		method, path, body string
		want               int
	}{
		{"GET", "/", "", 404},
		{"POST", pathStates, "", 405},
		{"DELETE", pathState + root, "", 405},
		{"GET", pathStates + "?at=x", "", 400},
		{"GET", pathState + "xyz?root=" + root, "", 400},
		{"GET", pathState + root, "", 400},
		{"GET", pathState + root + "?root=" + root + "&pos=xyz", "", 400},
		{"GET", pathState + root + "?root=" + root + "&from=" + strings.Repeat("1", 1025), "", 400},
		{"GET", pathState + root + "?root=" + root + "&pos=1", "", 404},
		{"GET", pathState + strings.Repeat("11", 32) + "?root=" + root, "", 404},
		{"POST", pathNodes + "?root=1", "\n", 400},
		{"POST", pathNodes + "?root=" + strings.Repeat("11", 32), "\n", 404},
		{"POST", pathNodes + "?root=" + root, "z\n", 400},
		{"POST", pathNodes + "?root=" + root, strings.Repeat("1\n", maxPositions+1), 400},
		{"POST", pathNodes + "?root=" + root, strings.Repeat("1", maxPositionsBytes+1), 400},
		{"GET", pathBlocks, "", 400},
		{"GET", pathBlocks + "?from=0&to=1", "", 400},
		{"GET", pathBlocks + "?from=2&to=1", "", 400},
		{"GET", pathBlocks + "?from=2&to=99999999999999", "", 404},
		{"GET", pathBlocks + "?from=-1&to=1", "", 400},
		{"GET", pathHeaders + "?from=2&to=3", "", 404},
		{"GET", pathBlocks + "?from=1&to=18446744073709551615", "", 200},
		{"GET", pathHeaders + "?from=1&to=18446744073709551615", "", 200},
		{"POST", pathNodes + "?root=" + root, "\n", 200},
	} {
		if got := get(t, s, c.method, c.path, c.body); got.Code != c.want {
			t.Errorf("%s %s: %d %s, want %d", c.method, c.path, got.Code, got.Body, c.want)
		}
	}
}

// More requests than a server takes at a time are told to come back.
func TestBusy(t *testing.T) {
	w := newWorld(t, 1)
	w.add(accounts(100, 1, 0), 0)
	s := NewServer(ServerConfig{Store: w.nodes[0].store, ChainID: testChain, MaxRequests: 1, Rate: 1, Logger: zerolog.Nop()})
	defer s.Close() //nolint:errcheck // nothing is open
	s.slots <- struct{}{}
	got := get(t, s, http.MethodGet, pathStates, "")
	if got.Code != http.StatusServiceUnavailable || got.Header().Get("Retry-After") == "" {
		t.Errorf("%d %v", got.Code, got.Header())
	}
	<-s.slots
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	rec := httptest.NewRecorder()
	s.ServeHTTP(rec, httptest.NewRequestWithContext(ctx, http.MethodGet, pathBlocks+"?from=1&to=1", nil)) // one byte a second
	if len(s.slots) != 0 || rec.Body.Len() > 0 {
		t.Error("a request that ended early keeps its place, or was answered against the rate")
	}
}

func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRate(1000)
		begun := time.Now()
		for range 100 {
			if err := r.wait(t.Context(), 100); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(begun); took < 9*time.Second || took > 10*time.Second {
			t.Errorf("10000 bytes at 1000 a second took %v", took)
		}
		waits := make(chan struct{})
		go func() {
			_ = r.wait(t.Context(), 1_000_000)
			close(waits)
		}()
		synctest.Wait()
		begun = time.Now()
		r.set(0)
		<-waits
		if err := r.wait(t.Context(), 1<<40); err != nil || time.Since(begun) > 0 {
			t.Errorf("without a limit it took %v", time.Since(begun))
		}
		r.set(1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.wait(ctx, 100); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

// States are held while somebody fetches, and no longer than that, nor for ever.
func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var held atomic.Int64
		h := &hold{idle: time.Minute, max: 10 * time.Minute, take: func() func() {
			held.Add(1)
			return func() { held.Add(-1) }
		}}
		after := func(d time.Duration, want int64) {
			t.Helper()
			time.Sleep(d) //nolint:forbidigo // the clock is a fake one
			synctest.Wait()
			if held.Load() != want {
				t.Errorf("%d holds, want %d", held.Load(), want)
			}
		}
		h.touch(time.Now())
		after(30*time.Second, 1)
		h.touch(time.Now())
		after(50*time.Second, 1)
		after(11*time.Second, 0) // a minute after the last
		for range 19 {
			h.touch(time.Now())
			after(30*time.Second, 1)
		}
		h.touch(time.Now())
		after(31*time.Second, 0) // ten minutes after the first
		h.touch(time.Now())
		after(0, 0)
		after(time.Minute, 0)
		h.touch(time.Now())
		after(time.Second, 1)
		h.close()
		after(0, 0)
		h.touch(time.Now())
		after(time.Second, 0)
	})
}

// A state is held from the first piece on.
func TestServerHolds(t *testing.T) {
	w := newWorld(t, 1)
	b := w.add(accounts(100, 1, 0), 0)
	var held atomic.Int64
	s := NewServer(ServerConfig{Store: w.nodes[0].store, ChainID: testChain, Logger: zerolog.Nop(), Hold: func() func() {
		held.Add(1)
		return func() { held.Add(-1) }
	}})
	get(t, s, http.MethodGet, pathStates, "")
	get(t, s, http.MethodGet, pathBlocks+"?from=1&to=1", "")
	if held.Load() != 0 {
		t.Error("held for nothing")
	}
	get(t, s, http.MethodGet, fmt.Sprintf("%s%s?root=%s", pathState, b.Header.StateRoot, b.Header.StateRoot), "")
	if held.Load() != 1 {
		t.Error("not held")
	}
	if err := s.Close(); err != nil || held.Load() != 0 {
		t.Error("still held", err)
	}
}

// What of the store is damaged is not served, but told.
func TestDamageIsNotServed(t *testing.T) {
	w := newWorld(t, 0)
	fs := vfs.NewMem()
	h := &holder{store: w.newcomer(fs)}
	h.m = merkle.Empty(h.store)
	w.nodes = append(w.nodes, h)
	b := w.add(accounts(1000, 1, 0), 0)
	if err := h.store.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := pebble.Open(storetest.Dir, &pebble.Options{FS: fs, FormatMajorVersion: pebble.FormatWALSyncChunks, Logger: quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte("n"), UpperBound: []byte("o")})
	if err != nil {
		t.Fatal(err)
	}
	for more := it.First(); more; more = it.Next() {
		v := bytes.Clone(it.Value())
		if v[len(v)-3] ^= 1; len(v) > 300 { // branches stay, so that the way to the leaves is there
			continue
		}
		if err := db.Set(bytes.Clone(it.Key()), v, pebble.Sync); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(it.Close(), db.Close()); err != nil {
		t.Fatal(err)
	}
	h.store = storetest.Open(t, fs)
	var told atomic.Int64
	s := NewServer(ServerConfig{
		Store: h.store, ChainID: testChain, Genesis: w.blocks[0].Hash(), Logger: zerolog.Nop(),
		Damaged: func(err error) {
			if _, ok := errors.AsType[*merkle.CorruptionError](err); ok {
				told.Add(1)
			}
		},
	})
	defer s.Close() //nolint:errcheck // nothing is open
	got := get(t, s, http.MethodGet, fmt.Sprintf("%s%s?root=%s", pathState, b.Header.StateRoot, b.Header.StateRoot), "")
	if got.Code != http.StatusInternalServerError || told.Load() != 1 {
		t.Errorf("%d, told %d times", got.Code, told.Load())
	}
}

type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(string, ...any) {}

type ignored struct{}

func (ignored) HandleMessage(string, byte, []byte) {}
func (ignored) HandleRequest(context.Context, string, byte, []byte) ([]byte, error) {
	return nil, errors.New("no requests here")
}
func (ignored) PeerUp(string)   {}
func (ignored) PeerDown(string) {}

// Members serve each other on the peer port.
func TestPeerLink(t *testing.T) {
	w := newWorld(t, 1)
	b := w.add(accounts(20_000, 1, 0), 0)
	server := w.server(0)
	keys := []ed25519.PrivateKey{storetest.Key(11), storetest.Key(12)}
	var links []*peer.Link
	for i, id := range []string{"node1", "node2"} {
		cfg := peer.DefaultConfig()
		cfg.ID, cfg.Listen, cfg.Key = id, "127.0.0.1:0", keys[i]
		if i == 0 {
			cfg.ALPN = map[string]func(net.Conn, string){ALPN: server.ServeConn}
		}
		l, err := peer.New(cfg, ignored{}, zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}
		links = append(links, l)
	}
	for i, l := range links {
		if err := l.SetPeers([]peer.Peer{{
			ID: fmt.Sprint("node", 2-i), Addr: links[1-i].Addr().String(), PublicKey: public(keys[1-i]),
		}}); err != nil {
			t.Fatal(err)
		}
		l.Start()
	}
	dials := atomic.Int64{}
	client := LinkClient(func(ctx context.Context) (net.Conn, error) {
		dials.Add(1)
		return links[1].Dial(ctx, "node1", ALPN)
	})
	c := NewClient(w.config(Peer{Name: "node1", URL: "https://node1", Client: client, Member: true}))
	fs := vfs.NewMem()
	s := w.newcomer(fs)
	if f := w.mustSync(c, s); f.CTerm != 3 {
		t.Errorf("%+v", f)
	}
	w.holds(fs, s, b)
	if n := dials.Load(); n < 1 || n > 8 {
		t.Errorf("%d connections", n)
	}
	client.CloseIdleConnections()
	// The end of either side ends what the other waits for.
	ended := make(chan error, 1)
	go func() { ended <- links[0].Close() }()
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	if err := errors.Join(<-ended, links[1].Close()); err != nil {
		t.Error(err)
	}
}

// Who begins a request and does not end it has a place for a while only.
func TestSlowRequest(t *testing.T) {
	w := newWorld(t, 1)
	w.add(accounts(100, 1, 0), 0)
	s := w.server(0)
	s.patience = 100 * time.Millisecond
	url := w.peer("a", s).URL
	slow, stop := io.Pipe()
	defer stop.Close() //nolint:errcheck // it cannot fail
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+pathNodes+"?root="+w.tip().Header.StateRoot.String(), slow)
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	resp, err := http.DefaultClient.Do(req)
	if err == nil {
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("a request without end: %s", resp.Status)
		}
	}
	if took := time.Since(begun); took < s.patience {
		t.Errorf("it was over after %v (%v)", took, err)
	}
	for len(s.slots) > 0 { // the handler ends a moment after its answer
		runtime.Gosched()
	}
	if got := get(t, s, http.MethodGet, pathStates, ""); got.Code != http.StatusOK {
		t.Errorf("the next one: %d", got.Code)
	}
}
