package sync

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	stdsync "sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/klauspost/compress/zstd"
	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/blockstore/block"
)

// bent answers as another handler does, but for what spoil does to the answers of one path.
func bent(h http.Handler, path string, spoil func(w http.ResponseWriter, r *http.Request, status int, body []byte)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, path) {
			h.ServeHTTP(w, r)
			return
		}
		r.Header.Del("Accept-Encoding")
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		if next := rec.Header().Get(headerNext); next != "" {
			w.Header().Set(headerNext, next)
		}
		spoil(w, r, rec.Code, rec.Body.Bytes())
	})
}

// wordy collects a log.
type wordy struct {
	mu  stdsync.Mutex
	buf bytes.Buffer
}

func (l *wordy) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *wordy) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// stateFaults are what a peer may do to pieces of state.
var stateFaults = map[string]func(w http.ResponseWriter, r *http.Request, status int, body []byte){
	"a bit": func(w http.ResponseWriter, _ *http.Request, _ int, body []byte) {
		body[len(body)/2] ^= 1
		_, _ = w.Write(body)
	},
	"another node": func(w http.ResponseWriter, _ *http.Request, _ int, _ []byte) {
		_, _ = w.Write(appendFrame(nil, []byte{1, 0, 1, 1, 'x', 0, 0}))
	},
	"cut off": func(w http.ResponseWriter, _ *http.Request, _ int, body []byte) { _, _ = w.Write(body[:len(body)-3]) },
	"nothing": func(http.ResponseWriter, *http.Request, int, []byte) {},
	"dies": func(w http.ResponseWriter, _ *http.Request, _ int, body []byte) {
		w.Header().Set("Content-Length", "100000000")
		_, _ = w.Write(body[:len(body)/2])
		panic(http.ErrAbortHandler)
	},
	"huge length": func(w http.ResponseWriter, _ *http.Request, _ int, _ []byte) {
		_, _ = w.Write(append([]byte{0xff, 0xff, 0xff, 0xff}, make([]byte, 1<<16)...))
	},
	"large length": func(w http.ResponseWriter, _ *http.Request, _ int, _ []byte) {
		_, _ = w.Write(binary.BigEndian.AppendUint32(nil, maxNodeBytes))
	},
	"without end": func(w http.ResponseWriter, r *http.Request, _ int, _ []byte) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	},
	"bomb": func(w http.ResponseWriter, _ *http.Request, _ int, _ []byte) {
		w.Header().Set("Content-Encoding", "zstd")
		z, _ := zstd.NewWriter(w)
		for range 1 << 10 {
			if _, err := z.Write(make([]byte, 1<<20)); err != nil {
				return
			}
		}
		_ = z.Close()
	},
	"garbled": func(w http.ResponseWriter, _ *http.Request, _ int, body []byte) {
		w.Header().Set("Content-Encoding", "zstd")
		_, _ = w.Write(body)
	},
	"other encoding": func(w http.ResponseWriter, _ *http.Request, _ int, body []byte) {
		w.Header().Set("Content-Encoding", "br")
		_, _ = w.Write(body)
	},
	"bad hint": func(w http.ResponseWriter, _ *http.Request, _ int, body []byte) {
		w.Header().Set(headerNext, "no position")
		_, _ = w.Write(body)
	},
	"an error": func(w http.ResponseWriter, _ *http.Request, _ int, _ []byte) { w.WriteHeader(http.StatusTeapot) },
	"elsewhere": func(w http.ResponseWriter, r *http.Request, _ int, _ []byte) {
		http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
	},
	"silent": func(_ http.ResponseWriter, r *http.Request, _ int, _ []byte) { <-r.Context().Done() },
	"drips": func(w http.ResponseWriter, r *http.Request, _ int, body []byte) {
		for tick := time.NewTicker(50 * time.Millisecond); len(body) > 0; body = body[1:] {
			if _, err := w.Write(body[:1]); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			}
		}
	},
}

