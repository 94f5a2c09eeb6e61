package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"
)

// Paths of the API.
const (
	pathTransactions = "/v1/transactions"
	pathTransaction  = "/v1/transactions/{hash}"
	pathBlocks       = "/v1/blocks"
	pathBlock        = "/v1/blocks/{height}"
	pathAccount      = "/v1/accounts/{pubkey}"
	pathState        = "/v1/state/{key}"
	pathStatus       = "/v1/status"
	pathCluster      = "/v1/cluster"
	pathLeaders      = "/v1/leaders"
	pathRecent       = "/v1/recent"
	pathEvents       = "/v1/events"
	pathHealth       = "/healthz"
	pathReady        = "/readyz"
	pathLeader       = "/leader"
	pathMetrics      = "/metrics"
)

// Server serves the API of one node. Make it with [New], then [Server.Start], then once [Server.Shutdown].
type Server struct {
	cfg     Config
	backend Backend
	log     zerolog.Logger
	router  *router
	http    *http.Server

	submits, reads, streams, scrapes slots
	held                             budget
	rates                            *limiter
	cert                             certificate

	closing  chan struct{} // closed when the streams must end
	endOnce  sync.Once
	listener net.Listener
	failed   chan error
	serving  sync.WaitGroup
}

// New makes a server that does not listen yet. It returns all that is wrong with cfg.
func New(cfg Config, backend Backend, log zerolog.Logger) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, backend: backend, log: log,
		submits: make(slots, cfg.MaxSubmits),
		reads:   make(slots, cfg.MaxReads),
		streams: make(slots, cfg.MaxStreams),
		scrapes: make(slots, 4), // gathering is dear and nobody needs it often
		closing: make(chan struct{}),
		failed:  make(chan error, 1),
		rates:   newLimiter(cfg.RateLimit, cfg.RateBurst, time.Now),
	}
	s.held.max = cfg.MaxHeldBytes
	s.cert.p.Store(cfg.Certificate)
	m := newMetrics(s)
	scrape := promhttp.HandlerFor(prometheus.Gatherers{backend.Gatherer(), m.registry}, promhttp.HandlerOpts{})
	routes := []route{
		{http.MethodPost, pathTransactions, s.submits, s.postTransaction},
		{http.MethodGet, pathTransaction, s.reads, s.getTransaction},
		{http.MethodGet, pathBlocks, s.reads, s.getBlocks},
		{http.MethodGet, pathBlock, s.reads, s.getBlock},
		{http.MethodGet, pathAccount, s.reads, s.getAccount},
		{http.MethodGet, pathState, s.reads, s.getState},
		{http.MethodGet, pathStatus, nil, s.getStatus},
		{http.MethodGet, pathCluster, nil, s.getCluster},
		{http.MethodGet, pathLeaders, nil, s.getLeaders},
		{http.MethodGet, pathRecent, s.reads, s.getRecent},
		{http.MethodGet, pathEvents, s.streams, s.getEvents},
		{http.MethodGet, pathHealth, nil, s.getHealth},
		{http.MethodGet, pathReady, nil, s.getReady},
		{http.MethodGet, pathLeader, nil, s.getLeader},
		{http.MethodGet, pathMetrics, s.scrapes, func(w http.ResponseWriter, r *http.Request) error {
			s.router.allowWrite(w, cfg.WriteTimeout)
			scrape.ServeHTTP(w, r)
			return nil
		}},
	}
	// What a client may ask for as often as it likes: health, metrics, and the page's few small files, which a browser asks
	// for all at once.
	uncounted := []string{pathHealth, pathReady, pathLeader, pathMetrics}
	if cfg.Page {
		pages, err := s.pageRoutes()
		if err != nil {
			return nil, err
		}
		for _, p := range pages {
			uncounted = append(uncounted, p.path)
		}
		routes = append(routes, pages...)
	}
	s.router = newRouter(log, m, cfg.WriteTimeout, routes)
	s.router.admit = func(r *http.Request, path string) error {
		if slices.Contains(uncounted, path) {
			return nil
		}
		if wait, ok := s.rates.take(r.RemoteAddr); !ok {
			return tooManyRequests(wait)
		}
		return nil
	}
	s.http = &http.Server{
		Handler:           s.router,
		ReadHeaderTimeout: cfg.HeaderTimeout,
		ReadTimeout:       cfg.BodyTimeout,
		WriteTimeout:      cfg.WriteTimeout,
		IdleTimeout:       cfg.IdleTimeout,
		MaxHeaderBytes:    cfg.MaxHeaderBytes,
		ErrorLog:          stdlog.New(debugWriter{log}, "", 0),
	}
	return s, nil
}

// Handler returns what the server serves, for use under another listener. The bounds on connections and on the time for
// headers are the listener's.
func (s *Server) Handler() http.Handler { return s.router }

// Start listens and begins to serve; ctx bounds only that. The error names the address.
func (s *Server) Start(ctx context.Context) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", s.cfg.Listen)
	if err != nil {
		return fmt.Errorf("api: listen on %s: %w", s.cfg.Listen, err)
	}
	s.listener = l
	var bounded net.Listener = newLimitListener(l, s.cfg.MaxConns)
	if s.cfg.Certificate != nil {
		bounded = tls.NewListener(bounded, s.cert.config())
	}
	s.serving.Go(func() {
		if err := s.http.Serve(bounded); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- fmt.Errorf("api: serve on %s: %w", l.Addr(), err)
		}
	})
	return nil
}

// Addr returns the address that is listened on, nil before [Server.Start].
func (s *Server) Addr() net.Addr {
	if s.listener == nil {
		return nil
	}
	return s.listener.Addr()
}

// Failed receives one error if serving ends without [Server.Shutdown]: the address is then no longer listened on.
func (s *Server) Failed() <-chan error { return s.failed }

// Shutdown stops listening, ends the streams and lets requests finish until ctx ends; what is left then is cut off and
// ctx's error returned. The transactions that are still waited for are not undone. It may be called more than once, and
// without [Server.Start].
func (s *Server) Shutdown(ctx context.Context) error {
	s.endOnce.Do(func() { close(s.closing) })
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("api: shut down: %w", err), s.http.Close())
	}
	s.serving.Wait()
	return err
}

// debugWriter passes net/http's own complaints, which any client can provoke, to the log at level debug.
type debugWriter struct{ log zerolog.Logger }

func (w debugWriter) Write(p []byte) (int, error) {
	w.log.Debug().Str("http", string(p)).Msg("connection")
	return len(p), nil
}
