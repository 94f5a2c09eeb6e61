package sync

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/rs/zerolog"

	"github.com/baton-ha/baton/blockstore/block"
)

const (
	// maxWindow bounds the memory for taking compressed answers apart.
	maxWindow = 1 << 20
	// headTimeout is how long the beginning of an answer may take, answerTimeout all of it.
	headTimeout   = 15 * time.Second
	answerTimeout = 60 * time.Second
	// firstPause is how long a peer that failed is left alone at first, doubled each time up to longestPause.
	firstPause, longestPause = 250 * time.Millisecond, 15 * time.Second
	// banFor is how long one that lied is.
	banFor = 10 * time.Minute
)

var (
	// errLie is wrapped where a peer said what cannot be.
	errLie = errors.New("what it sent is not what it should be")
	// errLacks is wrapped where a peer has not what it was asked for.
	errLacks = errors.New("it has not got that")
	// errBusy is wrapped where a peer wants to be asked later.
	errBusy = errors.New("it is busy")
)

func lie(format string, args ...any) error {
	return fmt.Errorf("%w: %w", errLie, fmt.Errorf(format, args...))
}

// source is a peer and what was made of it so far. Safe for concurrent use.
type source struct {
	Peer
	client   *http.Client
	log      zerolog.Logger
	received func(int)

	mu     sync.Mutex
	fault  error     // the last one
	faults int       // in a row
	until  time.Time // not asked before
	banned bool      // it lied; until then
	rate   float64   // bytes a second, as an average of late
}

// ready returns how long the source is to be left alone; 0 for not at all.
func (s *source) ready(now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if left := s.until.Sub(now); left > 0 {
		return left
	}
	s.banned = false
	return 0
}

func (s *source) isBanned() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.banned
}

func (s *source) lastFault() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fault
}

func (s *source) good() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = 0
}

// failed takes note of an error of the source's.
func (s *source) failed(err error, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = err
	switch {
	case errors.Is(err, errLie):
		if !s.banned {
			s.log.Warn().Err(err).Str("peer", s.Name).Dur("for", banFor).Msg("sync: a peer lied; it is not asked any more for a while")
		}
		s.banned, s.until = true, now.Add(banFor)
	case errors.Is(err, errLacks):
	case errors.Is(err, errBusy):
		s.until = now.Add(firstPause)
	default:
		if s.until.After(now) {
			return // several requests ended at a time
		}
		wait := min(longestPause, firstPause<<min(s.faults, 10))
		s.faults++
		s.until = now.Add(wait)
		s.log.Warn().Err(err).Str("peer", s.Name).Dur("pause", wait).Msg("sync: a peer failed; others are asked meanwhile")
	}
}

// answer is an answer's body, decompressed. Close it.
type answer struct {
	io.Reader
	next   string // headerNext
	begun  time.Time
	src    *source
	bytes  int
	body   io.Closer
	zip    *zstd.Decoder
	cancel context.CancelFunc
}

// ask makes a request. limit bounds the bytes of the answer, as they are after decompression.
func (s *source) ask(ctx context.Context, path string, q url.Values, body string, limit int64) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	slow := time.AfterFunc(headTimeout, cancel)
	a, err := s.do(ctx, path, q, body, limit)
	if !slow.Stop() && err == nil {
		a.discard()
		err = context.DeadlineExceeded
	}
	if err != nil {
		cancel()
		return nil, err
	}
	a.cancel = cancel
	return a, nil
}