// Whatever a peer does with pieces of state, the transfer gets them from another one, and says who it was.
func TestFaultyPeer(t *testing.T) {
	w := newWorld(t, 1)
	w.add(accounts(1000, 1, 0))
	b := w.add(accounts(1000, 1, 1), 0)
	server := w.smallServer(0)
	for name, spoil := range stateFaults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &world{tb: t, chain: w.chain, blocks: w.blocks, nodes: w.nodes}
			log := &wordy{}
			bad := atomic.Int64{}
			quiet := name == "silent" || name == "drips" // they only lose a race
			cfg := w.config(w.peer("bad", bent(server, pathState, func(w http.ResponseWriter, r *http.Request, status int, body []byte) {
				bad.Add(1)
				spoil(w, r, status, body)
			})), w.peer("good", slower(server, func() bool {
				return bad.Load() > 0 && (quiet || strings.Contains(log.String(), `"peer":"bad"`))
			})))
			cfg.Logger = zerolog.New(log)
			c := w.smallClient(cfg)
			fs := vfs.NewMem()
			s := w.newcomer(fs)
			if f := w.mustSync(c, s); f.Block.Hash() != b.Hash() {
				t.Error(f)
			}
			if told := strings.Contains(log.String(), `"peer":"bad"`); !told && !quiet || bad.Load() == 0 {
				t.Errorf("asked %d times: %s", bad.Load(), log)
			}
			if p := c.Progress(); p.Known < 5 {
				t.Errorf("a large state was fetched as one piece: %+v", p)
			}
			if strings.Contains(log.String(), `"peer":"good"`) {
				t.Errorf("the good one is blamed: %s", log)
			}
			w.holds(fs, s, b)
		})
	}
}

// slower answers requests for state only from some moment on.
func slower(h http.Handler, ready func() bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for tick := time.NewTicker(time.Millisecond); strings.HasPrefix(r.URL.Path, pathState) && !ready(); {
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			}
		}
		h.ServeHTTP(w, r)
	})
}

// With nobody but such peers the transfer fails, names them, and leaves the store as it was.
func TestOnlyFaultyPeers(t *testing.T) {
	w := newWorld(t, 1)
	w.add(accounts(300, 1, 0), 0)
	server := w.server(0)
	for name, spoil := range stateFaults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &world{tb: t, chain: w.chain, blocks: w.blocks, nodes: w.nodes}
			cfg := w.config(w.peer("bad", bent(server, pathState, spoil)), w.peer("worse", bent(server, pathState, spoil)))
			cfg.Patience = 700 * time.Millisecond
			c := NewClient(cfg)
			s := w.newcomer(vfs.NewMem())
			o, err := c.Newest(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			_, err = bring(t.Context(), c, s, o)
			if !errors.Is(err, ErrNoPeer) || !strings.Contains(err.Error(), "bad: ") || !strings.Contains(err.Error(), "worse: ") {
				t.Error(err)
			}
			if _, ok := s.Checkpoint(); ok || s.Committed().Height > 0 {
				t.Error("something was believed")
			}
		})
	}
}

// What peers say they have counts only as far as it is of this chain and signed.
func TestFaultyOffers(t *testing.T) {
	w := newWorld(t, 1)
	w.add(accounts(30, 1, 0), 0)
	server := w.server(0)
	offers := func(change func(s *states)) http.Handler {
		return bent(server, pathStates, func(rw http.ResponseWriter, _ *http.Request, _ int, body []byte) {
			s, err := decodeStates(bytes.NewReader(body))
			if err != nil {
				t.Error(err)
			}
			change(&s)
			_, _ = rw.Write(s.encode())
		})
	}
	sign := func(h *signedHeader) {
		h.hash = h.Hash()
		h.sig = block.Sign(stranger, h.hash)
	}
	raw := func(path string, change func(body []byte) []byte) http.Handler {
		return bent(server, path, func(w http.ResponseWriter, _ *http.Request, _ int, body []byte) { _, _ = w.Write(change(body)) })
	}
	bad := map[string]http.Handler{
		"other genesis": offers(func(s *states) { s.genesis[3] ^= 1 }),
		"other chain":   offers(func(s *states) { s.chainID = "best" }),
		"other root":    offers(func(s *states) { s.list[0].StateRoot[3] ^= 1 }),
		"other height":  offers(func(s *states) { s.list[0].Height += 7 }),
		"other key":     offers(func(s *states) { s.list[0].StateRoot[3] ^= 1; sign(&s.list[0]) }),
		"tip of nobody": offers(func(s *states) { s.tip.Height += 1000; sign(s.tip) }),
		"no states":     offers(func(s *states) { s.list = nil }),
		"nothing":       raw(pathStates, func([]byte) []byte { return nil }),
		"cut off":       raw(pathStates, func(b []byte) []byte { return b[:len(b)-1] }),
		"more":          raw(pathStates, func(b []byte) []byte { return append(b, 0) }),
		"short genesis": raw(pathStates, func([]byte) []byte { return appendFrame(appendFrame(nil, []byte(testChain)), []byte("x")) }),
		"very much":     raw(pathStates, func([]byte) []byte { return make([]byte, 1<<20) }),
		"many":          offers(func(s *states) { s.list = slices.Repeat(s.list, maxStates+1) }),
		"no block":      raw(pathBlocks, func([]byte) []byte { return nil }),
		"another body":  raw(pathBlocks, func(b []byte) []byte { b[len(b)-finalTail-70] ^= 1; return b }),
		"another block": raw(pathBlocks, func([]byte) []byte {
			head := w.tip().Header
			head.Proposer = "liar"
			return appendFinal(nil, block.Final{Block: block.New(head, nil)})
		}),
		"a long block": raw(pathBlocks, func(b []byte) []byte { return append([]byte{0x7f, 0xff, 0xff, 0xff}, b...) }),
	}
	for name, h := range bad {
		c := NewClient(w.config(w.peer("bad", h)))
		if o, err := c.Newest(t.Context()); !errors.Is(err, ErrNoPeer) {
			t.Errorf("%s: %+v, %v", name, o, err)
		}
		c = NewClient(w.config(w.peer("bad", h), w.peer("good", server)))
		if o, err := c.Newest(t.Context()); err != nil || o.Final.Block.Hash() != w.tip().Hash() || o.TipHeight != 1 {
			t.Errorf("%s, and a good one: %+v, %v", name, o, err)
		}
	}
}

