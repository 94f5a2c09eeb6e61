package sync

import (
	"net"
	"net/http"
	"time"

	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
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

// Server serves states, final blocks and headers of one store, read-only: see the package's protocol. It implements
// [http.Handler] and is safe for concurrent use. Whoever may reach it may read all; it authenticates nobody.
type Server struct {
	cfg ServerConfig
}

// NewServer returns a server. Close it.
func NewServer(cfg ServerConfig) *Server { return &Server{cfg: cfg} }

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "not yet", http.StatusServiceUnavailable)
}

// ServeConn serves one connection of a peer that has agreed on [ALPN], and returns when that is over: what peer.Config.ALPN
// wants.
func (s *Server) ServeConn(conn net.Conn, _ string) { _ = conn.Close() }

// SetRate changes the limit of ServerConfig.Rate.
func (s *Server) SetRate(_ int64) {}

// Close ends the connections of ServeConn and lets go of what is held. Requests under way through ServeHTTP are the
// caller's.
func (s *Server) Close() error { return nil }
