package sync

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/blockstore/block"
)

var (
	// ErrNoPeer is returned when no peer gives what is wanted: all are out of reach, refuse, or lie. The error names each
	// with its last fault.
	ErrNoPeer = errors.New("no peer serves it")
	// ErrPinned is returned when what peers serve contradicts the pin, or nobody can show that it does not.
	ErrPinned = errors.New("it contradicts the pinned block")
	// ErrForked is returned when peers show two blocks of one height that the processor's key has signed both. Somebody
	// else has the key, or the chain has forked: nothing may be believed.
	ErrForked = errors.New("two signed blocks of one height")
	// ErrGone is returned by [Client.Transfer] when no peer has the offered state any more. What was transferred stays: take
	// another offer, and what both states have in common is not fetched again.
	ErrGone = errors.New("no peer has that state any more")
)

// Peer is one who serves: a [Server] that is reached over HTTP.
type Peer struct {
	// Name stands in logs and errors; one peer's is no other's.
	Name string
	// URL is where the paths of the protocol begin: https://node2, http://10.0.0.1:7004/some/folder.
	URL string
	// Client makes the requests; [LinkClient] for a node's peer port. Nil is a plain one.
	Client *http.Client
	// Member says that the peer is an authenticated processor of this cluster. Only a member's word counts for the term of
	// a commit certificate, which no signature covers: see [Offer].
	Member bool
}

// Pin is a block of the chain that is known from elsewhere. The zero value pins nothing.
type Pin struct {
	Height block.Height
	Hash   block.Hash
}

// ClientConfig says from whom a Client fetches, and what it believes.
type ClientConfig struct {
	// ChainID and Genesis, the hash of block 0, name the chain.
	ChainID string
	Genesis block.Hash
	// Key is the processor's, as genesis establishes it.
	Key ed25519.PublicKey
	// Pin is a block that the chain must have: whatever is offered must be shown, by linked headers, to be on one chain with it.
	Pin Pin
	// Peers returns who serves at this moment. It is called often.
	Peers func() []Peer
	// Streams is how many requests are under way to one peer at a time; 0 is 4.
	Streams int
	// Patience is after how long without anything useful from anybody an error is returned; 0 is 30 seconds.
	Patience time.Duration
	Logger   zerolog.Logger
	// Received is told of each answer's body how many bytes arrived; concurrently. Nil: nobody wants to know.
	Received func(bytes int)
}

// maxStreams bounds the requests under way to all peers together.
const maxStreams = 16

// Client fetches from peers. It is safe for concurrent use, except that one Transfer runs at a time.
type Client struct {
	cfg      ClientConfig
	plain    *http.Client // of peers that bring none
	progress progress
	sizes    sizes
	peak     int // of pieces that the last transfer knew of at a time

	mu      sync.Mutex
	sources map[string]*source
	anchor  Pin // the newest block that is known to be on one chain with the pin
}

// NewClient returns a client. It does nothing by itself.
func NewClient(cfg ClientConfig) *Client {
	orDefault(&cfg.Streams, 4)
	orDefault(&cfg.Patience, 30*time.Second)
	return &Client{
		cfg: cfg, sources: map[string]*source{}, anchor: cfg.Pin, sizes: sizes{pieceBytes, partBytes},
		plain: &http.Client{Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, DisableCompression: true, MaxIdleConnsPerHost: cfg.Streams,
			IdleConnTimeout: time.Minute,
		}},
	}
}

// Progress returns how far the transfer is. Safe to call at any time.
func (c *Client) Progress() Progress { return c.progress.snapshot(time.Now()) }

// current returns the peers of this moment, in the order that Peers has them.
func (c *Client) current() []*source {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []*source
	names := map[string]bool{}
	for _, p := range c.cfg.Peers() {
		if names[p.Name] {
			continue
		}
		names[p.Name] = true
		if p.Client == nil {
			p.Client = c.plain
		}
		s := c.sources[p.Name]
		if s == nil || s.Peer != p {
			client := *p.Client
			client.CheckRedirect = stay
			s = &source{Peer: p, client: &client, log: c.cfg.Logger, received: c.cfg.Received}
			c.sources[p.Name] = s
		}
		out = append(out, s)
	}
	maps.DeleteFunc(c.sources, func(name string, _ *source) bool { return !names[name] })
	return out
}

// stay keeps a peer from sending us elsewhere.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// each asks all peers that may be asked at the same time, waits for all answers, and takes note of faults.
func (c *Client) each(ctx context.Context, ask func(ctx context.Context, s *source) error) error {
	var wg sync.WaitGroup
	for _, s := range c.current() {
		if s.ready(time.Now()) > 0 {
			continue
		}
		wg.Go(func() { c.judge(ctx, s, ask(ctx, s)) })
	}
	wg.Wait()
	return ctx.Err() //nolint:wrapcheck // it is the caller's own
}

// judge takes note of what became of a request to s.
func (c *Client) judge(ctx context.Context, s *source, err error) {
	switch {
	case err == nil:
		s.good()
	case ctx.Err() == nil:
		s.failed(err, time.Now())
	}
}

// try asks peers one after the other, the fastest of those named first, until one gives what is wanted. Names nil are all.
func (c *Client) try(ctx context.Context, names []string, ask func(ctx context.Context, s *source) error) error {
	asked := false
	for range 2 { // those that are busy, or were left alone, get a second chance
		for _, s := range c.byPace(names) {
			if asked && !s.isBanned() {
				if err := pause(ctx, s.ready(time.Now())); err != nil {
					return err
				}
			}
			if s.isBanned() || s.ready(time.Now()) > 0 {
				continue
			}
			err := ask(ctx, s)
			c.judge(ctx, s, err)
			if err == nil {
				return nil
			}
			if err := ctx.Err(); err != nil {
				return err //nolint:wrapcheck // it is the caller's own
			}
		}
		asked = true
	}
	return c.noPeer()
}

// byPace returns the peers with these names, or all for nil, the fastest first.
func (c *Client) byPace(names []string) []*source {
	all := c.current()
	if names != nil {
		all = slices.DeleteFunc(all, func(s *source) bool { return !slices.Contains(names, s.Name) })
	}
	pace := make(map[*source]float64, len(all))
	for _, s := range all {
		s.mu.Lock()
		pace[s] = s.rate
		s.mu.Unlock()
	}
	slices.SortStableFunc(all, func(a, b *source) int {
		switch {
		case pace[a] > pace[b]:
			return -1
		case pace[a] < pace[b]:
			return 1
		}
		return 0
	})
	return all
}

var errNothing = errors.New("nothing useful came from it")

// noPeer returns ErrNoPeer with what is known of each peer.
func (c *Client) noPeer() error {
	all := c.current()
	if len(all) == 0 {
		return fmt.Errorf("%w: there is none", ErrNoPeer)
	}
	err := ErrNoPeer
	for _, s := range all {
		fault := s.lastFault()
		if fault == nil {
			fault = errNothing
		}
		err = fmt.Errorf("%w; %s: %w", err, s.Name, fault)
	}
	return err
}

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err() //nolint:wrapcheck // it is the caller's own
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err() //nolint:wrapcheck // it is the caller's own
	}
}