// A peer that says something about certificates is believed only if it is a member.
func TestCertificates(t *testing.T) {
	w := newWorld(t, 2)
	w.add(accounts(30, 1, 0), 0, 1)
	for _, member := range []bool{false, true} {
		a, b := w.peer("a", w.server(0)), w.peer("b", w.server(1))
		b.Member = member
		c := NewClient(w.config(a, b))
		o, err := c.Newest(t.Context())
		if err != nil || len(o.Peers) != 2 || (o.Final.CTerm == 3) != member {
			t.Errorf("%+v, %v", o, err)
		}
		for f, err := range c.Blocks(t.Context(), 1, 1) {
			if err != nil || f.CTerm != 0 && !member {
				t.Errorf("%+v, %v", f, err)
			}
		}
	}
}

// The end of the context ends a transfer at once, whatever peers do.
func TestCancel(t *testing.T) {
	w := newWorld(t, 1)
	w.add(accounts(300, 1, 0), 0)
	asked := make(chan struct{}, 1000)
	c := NewClient(w.config(w.peer("silent", bent(w.server(0), pathState, func(_ http.ResponseWriter, r *http.Request, _ int, _ []byte) {
		asked <- struct{}{}
		<-r.Context().Done()
	}))))
	o, err := c.Newest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	if _, err := bring(ctx, c, w.newcomer(vfs.NewMem()), o); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// When all peers prune the state while it is fetched, the transfer goes on with a newer one, unless that very one is wanted.
func TestPrunedMeanwhile(t *testing.T) {
	for _, exact := range []bool{false, true} {
		w := newWorld(t, 1)
		w.add(accounts(2000, 1, 0), 0)
		server := w.smallServer(0)
		var asked atomic.Int64
		var once stdsync.Once
		c := w.smallClient(w.config(w.peer("a", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, pathState) && asked.Add(1) >= 2 {
				once.Do(func() { //nolint:contextcheck // it is the test's own
					w.add(accounts(2000, 1, 1), 0)
					for more := true; more; {
						var err error
						if more, err = w.nodes[0].store.PruneState(1, 100); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			server.ServeHTTP(rw, r)
		}))))
		fs := vfs.NewMem()
		s := w.newcomer(fs)
		o, err := c.Newest(t.Context())
		if exact {
			o, err = c.At(t.Context(), 1)
		}
		if err != nil {
			t.Fatal(err)
		}
		f, err := bring(t.Context(), c, s, o)
		if exact {
			if !errors.Is(err, ErrGone) {
				t.Error(err)
			}
			continue
		}
		if err != nil || f.Block.Header.Height != 2 {
			t.Fatalf("%+v, %v", f, err)
		}
		w.holds(fs, s, w.blocks[2])
	}
}
