package peer

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// logEvery is how often a fault that may repeat for ever is logged.
const logEvery = 10 * time.Second

// Handler is told what arrives. Its methods are called on the link's goroutines and must not call Link.Close, which
// waits for them; every other method of Link may be called. Payloads belong to the handler.
type Handler interface {
	// HandleMessage gets a one-way frame. For one peer it is called one at a time, in the order in which that peer sent
	// on one connection; for different peers concurrently. It may block a little: then that peer's stream waits.
	HandleMessage(from string, kind byte, payload []byte)
	// HandleRequest answers a request. It is called concurrently, at most Config.MaxRequests times at once for a peer.
	// ctx ends when the peer gave up, its connection is lost or the link closes. Of an error the peer gets the text.
	HandleRequest(ctx context.Context, from string, kind byte, payload []byte) ([]byte, error)
	// PeerUp tells that the outgoing stream to the peer works: Send reaches it. For one peer PeerUp and PeerDown
	// alternate and are called one at a time. Nothing is written on the stream until PeerUp returns.
	PeerUp(id string)
	// PeerDown tells that the outgoing stream is lost, and with it every message that was queued.
	PeerDown(id string)
}

// Link is this node's end of the connections to all its peers. Make one with New. Its methods are safe for concurrent
// use.
type Link struct {
	cfg    Config
	h      Handler
	log    zerolog.Logger
	cert   tls.Certificate
	server *tls.Config
	ln     net.Listener
	gate   *gate
	count  counters
	warn   quiet

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup // every goroutine; Add only under mu while not closed, or from a counted goroutine

	mu      sync.RWMutex
	byID    map[string]*remote
	byKey   map[string]*remote // by the bytes of the public key
	seats   map[string]*seat
	started bool
	closed  bool
}

// New checks cfg and listens on cfg.Listen at once; nothing is accepted or dialled before Start. The link must be
// closed even if it was never started.
func New(cfg Config, h Handler, log zerolog.Logger) (*Link, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("peer config: %w", err)
	}
	if h == nil {
		return nil, errors.New("peer: handler is nil")
	}
	cfg.ALPN = maps.Clone(cfg.ALPN)
	cert, err := selfCertificate(cfg.Key)
	if err != nil {
		return nil, err
	}
	lc := net.ListenConfig{KeepAliveConfig: keepAlive}
	ln, err := lc.Listen(context.Background(), "tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for peers on %s: %w", cfg.Listen, err)
	}
	l := &Link{
		cfg: cfg, h: h, log: log, cert: cert, ln: ln,
		gate:  newGate(cfg.MaxHandshakes, cfg.MaxConns),
		warn:  quiet{every: logEvery},
		byID:  make(map[string]*remote),
		byKey: make(map[string]*remote),
		seats: make(map[string]*seat),
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	protos := append([]string{Proto}, sortedKeys(cfg.ALPN)...)
	l.server = serverTLS(cert, protos, func(key ed25519.PublicKey) bool { return l.remoteOf(key) != nil })
	l.setPeersLocked(cfg.Peers)
	return l, nil
}

// Start begins to accept and to dial. Further calls do nothing.
func (l *Link) Start() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.started || l.closed {
		return
	}
	l.started = true
	l.wg.Go(l.acceptLoop)
	for _, r := range l.byID {
		l.startDialling(r)
	}
}

// Close ends all connections, drops what is queued and waits for every goroutine of the link: when it returns the
// handler is not and will not be called any more. A handler that blocks holds it up. The error is the listener's;
// further calls wait too and return nil.
func (l *Link) Close() error {
	l.mu.Lock()
	first := !l.closed
	l.closed = true
	l.mu.Unlock()
	l.cancel()
	var err error
	if first {
		err = l.ln.Close()
	}
	l.wg.Wait()
	if err != nil {
		return fmt.Errorf("close peer listener: %w", err)
	}
	return nil
}

// Addr returns the address that the link listens on.
func (l *Link) Addr() net.Addr { return l.ln.Addr() }

// SetPeers replaces the list of peers. A peer that is gone, or has another key, loses its connections; new ones are
// dialled; a new address counts from the next dial on. An invalid list changes nothing and is returned as an error.
func (l *Link) SetPeers(peers []Peer) error {
	if err := checkPeers(l.cfg.ID, publicKey(l.cfg.Key), peers); err != nil {
		return fmt.Errorf("set peers: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	l.setPeersLocked(peers)
	return nil
}

func (l *Link) setPeersLocked(peers []Peer) {
	next := make(map[string]Peer, len(peers))
	for _, p := range peers {
		if p.ID != l.cfg.ID {
			next[p.ID] = p
		}
	}
	for id, r := range l.byID {
		if p, ok := next[id]; !ok || !r.key.Equal(p.PublicKey) {
			delete(l.byID, id)
			delete(l.byKey, string(r.key))
			r.cancel()
		}
	}
	for id, p := range next {
		if r := l.byID[id]; r != nil {
			r.setAddress(p.Addr)
			continue
		}
		if l.seats[id] == nil {
			l.seats[id] = newSeat(l.cfg.MaxRequests)
		}
		p.PublicKey = slices.Clone(p.PublicKey)
		r := newRemote(l.ctx, p, l.seats[id])
		l.byID[id] = r
		l.byKey[string(r.key)] = r
		if l.started {
			l.startDialling(r)
		}
	}
}

// Send queues a one-way message, or writes a short one at once if nothing is queued, and never blocks. The payload is not copied: it must not change any more. No error
// means only that the message is queued; it is lost with the connection. Errors: ErrUnknownPeer, ErrNotConnected,
// ErrQueueFull, ErrTooLarge, ErrClosed.
func (l *Link) Send(to string, kind byte, payload []byte) error {
	r, err := l.remote(to, payload)
	if err != nil {
		return fmt.Errorf("send to %s: %w", to, err)
	}
	stream, _, _ := r.outgoing()
	if stream == nil {
		return fmt.Errorf("send to %s: %w", to, ErrNotConnected)
	}
	if err := stream.send(messageFrame(kind, payload)); err != nil {
		if errors.Is(err, ErrQueueFull) {
			l.count.drops.Add(1)
		}
		return fmt.Errorf("send to %s: %w", to, err)
	}
	return nil
}

// Connected returns the ids of the peers whose outgoing stream works, sorted.
func (l *Link) Connected() []string {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var ids []string
	for id, r := range l.byID {
		if stream, _, _ := r.outgoing(); stream != nil && !stream.closed() {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// remote finds a destination and checks the payload for it.
func (l *Link) remote(to string, payload []byte) (*remote, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	r := l.byID[to]
	switch {
	case l.closed:
		return nil, ErrClosed
	case r == nil:
		return nil, ErrUnknownPeer
	case len(payload) > l.cfg.MaxPayloadBytes():
		return nil, fmt.Errorf("%d bytes, at most %d are allowed: %w", len(payload), l.cfg.MaxPayloadBytes(), ErrTooLarge)
	}
	return r, nil
}

func (l *Link) remoteOf(key ed25519.PublicKey) *remote {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.byKey[string(key)]
}
