package sync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/blockstore/merkle"
)

// ServerConfig says what a Server serves, and within which bounds.
type ServerConfig struct {
	// Store is read from. It belongs to the caller.
	Store *blockstore.Store
	// ChainID and Genesis, the hash of block 0, name the chain.
	ChainID string
	Genesis block.Hash
	// Hold keeps stored states from being pruned until release is called. It is called when somebody begins to fetch state;
	// release follows when nobody has asked for HoldIdle, and after HoldMax at the latest. Nil: states are not pruned.
	Hold func() (release func())
	// HoldIdle and HoldMax bound that; 0 is a minute and an hour. After HoldMax the server holds nothing for HoldIdle, so that
	// what is too old can go.
	HoldIdle, HoldMax time.Duration
	// Rate is how many bytes a second are served to all together; 0 is no limit.
	Rate int64
	// MaxRequests is how many requests are answered at a time; more are told to come back. 0 is 8.
	MaxRequests int
	Logger      zerolog.Logger
	// Sent is told of each answer how many bytes of its body were written. Nil: nobody wants to know. Like Damaged it is
	// called concurrently.
	Sent func(bytes int)
	// Damaged is told what of the store cannot be read as it was written: a *blockstore.CorruptionError or a
	// *merkle.CorruptionError is wrapped in it. The asker gets no such bytes. Nil: it is logged only.
	Damaged func(err error)
}

const (
	// minRate is the least at which an answer must be taken, in bytes a second, after graceful time for its first bytes.
	minRate = 16 << 10
	grace   = 20 * time.Second
)

// Server serves states, final blocks and headers of one store, read-only: see the package's protocol. It implements
// [http.Handler] and is safe for concurrent use. Whoever may reach it may read all; it authenticates nobody.
type Server struct {
	cfg    ServerConfig
	mux    *http.ServeMux
	slots  chan struct{}
	rate   *rate
	hold   *hold
	shelf  *shelf
	bodies sync.Pool // *[]byte of answers
	zip    *zstd.Encoder
	piece  int // pieceBytes
	// patience is how long the body of a request may take to come.
	patience time.Duration

	conns *conns
	http  *http.Server
	start func()
	wg    sync.WaitGroup
}

// NewServer returns a server. Close it.
func NewServer(cfg ServerConfig) *Server {
	orDefault(&cfg.HoldIdle, time.Minute)
	orDefault(&cfg.HoldMax, time.Hour)
	orDefault(&cfg.MaxRequests, 8)
	zip, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2), zstd.WithWindowSize(maxWindow))
	invariant(err == nil, "compressor: %v", err)
	s := &Server{
		cfg: cfg, mux: http.NewServeMux(), slots: make(chan struct{}, cfg.MaxRequests), rate: newRate(cfg.Rate),
		hold:  &hold{take: cfg.Hold, idle: cfg.HoldIdle, max: cfg.HoldMax},
		shelf: &shelf{store: cfg.Store}, zip: zip, conns: newConns(), piece: pieceBytes, patience: grace,
		bodies: sync.Pool{New: func() any { return new([]byte) }},
	}
	s.mux.HandleFunc("GET "+pathStates, s.answer(s.serveStates))
	s.mux.HandleFunc("GET "+pathState+"{hash}", s.answer(s.serveSubtree))
	s.mux.HandleFunc("POST "+pathNodes, s.answer(s.serveNodes))
	s.mux.HandleFunc("GET "+pathBlocks, s.answer(s.serveBlocks))
	s.mux.HandleFunc("GET "+pathHeaders, s.answer(s.serveHeaders))
	s.http = &http.Server{Handler: s, ConnState: s.conns.state, ReadHeaderTimeout: grace, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10}
	s.start = sync.OnceFunc(func() {
		s.wg.Go(func() {
			if err := s.http.Serve(s.conns); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
				s.cfg.Logger.Error().Err(err).Msg("sync: serving the peer link ended")
			}
		})
	})
	return s
}

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// ServeConn serves one connection of a peer that has agreed on [ALPN], and returns when that is over: what peer.Config.ALPN
// wants.
func (s *Server) ServeConn(conn net.Conn, _ string) {
	s.start()
	s.conns.serve(conn)
}

// SetRate changes the limit of ServerConfig.Rate.
func (s *Server) SetRate(bytesPerSecond int64) { s.rate.set(bytesPerSecond) }

// Close ends the connections of ServeConn and lets go of what is held. Requests under way through ServeHTTP are the
// caller's.
func (s *Server) Close() error {
	s.conns.close()
	err := s.http.Close()
	s.wg.Wait()
	s.hold.close()
	if err != nil {
		return fmt.Errorf("close sync server: %w", err)
	}
	return nil
}

// reply is an answer before it is sent.
type reply struct {
	body      []byte
	tag       string // its ETag; what has one never changes
	immutable bool
	loose     bool // worth compressing; a state is mostly hashes and keys
}