func (s *source) do(ctx context.Context, path string, q url.Values, body string, limit int64) (*answer, error) {
	method, in := http.MethodGet, io.Reader(http.NoBody)
	if body != "" {
		method, in = http.MethodPost, strings.NewReader(body)
	}
	addr := strings.TrimSuffix(s.URL, "/") + path
	if len(q) > 0 {
		addr += "?" + q.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, addr, in)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", s.Name, err)
	}
	req.Header.Set("Accept-Encoding", "zstd")
	begun := time.Now()
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
		_ = resp.Body.Close()
		err := fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(text))) //nolint:err113 // the peer's own words
		switch resp.StatusCode {
		case http.StatusNotFound, http.StatusGone:
			return nil, fmt.Errorf("%w: %w", errLacks, err)
		case http.StatusServiceUnavailable, http.StatusTooManyRequests:
			return nil, fmt.Errorf("%w: %w", errBusy, err)
		}
		return nil, err
	}
	a := &answer{begun: begun, src: s, body: resp.Body, next: resp.Header.Get(headerNext)}
	counted := &counter{r: resp.Body, a: a}
	switch enc := resp.Header.Get("Content-Encoding"); enc {
	case "":
		a.Reader = counted
	case "zstd":
		if a.zip, err = zstd.NewReader(counted, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderMaxMemory(uint64(limit)+maxWindow)); err != nil {
			_ = resp.Body.Close()
			return nil, fmt.Errorf("decompress: %w", err)
		}
		a.Reader = &unpacked{r: a.zip, from: counted}
	default:
		_ = resp.Body.Close()
		return nil, lie("content encoding %q", enc)
	}
	a.Reader = &bounded{r: a.Reader, left: limit}
	return a, nil
}

// Close ends the request, whether all of the answer was read or not.
func (a *answer) Close() {
	a.cancel()
	a.discard()
	if a.src.received != nil {
		a.src.received(a.bytes)
	}
	a.src.pace(a.bytes, time.Since(a.begun))
}

func (a *answer) discard() {
	_ = a.body.Close()
	if a.zip != nil {
		a.zip.Close()
	}
}

// pace takes note of how fast a source is.
func (s *source) pace(n int, took time.Duration) {
	if n < 4<<10 || took <= 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	rate := float64(n) / took.Seconds()
	if s.rate == 0 {
		s.rate = rate
	}
	s.rate += (rate - s.rate) / 8
}

// errLost is returned when an answer ends before its announced length.
var errLost = errors.New("connection lost within an answer")

// expect returns how long so many bytes would take from the source; 0 while that is not known.
func (s *source) expect(n int) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rate <= 0 {
		return 0
	}
	return time.Duration(float64(n) / s.rate * float64(time.Second))
}

// counter counts the bytes of an answer as they are on the wire.
type counter struct {
	r   io.Reader
	a   *answer
	err error
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.a.bytes += n
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = errLost
	}
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err //nolint:wrapcheck // io.EOF has a meaning
}

// unpacked tells what cannot be decompressed from what did not arrive.
type unpacked struct {
	r    io.Reader
	from *counter
}

func (u *unpacked) Read(b []byte) (int, error) {
	n, err := u.r.Read(b)
	if err != nil && err != io.EOF {
		if u.from.err != nil {
			return n, u.from.err
		}
		return n, lie("decompress: %w", err)
	}
	return n, err //nolint:wrapcheck // io.EOF has a meaning
}

// bounded fails where more comes than may.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(buf []byte) (int, error) {
	if b.left <= 0 {
		var one [1]byte
		if n, err := io.ReadFull(b.r, one[:]); n == 0 {
			return 0, err //nolint:wrapcheck // io.EOF has a meaning
		}
		return 0, lie("an answer without end")
	}
	n, err := b.r.Read(buf[:min(int64(len(buf)), b.left)])
	b.left -= int64(n)
	return n, err //nolint:wrapcheck // io.EOF has a meaning
}

// states asks what states the source has, around a height unless that is 0, and verifies what it says as far as it
// is about the chain and signed.
func (s *source) states(ctx context.Context, c *ClientConfig, at block.Height) (states, error) {
	q := url.Values{}
	if at > 0 {
		q.Set("at", fmt.Sprint(uint64(at)))
	}
	a, err := s.ask(ctx, pathStates, q, "", maxStatesBytes)
	if err != nil {
		return states{}, err
	}
	defer a.Close()
	got, err := decodeStates(a)
	if err != nil {
		return states{}, wire("read states: %w", err)
	}
	if got.chainID != c.ChainID || got.genesis != c.Genesis {
		return states{}, lie("it serves chain %q with genesis %v", got.chainID, got.genesis)
	}
	all := got.list
	if got.tip != nil {
		all = append([]signedHeader{*got.tip}, all...)
	}
	for i := range all {
		h := &all[i]
		if h.ChainID != c.ChainID || h.Height == 0 || !block.VerifySignature(c.Key, h.hash, h.sig) {
			return states{}, lie("block %d (%v) is not signed by the processor of this chain", h.Height, h.hash)
		}
	}
	return got, nil
}
