package api

import (
	"crypto/tls"
	"errors"
	"fmt"
	"time"
)

// Config bounds what the API gives to its clients. Start from [DefaultConfig].
type Config struct {
	// Listen is the TCP address to serve on, host:port; port 0 takes a free one.
	Listen string
	// Page says whether a page for people is served at /.
	Page bool
	// Certificate, if not nil, makes it HTTPS. See Server.SetCertificate.
	Certificate *tls.Certificate
	// RateLimit is how many requests a second one client address may make, RateBurst how many at once after a pause (0: a
	// second's worth). More are answered 429 and cost next to nothing. RateLimit 0 is no limit; paths for health checks,
	// metrics and the page's files do not count. See Server.SetRateLimit.
	RateLimit, RateBurst int

	// MaxConns is how many connections may be open; more wait to be accepted. A request keeps one, so that it must be
	// larger than MaxSubmits + MaxReads + MaxStreams: what is left is for health checks.
	MaxConns int
	// MaxSubmits is how many transactions may be waited for at a time. More are answered 429.
	MaxSubmits int
	// MaxReads is how many other requests may be served at a time. More are answered 429.
	MaxReads int
	// MaxStreams is how many readers of events there may be. More are answered 429.
	MaxStreams int
	// MaxBodyBytes bounds one request's body: 413.
	MaxBodyBytes int64
	// MaxHeldBytes bounds the bodies of all requests that are being served: 429.
	MaxHeldBytes int64
	// MaxHeaderBytes bounds a request's header.
	MaxHeaderBytes int

	// HeaderTimeout is the time to send a request's header.
	HeaderTimeout time.Duration
	// BodyTimeout is the time to send a request, header and body: 408.
	BodyTimeout time.Duration
	// WriteTimeout is the time to take an answer, or one event of a stream. A range of blocks has four times that.
	WriteTimeout time.Duration
	// IdleTimeout is how long a connection may stay open between requests.
	IdleTimeout time.Duration
	// SubmitTimeout is how long a transaction is waited for until it is 504.
	SubmitTimeout time.Duration
	// QueryTimeout is how long a read may take until it is 503.
	QueryTimeout time.Duration
	// Heartbeat is the time between two comments on an idle stream of events.
	Heartbeat time.Duration
}

// DefaultConfig returns the defaults, without an address to listen on.
func DefaultConfig() Config {
	return Config{
		Page:           true,
		MaxConns:       8192,
		MaxSubmits:     4096,
		MaxReads:       512,
		MaxStreams:     512,
		MaxBodyBytes:   1 << 20,
		MaxHeldBytes:   128 << 20,
		MaxHeaderBytes: 16 << 10,
		HeaderTimeout:  5 * time.Second,
		BodyTimeout:    15 * time.Second,
		WriteTimeout:   15 * time.Second,
		IdleTimeout:    2 * time.Minute,
		SubmitTimeout:  30 * time.Second,
		QueryTimeout:   10 * time.Second,
		Heartbeat:      10 * time.Second,
	}
}

// Validate returns all that is wrong with c, joined.
func (c Config) Validate() error {
	var errs []error
	problem := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Listen == "" {
		problem("api listen: no address")
	}
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"max_conns", int64(c.MaxConns)},
		{"max_submits", int64(c.MaxSubmits)},
		{"max_reads", int64(c.MaxReads)},
		{"max_streams", int64(c.MaxStreams)},
		{"max_body_bytes", c.MaxBodyBytes},
		{"max_held_bytes", c.MaxHeldBytes},
		{"max_header_bytes", int64(c.MaxHeaderBytes)},
		{"header_timeout", int64(c.HeaderTimeout)},
		{"body_timeout", int64(c.BodyTimeout)},
		{"write_timeout", int64(c.WriteTimeout)},
		{"idle_timeout", int64(c.IdleTimeout)},
		{"submit_timeout", int64(c.SubmitTimeout)},
		{"query_timeout", int64(c.QueryTimeout)},
		{"heartbeat", int64(c.Heartbeat)},
	} {
		if f.value <= 0 {
			problem("api %s: %d, must be above 0", f.name, f.value)
		}
	}
	if c.RateLimit < 0 || c.RateBurst < 0 {
		problem("api rate_limit: %d, rate_burst %d: must not be below 0", c.RateLimit, c.RateBurst)
	}
	if slots := c.MaxSubmits + c.MaxReads + c.MaxStreams; c.MaxConns <= slots {
		problem("api max_conns: %d, must be above max_submits + max_reads + max_streams = %d", c.MaxConns, slots)
	}
	if c.MaxHeldBytes < c.MaxBodyBytes {
		problem("api max_held_bytes: %d, must be at least max_body_bytes = %d", c.MaxHeldBytes, c.MaxBodyBytes)
	}
	if c.HeaderTimeout > c.BodyTimeout {
		problem("api header_timeout: %s, must be at most body_timeout = %s", c.HeaderTimeout, c.BodyTimeout)
	}
	return errors.Join(errs...)
}