// refusal is an answer that is an error.
type refusal struct {
	status int
	text   string
}

func (e *refusal) Error() string { return e.text }

func refuse(status int, format string, args ...any) error {
	return &refusal{status, fmt.Sprintf(format, args...)}
}

// answer makes a handler of fn, which appends the body of the answer to buf.
func (s *Server) answer(fn func(r *http.Request, h http.Header, buf []byte) (reply, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case s.slots <- struct{}{}:
			defer func() { <-s.slots }()
		default:
			w.Header().Set("Retry-After", "1")
			http.Error(w, "busy", http.StatusServiceUnavailable)
			return
		}
		if err := s.read(w, r); err != nil {
			s.refuse(w, r, err)
			return
		}
		buf := s.bodies.Get().(*[]byte)
		defer func() {
			if cap(*buf) <= 4*pieceBytes {
				s.bodies.Put(buf)
			}
		}()
		out, err := fn(r, w.Header(), (*buf)[:0])
		if err != nil {
			s.refuse(w, r, err)
			return
		}
		*buf = out.body
		s.send(w, r, out)
	}
}

// read takes the body of a request in: who is slow with it has a place for a while only.
func (s *Server) read(w http.ResponseWriter, r *http.Request) error {
	if r.ContentLength == 0 {
		return nil
	}
	control := http.NewResponseController(w)
	if err := control.SetReadDeadline(time.Now().Add(s.patience)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("bound the time of a request: %w", err)
	}
	body, err := limited(r.Body, maxPositionsBytes)
	if err != nil {
		return refuse(http.StatusBadRequest, "body: %v", err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if err := control.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("unbound the time of a request: %w", err)
	}
	return nil
}

// refuse answers with an error. What of the own store is damaged is nobody's business but ours.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if no, ok := errors.AsType[*refusal](err); ok {
		http.Error(w, no.text, no.status)
		return
	}
	if r.Context().Err() != nil {
		return // whoever asked is gone
	}
	_, blockDamage := errors.AsType[*blockstore.CorruptionError](err)
	_, stateDamage := errors.AsType[*merkle.CorruptionError](err)
	switch {
	case (blockDamage || stateDamage) && s.cfg.Damaged != nil:
		s.cfg.Damaged(err)
	default:
		s.cfg.Logger.Error().Err(err).Str("path", r.URL.Path).Msg("sync: cannot answer")
	}
	http.Error(w, "this node cannot read it", http.StatusInternalServerError)
}

func (s *Server) send(w http.ResponseWriter, r *http.Request, out reply) {
	head := w.Header()
	head.Set("Content-Type", "application/octet-stream")
	head.Set("Cache-Control", "no-store")
	if out.immutable {
		head.Set("Cache-Control", "public, max-age=31536000, immutable")
		head.Set("Etag", out.tag)
		if r.Header.Get("If-None-Match") == out.tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	body := out.body
	if out.loose && r.Header.Get("Accept-Encoding") == "zstd" {
		packed := s.bodies.Get().(*[]byte)
		defer s.bodies.Put(packed)
		*packed = s.zip.EncodeAll(body, (*packed)[:0])
		body = *packed
		head.Set("Content-Encoding", "zstd")
	}
	head.Set("Content-Length", strconv.Itoa(len(body)))
	s.write(r.Context(), w, body)
}

// write sends a body as fast as the rate allows and the reader takes it, which must be with minRate.
func (s *Server) write(ctx context.Context, w http.ResponseWriter, body []byte) {
	control := http.NewResponseController(w)
	sent := 0
	defer func() {
		if s.cfg.Sent != nil && sent > 0 {
			s.cfg.Sent(sent)
		}
	}()
	const step = 64 << 10
	for len(body) > 0 {
		part := body[:min(step, len(body))]
		if s.rate.wait(ctx, len(part)) != nil {
			return
		}
		// Not all writers have deadlines; those of the peer link and of net/http have.
		if err := control.SetWriteDeadline(time.Now().Add(grace + step*time.Second/minRate)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return
		}
		n, err := w.Write(part)
		sent += n
		if err != nil {
			return
		}
		body = body[n:]
	}
}

// heights reads a range of heights from a request.
func heights(r *http.Request) (from, to block.Height, err error) {
	var n [2]uint64
	for i, name := range []string{"from", "to"} {
		if n[i], err = strconv.ParseUint(r.URL.Query().Get(name), 10, 64); err != nil {
			return 0, 0, refuse(http.StatusBadRequest, "%s: not a height", name)
		}
	}
	if n[0] == 0 || n[1] < n[0] {
		return 0, 0, refuse(http.StatusBadRequest, "blocks %d to %d", n[0], n[1])
	}
	return block.Height(n[0]), block.Height(n[1]), nil
}

// limited reads a body that may not be longer than limit.
func limited(r io.Reader, limit int) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err == nil && len(b) > limit {
		err = malformed("more than %d bytes", limit)
	}
	return b, err
}
